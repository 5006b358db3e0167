"""Batches: a file of requests in OpenAI's batch format brought to the mesh, followed, and its answers fetched.

A batch is a run of the preset cluster in `orbit_core.batch.cluster`; its identifier is the run's, so everything that is
true of runs (cancel, logs, explain, cost) is true of it. A part of `OrbitClient`. At most a few pages of a file are in
memory at any time, whatever its length.
"""

from __future__ import annotations

import asyncio
import difflib
import hashlib
import tempfile
from collections.abc import AsyncGenerator, Callable
from contextlib import ExitStack, aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

from orbit_core.batch import answers, cluster
from orbit_core.batch.cluster import MAX_TOKENS, BatchOptions
from orbit_core.batch.lines import LineError, SeenIds, decode_entry, read_entries
from orbit_core.batch.pages import Page, manifest_line, pages_of
from orbit_core.client._clusters import ClusterCalls
from orbit_core.client._uploads import upload
from orbit_core.client.download import DownloadCalls, files_in
from orbit_core.client.models import ModelCalls
from orbit_core.client.scheduling import Quotation, SchedulingCalls
from orbit_core.client.types import Failure, Invocation, Run
from orbit_core.errors import BlobError, InvalidRequestError, NotFoundError
from orbit_core.ids import content_hash

#: Pages on their way to the mesh at once.
_UPLOADS: Final = 4
_PROBLEMS_KEPT: Final = 10
#: Makes a resubmission the same retry each time: the run that continues a run is always the same.
_RESUBMISSION: Final = "batch-resubmission"


@dataclass(frozen=True, slots=True)
class LineProblem:
    """A line that will be answered with an error. `line` counts from 1."""

    line: int
    custom_id: str | None
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class BatchFile:
    """What was read of a file so far. `problems`: the first of its `bad` lines."""

    lines: int = 0
    bad: int = 0
    pages: int = 0
    problems: tuple[LineProblem, ...] = ()


@dataclass(frozen=True, slots=True)
class BatchSubmission:
    """`run`: None where nothing was to be submitted (`dry_run`). Where it has a `retry_of`, it continues that run."""

    file: BatchFile
    quotation: Quotation
    run: Run | None


@dataclass(frozen=True, slots=True)
class Batch:
    """How far a batch is. `lines` is 0 until its first step has ended; `failed` are lines answered with an error,
    `lost` those whose page failed as a whole: they are what a resubmission runs."""

    run: Run
    pages: int
    pages_ended: int
    lines: int
    succeeded: int
    failed: int
    lost: int
    failures: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BatchAnswers:
    """What was written: lines of output, lines of errors; and lines that have no answer yet."""

    succeeded: int
    failed: int
    missing: int


