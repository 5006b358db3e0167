"""`orbit version`: of this command, and of the mesh where one answers."""

from __future__ import annotations

import importlib.metadata
import platform
from dataclasses import dataclass

import click

from orbit_core.client import Mesh, OrbitClient, Patience
from orbit_core.errors import OrbitError
from tui.cli.output import emit
from tui.cli.session import Session, mesh_command, output_options

_ANSWER_S = 2.0


@dataclass(frozen=True, slots=True)
class Versions:
    orbit: str
    python: str
    platform: str
    mesh: Mesh | None


@click.command()
@output_options("table", "json", "yaml", "name")
@mesh_command
async def version(session: Session) -> None:
    """Show versions. A mesh that does not answer is not an error here."""
    mesh = None
    try:
        async with OrbitClient(session.address, patience=Patience(total_s=_ANSWER_S, attempt_s=_ANSWER_S)) as client:
            mesh = await client.mesh()
    except OrbitError as error:
        session.note(f"no mesh: {error.message}")
    versions = Versions(
        importlib.metadata.version("orbit-mesh"), platform.python_version(), platform.platform(terse=True), mesh
    )
    emit(session, versions, table=_text, name=lambda each: each.orbit)


def _text(versions: Versions) -> str:
    text = f"orbit {versions.orbit}, Python {versions.python}, {versions.platform}"
    if versions.mesh:
        text += f"\nmesh {versions.mesh.version}, led by {versions.mesh.leader_id} at {versions.mesh.leader_address}"
    return text
