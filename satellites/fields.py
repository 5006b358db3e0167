"""Kinds of value that several satellites' configs share: how they may be written, and what they become.

A validator here raises ValueError with what is expected: the text ends up beside the place in the cluster file.
"""

from __future__ import annotations

import os
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from orbit_core.spec.durations import parse_duration_ms


def _merged(value: Any) -> Any:
    """A list of maps becomes one map: `- Authorization: …` under `headers:` is how many write it."""
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        return value
    merged: dict[str, Any] = {}
    for item in value:
        twice = merged.keys() & item.keys()
        if twice:
            raise ValueError(f"the key {min(twice)!r} stands in two of the list's maps")
        merged |= item
    return merged


#: A map, or a list of maps that are merged into one.
Merged = BeforeValidator(_merged)


def as_text(value: Any) -> Any:
    """Numbers and booleans as text: YAML makes them of what was meant as text."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else value


TextValue = Annotated[str, BeforeValidator(as_text)]


def _extensions(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _lower_with_dot(extensions: tuple[str, ...]) -> tuple[str, ...]:
    return tuple("." + extension.lower().lstrip(".") for extension in extensions)


#: `pdf`, `.PDF` or a list of such; empty: every file.
Extensions = Annotated[tuple[str, ...], BeforeValidator(_extensions), AfterValidator(_lower_with_dot)]


def _seconds(value: Any) -> Any:
    return parse_duration_ms(value) / 1_000 if isinstance(value, str) else value


#: Seconds, written as a duration (`30s`, `2m`) or as a number.
Seconds = Annotated[float, BeforeValidator(_seconds), Field(gt=0, le=86_400)]


def _absolute(path: str) -> str:
    if not os.path.isabs(path):
        raise ValueError("an absolute path is expected: a satellite has no folder of its own to start from")
    return os.path.normpath(path)


#: A path on the agent's machine.
AbsolutePath = Annotated[str, AfterValidator(_absolute)]


def has_extension(name: str, extensions: tuple[str, ...]) -> bool:
    """Whether a file of that name is wanted."""
    return not extensions or name.lower().endswith(extensions)
