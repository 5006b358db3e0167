"""The error of every small parser here (durations, references, conditions, schemas).

It carries the offset of the fault inside the text that was read (and, where data was read, the path to that text),
so that the loader can point at the very column of the file. It is a `ValueError` too: that is what a pydantic
validator may raise.
"""

from __future__ import annotations

import json

from orbit_core.errors import InvalidSpecError


class TextError(InvalidSpecError, ValueError):
    """A piece of text does not read as what it should be."""

    code = "text"

    def __init__(
        self,
        message: str,
        *,
        offset: int = 0,
        found: str | None = None,
        expected: str | None = None,
        suggestion: str | None = None,
        path: tuple[str | int, ...] = (),
    ) -> None:
        super().__init__(message)
        self.offset = offset
        self.found = found
        self.expected = expected
        self.suggestion = suggestion
        self.path = path


def quoted(text: str) -> str:
    """The beginning of `text` in quotes, for a message."""
    return json.dumps(text if len(text) <= 40 else f"{text[:40]}…", ensure_ascii=False)
