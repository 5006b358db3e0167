"""`${{ … }}` references: how they read, and what they are in a value.

    secrets.NAME · satellites.<id>.output[.key][[0]] · satellites.<id>.outputs · failure.error
    failure.satellite · cluster.<field> · trigger[.key]

`$${{ … }}` means the same. A step's identifier may hold dots: it ends before the first `.output` or `.outputs`,
which is why no identifier may hold such a part. Giving references their values is `resolve`'s; this module
never sees a run. Pure.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, TypeAlias

from pydantic import JsonValue

from orbit_core.spec.text_error import TextError, quoted

Access: TypeAlias = str | int
"""One way inside a value: a key of a mapping, or an index of a list."""

CLUSTER_FIELDS: Final = ("identifier", "trigger", "run-id", "sla", "deadline")
FAILURE_FIELDS: Final = ("error", "satellite")
ROOTS: Final = ("satellites", "secrets", "cluster", "trigger", "failure")
OUTPUT_WORDS: Final = ("output", "outputs")

NAME = re.compile(r"[\w-]+")
_PLAIN_KEY = re.compile(r"[\w-]+\Z")
_INDEX = re.compile(r"\[\s*(?:(?P<index>\d{1,9})|'(?P<single>[^']*)'|\"(?P<double>[^\"]*)\")\s*\]", re.ASCII)
_OPEN = re.compile(r"\$?\$\{\{")
# What may stand between the braces: quoted keys may hold `}}`.
_INSIDE = re.compile(r"(?:[^'\"}]|'[^']*'|\"[^\"]*\"|\}(?!\}))*\}\}")


def path_text(path: tuple[Access, ...]) -> str:
    """`path` as a reference writes it: `.key[0]['odd key']`."""
    parts: list[str] = []
    for step in path:
        if isinstance(step, int):
            parts.append(f"[{step}]")
        elif _PLAIN_KEY.match(step):
            parts.append(f".{step}")
        else:
            quote = '"' if "'" in step else "'"
            parts.append(f"[{quote}{step}{quote}]")
    return "".join(parts)


@dataclass(frozen=True, slots=True)
class SecretReference:
    """`secrets.NAME`."""

    name: str

    def __str__(self) -> str:
        return f"secrets.{self.name}"


@dataclass(frozen=True, slots=True)
class OutputReference:
    """`satellites.<step>.output`, and what lies inside it."""

    step: str
    path: tuple[Access, ...] = ()

    def __str__(self) -> str:
        return f"satellites.{self.step}.output{path_text(self.path)}"

    @property
    def is_error(self) -> bool:
        """Whether this is the lineage's error when it stands in a `failure:` block."""
        return self.path[:1] == ("error",)


@dataclass(frozen=True, slots=True)
class OutputsReference:
    """`satellites.<step>.outputs`: all objects of a step below a gather's `over`, in order."""

    step: str
    path: tuple[Access, ...] = ()

    def __str__(self) -> str:
        return f"satellites.{self.step}.outputs{path_text(self.path)}"


@dataclass(frozen=True, slots=True)
class FailureReference:
    """`failure.error` or `failure.satellite`."""

    field: str

    def __str__(self) -> str:
        return f"failure.{self.field}"


@dataclass(frozen=True, slots=True)
class ClusterReference:
    """`cluster.<field>`: the run's own facts."""

    field: str

    def __str__(self) -> str:
        return f"cluster.{self.field}"


@dataclass(frozen=True, slots=True)
class TriggerReference:
    """`trigger`, and what lies inside the payload."""

    path: tuple[Access, ...] = ()

    def __str__(self) -> str:
        return f"trigger{path_text(self.path)}"


Reference: TypeAlias = (
    SecretReference | OutputReference | OutputsReference | FailureReference | ClusterReference | TriggerReference
)


def close_match(word: str, among: tuple[str, ...] | list[str]) -> str | None:
    """The one of `among` that `word` was probably meant to be; long words are not tried (it is quadratic)."""
    if len(word) > 120:
        return None
    matches = difflib.get_close_matches(word, among, n=1, cutoff=0.6)
    return matches[0] if matches else None


def parse_reference_at(text: str, start: int) -> tuple[Reference, int]:
    """The reference that begins at `start`, and the offset after it. Raises `TextError`."""
    root = NAME.match(text, start)
    if not root:
        raise TextError("there is no reference here", offset=start, expected=_expected_roots())
    path, end = _read_path(text, root.end())
    return _build(root[0], path, start), end


def parse_reference(text: str, offset: int = 0) -> Reference:
    """`text`, which is one reference and nothing else. `offset` is added to the offset of an error."""
    lead = len(text) - len(text.lstrip())
    try:
        reference, end = parse_reference_at(text, lead)
        if text[end:].strip():
            rest = end + len(text[end:]) - len(text[end:].lstrip())
            raise TextError("only one reference may stand between the braces", offset=rest, found=quoted(text[rest:]))
    except TextError as error:
        error.offset += offset
        raise
    return reference


