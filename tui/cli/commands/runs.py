"""`orbit trigger`, `runs`, `status`, `retry`, `resume`, `cancel`: runs started, listed, watched, begun anew, ended."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import click
from rich.console import Group

from orbit_core.client import OrbitClient, Run, RunState, SlaState
from orbit_core.errors import InvalidRequestError, MeshUnreachableError
from tui.cli import completing, listing, live, tables
from tui.cli.exits import Exit, Quit
from tui.cli.moments import Moment
from tui.cli.output import emit
from tui.cli.session import Session, mesh_command, newest_run, now_ms, output_options
from tui.cli.words import span

_STATES = ("running", "paused", "succeeded", "partially-succeeded", "failed", "cancelled")
_SLAS = ("pending", "met", "missed")


@click.command()
@click.argument("cluster", shell_complete=completing.clusters)
@click.option("-p", "--payload", metavar="JSON|@FILE|-", default="", help="An object; `-` reads standard input.")
@click.option("--request-id", help="The same id again gives the same run.")
@click.option("-w", "--watch", is_flag=True, help="Show progress until the run has ended; 1 unless it succeeded.")
@output_options("table", "json", "yaml", "name")
@mesh_command
async def trigger(session: Session, cluster: str, payload: str, request_id: str | None, watch: bool) -> None:
    """Start a run of CLUSTER."""
    body = _payload(payload)
    async with session.client() as client:
        run = await client.trigger(cluster, body, request_id=request_id)
        if watch:
            await _watch(session, client, run.run_id)
            return
    emit(
        session, run, table=lambda run: f"{run.run_id} started, SLA {span(run.deadline_ms - run.created_ms)}", name=_id
    )
    if session.output == "table":
        session.note(f"next: orbit status -w {run.run_id}")


@click.command()
@click.argument("cluster", required=False, default="", shell_complete=completing.clusters)
@click.option("--project", default="", help="Only this project's.")
@click.option("--state", "states", type=click.Choice(_STATES), multiple=True, help="Only these; may be repeated.")
@click.option("--sla", "slas", type=click.Choice(_SLAS), multiple=True, help="Only these; may be repeated.")
@click.option("--since", type=Moment(), metavar="TIME", help="Started then or later: `90m`, `2026-01-31`, `…T12:00Z`.")
@click.option("--before", type=Moment(), metavar="TIME", help="Started before then.")
@click.option("-n", "--limit", type=click.IntRange(min=1), default=20, show_default=True)
@listing.watch_option
@output_options("table", "json", "yaml", "name")
@mesh_command
async def runs(
    session: Session,
    cluster: str,
    project: str,
    states: tuple[RunState, ...],
    slas: tuple[SlaState, ...],
    since: int | None,
    before: int | None,
    limit: int,
    watch: bool,
) -> None:
    """List runs, the newest first."""
    async with session.client() as client:

        async def found() -> tuple[Run, ...]:
            return await client.runs(
                cluster,
                states=states,
                limit=limit,
                project=project,
                slas=slas,
                created_from_ms=since or 0,
                created_before_ms=before or 0,
            )

        await listing.show(session, found, table=lambda: tables.runs(now_ms()), name=_id, watch=watch)


@click.command()
@click.argument("run_id", metavar="[RUN]", required=False, shell_complete=completing.runs)
@click.option("-w", "--watch", is_flag=True, help="Until the run has ended; 1 unless it succeeded.")
@output_options("table", "json", "yaml", "name")
@mesh_command
async def status(session: Session, run_id: str | None, watch: bool) -> None:
    """Show a run: progress by step, SLA, cost. It is the newest one, unless named."""
    async with session.client() as client:
        run_id = await newest_run(client, run_id)
        if watch:
            await _watch(session, client, run_id)
            return
        run = await client.run(run_id)
    emit(session, run, table=_status, name=_id)


@click.command()
@click.argument("run_id", metavar="RUN", shell_complete=completing.runs)
@click.option("--request-id", help="The same id again gives the same run.")
@click.option("-w", "--watch", is_flag=True, help="Show progress until the run has ended; 1 unless it succeeded.")
@output_options("table", "json", "yaml", "name")
@mesh_command
async def retry(session: Session, run_id: str, request_id: str | None, watch: bool) -> None:
    """Make a new run of one that failed in part or whole.

    It is linked to the old one and takes over its results: only what failed, and what rests on it, runs again. Its SLA
    begins now.
    """
    async with session.client() as client:
        run = await client.retry(run_id, request_id=request_id)
        if watch:
            await _watch(session, client, run.run_id)
            return
    emit(session, run, table=lambda run: f"{run.run_id} started, a retry of {run.retry_of}", name=_id)
    if session.output == "table":
        session.note(f"next: orbit status -w {run.run_id}")


@click.command()
@click.argument("run_id", metavar="RUN", shell_complete=completing.runs)
@click.option("--budget", type=click.FloatRange(min=0, min_open=True), metavar="USD", help="The most it may cost now.")
@click.option("-w", "--watch", is_flag=True, help="Show progress until the run has ended; 1 unless it succeeded.")
@output_options("table", "json", "yaml", "name")
@mesh_command
async def resume(session: Session, run_id: str, budget: float | None, watch: bool) -> None:
    """Let a run that its budget paused go on.

    Without --budget it goes on until its next work would pass the budget again.
    """
    async with session.client() as client:
        run = await client.resume(run_id, budget_usd=budget or 0.0)
        if watch:
            await _watch(session, client, run.run_id)
            return
    emit(session, run, table=_status, name=_id)


@click.command()
@click.argument("run_id", metavar="RUN", shell_complete=completing.runs)
@click.option("--reason", default="", help="Kept with the run.")
@output_options("table", "json", "yaml", "name")
@mesh_command
async def cancel(session: Session, run_id: str, reason: str) -> None:
    """End a run now.

    Attempts are stopped, late results dropped, failure steps not run.
    """
    async with session.client() as client:
        run = await client.cancel(run_id, reason=reason)
    emit(session, run, table=_status, name=_id)
    if run.state != "cancelled":
        session.note(f"{run_id} had ended before")


def _id(run: Run) -> str:
    return run.run_id


def _status(run: Run) -> Group:
    return Group(live.progress(run, now_ms()), "", tables.summary(run, now_ms()))


async def _watch(session: Session, client: OrbitClient, run_id: str) -> None:
    try:
        run = await live.follow(_told(session, client.watch(run_id)), session.err, plain=False, now_ms=now_ms)
    except (asyncio.CancelledError, MeshUnreachableError):
        session.note(f"the run goes on: orbit status -w {run_id}")
        raise
    emit(session, run, table=lambda run: tables.summary(run, now_ms()), name=_id)
    if run.state != "succeeded":
        if session.output == "table":
            session.note(f"next: orbit results {run_id}, orbit logs {run_id}, orbit retry {run_id}")
        raise Quit(Exit.RUN_FAILED)


async def _told(session: Session, runs: AsyncIterator[Run]) -> AsyncIterator[Run]:
    """The same runs; that one is paused, which only a person can change, is said."""
    state = ""
    async for run in runs:
        if run.state == "paused" != state:
            session.note(f"paused: {run.reason}; next: orbit resume {run.run_id} --budget USD", "yellow")
        state = run.state
        yield run


def _payload(text: str) -> dict[str, Any]:
    """The object that `--payload` stands for."""
    try:
        if text == "-":
            text = sys.stdin.read()
        elif text.startswith("@"):
            text = Path(text[1:]).read_text()
        body = json.loads(text or "{}")
    except (OSError, ValueError) as error:
        raise InvalidRequestError(
            f"the payload cannot be read: {error}", remedy="""write it like --payload '{"day": "2026-01-31"}'"""
        ) from error
    if not isinstance(body, dict):
        raise InvalidRequestError("the payload is not a JSON object", remedy='wrap it: {"items": …}')
    return body
