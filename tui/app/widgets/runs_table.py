"""`RunsTable`: runs, the newest first, one a row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text

from orbit_core.client import Run
from tui.app.model.columns import Column, cut_middle
from tui.app.widgets.cells import glyphs, sla, state
from tui.app.widgets.fitted_table import Cell, FittedTable
from tui.cli.words import ago, money


class RunsTable(FittedTable):
    COLUMNS: ClassVar[tuple[Column, ...]] = (
        Column("run", "RUN", 10, 24, 5),
        Column("cluster", "CLUSTER", 12, 40, 0),
        Column("state", "STATE", 9, 19, 1),
        Column("progress", "PROGRESS", 11, 20, 2),
        Column("failed", "FAILED", 6, 6, 6, right=True),
        Column("sla", "SLA", 14, 14, 3),
        Column("cost", "COST", 10, 10, 4, right=True),
        Column("started", "STARTED", 14, 14, 7),
    )

    def show(self, runs: Sequence[Run], now_ms: int) -> None:
        self.show_rows({each.run_id: _row(each, now_ms) for each in runs})


def _row(run: Run, now_ms: int) -> dict[str, Cell]:
    return {
        "run": lambda width: Text(cut_middle(run.run_id, width)),
        "cluster": lambda width: Text(cut_middle(run.cluster, width)),
        "state": lambda width: state(run.state, width),
        "progress": lambda width: glyphs(run, width),
        "failed": Text(str(run.lineages_failed), "red") if run.lineages_failed else Text("–", "dim"),
        "sla": sla(run, now_ms),
        "cost": money(run.cost_usd),
        "started": Text(ago(run.created_ms, now_ms), "dim"),
    }
