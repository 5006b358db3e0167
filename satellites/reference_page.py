"""The reference of the built-in satellites (`docs/format/satellites.md`), written from the classes themselves.

    python -m satellites.reference_page > docs/format/satellites.md

A test fails while the committed page says something else. What a satellite gives is its docstring, what a key means the
description of its field.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any, Final

from satellites.builtin import SATELLITES
from satellites.language.presets import PRESETS
from satellites.registry import SatelliteClass

_HEAD: Final = """\
# The built-in satellites

Written by `python -m satellites.reference_page` from the satellites themselves. A key of an input that a satellite does
not know is ignored, a key of a config that it does not know is an error.
"""
_MIB: Final = 1024 * 1024
_NUMBERS: Final = {"integer": "a whole number", "number": "a number"}
_BOUNDS: Final = (
    ("minimum", "from {}"),
    ("exclusiveMinimum", "above {}"),
    ("maximum", "to {}"),
    ("exclusiveMaximum", "below {}"),
)


def page() -> str:
    """The whole page."""
    own = sorted((found for found in SATELLITES if found not in PRESETS), key=lambda found: found.name.split("/")[2])
    return "\n".join([_HEAD, *(line for found in own for line in _section(found)), *_presets()])


def _section(found: SatelliteClass) -> Iterator[str]:
    yield f"## {found.name.rpartition('/')[2]}"
    yield ""
    names = " or ".join(f"`{name}`" for name in (found.name, *found.aliases))
    yield f"{found.summary}. {names}, version {found.version}."
    yield ""
    yield from _docstring(found)
    yield _declared(found)
    yield ""
    for title, model in (("Config", found.Config), ("Input", found.Input)):
        schema = model.model_json_schema(by_alias=True)
        rows = list(_rows(schema))
        if rows:
            yield f"| {title} | values | unless said | meaning |"
            yield "| --- | --- | --- | --- |"
            yield from rows
        else:
            anything = schema.get("additionalProperties") is True
            yield f"{title}: {'any object' if anything else 'nothing of its own'}."
        yield ""


def _docstring(found: SatelliteClass) -> Iterator[str]:
    for line in (found.__doc__ or "").strip().splitlines():
        yield line.strip()
    yield ""


def _declared(found: SatelliteClass) -> str:
    resources = found.resources
    parts = [f"{resources.cpu:g} CPU", f"{resources.memory_bytes // _MIB} MiB"]
    if resources.gpu:
        parts.append(f"{resources.gpu:g} GPU")
    parts.append(f"at most {found.timeout_s:g} s an attempt")
    if found.deterministic:
        parts.append("always gives the same for the same")
    if found.effects == "outside":
        parts.append("changes things outside of Orbit")
    if found.required_secrets:
        parts.append(f"needs the secrets {', '.join(found.required_secrets)}")
    install = ", ".join(dict.fromkeys(each.install for each in found.requires))
    if install:
        parts.append(f"only where {install} is installed")
    return f"Takes {', '.join(parts)}."


def _rows(schema: Mapping[str, Any]) -> Iterator[str]:
    required = schema.get("required", ())
    for key, field in schema.get("properties", {}).items():
        default = "**must be said**" if key in required else _default(field.get("default"))
        meaning = " ".join(str(field.get("description", "")).split()).replace("|", "\\|")
        yield f"| `{key}` | {_values(field, schema)} | {default} | {meaning} |"


def _default(value: object) -> str:
    if value is None or value in ("", [], {}):
        return "–"
    return f"`{str(value).lower()}`" if isinstance(value, bool) else f"`{value}`"


def _values(field: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    if "$ref" in field:
        return _values(schema["$defs"][field["$ref"].rpartition("/")[2]], schema)
    if "enum" in field or "const" in field:
        return ", ".join(f"`{value}`" for value in field.get("enum", [field.get("const")]))
    if "anyOf" in field:
        choices = [_values(choice, schema) for choice in field["anyOf"] if choice.get("type") != "null"]
        return " or ".join(dict.fromkeys(choices))
    kind = field.get("type")
    if kind in _NUMBERS:
        bounds = [words.format(f"{field[key]:,}") for key, words in _BOUNDS if key in field]
        return " ".join([_NUMBERS[kind], *bounds])
    words = {"string": "text", "boolean": "`true` or `false`", "array": "a list", "object": "a mapping"}
    return words.get(str(kind), "anything")


def _presets() -> Iterator[str]:
    yield "## Presets of generate"
    yield ""
    yield "`generate` with a model filled in; all else is as there, and `model` in the config names another one."
    yield ""
    yield "| satellite | model | other names |"
    yield "| --- | --- | --- |"
    for found in PRESETS:
        yield f"| `{found.name}` | `{found.default_model}` | {', '.join(f'`{name}`' for name in found.aliases)} |"
    yield ""


if __name__ == "__main__":
    sys.stdout.write(page())
