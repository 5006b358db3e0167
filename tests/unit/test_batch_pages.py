"""Pages of a batch file, and its memory: what is read, checked, sent and written a page at a time."""

from __future__ import annotations

import asyncio
import dataclasses
import io
import json
import tracemalloc
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from orbit_core.batch.lines import Entry, decode_entry
from orbit_core.batch.pages import Page, Section, Sections, pages_of, read_listing
from orbit_core.client.batches import BatchCalls, BatchFile
from orbit_core.limits import BATCH_PAGE_MAX_BYTES, BATCH_PAGE_MAX_LINES, BATCH_PAGE_MIN_LINES, BATCH_SECTION_PAGES, MIB


def entries(count: int, size: int = 0) -> Iterator[Entry]:
    for number in range(1, count + 1):
        yield Entry(line=number, custom_id=f"r{number}", url="/v1/embeddings", body={"input": "x" * size})


def test_pages_follow_one_another_and_hold_every_line() -> None:
    pages = list(pages_of(entries(5_000)))
    lines = [decode_entry(line) for page in pages for line in page.content.splitlines()]
    assert [entry.get("line") for entry in lines] == list(range(1, 5_001))
    assert [page.number for page in pages] == list(range(len(pages)))
    assert [page.first_line for page in pages] == [
        decode_entry(page.content.splitlines()[0]).get("line") for page in pages
    ]
    assert sum(page.lines for page in pages) == 5_000


def test_pages_grow_with_the_file() -> None:
    sizes = [page.lines for page in pages_of(entries(30_000))]
    assert sizes[0] == BATCH_PAGE_MIN_LINES
    assert max(sizes) == BATCH_PAGE_MAX_LINES
    assert sizes[:-1] == sorted(sizes[:-1])
    assert len(list(pages_of(entries(100)))) == 7, "a short file still keeps several agents busy"
    assert list(pages_of(entries(0))) == []


def test_a_page_of_long_lines_ends_early() -> None:
    pages = list(pages_of(entries(20, size=300_000)))
    assert [page.lines for page in pages] == [4, 4, 4, 4, 4]
    assert all(len(page.content) < BATCH_PAGE_MAX_BYTES + 400_000 for page in pages)


def test_the_same_lines_make_the_same_pages_and_more_lines_leave_the_first_ones_alone() -> None:
    short, long = list(pages_of(entries(3_000))), list(pages_of(entries(4_000)))
    assert [page.sha256 for page in short] == [page.sha256 for page in pages_of(entries(3_000))]
    assert [page.sha256 for page in short[:-1]] == [page.sha256 for page in long[: len(short) - 1]]


def test_bad_lines_are_counted() -> None:
    bad = Entry(line=2, custom_id=None, error={"code": "c", "message": "m", "param": None, "status": None})
    (page,) = pages_of([*entries(1), bad])
    assert (page.lines, page.bad) == (2, 1)


def sections_of(pages: Iterable[Page]) -> tuple[list[Section], bytes]:
    gathered = Sections()
    found = [gathered.add(page) for page in pages]
    found.append(gathered.end())
    return [section for section in found if section is not None], gathered.manifest


