"""`orbit models`: the models that the mesh knows by name, where their files are, and ONNX made from other models."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from orbit_core.client import Model, ModelOnAgent, Pull
from orbit_core.errors import InvalidRequestError
from orbit_core.store.models import check_name
from tui.cli import listing
from tui.cli.exits import Exit, Quit
from tui.cli.output import emit
from tui.cli.session import Session, confirm, mesh_command, output_options
from tui.cli.sources import full_source
from tui.cli.words import size
from tui.export import exporting

_STYLES = {"warm": "green", "cached": "cyan", "fetching": "yellow", "cold": "dim"}


@click.group()
def models() -> None:
    """Add, list, pull, remove and export models.

    A model is a name and a source. The first agent that fetches it pins it, byte for byte, for all the others.
    """


@models.command("add")
@click.argument("name")
@click.argument("source")
@click.option("--revision", default="", help="Of a Hugging Face repository: a branch, a tag or a commit.")
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="Keep it to agents with this label.")
@output_options("table", "json", "yaml", "name")
@mesh_command
async def add(session: Session, name: str, source: str, revision: str, labels: tuple[str, ...]) -> None:
    """Make the model SOURCE known to every agent as NAME; nothing is fetched yet.

    \b
    SOURCE is one of   hf:owner/name[/folder][@revision]   or  owner/name
                       s3://bucket/prefix
                       folder:/path                        or  ./path, on the agents' machines
    The same NAME again takes what its source holds now.
    """
    check_name(name)
    async with session.client() as client:
        model = await client.add_model(name, full_source(source, revision), labels=_labels(labels))
    emit(session, model, table=lambda model: _added(model), name=lambda model: model.name)


@models.command("list")
@listing.watch_option
@output_options("table", "json", "yaml", "name")
@mesh_command
async def list_models(session: Session, watch: bool) -> None:
    """List models: size, source, and on which agents they are fetched (cached) or loaded (warm)."""
    async with session.client() as client:
        await listing.show(session, client.models, table=lambda: table, name=lambda model: model.name, watch=watch)


@models.command("pull")
@click.argument("name")
@click.option("--agent", "agent_ids", multiple=True, metavar="AGENT", help="Only there. [every agent that may hold it]")
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="Only agents with this label.")
@click.option("--no-wait", is_flag=True, help="Return at once; `orbit models list` tells how far they are.")
@mesh_command
async def pull(session: Session, name: str, agent_ids: tuple[str, ...], labels: tuple[str, ...], no_wait: bool) -> None:
    """Let agents fetch a model now, and verify it. Ends with 1 where one could not."""
    if agent_ids and labels:
        raise InvalidRequestError("give --agent or --label, one of the two")
    async with session.client() as client:
        asked = await client.pull_model(name, agent_ids=agent_ids, labels=_labels(labels))
        session.note(f"{name} is asked of {', '.join(asked.agent_ids)}")
        if no_wait:
            return
        model: Model | None = None
        waiting: tuple[str, ...] = ()
        async for model in client.watch_pull(asked):
            if (left := asked.unended(model)) and left != waiting:
                session.note(f"waiting for {', '.join(left)}")
                waiting = left
    assert model is not None, "a watch gives at least one model"
    _tell_end(session, asked, model)


@models.command("remove")
@click.argument("name")
@click.option("--force", is_flag=True, help="Also where runs that go on use it: what is left of their work fails.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@mesh_command
async def remove(session: Session, name: str, force: bool, yes: bool) -> None:
    """Forget a model; agents give up its files. That there was none is not an error."""
    confirm(f"remove the model {name}?", yes=yes)
    async with session.client() as client:
        removed = await client.remove_model(name, force=force)
    session.out.print(f"{name} {'is removed' if removed else 'was not there'}", markup=False)


@models.command("export")
@click.argument("model", metavar="HF_REPO")
@click.argument("out", type=click.Path(path_type=Path, file_okay=False))
@click.option("--task", type=click.Choice(["auto", *exporting.TASKS]), default="auto", show_default=True)
@click.option("--precision", type=click.Choice(exporting.PRECISIONS), default="int4", show_default=True)
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@click.option("--revision", default="", help="A branch, a tag or a commit.")
@click.option("--python", type=click.Path(path_type=Path, dir_okay=False, exists=True), help="An environment's own.")
def export(model: str, out: Path, task: str, precision: str, device: str, revision: str, python: Path | None) -> None:
    """Make ONNX in the folder OUT from the Hugging Face repository (or local folder) HF_REPO.

    Language models are made by onnxruntime-genai's builder, encoders and sequence classifiers by optimum, each in an
    environment of its own, which is made the first time (torch and more: some gigabytes). `--precision` and
    `--device` are for language models.
    """
    session = Session()
    wanted = exporting.Export(model, out.absolute(), task, precision, device, revision)
    done = exporting.export(wanted, python=python, note=session.note)
    session.out.print(f"{done.folder}: {done.task}, {size(done.size_bytes)}", markup=False, soft_wrap=True)
    session.note(f"orbit models add NAME folder:{done.folder}  makes it known to the mesh")


def table(found: Sequence[Model]) -> RenderableType:
    """A row for each model; agents are counted where there are many."""
    rows = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in ("MODEL", "SIZE", "SOURCE", "PINNED", "KEPT TO", "AGENTS"):
        rows.add_column(column, justify="right" if column == "SIZE" else "left", no_wrap=column != "AGENTS")
    for model in found:
        rows.add_row(
            model.name,
            size(model.size_bytes) if model.size_bytes else "",
            model.source,
            (model.revision or model.hash)[:12],
            ", ".join(f"{key}={value}" for key, value in sorted(model.labels.items())),
            _agents(model.agents),
        )
    return rows if rows.row_count else Text("no models: `orbit models add NAME SOURCE` registers one", "dim")


def _agents(agents: Sequence[ModelOnAgent]) -> Text:
    """`warm a, b; cached c; cold 7`: names of those that have it, the number of those that have not."""
    parts: list[tuple[str, str]] = []
    for state in ("warm", "fetching", "cached", "cold"):
        names = [each.agent_id for each in agents if each.state == state and not (each.barred and state == "cold")]
        if names:
            parts.append((f"{state} {len(names) if state == 'cold' else ', '.join(names)}", _STYLES[state]))
    failed = [f"{each.agent_id}: {each.failure}" for each in agents if each.failure]
    parts += [(text, "red") for text in failed]
    return Text("; ").join(Text(text, style) for text, style in parts)


def _added(model: Model) -> RenderableType:
    kept = f", kept to agents labelled {', '.join(f'{k}={v}' for k, v in model.labels.items())}" if model.labels else ""
    return Text(f"{model.name} is {model.source}{kept}; `orbit models pull {model.name}` fetches it now")


def _tell_end(session: Session, asked: Pull, model: Model) -> None:
    failures = asked.failures(model)
    for agent_id, failure in failures.items():
        session.note(f"{agent_id}: {failure}", "red")
    done = [agent_id for agent_id in asked.agent_ids if agent_id not in failures]
    if done:
        what = f"{model.name} ({size(model.size_bytes)}, {model.hash[:12]}) is on {', '.join(done)}"
        session.out.print(what, markup=False, soft_wrap=True)
    if failures:
        raise Quit(Exit.RUN_FAILED)


def _labels(words: Sequence[str]) -> dict[str, str]:
    labels: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise InvalidRequestError(f"{word!r} is not of the form KEY=VALUE")
        labels[key] = value
    return labels
