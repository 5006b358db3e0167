"""Entries gathered into pages, and the manifest that lists the pages of a file.

A page is what one invocation answers: lines of JSON, in a blob. Where one ends depends on nothing but the lines, so the
same file always has the same pages, and so the same manifest. Both are read and written a piece at a time.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from orbit_core.batch.lines import Entry, encode_entry
from orbit_core.ids import content_hash
from orbit_core.limits import BATCH_PAGE_MAX_BYTES, BATCH_PAGE_MAX_LINES, BATCH_PAGE_MIN_LINES

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
class PageRef:
    """A page as the manifest knows it."""

    number: int
    first_line: int
    lines: int
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


def manifest_line(page: Page) -> bytes:
    """What the manifest says of a page."""
    facts = {"first-line": page.first_line, "lines": page.lines, "sha256": page.sha256, "size": len(page.content)}
    return json.dumps(facts, separators=(",", ":")).encode() + b"\n"


def read_manifest(file: BinaryIO) -> Iterator[PageRef]:
    """The pages of a manifest, in order. Raises ValueError for what is none."""
    for number, line in enumerate(file):
        try:
            facts = json.loads(line)
            yield PageRef(
                number, int(facts["first-line"]), int(facts["lines"]), str(facts["sha256"]), int(facts["size"])
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"line {number + 1} of the manifest lacks {error}") from error
