"""Answers that quote: a grammar for a JSON object some of whose texts are taken word for word from a given text.

A language model that reads a document makes names up, small ones above all. A grammar that lets a text be nothing but
a run of words of the document leaves it no way to. The grammar is llguidance's dialect of Lark; nothing here knows
models or tokens.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

#: Stands where a paragraph ends: no text of an answer crosses it, for JSON has no such character in a string.
_BREAK: Final = "\x01"
_PIECE: Final = re.compile(r"\w+|\s+|[^\w\s]")
_BLANK_LINE: Final = re.compile(r"\n\s*\n")
#: What the outermost schema may say; of anything else it is not known what it would mean for its properties.
_UNDERSTOOD: Final = frozenset(
    {"type", "properties", "required", "additionalProperties", "$schema", "$id", "$defs", "definitions", "title"}
    | {"description", "examples", "default", "$comment"}
)
_COMPACT: Final = {"x-guidance": {"whitespace_flexible": False}}


def check_verbatim(schema: Mapping[str, Any], names: Sequence[str]) -> None:
    """Raises ValueError unless `schema` is of an object, and `names` are texts among its properties."""
    unknown = sorted(schema.keys() - _UNDERSTOOD)
    if schema.get("type") != "object" or unknown:
        what = f"has {', '.join(unknown)}" if unknown else "is not of an object"
        raise ValueError(f"`verbatim` needs a schema of an object with nothing but properties, and this one {what}")
    properties = schema.get("properties", {})
    for name in names:
        if name not in properties:
            known = ", ".join(properties) or "none"
            raise ValueError(f"`verbatim` names {name!r}, which is not a property of the schema (known: {known})")
        if _kinds(properties[name]) not in ({"string"}, {"string", "null"}):
            raise ValueError(f"`verbatim` names {name!r}, which is not a text (`type: string`) in the schema")


def quoting_grammar(schema: Mapping[str, Any], names: Sequence[str], text: str) -> str:
    """The grammar of objects that fit `schema` and whose properties `names` are runs of words of `text`.

    White space within such a run is one space, also where the text breaks a line; an empty line ends a run. The words
    themselves must be whole. A property that may be null may be so here. Raises ValueError where `check_verbatim` does.
    """
    check_verbatim(schema, names)
    properties: Mapping[str, Any] = schema.get("properties", {})
    required = set(schema.get("required", ()))
    shared = {key: schema[key] for key in ("$defs", "definitions") if key in schema}
    rules = ['start: "{" first_0']
    # `first_i`: what may follow where nothing has been said yet; `next_i`: where something has, and a comma is due.
    for place, (name, of_property) in enumerate(properties.items()):
        said = f"{json.dumps(json.dumps(name, ensure_ascii=False) + ':', ensure_ascii=False)} value_{place}"
        skipped = name not in required
        rules.append(f"first_{place}: {said} next_{place + 1}" + (f" | first_{place + 1}" if skipped else ""))
        rules.append(f'next_{place}: "," {said} next_{place + 1}' + (f" | next_{place + 1}" if skipped else ""))
        if name in names:
            null = ' | "null"' if "null" in _kinds(of_property) else ""
            rules.append(rf'value_{place}: "\"" RUN "\""{null}')
        else:
            rules.append(f"value_{place}: %json {json.dumps(_COMPACT | shared | _as_mapping(of_property))}")
    rules += [f'first_{len(properties)}: "}}"', f'next_{len(properties)}: "}}"']
    pieces = json.dumps({"substring_chunks": _pieces(text)}, ensure_ascii=False)
    rules += [f"OF_TEXT: %regex {pieces}", r"RUN: OF_TEXT & /[^\s\x01]([^\x01]*[^\s\x01])?/"]
    return "\n".join(rules)


def _as_mapping(schema: Any) -> dict[str, Any]:
    return {} if schema is True else dict(schema)


def _kinds(schema: Any) -> set[str]:
    kind = cast("str | list[str] | None", _as_mapping(schema).get("type"))
    return {kind} if isinstance(kind, str) else set(kind) if isinstance(kind, list) else set()


def _pieces(text: str) -> list[str]:
    """Words, spaces and single signs, as JSON would write them within a string."""
    pieces: list[str] = []
    for found in _PIECE.findall(text):
        if found.isspace():
            pieces.append(_BREAK if _BLANK_LINE.search(found) else " ")
        else:
            pieces.append(json.dumps(found, ensure_ascii=False)[1:-1])
    return pieces or [_BREAK]
