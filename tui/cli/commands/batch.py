"""`orbit batch`: files of requests in OpenAI's batch format, answered within a window."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final

import click
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from orbit_core.batch.cluster import MAX_TOKENS, MAX_TOKENS_MOST, PROJECT
from orbit_core.client import Batch, BatchAnswers, BatchFile, BatchSubmission, Run
from orbit_core.errors import InvalidRequestError, MeshUnreachableError
from orbit_core.spec.durations import parse_duration_ms
from orbit_core.spec.text_error import TextError
from tui.cli import completing, listing, live, tables
from tui.cli.exits import Exit, Quit
from tui.cli.output import emit
from tui.cli.session import Session, mesh_command, now_ms, output_options
from tui.cli.words import ago, money, plural, span

_SAID_EVERY_S: Final = 1.0


class _Window(click.ParamType[int]):
    """A duration, in milliseconds."""

    name = "window"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            return value if isinstance(value, int) else parse_duration_ms(value)
        except TextError as error:
            self.fail(f"{error}: write it like 10m, 6h or 7d", param, ctx)


@click.group()
def batch() -> None:
    """Answer files of requests, in OpenAI's batch format, within a window from ten minutes to seven days.

    \b
    orbit batch submit requests.jsonl --model qwen2.5-7b-instruct --window 6h
    orbit batch results ID --output answers.jsonl --errors errors.jsonl
    """


@batch.command("submit")
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--model", required=True, help="What answers: a name that `orbit models list` shows.")
@click.option("--window", type=_Window(), required=True, metavar="6h", help="Until when, from now: 10m to 7d.")
@click.option(
    "--max-tokens",
    type=click.IntRange(1, MAX_TOKENS_MOST),
    default=MAX_TOKENS,
    show_default=True,
    help="Of an answer whose request does not say.",
)
@click.option("--any-model", is_flag=True, help="Answer lines that name another model too.")
@click.option("--dry-run", is_flag=True, help="Check the file and quote it; submit nothing.")
@click.option("-w", "--watch", is_flag=True, help="Show progress until it has ended; 1 unless it succeeded.")
@output_options("table", "json", "yaml", "name")
@mesh_command
async def submit(
    session: Session,
    file: Path,
    model: str,
    window: int,
    max_tokens: int,
    any_model: bool,
    dry_run: bool,
    watch: bool,
) -> None:
    """Check FILE line by line, quote it, and start answering it. FILE may be `-` for standard input.

    Lines that are no valid request are answered with an error. The same FILE with the same options is the same batch:
    once that has ended, only what is missing runs again.
    """
    async with session.client() as client:
        with _opened(file) as opened:
            found = await client.submit_batch(
                opened,
                model=model,
                window_ms=window,
                max_tokens=max_tokens,
                any_model=any_model,
                dry_run=dry_run,
                on_page=_progress(session),
            )
        for problem in found.quotation.problems:
            session.note(problem, "yellow")
        emit(session, found, table=_submitted, name=lambda each: each.run.run_id if each.run else "")
        if found.run is not None and session.output == "table" and not watch:
            what = "results" if found.run.ended else "status -w"
            session.note(f"next: orbit batch {what} {found.run.run_id}")
    if watch and found.run is not None:
        await _watch(session, found.run.run_id)


@batch.command("list")
@click.option("-n", "--limit", type=click.IntRange(min=1), default=20, show_default=True)
@listing.watch_option
@output_options("table", "json", "yaml", "name")
@mesh_command
async def list_batches(session: Session, limit: int, watch: bool) -> None:
    """List batches, the newest first."""
    async with session.client() as client:

        async def found() -> tuple[Run, ...]:
            return await client.runs(project=PROJECT, limit=limit)

        await listing.show(
            session, found, table=lambda: tables.runs(now_ms()), name=lambda run: run.run_id, watch=watch
        )


@batch.command("status")
@click.argument("run_id", metavar="ID", shell_complete=completing.runs)
@click.option("-w", "--watch", is_flag=True, help="Until it has ended; 1 unless it succeeded.")
@output_options("table", "json", "yaml", "name")
@mesh_command
async def status(session: Session, run_id: str, watch: bool) -> None:
    """Show how far a batch is: lines answered and failed, its window, tokens and cost."""
    if watch:
        await _watch(session, run_id)
        return
    async with session.client() as client:
        found = await client.batch(run_id)
    emit(session, found, table=_status, name=lambda each: each.run.run_id)


@batch.command("results")
@click.argument("run_id", metavar="ID", shell_complete=completing.runs)
@click.option("--output", "output_file", metavar="FILE", default="-", help="Where answers go; `-`: standard output.")
@click.option("--errors", "errors_file", metavar="FILE", help="Where errors go; left out, they are only counted.")
@mesh_command
async def results(session: Session, run_id: str, output_file: str, errors_file: str | None) -> None:
    """Write the answers that there are, in the order of the file, as OpenAI's output and error files.

    At any time: what has no answer yet is left out and counted, and is there when the command is run again. FILE is
    replaced as a whole, once everything has been written.
    """
    async with session.client() as client:
        with contextlib.ExitStack() as stack:
            output = stack.enter_context(_replaced(output_file))
            errors = stack.enter_context(_replaced(errors_file)) if errors_file else None
            found = await client.batch_results(run_id, output, errors)
    session.note(_written(found))
    if found.failed and errors_file is None:
        session.note(f"the errors: orbit batch results {run_id} --output {output_file} --errors errors.jsonl")


@batch.command("cancel")
@click.argument("run_id", metavar="ID", shell_complete=completing.runs)
@output_options("table", "json", "yaml", "name")
@mesh_command
async def cancel(session: Session, run_id: str) -> None:
    """End a batch now. Answers that are there stay; submitting the file again goes on from them."""
    async with session.client() as client:
        await client.batch(run_id)  # refuses a run that is no batch
        await client.cancel(run_id, reason="cancelled by `orbit batch cancel`")
        found = await client.batch(run_id)
    emit(session, found, table=_status, name=lambda each: each.run.run_id)
    if found.run.state != "cancelled":
        session.note(f"{run_id} had ended before")


async def _watch(session: Session, run_id: str) -> None:
    async with session.client() as client:
        try:
            await live.follow(client.watch(run_id), session.err, plain=False, now_ms=now_ms)
        except (asyncio.CancelledError, MeshUnreachableError):
            session.note(f"the batch goes on: orbit batch status -w {run_id}")
            raise
        found = await client.batch(run_id)
    emit(session, found, table=_status, name=lambda each: each.run.run_id)
    if found.run.state != "succeeded":
        raise Quit(Exit.RUN_FAILED)


# Files.


@contextlib.contextmanager
def _opened(file: Path) -> Iterator[BinaryIO]:
    if str(file) == "-":
        yield sys.stdin.buffer
        return
    try:
        opened = file.open("rb")
    except OSError as error:
        raise InvalidRequestError(f"{file} cannot be read: {error.strerror}", remedy="name a file") from error
    with opened:
        yield opened


@contextlib.contextmanager
def _replaced(file: str) -> Iterator[BinaryIO]:
    """A file that takes the place of another once it is whole; standard output for `-`."""
    if file == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    path = Path(file)
    try:
        handle, temporary = tempfile.mkstemp(dir=path.absolute().parent, prefix=f".{path.name}-")
    except OSError as error:
        raise InvalidRequestError(f"{file} cannot be written: {error.strerror}", remedy="name another file") from error
    try:
        with os.fdopen(handle, "wb") as written:
            yield written
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _umask() -> int:
    """The process's own: it can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


