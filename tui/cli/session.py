"""How commands reach the mesh, and the options that all of them share."""

from __future__ import annotations

import asyncio
import functools
import os
import sys
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Final, Literal, cast

import click
from rich.console import Console
from rich.text import Text

from orbit_core.client import OrbitClient, Patience
from orbit_core.errors import NotFoundError, OrbitError

Output = Literal["table", "json", "yaml", "name"]
OUTPUTS: Final = ("table", "json", "yaml", "name")

#: A mesh that was never there is told at once; one that answered may take its time to elect.
_FIRST_CONTACT_S: Final = 5.0
_SILENCE_S: Final = 1.0
_PIPE_WIDTH: Final = 240


def _console(*, stderr: bool) -> Console:
    console = Console(stderr=stderr, highlight=False)
    if not console.is_terminal:
        console.width = _PIPE_WIDTH  # whoever reads a pipe wants whole cells
    return console


@dataclass(slots=True)
class Session:
    """One invocation of `orbit`: where the mesh is, how patient to be, where to write."""

    address: str | None = None
    timeout_s: float = 60.0
    output: Output = "table"
    out: Console = field(default_factory=lambda: _console(stderr=False))
    err: Console = field(default_factory=lambda: _console(stderr=True))
    _waiting: bool = False

    @property
    def names_mesh(self) -> bool:
        """Whether a mesh was named in so many words, not only found in the context file."""
        return bool(self.address or os.environ.get("ORBIT_ADDRESS") or os.environ.get("ORBIT_CONTEXT"))

    def client(self) -> OrbitClient:
        patience = Patience(total_s=self.timeout_s, first_contact_s=min(_FIRST_CONTACT_S, self.timeout_s))
        return OrbitClient(self.address, patience=patience, on_wait=self._on_wait)

    def note(self, text: str | Text, style: str = "dim") -> None:
        """Something for the person that is not the answer: to standard error."""
        self.err.print(text if isinstance(text, Text) else Text(text, style))

    def _on_wait(self, error: OrbitError, waited_s: float) -> None:
        """A change of leader is a pause: said once, when it gets noticeable."""
        if waited_s < _SILENCE_S:
            self._waiting = False
        elif not self._waiting:
            self._waiting = True
            self.note(f"waiting for the mesh (at most {self.timeout_s:.0f} s): {error.message}")


def mesh_command(function: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """For commands that talk to a mesh: `--address`, `--timeout`, and an event loop to run in."""

    @click.option("--address", metavar="HOST:PORT", help="Coordinators, with commas.  [ORBIT_ADDRESS, the context]")
    @click.option(
        "--timeout",
        type=click.FloatRange(min=0.1),
        default=60.0,
        show_default=True,
        metavar="SECONDS",
        help="How long to wait for a leader.",
    )
    @functools.wraps(function)
    def command(*args: Any, address: str | None, timeout: float, **kwargs: Any) -> None:
        output = cast(Output, kwargs.pop("output", "table"))
        session = Session(address, timeout, "json" if kwargs.pop("as_json", False) else output)
        asyncio.run(function(session, *args, **kwargs))

    return command


def output_options(*choices: Output) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """`-o` with these choices, and `--json`. Goes above `mesh_command`."""

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        function = click.option("--json", "as_json", is_flag=True, help="The same as -o json.")(function)
        return click.option(
            "-o", "--output", type=click.Choice(choices or OUTPUTS), default="table", show_default=True
        )(function)

    return decorate


async def newest_run(client: OrbitClient, run_id: str | None) -> str:
    """The run that was named, or the newest one."""
    if run_id:
        return run_id
    runs = await client.runs(limit=1)
    if not runs:
        raise NotFoundError("there is no run yet", remedy="`orbit trigger CLUSTER` starts one")
    return runs[0].run_id


def confirm(question: str, *, yes: bool) -> None:
    """Ask before something is lost, where somebody is there to be asked. `click.Abort` for no."""
    if not yes and sys.stdin.isatty():
        click.confirm(question, abort=True, err=True)


def now_ms() -> int:
    return time.time_ns() // 1_000_000
