"""`FittedTable`: a table of rows that are known by a key, whose columns are fitted to the window.

What does not fit is cut with an ellipsis or left out by rank; the cursor stays on its row whatever comes and goes
around it. What a row says is its subclasses' business.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, Final

from rich.text import Text
from textual import events
from textual.widgets import DataTable

from tui.app.model.columns import Column, cut, fit

#: What a cell says, given the width that it may have.
Cell = str | Text | Callable[[int], Text]
_PADDING: Final = 1
_SCROLLBAR: Final = 1


class FittedTable(DataTable[Text]):
    """`COLUMNS` are all that it may show; `show_rows` gives it everything anew."""

    COLUMNS: ClassVar[tuple[Column, ...]] = ()

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id, cursor_type="row", zebra_stripes=False, cell_padding=_PADDING)
        self._cells: dict[str, Mapping[str, Cell]] = {}
        self._widths: dict[str, int] = {}
        self._drawn: dict[str, dict[str, Text]] = {}

    @property
    def selected(self) -> str:
        """The key of the row under the cursor; empty where there is none."""
        keys = list(self._drawn)
        return keys[self.cursor_row] if 0 <= self.cursor_row < len(keys) else ""

    def show_rows(self, rows: Mapping[str, Mapping[str, Cell]]) -> None:
        """The rows in order, each with a cell for every column. Draws no more than has changed."""
        self._cells = dict(rows)
        self._redraw()

    def on_resize(self, event: events.Resize) -> None:
        self._redraw()

    def _redraw(self) -> None:
        if not self.size.width:
            return
        wanted = {column.key: max((_length(cells[column.key], column) for cells in self._cells.values()), default=0)
                  for column in self.COLUMNS}  # fmt: skip
        widths = fit(self.COLUMNS, wanted, self.size.width - _SCROLLBAR, gap=2 * _PADDING)
        drawn = {
            key: {column.key: _draw(cells[column.key], column, widths[column.key]) for column in self._shown(widths)}
            for key, cells in self._cells.items()
        }
        if widths != self._widths or list(drawn) != list(self._drawn):
            self._rebuild(widths, drawn)
            return
        for key, cells in drawn.items():
            for column, cell in cells.items():
                before = self._drawn[key][column]
                if cell != before or cell.spans != before.spans:
                    self.update_cell(key, column, cell)
        self._drawn = drawn

    def _rebuild(self, widths: dict[str, int], drawn: dict[str, dict[str, Text]]) -> None:
        selected, row = self.selected, self.cursor_row
        with self.prevent(DataTable.RowHighlighted):
            if widths != self._widths:
                self.clear(columns=True)
                for column in self._shown(widths):
                    width = widths[column.key]
                    title = Text(cut(column.title, width), "bold", justify="right" if column.right else "left")
                    self.add_column(title, width=width, key=column.key)
            else:
                self.clear()
            for key, cells in drawn.items():
                self.add_row(*cells.values(), key=key)
            keys = list(drawn)
            row = keys.index(selected) if selected in drawn else max(0, min(row, len(keys) - 1))
            self.move_cursor(row=row)
        self._widths, self._drawn = widths, drawn

    def _shown(self, widths: Mapping[str, int]) -> Sequence[Column]:
        return [column for column in self.COLUMNS if column.key in widths]


def _draw(cell: Cell, column: Column, width: int) -> Text:
    text = cell(width) if callable(cell) else Text(cell) if isinstance(cell, str) else cell.copy()
    text.truncate(width, overflow="ellipsis")
    text.justify = "right" if column.right else "left"
    text.no_wrap = True
    return text


def _length(cell: Cell, column: Column) -> int:
    """How wide the cell would be if it had all the room that its column may have."""
    return (cell(column.most) if callable(cell) else Text(cell) if isinstance(cell, str) else cell).cell_len
