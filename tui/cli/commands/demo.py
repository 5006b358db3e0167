"""`orbit demo`: the job that Orbit exists for, on real input, in a minute."""

from __future__ import annotations

import asyncio

import click

from orbit_core.errors import PreconditionError
from tui.cli.exits import Exit, Quit
from tui.cli.session import Session
from tui.mesh.signals import until_signalled


@click.command()
@click.option("--documents", type=click.IntRange(min=2, max=1_000), default=24, show_default=True)
@click.option(
    "--model",
    default="orbit-demo",
    show_default=True,
    help="Reads the reports: a name, a Hugging Face repository (ONNX in genai's layout), or a folder.",
)
@click.option("--keep", is_flag=True, help="Leave the mesh running at the end, until Ctrl-C.")
@click.option("--plain", is_flag=True, help="Lines instead of moving bars.")
def demo(documents: int, model: str, keep: bool, plain: bool) -> None:
    """Show the whole job on a mesh of three agents, in a minute.

    A bucket of quarterly reports is read by a language model, and what they say is posted to a webhook. Starts
    everything that it needs, on loopback only, and leaves nothing behind. Ends with 1 unless all went as it should.
    """
    try:
        import fpdf  # noqa: F401  # pyright: ignore[reportUnusedImport]
        import moto  # noqa: F401  # pyright: ignore[reportUnusedImport]
    except ImportError as error:
        raise PreconditionError(
            f"the demonstration needs {error.name}", remedy="pip install 'orbit-mesh[cpu,ocr,demo]', or `make demo`"
        ) from error
    from tui.demo.play import Demonstration, Options

    session = Session()
    demonstration = Demonstration(Options(documents, model, keep, plain), session.out, session.err)
    if asyncio.run(until_signalled(demonstration.play())) and not demonstration.as_expected:
        session.note("interrupted: everything that was started is gone")
        raise Quit(Exit.INTERRUPTED)
    if not demonstration.as_expected:
        raise Quit(Exit.RUN_FAILED)
