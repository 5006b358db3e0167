"""What is made of a batch that is not whole: pages that failed, pages that wait, a run that was ended."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

from orbit_core.batch.lines import Entry, LineError
from orbit_core.batch.pages import Sections, pages_of
from orbit_core.client import Failure
from orbit_core.client.batches import BatchCalls
from orbit_core.errors import BlobError, InvalidRequestError
from orbit_core.ids import content_hash
from orbit_core.limits import BATCH_PAGE_MIN_LINES

LINES = 3 * BATCH_PAGE_MIN_LINES
BAD = LineError(code="invalid_json_line", message="not JSON", param=None, status=None)


def entries() -> list[Entry]:
    """Three pages; the first line of the second is bad."""
    made = [Entry(line=n, custom_id=f"r{n}", url="/v1/embeddings", body={"input": "x"}) for n in range(1, LINES + 1)]
    made[BATCH_PAGE_MIN_LINES] = Entry(line=BATCH_PAGE_MIN_LINES + 1, custom_id=None, error=BAD)
    return made


class Mesh(BatchCalls):
    """A mesh with one batch of three pages. `states`: what became of each; None: it has not begun."""

    def __init__(self, *states: str | None, state: str = "running", cluster: str = "batch/m-6h") -> None:
        self._state = state
        self._cluster = cluster
        self._blobs: dict[str, bytes] = {}
        self._states = states
        sections = Sections()
        for page in pages_of(entries()):
            self._blobs[page.sha256] = page.content
            assert sections.add(page) is None
        section = sections.end()
        assert section is not None
        self._section_sha256 = self._keep(section.content)
        self.damaged = False

    def _keep(self, content: bytes) -> str:
        self._blobs[content_hash(content)] = content
        return content_hash(content)

    async def run(self, run_id: str) -> Any:
        ended = self._state != "running"
        return SimpleNamespace(
            run_id=run_id, cluster=self._cluster, ended=ended, state=self._state, reason="for today" if ended else ""
        )

    async def results(self, run_id: str, **options: Any) -> AsyncIterator[Any]:  # pyright: ignore[reportIncompatibleMethodOverride]
        assert options["steps"] == ["sections"]
        value = {"section": 0, "first-line": 1, "lines": LINES, "pages": 3, "manifest": _file(self._section_sha256)}
        yield SimpleNamespace(failure=None, value=value)

    async def invocations(self, run_id: str, *, step: str = "", states: Any = ()) -> AsyncIterator[Any]:  # pyright: ignore[reportIncompatibleMethodOverride]
        if step == "pages":
            yield SimpleNamespace(index=0, invocation_id="inv-pages", state="succeeded", failure=None)
            return
        for index, state in enumerate(self._states):
            if state is None or (states and state not in states):
                continue
            failure = Failure("no-room", "too large", True) if state == "failed" else None
            values = () if failure else (self._made(index),)
            yield SimpleNamespace(
                step="answers", parent_id="inv-pages", index=index, state=state, failure=failure, values=values
            )

    def _made(self, page: int) -> dict[str, Any]:
        output = self._keep(b"".join(b'{"custom_id": "o%d-%d"}\n' % (page, n) for n in range(15)))
        errors = self._keep(b'{"custom_id": "e%d"}\n' % page)
        return {"succeeded": 15, "failed": 1, "output": _file(output), "errors": _file(errors)}

    async def file(self, run_id: str, file: Any, *, offset: int = 0) -> AsyncIterator[bytes]:  # pyright: ignore[reportIncompatibleMethodOverride]
        yield self._blobs[file][:1]
        yield self._blobs[file][1:] + (b"!" if self.damaged else b"")


def _file(sha256: str) -> dict[str, Any]:
    return {"$file": {"sha256": sha256, "size": 1, "name": "f", "media-type": "x"}}


async def written(mesh: Mesh) -> tuple[Any, list[Any], list[Any]]:
    output, errors = io.BytesIO(), io.BytesIO()
    found = await mesh.batch_results("run-1", output, errors)
    return found, *([json.loads(line) for line in file.getvalue().splitlines()] for file in (output, errors))


async def test_while_it_goes_on_what_has_no_answer_is_left_out_and_counted() -> None:
    mesh = Mesh("succeeded", None, "succeeded")
    found, output, errors = await written(mesh)
    assert (found.succeeded, found.failed, found.missing) == (30, 2, BATCH_PAGE_MIN_LINES)
    assert [line["custom_id"] for line in output] == [f"o{page}-{n}" for page in (0, 2) for n in range(15)]
    assert [line["custom_id"] for line in errors] == ["e0", "e2"]
    batch = await mesh.batch("run-1")
    assert (batch.lines, batch.pages, batch.pages_ended, batch.succeeded, batch.failed) == (LINES, 3, 2, 30, 2)
    assert (batch.lost, batch.failures) == (0, ())


async def test_a_page_that_failed_as_a_whole_says_why_for_each_of_its_lines() -> None:
    mesh = Mesh("succeeded", "failed", None)
    found, _, errors = await written(mesh)
    assert (found.succeeded, found.failed, found.missing) == (15, 1 + BATCH_PAGE_MIN_LINES, BATCH_PAGE_MIN_LINES)
    first, bad, *others = errors
    assert first["custom_id"] == "e0"
    assert bad["error"]["code"] == "invalid_json_line", "a line's own error says more than its page's"
    assert [line["custom_id"] for line in others] == [f"r{n}" for n in range(18, 33)]
    assert {(line["response"], line["error"]["code"], line["error"]["message"]) for line in others} == {
        (None, "no_room", "too large")
    }
    assert [line["error"]["line"] for line in others] == list(range(18, 33))
    assert (await mesh.batch("run-1")).failures == ("answers: no-room: too large",)


async def test_what_was_not_answered_when_it_was_cancelled_says_so() -> None:
    mesh = Mesh("succeeded", None, None, state="cancelled")
    found, _, errors = await written(mesh)
    assert (found.succeeded, found.failed, found.missing) == (15, 1 + 2 * BATCH_PAGE_MIN_LINES, 0)
    cancelled = [line for line in errors if line.get("error", {}).get("code") == "batch_cancelled"]
    assert len(cancelled) == 2 * BATCH_PAGE_MIN_LINES - 1
    assert "for today" in cancelled[0]["error"]["message"]
    assert (await mesh.batch("run-1")).lost == 2 * BATCH_PAGE_MIN_LINES


async def test_errors_are_counted_where_nobody_wants_them() -> None:
    found = await Mesh("succeeded", "failed", None, state="failed").batch_results("run-1", io.BytesIO())
    assert (found.succeeded, found.failed) == (15, 1 + 2 * BATCH_PAGE_MIN_LINES)


async def test_a_run_that_is_no_batch_is_refused() -> None:
    mesh = Mesh(cluster="acme/reports")
    for call in (mesh.batch("run-1"), mesh.batch_results("run-1", io.BytesIO())):
        with pytest.raises(InvalidRequestError, match="acme/reports, not a batch"):
            await call


async def test_a_damaged_answer_is_not_written() -> None:
    mesh, output = Mesh("succeeded", None, None), io.BytesIO()
    mesh.damaged = True
    with pytest.raises(BlobError, match="damaged"):
        await mesh.batch_results("run-1", output)
    assert output.getvalue() == b""
