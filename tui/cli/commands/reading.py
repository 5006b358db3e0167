"""`orbit results` and `orbit logs`: what a run gave and said."""

from __future__ import annotations

from pathlib import Path

import click
from rich.text import Text

from orbit_core.client import Download, LogRecord
from tui.cli import completing, tables
from tui.cli.output import emit, emit_line
from tui.cli.session import Session, mesh_command, newest_run, output_options
from tui.cli.words import clock, plural

_LEVEL_STYLES = {"error": "red", "warning": "yellow", "debug": "dim"}


@click.command()
@click.argument("run_id", metavar="[RUN]", required=False, shell_complete=completing.runs)
@click.option("-f", "--follow", is_flag=True, help="Until the run has ended.")
@click.option("--step", "steps", multiple=True, help="The objects of this step instead; may be repeated.")
@click.option("--failed", is_flag=True, help="Only lineages that failed.")
@click.option("--values", is_flag=True, help="Only the objects, one line of JSON each.")
@click.option(
    "--download",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="Write objects.jsonl, failures.jsonl, and the files that objects refer to, there.",
)
@click.option("--overwrite", is_flag=True, help="What is in that FOLDER already may be replaced.")
@output_options("table", "json", "yaml", "name")
@mesh_command
async def results(
    session: Session,
    run_id: str | None,
    follow: bool,
    steps: tuple[str, ...],
    failed: bool,
    values: bool,
    download: Path | None,
    overwrite: bool,
) -> None:
    """Show what a run's lineages ended with: objects and errors.

    RUN is the newest one, unless named. With --follow, -o json is one object a line, as they come. A --download that
    was cut off goes on where it was; nothing that is there already is overwritten unless asked for.
    """
    found = []
    async with session.client() as client:
        run_id = await newest_run(client, run_id)
        if download is not None:
            written = await client.download(run_id, download, steps=steps, follow=follow, overwrite=overwrite)
            emit(session, written, table=_written, name=lambda each: str(each.objects))
            return
        async for result in client.results(run_id, follow=follow, steps=steps):
            if failed and result.failure is None:
                continue
            if values:
                if result.failure is None:
                    emit_line(session, result.value)
            elif follow and session.output == "json":
                emit_line(session, result)
            else:
                found.append(result)
    if not values and not (follow and session.output == "json"):
        emit(session, found, table=tables.results, name=lambda each: each.invocation_id)
        if session.output == "table":
            bad = sum(each.failure is not None for each in found)
            session.note(f"{plural(len(found) - bad, 'result')}, {bad} failed")


@click.command()
@click.argument("run_id", metavar="[RUN]", required=False, shell_complete=completing.runs)
@click.option("-f", "--follow", is_flag=True, help="Until the run has ended.")
@click.option("--step", default="", help="Only this step's.")
@click.option("--invocation", default="", help="Only this invocation's.")
@output_options("table", "json")
@mesh_command
async def logs(session: Session, run_id: str | None, follow: bool, step: str, invocation: str) -> None:
    """Show what a run's satellites logged.

    RUN is the newest one, unless named. JSON is one record a line.
    """
    async with session.client() as client:
        run_id = await newest_run(client, run_id)
        async for record in client.logs(run_id, follow=follow, step=step, invocation_id=invocation):
            if session.output == "json":
                emit_line(session, record)
            else:
                session.out.print(_line(record), soft_wrap=True)


def _written(found: Download) -> Text:
    lines = [f"{found.objects}: {plural(found.objects_count, 'object')}"]
    if found.failures is not None:
        lines.append(f"{found.failures}: {plural(found.failures_count, 'failed lineage')}")
    if found.files:
        lines.append(f"{found.files[0].parent}: {plural(len(found.files), 'file')}")
    return Text("\n".join(lines))


def _line(record: LogRecord) -> Text:
    return Text.assemble(
        (clock(record.time_ms), "dim"),
        " ",
        (f"{record.level:7}", _LEVEL_STYLES.get(record.level, "")),
        " ",
        (f"{record.step} {record.agent_id}", "dim"),
        f" {record.message}",
    )
