"""From what Python writes to what a document holds: plain JSON values, and amounts as text. Knows no cluster."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TypeAlias, cast

from pydantic import JsonValue

from orbit_core.errors import FieldViolation, InvalidSpecError
from orbit_core.spec.build.references import Ref
from orbit_core.spec.durations import format_duration_ms

#: `"90s"`, `"1h30m"`, or a `timedelta`.
Duration: TypeAlias = str | timedelta
#: What `config` and `input` hold: JSON values, and references anywhere inside.
Values: TypeAlias = Mapping[str, object]
#: Secrets by name: a literal value, a reference to the vault, or None for the name itself. Or names alone.
Secrets: TypeAlias = Mapping[str, str | Ref | None] | Sequence[str]


def plain(value: object, place: str) -> JsonValue:
    """`value` as a document holds it. Raises `InvalidSpecError` that names the `place` inside of what it cannot."""
    if isinstance(value, Ref):
        return str(value)
    if isinstance(value, Mapping):
        entries = cast("Mapping[object, object]", value)
        return {_key(key, place): plain(item, f"{place}[{json.dumps(key)}]") for key, item in entries.items()}
    if isinstance(value, list | tuple):
        items = cast("Sequence[object]", value)
        return [plain(item, f"{place}[{index}]") for index, item in enumerate(items)]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    raise _not_plain(place, f"a cluster holds plain data, not {type(value).__name__}")


def duration(value: Duration) -> str:
    """Parts of a millisecond are dropped."""
    return value if isinstance(value, str) else format_duration_ms(value // timedelta(milliseconds=1))


def secrets(given: Secrets) -> dict[str, JsonValue]:
    """By name; a name alone has no value."""
    if isinstance(given, Mapping):
        return {name: str(value) if isinstance(value, Ref) else value for name, value in given.items()}
    return dict.fromkeys(given)


def _key(key: object, place: str) -> str:
    if isinstance(key, str):
        return key
    raise _not_plain(place, f"a key is text, not {type(key).__name__}")


def _not_plain(place: str, problem: str) -> InvalidSpecError:
    return InvalidSpecError(f"{place}: {problem}", violations=[FieldViolation(place, f"{place}: {problem}")])