def _read_path(text: str, position: int) -> tuple[tuple[Access, ...], int]:
    path: list[Access] = []
    while position < len(text):
        if text[position] == ".":
            name = NAME.match(text, position + 1)
            if not name:
                raise TextError("a name must follow the dot", offset=position + 1)
            path.append(name[0])
            position = name.end()
        elif text[position] == "[":
            index = _INDEX.match(text, position)
            if not index:
                raise TextError("this is not an index", offset=position, expected="[0] or ['key']")
            number, single, double = index.group("index", "single", "double")
            path.append(int(number) if number is not None else single if single is not None else double)
            position = index.end()
        else:
            break
    return tuple(path), position


def _build(root: str, path: tuple[Access, ...], offset: int) -> Reference:
    if root == "satellites":
        return _build_output(path, offset)
    if root == "trigger":
        return TriggerReference(path)
    if root == "secrets":
        if len(path) == 1 and isinstance(path[0], str):
            return SecretReference(path[0])
        raise TextError("a secret is one name", offset=offset, expected="secrets.NAME")
    if root in ("cluster", "failure"):
        fields = CLUSTER_FIELDS if root == "cluster" else FAILURE_FIELDS
        if len(path) == 1 and path[0] in fields:
            return ClusterReference(str(path[0])) if root == "cluster" else FailureReference(str(path[0]))
        close = close_match(str(path[0]), fields) if path else None
        raise TextError(
            f"`{root}{path_text(path)}` is not there to refer to",
            offset=offset,
            expected="one of " + ", ".join(f"{root}.{field}" for field in fields),
            suggestion=f"{root}.{close}" if close else None,
        )
    close = close_match(root, ROOTS)
    raise TextError(
        f"nothing is called `{root}{path_text(path)}`",
        offset=offset,
        expected=_expected_roots(),
        suggestion=f"{close}{path_text(path)}" if close else None,
    )


def _build_output(path: tuple[Access, ...], offset: int) -> Reference:
    for index, part in enumerate(path):
        if index and part in OUTPUT_WORDS and all(isinstance(name, str) for name in path[:index]):
            step = ".".join(str(name) for name in path[:index])
            rest = path[index + 1 :]
            return OutputReference(step, rest) if part == "output" else OutputsReference(step, rest)
    close = close_match(str(path[-1]), OUTPUT_WORDS) if len(path) > 1 else None
    raise TextError(
        "a reference to a step ends in `.output`, with what lies inside it after that",
        offset=offset,
        found=f"satellites{path_text(path)}",
        expected="satellites.<identifier>.output",
        suggestion=f"satellites{path_text(path[:-1])}.{close}" if close else None,
    )


def _expected_roots() -> str:
    return "satellites.<identifier>.output, secrets.NAME, cluster.<field>, trigger.<key> or failure.<field>"


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One `${{ … }}` of a text: where it stands, and what it reads as (or why it does not)."""

    start: int
    end: int
    reference: Reference | TextError


def occurrences(text: str) -> Iterator[Occurrence]:
    """Every `${{ … }}` of `text`, in order. What follows a brace that is never closed is not looked at."""
    position = 0
    while opened := _OPEN.search(text, position):
        inside = _INSIDE.match(text, opened.end())
        if inside:
            end = inside.end()
        else:
            end = text.find("}}", opened.end()) + 2
            if end == 1:
                error = TextError("the `${{` is never closed", offset=opened.start(), expected="`}}`")
                yield Occurrence(opened.start(), len(text), error)
                return
        try:
            reference = parse_reference(text[opened.end() : end - 2], offset=opened.end())
        except TextError as error:
            yield Occurrence(opened.start(), end, error)
        else:
            yield Occurrence(opened.start(), end, reference)
        position = end


@lru_cache(maxsize=4096)
def parse_template(text: str) -> tuple[str | Reference, ...]:
    """`text` as literal parts and references, in order. Raises `TextError` at the first that does not read."""
    parts: list[str | Reference] = []
    position = 0
    for found in occurrences(text):
        if isinstance(found.reference, TextError):
            raise found.reference
        if found.start > position:
            parts.append(text[position : found.start])
        parts.append(found.reference)
        position = found.end
    if position < len(text):
        parts.append(text[position:])
    return tuple(parts)


def holds_reference(value: JsonValue) -> bool:
    """Whether any text in `value` holds a `${{`."""
    if isinstance(value, str):
        return "${{" in value
    if isinstance(value, dict):
        return any(holds_reference(item) for item in value.values())
    return isinstance(value, list) and any(holds_reference(item) for item in value)


def texts_in(value: JsonValue, path: tuple[Access, ...] = ()) -> Iterator[tuple[tuple[Access, ...], str]]:
    """Every text in `value` that holds a `${{`, with its path. Keys of mappings are not looked at."""
    if isinstance(value, str):
        if "${{" in value:
            yield path, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from texts_in(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from texts_in(item, (*path, index))


@dataclass(frozen=True, slots=True)
class ReferenceAt:
    """A reference and where it stands in a value: the path of its text, and its place in that text."""

    path: tuple[Access, ...]
    start: int
    end: int
    reference: Reference


def references_in(value: JsonValue) -> list[ReferenceAt]:
    """Every reference in `value`, in order. Raises `TextError` where one does not read."""
    found: list[ReferenceAt] = []
    for path, text in texts_in(value):
        for occurrence in occurrences(text):
            if isinstance(occurrence.reference, TextError):
                raise occurrence.reference
            found.append(ReferenceAt(path, occurrence.start, occurrence.end, occurrence.reference))
    return found
