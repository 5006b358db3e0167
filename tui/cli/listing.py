"""A listing, once or again and again: `--watch` of the commands that list. What is listed is not known here."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import click
from rich.console import RenderableType
from rich.live import Live

from orbit_core.client import to_json
from tui.cli.output import emit, emit_line
from tui.cli.session import Session

LOOK_EVERY_S: Final = 2.0

watch_option = click.option("-w", "--watch", is_flag=True, help="Go on showing it until Ctrl-C.")

Fetch = Callable[[], Awaitable[Sequence[Any]]]
Tables = Callable[[Sequence[Any]], RenderableType]


async def show(
    session: Session, fetch: Fetch, *, table: Callable[[], Tables], name: Callable[[Any], str], watch: bool
) -> None:
    """Emit what `fetch` gives. `table()` renders as of now: ages and countdowns move though nothing else does.

    With `watch` a terminal shows it in place; JSON is one line, and any other form all of it, whenever it has changed.
    """
    found = await fetch()
    if not watch:
        emit(session, found, table=table(), name=name)
    elif session.output == "table" and session.out.is_terminal:
        with Live(table()(found), console=session.out, auto_refresh=False, vertical_overflow="crop") as live:
            while True:
                live.update(table()(found), refresh=True)
                await asyncio.sleep(LOOK_EVERY_S)
                found = await fetch()
    else:
        await _whenever_changed(session, found, fetch, table, name)


async def _whenever_changed(
    session: Session, found: Sequence[Any], fetch: Fetch, table: Callable[[], Tables], name: Callable[[Any], str]
) -> None:
    said: Any = None
    while True:
        if (now := to_json(found)) != said:
            if session.output == "json":
                emit_line(session, found)
            else:
                emit(session, found, table=table(), name=name)
            if session.output == "table":
                session.out.print()
            session.out.file.flush()
            said = now
        await asyncio.sleep(LOOK_EVERY_S)
        found = await fetch()
