"""YAML text to a tree of nodes, refusing everything that a cluster file has no use for.

Works on the parser's events and not on its constructor: nothing of the text is ever called, nesting is limited
before it is descended into, and an alias is counted before it is expanded. Scalars follow YAML 1.2's core schema,
as GitHub Actions reads them: `no`, `on`, `1:30` and dates are text. What a cluster is lives elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import yaml

from orbit_core.limits import SPEC_MAX_BYTES, SPEC_MAX_DEPTH, SPEC_MAX_NODES
from orbit_core.spec.diagnostics import Reporter, show
from orbit_core.spec.nodes import Node, Path, Position, Scalar, Span, format_path
from orbit_core.spec.references import close_match

_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml where PyYAML was built with it
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

_NULL = re.compile(r"(?:~|null|Null|NULL|)\Z")
_BOOLEAN: Final = {
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
}  # fmt: skip
_DECIMAL = re.compile(r"[-+]?[0-9]+\Z", re.ASCII)
_BASED = re.compile(r"0(?:o[0-7]+|x[0-9a-fA-F]+)\Z", re.ASCII)
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z", re.ASCII)
_NOT_FINITE = re.compile(r"(?:[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z")
_NUMBER_CHARS_MAX: Final = 64
_INTEGER_MAX: Final = 2**63


class _Stop(Exception):
    """The text cannot be read further; what is wrong has been reported."""


@dataclass(slots=True)
class _Raw:
    """A value before its aliases are expanded. `size` and `height` count as if they were."""

    at: Position
    scalar: Scalar = None
    items: list[_Raw] | None = None
    entries: list[tuple[str, Position, _Raw]] | None = None
    span: Span | None = None
    key: tuple[str, Position] | None = None  # of a mapping: the key whose value comes next
    whole: bool = True
    size: int = 1
    height: int = 0

    def add(self, child: _Raw) -> None:
        self.size += child.size
        self.height = max(self.height, child.height + 1)
        if self.items is not None:
            self.items.append(child)
        elif self.entries is not None and self.key is not None:
            self.entries.append((*self.key, child))
            self.key = None


def read(text: bytes | str, reporter: Reporter) -> Node | None:
    """The document in `text`, or None where it cannot be read. Everything wrong is in `reporter`."""
    try:
        decoded = _decode(text, reporter)
        _refuse_unprintable(decoded, reporter)
        raw = _Composer(decoded, reporter).compose()
        return _expand(raw, (), None, reporter)
    except _Stop:
        return None


def _decode(text: bytes | str, reporter: Reporter) -> str:
    if isinstance(text, str):
        size = len(text) if len(text) > SPEC_MAX_BYTES else len(text.encode("utf-8", "replace"))
    else:
        size = len(text)
    if size > SPEC_MAX_BYTES:
        reporter.add(
            "too-large", Position(1, 1), "", "the file is too large",
            found=f"{size} bytes", expected=f"at most {SPEC_MAX_BYTES}",
        )  # fmt: skip
        raise _Stop
    if isinstance(text, str):
        return text.removeprefix("\ufeff")
    try:
        return text.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        before = text[: error.start]
        line = before.count(b"\n") + 1
        column = len(before[before.rfind(b"\n") + 1 :].decode("utf-8", "replace")) + 1
        reporter.add(
            "not-utf-8", Position(line, column), "", "the file is not UTF-8",
            found=f"byte 0x{text[error.start]:02x}", expected="UTF-8 text",
        )  # fmt: skip
        raise _Stop from error


def _refuse_unprintable(text: str, reporter: Reporter) -> None:
    if found := _UNPRINTABLE.search(text):
        line = text.count("\n", 0, found.start()) + 1
        column = found.start() - text.rfind("\n", 0, found.start())
        reporter.add(
            "unprintable", Position(line, column), "", "this character may not stand in a file",
            found=f"U+{ord(found[0]):04X}",
        )  # fmt: skip
        raise _Stop


def reads_as_text(text: str) -> bool:
    """Whether `text`, written without quotes, would be read as this text and not as a number, a flag or nothing."""
    kinds = (_NULL, _DECIMAL, _BASED, _FLOAT, _NOT_FINITE)
    return text not in _BOOLEAN and not any(kind.match(text) for kind in kinds)


class _Composer:
    """Events to raw values, without recursion."""

    def __init__(self, text: str, reporter: Reporter) -> None:
        self._text = text
        self._reporter = reporter
        self._open: list[_Raw] = []
        self._anchors: dict[str, _Raw] = {}
        self._root: _Raw | None = None
        self._count = 0

    def compose(self) -> _Raw:
        try:
            for event in _events(self._text):
                self._take(event)
        except yaml.MarkedYAMLError as error:
            self._syntax_error(error)
            raise _Stop from error
        root = self._root
        if root is None or (root.scalar is None and root.items is None and root.entries is None):
            raise self._stop("empty", Position(1, 1), "the file is empty", expected="`version` and `cluster`")
        return root

    def _take(self, event: yaml.Event) -> None:
        match event:
            case yaml.ScalarEvent():
                self._take_scalar(event)
            case yaml.AliasEvent():
                self._add(self._aliased(event))
            case yaml.MappingStartEvent():
                self._begin(_Raw(_position(event), entries=[], whole=False), event)
            case yaml.SequenceStartEvent():
                self._begin(_Raw(_position(event), items=[], whole=False), event)
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                done = self._open.pop()
                done.whole = True
                self._add(done)
            case yaml.DocumentStartEvent() if self._root is not None:
                raise self._stop("several-documents", _position(event), "a cluster file holds one document")
            case _:
                pass

    def _take_scalar(self, event: yaml.ScalarEvent) -> None:
        self._refuse_tag(event)
        at = _position(event)
        parent = self._open[-1] if self._open else None
        if parent is not None and parent.entries is not None and parent.key is None:
            if event.anchor:
                self._anchors[event.anchor] = _Raw(at, event.value)
            self._begin_entry(parent, event, at)
            return
        is_text = event.style or event.tag  # a tag has been refused: no need to refuse the value as well
        raw = _Raw(at, event.value if is_text else self._resolve(event.value, at))
        if isinstance(raw.scalar, str):
            raw.span = _span(self._text, event)
        if event.anchor:
            self._anchors[event.anchor] = raw
        self._add(raw)

    def _begin_entry(self, mapping: _Raw, event: yaml.ScalarEvent, at: Position) -> None:
        if event.value == "<<" and not event.style:
            self._reporter.add("merge-key", at, "", "merge keys are not part of the cluster format")
        elif not event.value and not event.style:
            self._reporter.add("empty-key", at, "", "there is no key before this colon")
        mapping.key = (event.value, at)

    def _begin(self, raw: _Raw, event: yaml.CollectionStartEvent) -> None:
        self._refuse_tag(event)
        self._refuse_as_key(raw.at)
        if event.anchor:
            self._anchors[event.anchor] = raw
        self._open.append(raw)
        if len(self._open) > SPEC_MAX_DEPTH:
            raise self._stop("too-deep", raw.at, "the file nests too deep", expected=f"at most {SPEC_MAX_DEPTH} levels")

    def _add(self, raw: _Raw) -> None:
        self._count += 1
        if not self._open:
            self._root = raw
        else:
            self._open[-1].add(raw)
        # The size of an open value is that of its parts so far: a bomb shows in the value that it stands in.
        if raw.size > SPEC_MAX_NODES or self._count > SPEC_MAX_NODES:
            raise self._stop(
                "too-many-values",
                raw.at,
                "the file holds too many values once its aliases are expanded",
                expected=f"at most {SPEC_MAX_NODES}",
            )
        if raw.height + len(self._open) > SPEC_MAX_DEPTH:
            raise self._stop(
                "too-deep",
                raw.at,
                "the file nests too deep once its aliases are expanded",
                expected=f"at most {SPEC_MAX_DEPTH} levels",
            )

    def _aliased(self, event: yaml.AliasEvent) -> _Raw:
        at, name = _position(event), event.anchor or ""
        raw = self._anchors.get(name)
        if raw is None:
            close = close_match(name, list(self._anchors))
            raise self._stop("unknown-alias", at, f"no anchor is called {show(name)}", suggestion=close)
        if not raw.whole:
            raise self._stop("recursive-alias", at, f"the alias {show(name)} stands inside its own anchor")
        self._refuse_as_key(at)
        return raw

    def _refuse_as_key(self, at: Position) -> None:
        parent = self._open[-1] if self._open else None
        if parent is not None and parent.entries is not None and parent.key is None:
            raise self._stop("bad-key", at, "a key is one line of text")

    def _refuse_tag(self, event: yaml.ScalarEvent | yaml.CollectionStartEvent) -> None:
        if event.tag is not None and event.tag != "!":
            self._reporter.add(
                "tag", _position(event), "", "tags are not part of the cluster format",
                found=show(event.tag), expected="a value without `!`",
            )  # fmt: skip

    def _resolve(self, text: str, at: Position) -> Scalar:
        """A plain scalar by YAML 1.2's core schema."""
        if _NULL.match(text):
            return None
        if text in _BOOLEAN:
            return _BOOLEAN[text]
        if len(text) > _NUMBER_CHARS_MAX:
            return text
        if _DECIMAL.match(text) or _BASED.match(text):
            number = int(text, 0 if _BASED.match(text) else 10)
            if -_INTEGER_MAX <= number < _INTEGER_MAX:
                return number
        elif _FLOAT.match(text):
            number = float(text)
            if abs(number) != float("inf"):
                return number
        elif not _NOT_FINITE.match(text):
            return text
        self._reporter.add(
            "bad-number", at, "", "this number cannot be held",
            found=show(text), expected="a finite number; quote it if it is text",
        )  # fmt: skip
        return None

    def _syntax_error(self, error: yaml.MarkedYAMLError) -> None:
        mark = error.problem_mark or error.context_mark
        position = Position(mark.line + 1, mark.column + 1) if mark else Position(1, 1)
        problem = error.problem or "this is not YAML"
        hint = next((hint for part, hint in _HINTS.items() if part in problem), None)
        context = ""
        if error.context and error.context_mark:
            context = f", {error.context} that begins on line {error.context_mark.line + 1}"
        self._reporter.add("yaml", position, "", f"this is not YAML: {problem}{context}", expected=hint)

    def _stop(
        self,
        code: str,
        at: Position,
        message: str,
        *,
        expected: str | None = None,
        suggestion: str | None = None,
    ) -> _Stop:
        self._reporter.add(code, at, "", message, expected=expected, suggestion=suggestion)
        return _Stop()


