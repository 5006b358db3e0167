"""Blocks of a page, and the lines of text that they become. A PDF draws exactly these lines, and reading it gives
them back: this module is the one place that knows how a block breaks into lines.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import Literal

Kind = Literal["title", "heading", "body", "row"]


@dataclass(frozen=True, slots=True)
class Line:
    """One printed line. A row has a cell for each column; every other kind has exactly one cell."""

    kind: Kind
    cells: tuple[str, ...]

    @property
    def text(self) -> str:
        return " ".join(self.cells)


@dataclass(frozen=True, slots=True)
class Title:
    text: str


@dataclass(frozen=True, slots=True)
class Heading:
    text: str


@dataclass(frozen=True, slots=True)
class Paragraph:
    text: str


@dataclass(frozen=True, slots=True)
class Listing:
    """Items that each begin a line of their own, marks included."""

    items: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells; no cell is empty, since an empty one leaves no trace in extracted text."""

    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class PageBreak:
    """What follows stands on the next page."""


Block = Title | Heading | Paragraph | Listing | Table | PageBreak


def _wrap(text: str, width: int) -> list[str]:
    # A hyphen at the end of a line would come back from a PDF as a word joined over the break: never break there.
    return textwrap.wrap(text, width, break_on_hyphens=False, break_long_words=False)


def lines_of(block: Block, width: int) -> list[Line]:
    """The lines of one block, no body line longer than `width` characters."""
    match block:
        case Title(text):
            return [Line("title", (part,)) for part in _wrap(text, 56)]
        case Heading(text):
            return [Line("heading", (part,)) for part in _wrap(text, 72)]
        case Paragraph(text):
            return [Line("body", (part,)) for part in _wrap(text, width)]
        case Listing(items):
            return [Line("body", (part,)) for item in items for part in _wrap(item, width)]
        case Table(rows):
            return [Line("row", row) for row in rows]
        case PageBreak():
            return []


def pages_of(blocks: list[Block], width: int) -> tuple[tuple[Line, ...], ...]:
    """The lines of each page."""
    pages: list[list[Line]] = [[]]
    for block in blocks:
        if isinstance(block, PageBreak):
            pages.append([])
        pages[-1].extend(lines_of(block, width))
    return tuple(tuple(page) for page in pages if page)
