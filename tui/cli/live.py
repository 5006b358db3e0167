"""A run as it goes: a bar for each step, the SLA's countdown, the cost so far. On a terminal it moves in place; into a
pipe it is a line whenever something has changed. Rendering is apart from following: `progress` is a pure function."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from orbit_core.client import Run, StepProgress
from tui.cli.tables import sla, word
from tui.cli.words import clock, money, span

_BAR_WIDTH: Final = 28
_LINE_EVERY_S: Final = 1.0


def progress(run: Run, now_ms: int) -> RenderableType:
    """The whole picture of a run at one moment."""
    took_ms = (run.ended_ms or now_ms) - run.created_ms
    head = Text.assemble(
        (run.run_id, "bold"), "  ", run.cluster, "  ", word(run.state), "  ", span(took_ms), "  SLA ", sla(run, now_ms),
        "  ", (money(run.cost_usd), "bold"), " so far" if not run.ended else "",
    )  # fmt: skip
    table = Table.grid(padding=(0, 2, 0, 0))
    for _ in range(3):
        table.add_column(no_wrap=True)
    for step in run.steps:
        if step.section == "main" or step.expected:
            table.add_row(_name(step), _bar(step), _counts(step))
    return Group(head, table)


def _name(step: StepProgress) -> Text:
    return Text(step.step) if step.section == "main" else Text.assemble(step.step, (f" ({step.section})", "dim"))


def _bar(step: StepProgress) -> RenderableType:
    return ProgressBar(
        total=max(step.expected, 1),
        completed=step.ended,
        width=_BAR_WIDTH,
        complete_style="yellow" if step.failed else "cyan",
        finished_style="yellow" if step.failed else "green",
    )


def _counts(step: StepProgress) -> Text:
    counts = Text(f"{step.ended}/{step.expected}")
    for count, name, style in (
        (step.running, "running", "cyan"),
        (step.waiting, "waiting", "dim"),
        (step.failed, "failed", "red"),
        (step.skipped, "skipped", "dim"),
        (step.cancelled, "cancelled", "dim"),
    ):
        if count:
            counts.append(f"  {count} {name}", style)
    return counts


def line(run: Run) -> str:
    """The same in one line of plain text."""
    steps = ", ".join(
        f"{step.step} {step.ended}/{step.expected}" + (f" ({step.failed} failed)" if step.failed else "")
        for step in run.steps
        if step.expected
    )
    return f"{run.run_id} {run.state} {money(run.cost_usd)}" + (f": {steps}" if steps else "")


async def follow(runs: AsyncIterator[Run], console: Console, *, plain: bool, now_ms: Callable[[], int]) -> Run:
    """Show each of `runs` until there are no more; the last one."""
    if plain or not console.is_terminal:
        return await _follow_in_lines(runs, console, now_ms)
    shown: list[Run] = []

    def picture() -> RenderableType:
        return progress(shown[-1], now_ms()) if shown else Text("…", "dim")

    with Live(get_renderable=picture, console=console, refresh_per_second=8, transient=False) as live:
        async for run in runs:
            shown[:] = [run]
        live.refresh()
    return shown[-1]


async def _follow_in_lines(runs: AsyncIterator[Run], console: Console, now_ms: Callable[[], int]) -> Run:
    last, said, next_s = None, "", 0.0
    async for run in runs:
        last, text = run, line(run)
        if text != said and (run.ended or time.monotonic() >= next_s):
            console.print(Text(f"{clock(now_ms())} {text}"), soft_wrap=True)
            said, next_s = text, time.monotonic() + _LINE_EVERY_S
    assert last is not None, "a watch gives at least one run"
    return last
