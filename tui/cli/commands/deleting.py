"""`orbit delete`: a run that has ended, or a cluster, is forgotten."""

from __future__ import annotations

import click

from tui.cli import completing
from tui.cli.session import Session, confirm, mesh_command


@click.command()
@click.argument("name", metavar="RUN|CLUSTER", shell_complete=completing.runs_and_clusters)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@mesh_command
async def delete(session: Session, name: str, yes: bool) -> None:
    """Forget a run that has ended, or a cluster.

    A name with a `/` is a cluster's: it starts no more runs. Those that ended stay readable, and its secrets stay in
    the vault (`orbit secrets list`, `orbit secrets delete`). A run goes with its results and logs: nothing of it is
    found any more, though the bytes of its objects, which other runs may share, stay on the disks of the mesh.

    What is under way is not deleted: `orbit cancel` ends it first. That there was none is not an error. Asks first,
    where it is typed at a terminal.
    """
    is_cluster = "/" in name
    what = f"cluster {name}" if is_cluster else f"{name}, its results and its logs"
    confirm(f"Forget {what}?", yes=yes)
    async with session.client() as client:
        deleted = await (client.delete_cluster(name) if is_cluster else client.delete_run(name))
    session.out.print(f"{name} {'is deleted' if deleted else 'was not there'}", markup=False)
