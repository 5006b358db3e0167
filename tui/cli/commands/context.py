"""`orbit context`: which mesh other commands mean. Names and addresses in a file of this user's; no mesh is asked."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, cast

import click
from rich.console import RenderableType

from orbit_core.client import context as kept
from orbit_core.client import orbit_home
from orbit_core.client.context import Context
from tui.cli import completing, tables
from tui.cli.output import emit
from tui.cli.session import Output, Session, output_options


def _here(function: Callable[..., None]) -> Callable[..., None]:
    """For commands that talk to no mesh: a session for output only."""

    @functools.wraps(function)
    def command(*args: Any, **kwargs: Any) -> None:
        output = cast(Output, kwargs.pop("output", "table"))
        function(Session(output="json" if kwargs.pop("as_json", False) else output), *args, **kwargs)

    return command


@click.group()
def context() -> None:
    """Name meshes, and say which one is meant.

    `orbit up` names its mesh by itself for as long as it is up. ORBIT_CONTEXT names another than the current one for
    one command; --address and ORBIT_ADDRESS need no context.
    """


@context.command("list")
@output_options("table", "json", "yaml", "name")
@_here
def list_contexts(session: Session) -> None:
    """List contexts; the current one is marked."""
    emit(session, kept.read_contexts(orbit_home()), table=_table, name=_name)


@context.command("use")
@click.argument("name", shell_complete=completing.contexts)
@_here
def use(session: Session, name: str) -> None:
    """Make NAME the current context."""
    found = kept.use_context(orbit_home(), name)
    session.out.print(f"{found.name} ({', '.join(found.addresses)}) is meant from now on", markup=False)


@context.command("set")
@click.argument("name")
@click.argument("addresses", metavar="HOST:PORT[,…]")
@_here
def set_context(session: Session, name: str, addresses: str) -> None:
    """Name a mesh by its coordinators, and make it the current context."""
    found = kept.set_context(orbit_home(), name, addresses)
    session.out.print(f"{found.name} ({', '.join(found.addresses)}) is meant from now on", markup=False)


@context.command("delete")
@click.argument("name", shell_complete=completing.contexts)
@_here
def delete(session: Session, name: str) -> None:
    """Forget a context; its mesh goes on. That there was none is not an error."""
    deleted = kept.delete_context(orbit_home(), name)
    session.out.print(f"{name} {'is forgotten' if deleted else 'was not there'}", markup=False)


def _table(found: Sequence[Context]) -> RenderableType:
    return tables.contexts(found)


def _name(found: Context) -> str:
    return found.name
