"""`orbit validate` and `orbit submit`: cluster files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
from rich.text import Text

from orbit_core.client import Diagnostic, Validation
from orbit_core.errors import InvalidRequestError
from tui.cli.exits import Exit, Quit
from tui.cli.output import emit
from tui.cli.quoting import tell_quotation
from tui.cli.session import Session, mesh_command, now_ms, output_options
from tui.cli.words import ago, plural, span


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, allow_dash=True))
@output_options("table", "json", "yaml", "name")
@mesh_command
async def validate(session: Session, files: tuple[Path, ...]) -> None:
    """Check cluster files, and tell every problem at once.

    Each is a line: FILE:LINE:COLUMN: error: PATH: MESSAGE. Works without a mesh, against the satellites that are
    installed here; with --address against the mesh's. Ends with 3 where a file is not valid. FILE may be `-` for
    standard input.
    """
    found = [await _validate_one(session, file) for file in files]
    emit(session, found, table=_lines, name=lambda each: each.identifier)
    if not all(each.ok for each in found):
        raise Quit(Exit.INVALID_FILE)


@click.command()
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--request-id", help="The same id again gives the same answer.")
@click.option("--quote", is_flag=True, help="Store nothing: tell what a run would cost and when it would end.")
@output_options("table", "json", "yaml", "name")
@mesh_command
async def submit(session: Session, file: Path, request_id: str | None, quote: bool) -> None:
    """Store a cluster file and arm its triggers.

    Secrets that it spells out move into the vault."""
    content, name = read(file)
    if quote:
        await tell_quotation(session, content)
        return
    async with session.client() as client:
        submission = await client.submit(content, file_name=name, request_id=request_id)
    for warning in submission.diagnostics:
        session.note(warning.text, "yellow")
    cluster = submission.cluster

    def told(_: Any) -> Text:
        what = "stored" if submission.changed else "unchanged"
        text = Text.assemble((cluster.identifier, "bold"), f" {what}: {plural(len(cluster.steps), 'step')}, ")
        text.append(f"SLA {span(cluster.sla_ms)}, {', '.join(cluster.triggers)}")
        if cluster.next_run_ms:
            text.append(f"; next run {ago(cluster.next_run_ms, now_ms())}")
        return text

    emit(session, submission, table=told, name=lambda _: cluster.identifier)
    if session.output == "table":
        session.note(f"next: orbit trigger {cluster.identifier} -w")


def read(file: Path) -> tuple[bytes, str]:
    """The content of a file, or of standard input for `-`, and its name for messages."""
    if str(file) == "-":
        return sys.stdin.buffer.read(), "<stdin>"
    try:
        return file.read_bytes(), str(file)
    except OSError as error:
        raise InvalidRequestError(
            f"{file} cannot be read: {error.strerror}", remedy="name a cluster file; the README has one to start from"
        ) from error


async def _validate_one(session: Session, file: Path) -> Validation:
    content, name = read(file)
    if session.names_mesh:
        async with session.client() as client:
            return await client.validate(content, file_name=name)
    return check_here(content, name)


def check_here(content: bytes, name: str) -> Validation:
    """Check against the satellites that are installed on this machine."""
    from orbit_core.spec.loader import load
    from satellites.catalog import InstalledCatalog

    loaded = load(content, file=name, catalog=InstalledCatalog())
    diagnostics = tuple(
        Diagnostic(
            severity=each.severity,
            code=each.code,
            file=each.file,
            line=each.line or 0,
            column=each.column or 0,
            path=each.path,
            message=each.message,
            found=each.found or "",
            expected=each.expected or "",
            suggestion=each.suggestion or "",
            text=each.format(),
        )
        for each in loaded.diagnostics
    )
    return Validation(name, loaded.cluster.identifier if loaded.cluster else "", diagnostics)


def _lines(found: list[Validation]) -> Text:
    lines = []
    for validation in found:
        lines += [each.text for each in validation.diagnostics]
        errors = sum(each.severity == "error" for each in validation.diagnostics)
        warnings = len(validation.diagnostics) - errors
        verdict = f"{plural(errors, 'error')}" if errors else f"valid, cluster {validation.identifier}"
        lines.append(f"{validation.file}: {verdict}" + (f", {plural(warnings, 'warning')}" if warnings else ""))
    return Text("\n".join(lines))
