"""`FailuresTable`: the lineages of a run that failed, each with its error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text

from orbit_core.client import Invocation
from tui.app.model.columns import Column, cut_middle
from tui.app.widgets.fitted_table import Cell, FittedTable
from tui.cli.words import span


class FailuresTable(FittedTable):
    COLUMNS: ClassVar[tuple[Column, ...]] = (
        Column("step", "STEP", 10, 24, 1),
        Column("code", "ERROR", 14, 20, 2),
        Column("message", "MESSAGE", 20, 200, 0),
        Column("tries", "TRIES", 5, 5, 3, right=True),
        Column("took", "TOOK", 7, 7, 4, right=True),
        Column("agent", "AGENT", 8, 20, 5),
    )

    def show(self, failures: Sequence[Invocation]) -> None:
        self.show_rows({each.invocation_id: _row(each) for each in failures})


def _row(failed: Invocation) -> dict[str, Cell]:
    failure = failed.failure
    return {
        "step": failed.step,
        "code": Text(failure.code if failure else "", "red"),
        "message": " ".join(failure.message.split()) if failure else "",
        "tries": str(failed.attempt),
        "took": span(failed.ended_ms - failed.started_ms) if failed.ended_ms and failed.started_ms else "",
        "agent": lambda width: Text(cut_middle(failed.agent_id, width), "dim"),
    }
