"""`StepsTable`: the graph of a run with the counts of each step; the steps that others see in one row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType

from orbit_core.client import StepProgress
from tui.app.model.columns import Column, cut
from tui.app.model.page import StepLine
from tui.app.widgets.cells import bar, step_style
from tui.app.widgets.fitted_table import Cell, FittedTable


class StepsTable(FittedTable):
    COLUMNS: ClassVar[tuple[Column, ...]] = (
        Column("step", "STEP", 24, 56, 0),
        Column("bar", "PROGRESS", 8, 30, 3),
        Column("done", "DONE", 15, 15, 1, right=True),
        Column("running", "RUNS", 4, 6, 2, right=True),
        Column("waiting", "WAITS", 5, 7, 4, right=True),
        Column("failed", "FAILED", 6, 7, 2, right=True),
        Column("skipped", "SKIPPED", 7, 7, 5, right=True),
        Column("satellite", "SATELLITE", 10, 40, 6),
    )

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "select_cursor", "This step", tooltip="Only this step's errors and logs below; again: all"),
    ]

    def show(self, lines: Sequence[StepLine], looked_at: str) -> None:
        self.show_rows({f"{line.progress.section}/{line.progress.step}": _row(line, looked_at) for line in lines})


def _row(line: StepLine, looked_at: str) -> dict[str, Cell]:
    step = line.progress
    return {
        "step": lambda width: _name(line, looked_at, width),
        "bar": lambda width: bar(step, width),
        "done": f"{step.ended}/{step.expected}",
        "running": _count(step.running, "cyan"),
        "waiting": _count(step.waiting + step.ready, ""),
        "failed": _count(step.failed, "red"),
        "skipped": _count(step.skipped + step.cancelled, "dim"),
        "satellite": Text(step.satellite.rpartition("/")[2], "dim"),
    }


def _name(line: StepLine, looked_at: str, width: int) -> Text:
    step: StepProgress = line.progress
    drawn = Text()
    if line.gutter:
        for glyph in line.gutter:
            drawn.append(glyph, step_style(step) if glyph == "●" else "dim")
        drawn.append(" ")
    section = "" if step.section == "main" else f" ({step.section})"
    room = max(1, width - drawn.cell_len - len(section))
    drawn.append(cut(step.step, room), "bold reverse" if step.step == looked_at else "")
    return drawn.append(section, "dim")


def _count(count: int, style: str) -> Text:
    return Text(str(count), style) if count else Text("–", "dim")
