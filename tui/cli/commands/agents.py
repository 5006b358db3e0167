"""`orbit agents` and `orbit drain`: the machines of the mesh."""

from __future__ import annotations

import click

from tui.cli import completing, listing, tables
from tui.cli.output import emit
from tui.cli.session import Session, mesh_command, output_options


@click.command()
@click.option("-a", "--all", "include_lost", is_flag=True, help="Also those that were lost.")
@listing.watch_option
@output_options("table", "json", "yaml", "name")
@mesh_command
async def agents(session: Session, include_lost: bool, watch: bool) -> None:
    """List agents: state, price, hardware, what runs now."""
    async with session.client() as client:
        await listing.show(
            session,
            lambda: client.agents(include_lost=include_lost),
            table=lambda: tables.agents,
            name=lambda agent: agent.agent_id,
            watch=watch,
        )


@click.command()
@click.argument("agent_id", metavar="AGENT", shell_complete=completing.agents)
@output_options("table", "json", "yaml", "name")
@mesh_command
async def drain(session: Session, agent_id: str) -> None:
    """Let an agent take no more work.

    It finishes what fits and hands back the rest.
    """
    async with session.client() as client:
        agent = await client.drain(agent_id)
    emit(session, agent, table=lambda agent: tables.agents([agent]), name=lambda agent: agent.agent_id)
