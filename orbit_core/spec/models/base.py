"""What all models of the format share: their configuration, and the types of their fields.

A field's key in the file is its name without the unit, in kebab-case: `max_delay_ms` is `max-delay`. Validation of
a file hands in `DOCUMENT` as context: there a duration is text with a unit; from Python an `int` of the field's
own unit will do.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, Strict, ValidationInfo
from pydantic_core import PydanticCustomError

from orbit_core.ids import NAME_PATTERN
from orbit_core.spec.durations import EXPECTED as DURATION_EXPECTED
from orbit_core.spec.durations import parse_duration_ms
from orbit_core.spec.quantities import BYTES_EXPECTED, CORES_EXPECTED, parse_bytes, parse_cores

DOCUMENT: Final = {"source": "document"}

NAME_EXPECTED: Final = "lower-case letters, digits, `-`, `_` and `.`, at most 120, letter or digit at both ends"
SECRET_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,127}", re.ASCII)
SECRET_NAME_EXPECTED: Final = "a name of letters, digits, `_` and `-` that begins with a letter or `_`"


def key_of(field_name: str) -> str:
    """The key that stands for a field in the file."""
    for unit in ("_ms", "_usd", "_bytes"):
        field_name = field_name.removesuffix(unit)
    return field_name.replace("_", "-")


class Model(BaseModel):
    """A frozen part of a cluster. Unknown keys are refused."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=key_of,
        validate_by_name=True,
        validate_by_alias=True,
        hide_input_in_errors=True,  # a literal secret must not come out in an error
        use_attribute_docstrings=True,  # they are what the reference of the format says of each key
    )


def refuse(message: str, expected: str, *, found: str | None = None, suggestion: str | None = None) -> Exception:
    """The error that a validator raises: what is wrong, and what would be right."""
    context = {"what": message, "expected": expected, "found": found, "suggestion": suggestion}
    return PydanticCustomError("refused", "{what}: expected {expected}", context)


def _duration_ms(value: Any, info: ValidationInfo) -> int:
    if isinstance(value, str):
        return parse_duration_ms(value)
    if isinstance(value, int) and not isinstance(value, bool) and info.context is not DOCUMENT:
        return value
    plain_number = isinstance(value, int) and not isinstance(value, bool)
    message = "a duration needs a unit" if plain_number else "this is not a duration"
    raise refuse(message, DURATION_EXPECTED)


def _byte_count(value: Any) -> int:
    if isinstance(value, str):
        return parse_bytes(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise refuse("this is not an amount of memory", BYTES_EXPECTED)


def _core_count(value: Any) -> float:
    if isinstance(value, str):
        return parse_cores(value)
    return _number(value, CORES_EXPECTED)


def _number(value: Any, expected: str = "a number") -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    raise refuse("this is not a number", expected)


def _name(value: str) -> str:
    if not NAME_PATTERN.fullmatch(value):
        raise refuse("this is not a name", NAME_EXPECTED)
    return value


def _secret_name(value: str) -> str:
    if not SECRET_NAME.fullmatch(value):
        raise refuse("this cannot be a secret's name", SECRET_NAME_EXPECTED)
    return value


Text = Annotated[str, Strict()]
Flag = Annotated[bool, Strict()]
Whole = Annotated[int, Strict()]
Number = Annotated[float, BeforeValidator(_number)]
DurationMs = Annotated[int, BeforeValidator(_duration_ms), Field(ge=0)]
ByteCount = Annotated[int, BeforeValidator(_byte_count), Field(ge=0)]
CoreCount = Annotated[float, BeforeValidator(_core_count)]
Name = Annotated[str, Strict(), BeforeValidator(lambda value: _name(value) if isinstance(value, str) else value)]
SecretName = Annotated[
    str, Strict(), BeforeValidator(lambda value: _secret_name(value) if isinstance(value, str) else value)
]