_HINTS: Final = {
    "mapping values are not allowed": "keys of one block to stand in one column; text with `: ` to be quoted",
    "did not find expected key": "keys of one block to stand in one column",
    "did not find expected '-'": "items of one list to stand in one column",
    "cannot start any token": "no tabs in the indentation; text that begins with @ or ` to be quoted",
}


def _events(text: str) -> Iterator[yaml.Event]:
    yield from yaml.parse(text, Loader=_LOADER)


def _position(event: yaml.Event) -> Position:
    mark = event.start_mark
    return Position(mark.line + 1, mark.column + 1) if mark else Position(1, 1)


def _span(text: str, event: yaml.ScalarEvent) -> Span | None:
    if event.start_mark is None or event.end_mark is None:
        return None
    return Span(text, event.start_mark.index, event.end_mark.index)


def _expand(raw: _Raw, path: Path, key_at: Position | None, reporter: Reporter) -> Node:
    """The tree of nodes, each with its own path; its depth has been limited before."""
    if raw.items is not None:
        items = [_expand(item, (*path, index), None, reporter) for index, item in enumerate(raw.items)]
        return Node(items, path, raw.at, key_at)
    if raw.entries is not None:
        entries: dict[str, Node] = {}
        for key, at, value in raw.entries:
            where = (*path, key)
            if key in entries:
                first = entries[key].key_at
                reporter.add(
                    "duplicate-key", at, format_path(where), f"the key {show(key)} stands here twice",
                    expected=f"one, like that on line {first.line}" if first else None,
                )  # fmt: skip
            else:
                entries[key] = _expand(value, where, at, reporter)
        return Node(entries, path, raw.at, key_at)
    return Node(raw.scalar, path, raw.at, key_at, raw.span)
