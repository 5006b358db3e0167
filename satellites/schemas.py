"""Output schemas as satellites use them: read from a config, and held against a value."""

from __future__ import annotations

from typing import Any, Final

from orbit_core.spec.schemas import parse_output_schema

_SHOWN_CHARS: Final = 200


def read_schema(value: Any) -> dict[str, Any]:
    """JSON Schema or the short form, as JSON Schema. Raises ValueError; for use as a validator of a field."""
    return parse_output_schema(value)


def problems(schema: dict[str, Any], value: Any) -> list[str]:
    """Everything in `value` that does not fit, each with its place: `$.lines[2].net: …`. Empty: it fits."""
    from jsonschema import Draft202012Validator

    found = sorted(
        Draft202012Validator(schema).iter_errors(value), key=lambda error: list(map(str, error.absolute_path))
    )
    return [f"{_place(error.absolute_path)}: {error.message[:_SHOWN_CHARS]}" for error in found]


def _place(path: Any) -> str:
    return "$" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
