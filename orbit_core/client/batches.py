"""Batches: a file of requests in OpenAI's batch format brought to the mesh, followed, and its answers fetched.

A batch is a run of the preset cluster in `orbit_core.batch.cluster`; its identifier is the run's, so everything that is
true of runs (cancel, logs, explain, cost) is true of it. A part of `OrbitClient`. At most a few pages of a file are in
memory at any time, whatever its length.
"""

from __future__ import annotations

import asyncio
import difflib
import math
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import ExitStack, aclosing
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final, cast

from orbit_core.batch import answers, cluster
from orbit_core.batch.cluster import MAX_TOKENS, BatchOptions
from orbit_core.batch.lines import LineError, SeenIds, decode_entry, read_entries
from orbit_core.batch.pages import Listed, Page, Section, Sections, pages_of, read_listing
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
    `lost` those that were not answered when it ended: they are what a resubmission runs. `failures`: why pages, or the
    listing of them, failed as a whole, each reason once."""

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
            read, manifest = await self._bring(opened, on_page, send=not dry_run)
        if not read.lines:
            raise InvalidRequestError("the file has no lines", remedy="write a request a line, in JSON")
        document = cluster.document(options)
        sections = manifest.count(b"\n")
        objects = {cluster.SECTIONS: sections, cluster.PAGES: math.ceil(read.pages / sections)}
        quotation = await self.quote(document, objects=objects)
        if dry_run:
            return BatchSubmission(read, quotation, None)
        digest = content_hash(manifest)
        await upload(self._router, manifest, digest, len(manifest))
        submitted = await self.submit(document, file_name=f"{cluster.identifier_of(options)}.yml")
        payload = cluster.payload(digest, len(manifest), read.lines, options)
        run = await self.trigger(submitted.cluster.identifier, payload, request_id=cluster.request_id(payload))
        while run.ended and run.state != "succeeded":
            run = await self.retry(run.run_id, request_id=f"{_RESUBMISSION}-{run.run_id}")
        return BatchSubmission(read, quotation, run)

    async def batch(self, run_id: str) -> Batch:
        """How far a batch is. `InvalidRequestError` for a run that is none."""
        run = await self._batch_run(run_id)
        pages = lines = ended = succeeded = failed = 0
        failures: dict[str, None] = {}
        async for section in self._sections(run_id):
            pages += section.pages
            lines += section.lines
        async for page in self._answers(run_id):
            ended += 1
            succeeded += page.succeeded
            failed += page.failed
        async for invocation in self.invocations(run_id, states=("failed",)):
            if invocation.failure is not None and len(failures) < _PROBLEMS_KEPT:
                failures.setdefault(f"{invocation.step}: {invocation.failure.code}: {invocation.failure.message}")
        return Batch(
            run=run,
            pages=pages,
            pages_ended=ended,
            lines=lines,
            succeeded=succeeded,
            failed=failed,
            lost=lines - succeeded - failed if run.ended else 0,
            failures=tuple(failures),
        )

    async def batch_results(self, run_id: str, output: BinaryIO, errors: BinaryIO | None = None) -> BatchAnswers:
        """Write the answers that there are, at any time, in the order of the input: JSON lines as OpenAI's.

        `errors`: left out, errors are counted only. Requests without an answer are left out while the batch goes on;
        once it has ended they stand in `errors` with the reason.
        """
        run = await self._batch_run(run_id)
        listings = {each.index: each.invocation_id async for each in self.invocations(run_id, step=cluster.PAGES)}
        found = {page.place: page async for page in self._answers(run_id)}
        succeeded = failed = missing = 0
        async for section in self._sections(run_id):
            listing = await self._content(run_id, section.sha256)
            for index, page in enumerate(read_listing(listing.splitlines())):
                answer = found.get((listings.get(section.number, ""), index))
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
                        lines = await self._content(run_id, page.sha256)
                        errors.writelines(_unanswered(run, lines, answer.failure if answer else None))
        return BatchAnswers(succeeded, failed, missing)

    async def _check_model(self, model: str) -> None:
        """`NotFoundError` where no agent can know it: better now than once for each page."""
        known = [each.name for each in await self.models()]
        if model not in known:
            close = difflib.get_close_matches(model, known, n=1)
            remedy = f"did you mean {close[0]}?" if close else "`orbit models add` makes one known to the mesh"
            raise NotFoundError(f"there is no model {model!r}", remedy=remedy)

    async def _bring(
        self, file: BinaryIO, on_page: Callable[[BatchFile], None] | None, *, send: bool
    ) -> tuple[BatchFile, bytes]:
        """Reads the file, and sends its pages and sections while it is read. What was read, and the manifest."""
        read, sections = BatchFile(), Sections()
        with SeenIds() as seen:
            async with _Sending(self._send if send else None) as sending:
                pages = pages_of(read_entries(file, seen))
                while (page := await asyncio.to_thread(next, pages, None)) is not None:
                    read = _with(read, page)
                    await sending.add(page)
                    await sending.add(sections.add(page))
                    if on_page is not None:
                        on_page(read)
                await sending.add(sections.end())
        return read, sections.manifest

    async def _send(self, part: Page | Section) -> None:
        await upload(self._router, part.content, part.sha256, len(part.content))

    async def _batch_run(self, run_id: str) -> Run:
        run = await self.run(run_id)
        if not cluster.is_batch(run.cluster):
            raise InvalidRequestError(
                f"{run_id} is a run of {run.cluster}, not a batch", remedy="`orbit batch list` lists batches"
            )
        return run

    async def _sections(self, run_id: str) -> AsyncGenerator[Listed, None]:
        """The sections of the file, in order; none before the first step has ended."""
        async with aclosing(self.results(run_id, follow=False, steps=[cluster.SECTIONS])) as results:
            async for result in results:
                if result.failure is None:
                    value = cast("dict[str, Any]", result.value)
                    [file] = files_in(value["manifest"])
                    yield Listed(
                        "section",
                        number=int(value["section"]),
                        first_line=int(value["first-line"]),
                        lines=int(value["lines"]),
                        pages=int(value["pages"]),
                        sha256=file.sha256,
                        size_bytes=file.size_bytes,
                    )

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


class _Sending:
    """Parts of a file on their way to the mesh, a few at once. Whoever leaves it has all of them there."""

    def __init__(self, send: Callable[[Page | Section], Coroutine[Any, Any, None]] | None) -> None:
        self._send = send
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> _Sending:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            while self._tasks and error is None:
                await self._one_less()
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def add(self, part: Page | Section | None) -> None:
        """Waits until there is room for it. Raises what the sending of an earlier one raised."""
        if part is None or self._send is None:
            return
        if len(self._tasks) >= _UPLOADS:
            await self._one_less()
        self._tasks.add(asyncio.create_task(self._send(part)))

    async def _one_less(self) -> None:
        ended, self._tasks = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in ended:
            task.result()


#: Which page: the invocation that listed it, and its number among what that listed.
_Place = tuple[str, int]


@dataclass(frozen=True, slots=True)
class _AnsweredPage:
    """`output`, `errors`: hashes of files, empty where there are no such lines."""

    place: _Place
    failure: Failure | None
    succeeded: int = 0
    failed: int = 0
    output: str = ""
    errors: str = ""


def _answered_page(invocation: Invocation) -> _AnsweredPage:
    place = (invocation.parent_id, invocation.index)
    if invocation.failure is not None or not invocation.values:
        failure = invocation.failure or Failure("no-answer", "the page ended without an answer", retryable=False)
        return _AnsweredPage(place, failure)
    value = cast("dict[str, Any]", invocation.values[0])
    files = {key: next((file.sha256 for file in files_in(value[key])), "") for key in ("output", "errors")}
    return _AnsweredPage(
        place,
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


def _open(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise InvalidRequestError(f"{path} cannot be read: {error.strerror}", remedy="name a file") from error
