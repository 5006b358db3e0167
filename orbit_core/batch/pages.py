"""Entries gathered into pages, and the manifests that list them.

A page is what one invocation answers: lines of JSON, in a blob. A section lists up to 256 pages, and the manifest of a
file lists its sections: each is one small result in the journal, however long the file. Where a page ends depends on
nothing but the lines, so the same file always has the same pages and so the same manifest.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from orbit_core.batch.lines import Entry, encode_entry
from orbit_core.ids import content_hash
from orbit_core.limits import BATCH_PAGE_MAX_BYTES, BATCH_PAGE_MAX_LINES, BATCH_PAGE_MIN_LINES, BATCH_SECTION_PAGES

#: Once a file has that many times a page's lines, pages grow: a long file has few for its length.
_GROWTH = 32


@dataclass(frozen=True, slots=True)
class Page:
    """Some entries that follow one another. `number` counts from 0, `bad` those that carry an error."""

    number: int
    first_line: int
    lines: int
    bad: int
    content: bytes

    @property
    def sha256(self) -> str:
        return content_hash(self.content)


@dataclass(frozen=True, slots=True)
class Section:
    """Pages that follow one another. `content` lists them."""

    number: int
    first_line: int
    lines: int
    pages: int
    content: bytes

    @property
    def sha256(self) -> str:
        return content_hash(self.content)


@dataclass(frozen=True, slots=True)
class Listed:
    """A section or a page, as the manifest or the section that lists it says. `pages`: of a section; a page is 1."""

    kind: Literal["section", "page"]
    number: int
    first_line: int
    lines: int
    pages: int
    sha256: str
    size_bytes: int


def pages_of(entries: Iterable[Entry]) -> Iterator[Page]:
    """The entries in pages; one page is in memory at a time."""
    number = before = size = bad = 0
    held: list[bytes] = []
    first_line = 0
    for entry in entries:
        if not held:
            first_line = entry.get("line", 0)
        held.append(encode_entry(entry))
        size += len(held[-1])
        bad += "error" in entry
        if len(held) >= _lines_of_page(before) or size >= BATCH_PAGE_MAX_BYTES:
            yield Page(number, first_line, len(held), bad, b"".join(held))
            number, before, size, bad, held = number + 1, before + len(held), 0, 0, []
    if held:
        yield Page(number, first_line, len(held), bad, b"".join(held))


def _lines_of_page(lines_before: int) -> int:
    return min(BATCH_PAGE_MAX_LINES, max(BATCH_PAGE_MIN_LINES, lines_before // _GROWTH))


class Sections:
    """Gathers pages into sections while a file is read; what it holds grows by a line for each section."""

    def __init__(self) -> None:
        self._number = 0
        self._first_line = 0
        self._lines = 0
        self._pages: list[bytes] = []
        self._manifest: list[bytes] = []

    def add(self, page: Page) -> Section | None:
        """The section that this page fills, if it does."""
        if not self._pages:
            self._first_line = page.first_line
        self._pages.append(_listing("page", page, 1))
        self._lines += page.lines
        return self.end() if len(self._pages) == BATCH_SECTION_PAGES else None

    def end(self) -> Section | None:
        """The section that is not full yet, if there is one."""
        if not self._pages:
            return None
        pages = len(self._pages)
        section = Section(self._number, self._first_line, self._lines, pages, b"".join(self._pages))
        self._manifest.append(_listing("section", section, pages))
        self._number += 1
        self._lines = 0
        self._pages = []
        return section

    @property
    def manifest(self) -> bytes:
        """Of the sections that have ended."""
        return b"".join(self._manifest)


def read_listing(content: Iterable[bytes]) -> Iterator[Listed]:
    """What the lines of a manifest or a section list, in order. Raises ValueError for what is neither."""
    for at, line in enumerate(content, 1):
        try:
            facts = json.loads(line)
            kind: Literal["section", "page"] = "section" if "section" in facts else "page"
            yield Listed(
                kind,
                number=int(facts[kind]),
                first_line=int(facts["first-line"]),
                lines=int(facts["lines"]),
                pages=int(facts["pages"]),
                sha256=str(facts["sha256"]),
                size_bytes=int(facts["size"]),
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"line {at} lacks {error}") from error


def _listing(kind: Literal["section", "page"], listed: Page | Section, pages: int) -> bytes:
    facts = {
        kind: listed.number,
        "first-line": listed.first_line,
        "lines": listed.lines,
        "pages": pages,
        "sha256": listed.sha256,
        "size": len(listed.content),
    }
    return json.dumps(facts, separators=(",", ":")).encode() + b"\n"
