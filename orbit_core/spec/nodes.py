"""A document as a tree of values that know their path and where in the text they stand.

The tree of a YAML file is made by `yaml_source`, that of plain data by `from_plain`; everything after that works
on either. Knows nothing of YAML or of clusters.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias, cast

from pydantic import JsonValue

from orbit_core.spec.references import Access

Path: TypeAlias = tuple[Access, ...]
Scalar: TypeAlias = str | int | float | bool | None

_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*\Z", re.ASCII)
_KEY_SHOWN_MAX = 60
_SNIPPET_MAX = 40
_SNIPPET = re.compile(rf"\S{{1,{_SNIPPET_MAX}}}")


def format_path(path: Path) -> str:
    """`cluster.satellites[2].config["odd key"]`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif _PLAIN_KEY.match(part):
            text += f".{part}" if text else part
        else:
            short = part if len(part) <= _KEY_SHOWN_MAX else part[:_KEY_SHOWN_MAX] + "…"
            text += f"[{json.dumps(short, ensure_ascii=False)}]"
    return text


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a text; lines and columns count from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Span:
    """Where the text of a scalar stands in its file: characters from `start` to `end` of `text`."""

    text: str
    start: int
    end: int


@dataclass(slots=True)
class Node:
    """A value at `path`. `key_at`: where its key stands; `span`: the source of a text that may be pointed into."""

    value: Scalar | list[Node] | dict[str, Node]
    path: Path = ()
    at: Position | None = None
    key_at: Position | None = None
    span: Span | None = None

    @property
    def mapping(self) -> dict[str, Node] | None:
        return self.value if isinstance(self.value, dict) else None

    @property
    def items(self) -> list[Node] | None:
        return self.value if isinstance(self.value, list) else None

    def get(self, *path: Access) -> Node | None:
        """The node at `path` below this one."""
        node: Node | None = self
        for part in path:
            inside = node.value
            if isinstance(part, str):
                node = inside.get(part) if isinstance(inside, dict) else None
            else:
                node = inside[part] if isinstance(inside, list) and part < len(inside) else None
            if node is None:
                return None
        return node

    def nearest(self, *path: Access) -> Node:
        """The node at `path`, or the last one on the way to it that is there."""
        node = self
        for part in path:
            below = node.get(part)
            if below is None:
                break
            node = below
        return node

    def plain(self) -> JsonValue:
        """The value as plain data."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value

    def with_value(self, value: Scalar | list[Node] | dict[str, Node]) -> Node:
        """This place with another value."""
        return replace(self, value=value)

    def locate(self, offset: int) -> Position | None:
        """Where character `offset` of this text stands; the beginning of the text where that cannot be told."""
        if self.span is None or self.at is None or not isinstance(self.value, str):
            return self.at
        snippet = _SNIPPET.match(self.value, offset)
        if snippet is None:
            return self._after_word_before(offset)
        # Folding and indentation move a word and never change it: the nth in the value is the nth in the source.
        source, start = self.span.text, self.span.start
        found = source.find(snippet[0], start, self.span.end)
        for _ in range(self.value.count(snippet[0], 0, offset)):
            found = source.find(snippet[0], found + len(snippet[0]), self.span.end) if found >= 0 else -1
        if found < 0:
            return self.at
        line = self.at.line + source.count("\n", start, found)
        return Position(line, found - (source.rfind("\n", 0, found) + 1) + 1)

    def _after_word_before(self, offset: int) -> Position | None:
        before = self.value[:offset].rstrip() if isinstance(self.value, str) else ""
        if not before:
            return self.at
        word = before.split()[-1][-_SNIPPET_MAX:]
        at = self.locate(len(before) - len(word))
        return at if at is None or at == self.at else Position(at.line, at.column + len(word))


def from_plain(value: object, path: Path = ()) -> Node:
    """The tree of plain data, which has no positions. Raises `TypeError` for what JSON cannot hold."""
    if isinstance(value, Mapping):
        entries = cast("Mapping[object, object]", value).items()
        return Node({_key(key): from_plain(item, (*path, _key(key))) for key, item in entries}, path)
    if isinstance(value, list | tuple):
        items = cast("Sequence[object]", value)
        return Node([from_plain(item, (*path, index)) for index, item in enumerate(items)], path)
    if value is None or isinstance(value, str | int | float | bool):
        return Node(value, path)
    raise TypeError(f"{format_path(path)}: a cluster holds plain data, not {type(value).__name__}")


def _key(key: object) -> str:
    if isinstance(key, str):
        return key
    raise TypeError(f"a key is text, not {type(key).__name__}")
