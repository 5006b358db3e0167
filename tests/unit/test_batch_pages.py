"""Pages of a batch file, and its memory: what is read, checked, sent and written a page at a time."""

from __future__ import annotations

import asyncio
import io
import json
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from orbit_core.batch.lines import Entry, decode_entry
from orbit_core.batch.pages import Page, manifest_line, pages_of, read_manifest
from orbit_core.client.batches import BatchCalls, BatchFile
from orbit_core.ids import content_hash
from orbit_core.limits import BATCH_PAGE_MAX_BYTES, BATCH_PAGE_MAX_LINES, BATCH_PAGE_MIN_LINES, MIB


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


def test_a_manifest_reads_back() -> None:
    pages = list(pages_of(entries(1_000)))
    manifest = b"".join(map(manifest_line, pages))
    found = list(read_manifest(io.BytesIO(manifest)))
    assert [(ref.number, ref.first_line, ref.lines, ref.sha256, ref.size_bytes) for ref in found] == [
        (page.number, page.first_line, page.lines, content_hash(page.content), len(page.content)) for page in pages
    ]


@pytest.mark.parametrize("content", [b"no json\n", b"{}\n", b"[]\n", b'{"first-line": 1, "lines": "x"}\n'])
def test_what_is_no_manifest_is_an_error(content: bytes) -> None:
    with pytest.raises(ValueError):
        list(read_manifest(io.BytesIO(content)))


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

    def __init__(self, pages: int = 0) -> None:
        self._refs = [(number, f"{number:064}") for number in range(pages)]
        self.sent = 0

    async def _send(self, page: Page) -> None:
        await asyncio.sleep(0)
        self.sent += 1

    async def run(self, run_id: str) -> Any:
        return SimpleNamespace(run_id=run_id, cluster="batch/m-6h", ended=True, state="succeeded", reason="")

    async def results(self, run_id: str, **options: Any) -> AsyncIterator[Any]:  # pyright: ignore[reportIncompatibleMethodOverride]
        for number, sha256 in self._refs:
            yield SimpleNamespace(failure=None, value={"page": number, "lines": 256, "file": _file(sha256)})

    async def invocations(self, run_id: str, **options: Any) -> AsyncIterator[Any]:  # pyright: ignore[reportIncompatibleMethodOverride]
        for number, sha256 in self._refs:
            value = {"succeeded": 256, "failed": 0, "output": _file(sha256), "errors": None}
            yield SimpleNamespace(index=number, failure=None, values=(value,))

    async def _content(self, run_id: str, sha256: str) -> bytes:
        return b"an answer of some length\n" * 256


def _file(sha256: str) -> dict[str, Any]:
    return {"$file": {"sha256": sha256, "size": 1, "name": "p", "media-type": "x"}}


async def test_memory_does_not_grow_while_a_file_is_read(tmp_path: Path) -> None:
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
        read = await mesh._bring(requests, tmp_path / "manifest", watch, send=True)
        peaks.append(tracemalloc.get_traced_memory()[1])
    finally:
        tracemalloc.stop()
    assert (read.lines, read.bad, len(read.problems)) == (2 * half, half // 50, 10)
    assert mesh.sent == read.pages
    assert peaks[1] < 2 * MIB
    assert peaks[1] < peaks[0] + MIB // 8


async def test_two_hundred_thousand_answers_are_written_in_little_memory() -> None:
    pages = 200_000 // 256
    mesh, output = Mesh(pages), Sink()
    written: Any = output
    tracemalloc.start()
    try:
        found = await mesh.batch_results("run-1", written)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found.succeeded == output.lines == pages * 256
    assert peak < 2 * MIB
