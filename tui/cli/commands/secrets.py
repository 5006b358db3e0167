"""`orbit secrets`: the vault. Values come from standard input, a prompt or a file, never from the command line, where
every other user of the machine could read them."""

from __future__ import annotations

import sys
from typing import BinaryIO

import click

from orbit_core.errors import InvalidRequestError
from tui.cli import completing, tables
from tui.cli.output import emit
from tui.cli.session import Session, mesh_command, output_options


@click.group()
def secrets() -> None:
    """Set, list and delete secrets, rotate their keys; values never come out."""


@secrets.command("set")
@click.argument("cluster", shell_complete=completing.clusters)
@click.argument("name")
@click.option("--from-file", type=click.File("rb"), metavar="FILE", help="Read the value from a file; `-`: from stdin.")
@mesh_command
async def set_secret(session: Session, cluster: str, name: str, from_file: BinaryIO | None) -> None:
    """Store a secret. The value is asked for, or read from standard input where that is not a terminal."""
    value = _value(from_file, name)
    async with session.client() as client:
        secret = await client.set_secret(cluster, name, value)
    session.out.print(f"{secret.name} of {secret.cluster} is set", markup=False)


@secrets.command("list")
@click.argument("cluster", required=False, default="", shell_complete=completing.clusters)
@output_options("table", "json", "yaml", "name")
@mesh_command
async def list_secrets(session: Session, cluster: str) -> None:
    """List the names in the vault, of one cluster or of all."""
    async with session.client() as client:
        found = await client.secrets(cluster)
    emit(session, found, table=tables.secrets, name=lambda secret: secret.name)


@secrets.command("delete")
@click.argument("cluster", shell_complete=completing.clusters)
@click.argument("name")
@mesh_command
async def delete_secret(session: Session, cluster: str, name: str) -> None:
    """Forget a secret. That there was none is not an error."""
    async with session.client() as client:
        deleted = await client.delete_secret(cluster, name)
    session.out.print(f"{name} of {cluster} {'is deleted' if deleted else 'was not there'}", markup=False)


@secrets.command("rotate")
@click.argument("project")
@mesh_command
async def rotate(session: Session, project: str) -> None:
    """Give a project a new key, and seal its secrets under it. Values stay as they are."""
    async with session.client() as client:
        key_id = await client.rotate_key(project)
    session.out.print(f"the secrets of {project} are sealed under {key_id} now", markup=False)


def _value(from_file: BinaryIO | None, name: str) -> str:
    """The value, without the newline that editors and `echo` add. Raises `InvalidRequestError` for none."""
    if from_file is None and sys.stdin.isatty():
        return click.prompt(name, hide_input=True, confirmation_prompt=True, err=True)
    data = (from_file or sys.stdin.buffer).read()
    try:
        value = data.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError as error:
        raise InvalidRequestError(f"the value of {name} is not text", remedy="encode it, with base64 say") from error
    if not value:
        raise InvalidRequestError(f"the value of {name} is empty", remedy="`orbit secrets delete` forgets a secret")
    return value