class BatchCalls(ClusterCalls, DownloadCalls, ModelCalls, SchedulingCalls):
    """Batches submitted, followed and fetched."""

    async def submit_batch(
        self,
        file: str | Path | BinaryIO,
        *,
        model: str,
        window_ms: int,
        max_tokens: int = MAX_TOKENS,
        any_model: bool = False,
        dry_run: bool = False,
        on_page: Callable[[BatchFile], None] | None = None,
    ) -> BatchSubmission:
        """Check, upload, quote and start a batch of chat completions or embeddings, to be done within the window.

        `max_tokens`: of an answer whose request does not say. `any_model`: answer with `model` whatever model a line
        names; else lines that name another fail. `dry_run`: check and quote only. Bad lines are no error here: they
        are answered with theirs. The same file with the same options is the same batch: while it runs, nothing is
        started, and once it has ended only what is missing runs again.
        """
        options = BatchOptions(model, window_ms, max_tokens, any_model)
        options.check()
        await self._check_model(model)
        with ExitStack() as stack:
            opened = file if not isinstance(file, str | Path) else stack.enter_context(_open(Path(file)))
            manifest = Path(stack.enter_context(tempfile.NamedTemporaryFile(prefix="orbit-batch-")).name)
            read = await self._bring(opened, manifest, on_page, send=not dry_run)
            if not read.lines:
                raise InvalidRequestError("the file has no lines", remedy="write a request a line, in JSON")
            document = cluster.document(options)
            objects = {cluster.PAGES: read.pages}
            quotation = await self.quote(document, objects=objects)
            if dry_run:
                return BatchSubmission(read, quotation, None)
            digest, size = await asyncio.to_thread(_hashed, manifest)
            await upload(self._router, manifest, digest, size)
        submitted = await self.submit(document, file_name=f"{cluster.identifier_of(options)}.yml")
        payload = cluster.payload(digest, size, read.lines, options)
        run = await self.trigger(submitted.cluster.identifier, payload, request_id=cluster.request_id(payload))
        while run.ended and run.state != "succeeded":
            run = await self.retry(run.run_id, request_id=f"{_RESUBMISSION}-{run.run_id}")
        return BatchSubmission(read, quotation, run)

    async def batch(self, run_id: str) -> Batch:
        """How far a batch is. `InvalidRequestError` for a run that is none."""
        run = await self._batch_run(run_id)
        pages = lines = ended = answered = succeeded = failed = 0
        failures: dict[str, None] = {}
        async for page in self._pages(run_id):
            pages += 1
            lines += page.lines
        async for page in self._answers(run_id):
            ended += 1
            answered += page.succeeded + page.failed
            succeeded += page.succeeded
            failed += page.failed
            if page.failure is not None:
                failures.setdefault(f"{page.failure.code}: {page.failure.message}")
        return Batch(
            run=run,
            pages=pages,
            pages_ended=ended,
            lines=lines,
            succeeded=succeeded,
            failed=failed,
            lost=lines - answered if run.ended else 0,
            failures=tuple(failures)[:_PROBLEMS_KEPT],
        )

    async def batch_results(self, run_id: str, output: BinaryIO, errors: BinaryIO | None = None) -> BatchAnswers:
        """Write the answers that there are, at any time, in the order of the input: JSON lines as OpenAI's.

        `errors`: left out, errors are counted only. Requests without an answer are left out while the batch goes on;
        once it has ended they stand in `errors` with the reason.
        """
        run = await self._batch_run(run_id)
        found = {page.number: page async for page in self._answers(run_id)}
        succeeded = failed = missing = 0
        async for page in self._pages(run_id):
            answer = found.get(page.number)
            if answer is not None and answer.failure is None:
                succeeded += answer.succeeded
                failed += answer.failed
                await self._copy(run_id, answer.output, output)
                await self._copy(run_id, answer.errors, errors)
            elif answer is None and not run.ended:
                missing += page.lines
            else:
                failed += page.lines
                if errors is not None:
                    content = await self._content(run_id, page.sha256)
                    errors.writelines(_unanswered(run, content, answer.failure if answer else None))
        return BatchAnswers(succeeded, failed, missing)

    async def _check_model(self, model: str) -> None:
        """`NotFoundError` where no agent can know it: better now than once for each page."""
        known = [each.name for each in await self.models()]
        if model not in known:
            close = difflib.get_close_matches(model, known, n=1)
            remedy = f"did you mean {close[0]}?" if close else "`orbit models add` makes one known to the mesh"
            raise NotFoundError(f"there is no model {model!r}", remedy=remedy)

    async def _bring(
        self, file: BinaryIO, manifest: Path, on_page: Callable[[BatchFile], None] | None, *, send: bool
    ) -> BatchFile:
        """Reads the file, sends its pages while it is read, and writes the manifest."""
        read = BatchFile()
        sending: set[asyncio.Task[None]] = set()
        with SeenIds() as seen, manifest.open("wb") as listing:
            pages = pages_of(read_entries(file, seen))
            try:
                while (page := await asyncio.to_thread(next, pages, None)) is not None:
                    listing.write(manifest_line(page))
                    read = _with(read, page)
                    if send:
                        if len(sending) >= _UPLOADS:
                            sending = await _first_ended(sending)
                        sending.add(asyncio.create_task(self._send(page)))
                    if on_page is not None:
                        on_page(read)
                while sending:
                    sending = await _first_ended(sending)
            finally:
                for task in sending:
                    task.cancel()
                await asyncio.gather(*sending, return_exceptions=True)
        return read

    async def _send(self, page: Page) -> None:
        await upload(self._router, page.content, page.sha256, len(page.content))

    async def _batch_run(self, run_id: str) -> Run:
        run = await self.run(run_id)
        if not cluster.is_batch(run.cluster):
            raise InvalidRequestError(
                f"{run_id} is a run of {run.cluster}, not a batch", remedy="`orbit batch list` lists batches"
            )
        return run

    async def _pages(self, run_id: str) -> AsyncGenerator[_InputPage, None]:
        """The pages of the file, in order; none before the first step has ended."""
        async with aclosing(self.results(run_id, follow=False, steps=[cluster.PAGES])) as results:
            async for result in results:
                if result.failure is None:
                    value = cast("dict[str, Any]", result.value)
                    [file] = files_in(value["file"])
                    yield _InputPage(int(value["page"]), int(value["lines"]), file.sha256)

    async def _answers(self, run_id: str) -> AsyncGenerator[_AnsweredPage, None]:
        """The pages that have ended, well or badly; those that were cancelled are as good as not begun."""
        async with aclosing(
            self.invocations(run_id, step=cluster.ANSWERS, states=("succeeded", "failed"))
        ) as invocations:
            async for invocation in invocations:
                yield _answered_page(invocation)

    async def _copy(self, run_id: str, sha256: str, to: BinaryIO | None) -> None:
        if sha256 and to is not None:
            to.write(await self._content(run_id, sha256))

    async def _content(self, run_id: str, sha256: str) -> bytes:
        """A whole file, verified: a page of lines or of answers, which is small."""
        async with aclosing(self.file(run_id, sha256)) as chunks:
            content = b"".join([chunk async for chunk in chunks])
        if content_hash(content) != sha256:
            raise BlobError(f"file {sha256} of {run_id} came damaged", remedy="try again")
        return content


