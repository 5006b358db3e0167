"""Output schemas as satellites use them: read from a config, and held against a value."""

from __future__ import annotations

import functools
import importlib.util
import json
from typing import Any, Final

from orbit_core.spec.schemas import parse_output_schema

_SHOWN_CHARS: Final = 200


def read_schema(value: Any) -> dict[str, Any]:
    """JSON Schema or the short form, as JSON Schema. Raises ValueError; for use as a validator of a field."""
    return parse_output_schema(value)


def holdable(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema, if an answer can be held to it while it is made. Raises ValueError; for use as a validator.

    Where llguidance is not installed nothing is looked at: the agent that makes the answer has the last word.
    """
    why_not = _why_not_holdable(json.dumps(schema))
    if why_not:
        raise ValueError(f"an answer cannot be held to this schema: {why_not}; check that in a later step")
    return schema


@functools.lru_cache(maxsize=64)
def _why_not_holdable(schema: str) -> str:
    if importlib.util.find_spec("llguidance") is None:
        return ""
    from llguidance import LLMatcher

    try:
        grammar = LLMatcher.grammar_from_json_schema(schema, defaults={"whitespace_flexible": False})
        failed, messages = LLMatcher.validate_grammar_with_warnings(grammar, None)
    except ValueError as error:
        return str(error)
    return "; ".join(messages)[:_SHOWN_CHARS] if failed else ""


def problems(schema: dict[str, Any], value: Any) -> list[str]:
    """Everything in `value` that does not fit, each with its place: `$.lines[2].net: …`. Empty: it fits."""
    from jsonschema import Draft202012Validator

    found = sorted(
        Draft202012Validator(schema).iter_errors(value), key=lambda error: list(map(str, error.absolute_path))
    )
    return [f"{_place(error.absolute_path)}: {error.message[:_SHOWN_CHARS]}" for error in found]


def _place(path: Any) -> str:
    return "$" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