@pytest.mark.parametrize("lines", [1, 1_000, 80_000])
def test_a_manifest_lists_sections_and_a_section_its_pages(lines: int) -> None:
    pages = [dataclasses.replace(page, content=page.sha256.encode()) for page in pages_of(entries(lines))]
    sections, manifest = sections_of(pages)
    assert [section.pages for section in sections[:-1]] == [BATCH_SECTION_PAGES] * (len(sections) - 1)
    assert len(sections) == -(-len(pages) // BATCH_SECTION_PAGES)
    listed = list(read_listing(manifest.splitlines()))
    assert [(each.kind, each.number, each.first_line, each.lines, each.pages, each.sha256) for each in listed] == [
        ("section", section.number, section.first_line, section.lines, section.pages, section.sha256)
        for section in sections
    ]
    found = [each for section in sections for each in read_listing(io.BytesIO(section.content))]
    assert [(each.kind, each.number, each.first_line, each.lines, each.sha256, each.size_bytes) for each in found] == [
        ("page", page.number, page.first_line, page.lines, page.sha256, len(page.content)) for page in pages
    ]
    assert sum(section.lines for section in sections) == lines


def test_no_pages_are_no_sections() -> None:
    assert sections_of([]) == ([], b"")


@pytest.mark.parametrize("content", [b"no json\n", b"{}\n", b"[]\n", b'{"page": 1, "first-line": 1, "lines": "x"}\n'])
def test_what_is_no_manifest_is_an_error(content: bytes) -> None:
    with pytest.raises(ValueError):
        list(read_listing(io.BytesIO(content)))


class Requests(io.RawIOBase):
    """A file of `count` requests that is made while it is read, with a bad line among every hundred."""

    def __init__(self, count: int) -> None:
        self._lines = (self._line(number) for number in range(count))

    @staticmethod
    def _line(number: int) -> bytes:
        if number % 100 == 50:
            return b"{broken\n"
        body = {"messages": [{"role": "user", "content": f"What was the revenue of company {number}?" + "x" * 100}]}
        content = {"custom_id": f"request-{number}", "method": "POST", "url": "/v1/chat/completions", "body": body}
        return json.dumps(content).encode() + b"\n"

    def readline(self, size: int | None = -1, /) -> bytes:
        return next(self._lines, b"")


class Sink(io.RawIOBase):
    """Counts lines and keeps none."""

    lines = 0

    def write(self, data: Any, /) -> int:
        self.lines += bytes(data).count(b"\n")
        return len(data)

    def writelines(self, lines: Any, /) -> None:
        for line in lines:
            self.write(line)


class Mesh(BatchCalls):
    """A mesh that keeps nothing of what it is sent, and has one answer for every page."""

    def __init__(self, sections: int = 0) -> None:
        self._section_count = sections
        page = Page(0, 1, 256, 0, b"")
        self._section, _ = sections_of([page] * BATCH_SECTION_PAGES)
        self.sent: Counter[str] = Counter()

    async def _send(self, part: Page | Section) -> None:
        await asyncio.sleep(0)
        self.sent[type(part).__name__] += 1

    async def run(self, run_id: str) -> Any:
        return SimpleNamespace(run_id=run_id, cluster="batch/m-6h", ended=True, state="succeeded", reason="")

    async def results(self, run_id: str, **options: Any) -> AsyncIterator[Any]:  # pyright: ignore[reportIncompatibleMethodOverride]
        for number in range(self._section_count):
            value = {"section": number, "first-line": 1, "lines": 65_536, "pages": 256, "manifest": _file("a" * 64)}
            yield SimpleNamespace(failure=None, value=value)

    async def invocations(self, run_id: str, *, step: str, **options: Any) -> AsyncIterator[Any]:  # pyright: ignore[reportIncompatibleMethodOverride]
        for section in range(self._section_count):
            if step == "pages":
                yield SimpleNamespace(index=section, invocation_id=f"inv-{section}")
                continue
            for page in range(BATCH_SECTION_PAGES):
                value = {"succeeded": 256, "failed": 0, "output": _file("b" * 64), "errors": None}
                yield SimpleNamespace(parent_id=f"inv-{section}", index=page, failure=None, values=(value,))

    async def _content(self, run_id: str, sha256: str) -> bytes:
        return self._section[0].content if sha256.startswith("a") else b"an answer of some length\n" * 256


def _file(sha256: str) -> dict[str, Any]:
    return {"$file": {"sha256": sha256, "size": 1, "name": "p", "media-type": "x"}}


async def test_memory_does_not_grow_while_a_file_is_read() -> None:
    """The second half of a file, whose pages are as large as they get, takes no more than the first."""
    mesh, half = Mesh(), 9_000
    peaks: list[int] = []

    def watch(read: BatchFile) -> None:
        if not peaks and read.lines >= half:
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.reset_peak()

    tracemalloc.start()
    try:
        requests: Any = Requests(2 * half)
        read, manifest = await mesh._bring(requests, watch, send=True)
        peaks.append(tracemalloc.get_traced_memory()[1])
    finally:
        tracemalloc.stop()
    assert (read.lines, read.bad, len(read.problems)) == (2 * half, half // 50, 10)
    assert mesh.sent == {"Page": read.pages, "Section": 1}
    assert [each.pages for each in read_listing(manifest.splitlines())] == [read.pages]
    assert peaks[1] < 2 * MIB
    assert peaks[1] < peaks[0] + MIB // 8


async def test_two_hundred_thousand_answers_are_written_in_little_memory() -> None:
    mesh, output = Mesh(sections=3), Sink()
    written: Any = output
    tracemalloc.start()
    try:
        found = await mesh.batch_results("run-1", written)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found.succeeded == output.lines == 3 * 65_536
    assert (found.failed, found.missing) == (0, 0)
    assert peak < 2 * MIB
