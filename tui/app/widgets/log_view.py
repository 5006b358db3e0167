"""`LogView`: a run's latest log records, followed until somebody scrolls up."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from rich.text import Text
from textual.widgets import RichLog

from orbit_core.client import LogRecord
from tui.app.model.page import LOG_RECORDS_MAX
from tui.cli.words import clock

_LEVEL_STYLES: Final = {"debug": "dim", "info": "", "warning": "yellow", "error": "red"}


class LogView(RichLog):
    def __init__(self, *, id: str) -> None:
        super().__init__(id=id, max_lines=LOG_RECORDS_MAX, wrap=True, highlight=False, markup=False, min_width=20)

    def add(self, records: Iterable[LogRecord]) -> None:
        """At the end. The view follows only where its end is seen."""
        following = self.is_vertical_scroll_end
        for record in records:
            self.write(_line(record), expand=True, scroll_end=following)


def _line(record: LogRecord) -> Text:
    line = Text(clock(record.time_ms), "dim").append(" ")
    if record.level != "info":
        line.append(f"{record.level} ", _LEVEL_STYLES.get(record.level, ""))
    if record.step:
        line.append(record.step, "cyan").append(" ")
    return line.append(record.message, _LEVEL_STYLES.get(record.level, ""))