# What is said.


def _progress(session: Session) -> Callable[[BatchFile], None]:
    """Says how far a long upload is, once a second."""
    said_s = time.monotonic()

    def say(read: BatchFile) -> None:
        nonlocal said_s
        if time.monotonic() - said_s >= _SAID_EVERY_S:
            said_s = time.monotonic()
            session.note(f"{read.lines:,} lines read, {read.bad:,} bad")

    return say


def _submitted(found: BatchSubmission) -> RenderableType:
    read, quote = found.file, found.quotation.quote
    parts: list[RenderableType] = []
    if found.run is None:
        parts.append(Text("not submitted: --dry-run", "dim"))
    else:
        parts.append(Text.assemble((found.run.run_id, "bold"), f" {_what_happens(found.run)}"))
    bad = f", {read.bad:,} of them bad: they are answered with an error" if read.bad else ""
    parts.append(Text(f"{read.lines:,} lines in {plural(read.pages, 'page')}{bad}"))
    parts += [
        Text(f"  line {each.line}{f' ({each.custom_id})' if each.custom_id else ''}: {each.message}", "yellow")
        for each in read.problems
    ]
    if read.bad > len(read.problems):
        parts.append(Text(f"  and {read.bad - len(read.problems):,} more", "yellow"))
    kept = "kept" if quote.feasible else "not kept with the agents that are there"
    parts.append(
        Text(
            f"quote: about {money(quote.cost_usd)}, done in {span(quote.p50_finish_ms)} "
            f"(19 of 20 times within {span(quote.p95_finish_ms)}); the window of {span(quote.sla_ms)} is {kept}"
        )
    )
    return Group(*parts)


def _what_happens(run: Run) -> str:
    if run.state == "succeeded":
        return "was submitted before, and every line has its answer"
    if run.retry_of:
        return f"goes on from {run.retry_of}: only what is missing runs"
    return f"started; its window ends {ago(run.deadline_ms, now_ms())}"


def _status(found: Batch) -> RenderableType:
    run = found.run
    table = Table.grid(padding=(0, 2, 0, 0))
    answered = found.succeeded + found.failed
    rows: list[tuple[str, RenderableType]] = [
        ("state", tables.word(run.state)),
        ("lines", Text(f"{answered:,} of {found.lines:,} answered" if found.lines else "being counted")),
        ("", Text(f"{found.succeeded:,} succeeded, {found.failed:,} failed")),
        ("pages", Text(f"{found.pages_ended:,} of {found.pages:,}")),
        ("window", tables.sla(run, now_ms())),
        ("cost", Text(money(run.cost_usd))),
        ("tokens", Text(f"{run.usage.input_tokens:,} in, {run.usage.output_tokens:,} out")),
    ]
    if run.retry_of:
        rows.append(("continues", Text(run.retry_of)))
    if run.reason:
        rows.append(("reason", Text(run.reason)))
    if found.lost:
        rows.append(("without answer", Text(f"{found.lost:,}: submit the file again to run them", "yellow")))
    rows += [("failure", Text(each, "red")) for each in found.failures]
    for name, value in rows:
        table.add_row(Text(name, "dim"), value)
    return Group(Text(run.run_id, "bold"), table)


def _written(found: BatchAnswers) -> str:
    text = f"{found.succeeded:,} answered, {found.failed:,} failed"
    return f"{text}, {found.missing:,} still to come" if found.missing else text
