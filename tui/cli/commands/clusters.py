"""`orbit clusters`: what has been submitted."""

from __future__ import annotations

import click

from tui.cli import tables
from tui.cli.output import emit
from tui.cli.session import Session, mesh_command, now_ms, output_options


@click.command()
@click.argument("name", required=False, default="")
@output_options("table", "json", "yaml", "name")
@mesh_command
async def clusters(session: Session, name: str) -> None:
    """List clusters. NAME is a project, or PROJECT/CLUSTER for one of them with its document."""
    async with session.client() as client:
        if "/" in name:
            one = await client.cluster(name)
            emit(session, one, table=tables.cluster(now_ms()), name=lambda each: each.identifier)
        else:
            found = await client.clusters(name)
            emit(session, found, table=tables.clusters(now_ms()), name=lambda each: each.identifier)
