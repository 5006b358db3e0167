"""What is wrong with a cluster file, as data: where, what was found, what was expected.

`Reporter` collects them while a file is read. Deciding what is wrong lives in `shape`, `structure` and `checks`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from orbit_core.errors import FieldViolation, InvalidSpecError
from orbit_core.spec.nodes import Node, Path, Position, format_path
from orbit_core.spec.references import close_match
from orbit_core.spec.text_error import TextError

Severity: TypeAlias = Literal["error", "warning"]

DIAGNOSTICS_MAX: Final = 1_000
_SHOWN_MAX: Final = 60
_LOOKED_FOR_MAX: Final = 100
_LOOKED_AMONG_MAX: Final = 1_000


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One problem of a cluster file. Lines and columns count from 1; None where there is no text to point at.

    `path` is the offending place as the file writes it (`cluster.satellites[2].config.temperature`); `found` and
    `expected` never hold a secret's value.
    """

    severity: Severity
    code: str
    file: str
    line: int | None
    column: int | None
    path: str
    message: str
    found: str | None = None
    expected: str | None = None
    suggestion: str | None = None

    def format(self) -> str:
        """`file:line:column: error: path: message (found …, expected …; did you mean …?)`."""
        place = f"{self.file}:{self.line}:{self.column}" if self.line is not None else self.file
        path = f"{self.path}: " if self.path else ""
        return f"{place}: {self.severity}: {path}{self.description()}"

    def description(self) -> str:
        """The message with what was found and expected, without the place."""
        facts = ", ".join(
            f"{word} {text}" for word, text in (("found", self.found), ("expected", self.expected)) if text is not None
        )
        hint = f"did you mean {self.suggestion}?" if self.suggestion is not None else ""
        aside = "; ".join(part for part in (facts, hint) if part)
        return f"{self.message} ({aside})" if aside else self.message


def invalid_spec(diagnostics: Sequence[Diagnostic]) -> InvalidSpecError:
    """The error that carries every problem among `diagnostics`, warnings left out."""
    errors = [diagnostic for diagnostic in diagnostics if diagnostic.severity == "error"]
    count = "1 problem" if len(errors) == 1 else f"{len(errors)} problems"
    lines = "\n".join(error.format() for error in errors)
    return InvalidSpecError(
        f"the cluster file has {count}:\n{lines}",
        violations=[FieldViolation(error.path, error.format()) for error in errors],
    )


def show(value: object) -> str:
    """A found value in few words: short scalars as they are, everything else by its kind."""
    match value:
        case None:
            return "nothing"
        case bool() | int() | float():
            return json.dumps(value)
        case str():
            short = value if len(value) <= _SHOWN_MAX else value[:_SHOWN_MAX] + "…"
            return json.dumps(short, ensure_ascii=False)
        case list():
            return "a list" if value else "an empty list"
        case dict():
            return "a mapping" if value else "an empty mapping"
        case _:
            return type(value).__name__


def any_of(words: Sequence[str]) -> str:
    """`words` as one expectation: `a`, `a or b`, `one of a, b, c`."""
    if len(words) <= 2:
        return " or ".join(words)
    return "one of " + ", ".join(words)


class Reporter:
    """Collects diagnostics, at most `DIAGNOSTICS_MAX`; the order is made at the end."""

    def __init__(self, file: str) -> None:
        self.file = file
        self._found: list[Diagnostic] = []
        self._seen: set[tuple[str, int | None, int | None, str]] = set()
        self._left_out = 0
        self._looked_for = 0

    def at(
        self,
        node: Node,
        code: str,
        message: str,
        *,
        severity: Severity = "error",
        offset: int | None = None,
        on_key: bool = False,
        path: Path | None = None,
        found: str | None = None,
        expected: str | None = None,
        suggestion: str | None = None,
    ) -> None:
        """A problem with `node`: its value, its key, or the place `offset` inside its text."""
        if self._is_full():
            return
        if on_key and node.key_at is not None:
            position = node.key_at
        else:
            position = node.locate(offset) if offset is not None else node.at
        where = format_path(node.path if path is None else path)
        self.add(code, position, where, message, severity, found, expected, suggestion)

    def text_error(self, node: Node, code: str, error: TextError, *, show_found: bool = True) -> None:
        """What a small parser says of the text of `node`."""
        found = error.found
        if found is None and show_found and isinstance(node.value, str):
            found = show(node.value)
        self.at(
            node,
            code,
            error.message,
            offset=error.offset,
            found=found,
            expected=error.expected,
            suggestion=error.suggestion,
        )

    def unknown_key(self, node: Node, key: str, allowed: Sequence[str]) -> None:
        """`node` stands under a key that is not one of `allowed`."""
        if self._is_full():
            return
        self.at(
            node,
            "unknown-key",
            f"unknown key {show(key)}",
            on_key=True,
            expected=any_of(allowed),
            suggestion=self.close_match(key, allowed),
        )

    def add(
        self,
        code: str,
        position: Position | None,
        path: str,
        message: str,
        severity: Severity = "error",
        found: str | None = None,
        expected: str | None = None,
        suggestion: str | None = None,
    ) -> None:
        """A problem at a position of the text. The same problem at the same place is told once."""
        line, column = (position.line, position.column) if position else (None, None)
        if (code, line, column, path) in self._seen or self._is_full():
            return
        self._seen.add((code, line, column, path))
        self._found.append(
            Diagnostic(severity, code, self.file, line, column, path, message, found, expected, suggestion)
        )

    def close_match(self, word: str, among: Sequence[str]) -> str | None:
        """What `word` was probably meant to be. Looked for among so many, and so often, that no file is slow."""
        self._looked_for += 1
        if self._looked_for > _LOOKED_FOR_MAX:
            return None
        return close_match(word, list(among[:_LOOKED_AMONG_MAX]))

    def _is_full(self) -> bool:
        """Whether there is no room for a further problem, which is then counted only."""
        if len(self._found) < DIAGNOSTICS_MAX:
            return False
        self._left_out += 1
        return True

    @property
    def has_errors(self) -> bool:
        """Whether there is an error; what was not kept may be one."""
        return bool(self._left_out) or any(diagnostic.severity == "error" for diagnostic in self._found)

    def diagnostics(self) -> tuple[Diagnostic, ...]:
        """All of them in the order of the file."""
        ordered = sorted(self._found, key=lambda d: (d.line or 0, d.column or 0, d.path, d.code))
        if self._left_out:
            last, message = ordered[-1], f"{self._left_out} further problems are not shown"
            ordered.append(Diagnostic("error", "too-many-problems", self.file, last.line, last.column, "", message))
        return tuple(ordered)
