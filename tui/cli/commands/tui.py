"""`orbit tui`: the mesh in a full screen. Everything that is seen there is `tui.app`'s."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager

import click

from orbit_core.client import OrbitClient, Patience, resolve_addresses
from orbit_core.errors import PreconditionError
from tui.cli.exits import Exit, Quit
from tui.cli.session import Session, mesh_command, now_ms

#: How long one question waits for a first answer before the screen says why there is none; it is asked on.
_FIRST_CONTACT_S = 5.0


@click.command()
@click.argument("run_id", metavar="[RUN]", required=False, default="")
@mesh_command
async def tui(session: Session, run_id: str) -> None:
    """Watch agents and runs in a full screen, live.

    With RUN it opens at that run's page. Keys: Enter opens, Escape goes back, c cancels, r retries, d drains, Ctrl-P
    lists all that can be done, q quits.
    """
    _refuse_without_terminal()
    resolve_addresses(session.address)  # where no mesh is named, that is said here and not on an empty screen
    from tui.app.app import OrbitApp
    from tui.app.feed import Feed

    patience = Patience(total_s=session.timeout_s, first_contact_s=min(_FIRST_CONTACT_S, session.timeout_s))
    async with OrbitClient(
        session.address, patience=patience, on_wait=lambda error, waited_s: feed.waiting(error, waited_s)
    ) as client:
        feed = Feed(client, now_ms)
        app = OrbitApp(client, feed, run_id=run_id, now_ms=now_ms)
        with _quiet_log():
            await app.run_async()
    if app.return_code:
        raise Quit(Exit.BUG)


def _refuse_without_terminal() -> None:
    on_terminal = all(stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr))  # drawn on the last of them
    if not on_terminal or os.environ.get("TERM", "") in ("", "dumb", "unknown"):
        raise PreconditionError(
            "`orbit tui` draws on a terminal, and there is none here",
            remedy="`orbit runs`, `orbit status -w` and `orbit agents` print lines",
        )


@contextmanager
def _quiet_log() -> Generator[None, None, None]:
    """No log line is written across the screen; what matters is a notice there."""
    root, nowhere = logging.getLogger(), logging.NullHandler()
    handlers = list(root.handlers)
    for handler in handlers:
        root.removeHandler(handler)
    root.addHandler(nowhere)
    try:
        yield
    finally:
        root.removeHandler(nowhere)
        for handler in handlers:
            root.addHandler(handler)