@dataclass(frozen=True, slots=True)
class _InputPage:
    number: int
    lines: int
    sha256: str


@dataclass(frozen=True, slots=True)
class _AnsweredPage:
    """`output`, `errors`: hashes of files, empty where there are no such lines."""

    number: int
    failure: Failure | None
    succeeded: int = 0
    failed: int = 0
    output: str = ""
    errors: str = ""


def _answered_page(invocation: Invocation) -> _AnsweredPage:
    if invocation.failure is not None or not invocation.values:
        failure = invocation.failure or Failure("no-answer", "the page ended without an answer", retryable=False)
        return _AnsweredPage(invocation.index, failure)
    value = cast("dict[str, Any]", invocation.values[0])
    files = {key: next((file.sha256 for file in files_in(value[key])), "") for key in ("output", "errors")}
    return _AnsweredPage(
        invocation.index,
        None,
        int(value["succeeded"]),
        int(value["failed"]),
        files["output"],
        files["errors"],
    )


def _unanswered(run: Run, content: bytes, failure: Failure | None) -> list[bytes]:
    """A line of errors for each line of a page that has no answers."""
    if failure is not None:
        reason = LineError(code=failure.code.replace("-", "_"), message=failure.message, param=None, status=None)
    else:
        message = f"the batch ended before this request's turn: {run.reason or run.state}"
        reason = LineError(code="batch_cancelled", message=message, param=None, status=None)
    found: list[bytes] = []
    for line in content.splitlines():
        entry = decode_entry(line)
        number = entry.get("line", 0)
        identifier = answers.request_id(run.run_id, number)
        found.append(answers.failed(identifier, entry.get("custom_id"), number, entry.get("error", reason)))
    return found


def _with(read: BatchFile, page: Page) -> BatchFile:
    problems = read.problems
    if page.bad and len(problems) < _PROBLEMS_KEPT:
        entries = map(decode_entry, page.content.splitlines())
        new = [
            LineProblem(entry.get("line", 0), entry.get("custom_id"), error["code"], error["message"])
            for entry in entries
            if (error := entry.get("error")) is not None
        ]
        problems = (*problems, *new)[:_PROBLEMS_KEPT]
    return BatchFile(read.lines + page.lines, read.bad + page.bad, page.number + 1, problems)


async def _first_ended(tasks: set[asyncio.Task[None]]) -> set[asyncio.Task[None]]:
    """Those that go on. Raises what one that ended raised."""
    ended, going_on = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in ended:
        task.result()
    return going_on


def _open(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise InvalidRequestError(f"{path} cannot be read: {error.strerror}", remedy="name a file") from error


def _hashed(path: Path) -> tuple[str, int]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return digest, path.stat().st_size
