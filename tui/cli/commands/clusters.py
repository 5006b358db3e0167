"""`orbit clusters`, `enable`, `disable`, `versions`, `rollback`: what has been submitted, and which of it counts."""

from __future__ import annotations

import click

from orbit_core.client import Cluster
from tui.cli import completing, listing, tables
from tui.cli.output import emit
from tui.cli.session import Session, mesh_command, now_ms, output_options


@click.command()
@click.argument("name", required=False, default="", shell_complete=completing.clusters)
@listing.watch_option
@output_options("table", "json", "yaml", "name")
@mesh_command
async def clusters(session: Session, name: str, watch: bool) -> None:
    """List clusters. NAME is a project, or PROJECT/CLUSTER for one of them with its document."""
    async with session.client() as client:
        if "/" in name:
            emit(session, await client.cluster(name), table=tables.cluster(now_ms()), name=_identifier)
        else:
            await listing.show(
                session,
                lambda: client.clusters(name),
                table=lambda: tables.clusters(now_ms()),
                name=_identifier,
                watch=watch,
            )


@click.command()
@click.argument("cluster", shell_complete=completing.clusters)
@output_options("table", "json", "yaml", "name")
@mesh_command
async def enable(session: Session, cluster: str) -> None:
    """Let a cluster start runs again.

    Ticks that passed while it was disabled are not made up for.
    """
    async with session.client() as client:
        found = await client.enable(cluster)
    emit(session, found, table=lambda found: tables.clusters(now_ms())([found]), name=_identifier)


@click.command()
@click.argument("cluster", shell_complete=completing.clusters)
@output_options("table", "json", "yaml", "name")
@mesh_command
async def disable(session: Session, cluster: str) -> None:
    """Let a cluster start no more runs, whatever triggers it.

    Runs that are under way go on; `orbit cancel` ends one.
    """
    async with session.client() as client:
        found = await client.disable(cluster)
    emit(session, found, table=lambda found: tables.clusters(now_ms())([found]), name=_identifier)


@click.command()
@click.argument("cluster", shell_complete=completing.clusters)
@output_options("table", "json", "yaml", "name")
@mesh_command
async def versions(session: Session, cluster: str) -> None:
    """List what a cluster has said, the newest first."""
    async with session.client() as client:
        found = await client.versions(cluster)
    emit(session, found, table=tables.versions(now_ms()), name=lambda each: each.spec_hash)


@click.command()
@click.argument("cluster", shell_complete=completing.clusters)
@click.argument("version", required=False, default="")
@output_options("table", "json", "yaml", "name")
@mesh_command
async def rollback(session: Session, cluster: str, version: str) -> None:
    """Make an earlier version of a cluster the current one.

    VERSION is the beginning of its hash, as `orbit versions` shows it; without it, the version before this one. Runs
    that are under way go on with the version that they began with.
    """
    async with session.client() as client:
        found = await client.roll_back(cluster, version)
    emit(session, found, table=lambda found: tables.clusters(now_ms())([found]), name=_identifier)
    if session.output == "table":
        session.note(f"{found.identifier} is at {found.spec_hash[: tables.HASH_CHARS]} now")


def _identifier(cluster: Cluster) -> str:
    return cluster.identifier
