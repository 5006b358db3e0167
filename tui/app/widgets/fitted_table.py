"""`FittedTable`: a table of rows that are known by a key, whose columns are fitted to the window.

What does not fit is cut with an ellipsis or left out by rank. Nothing jumps: the cursor and the view stay on their
row whatever comes and goes around it, and a column that has grown stays as wide until the window changes. What a row
says is its subclasses' business.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, Final

from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.widgets import DataTable

from tui.app.model.columns import Column, cut, fit

#: What a cell says, given the width that it may have.
Cell = str | Text | Callable[[int], Text]
_PADDING: Final = 1
_SCROLLBAR: Final = 1


class FittedTable(DataTable[Text]):
    """`COLUMNS` are all that it may show; `show_rows` gives it everything anew."""

    COLUMNS: ClassVar[tuple[Column, ...]] = ()
    # Enter is the table's own and no priority key of its screen: keys that are typed fast take effect in their order.
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "select_cursor", "Open", tooltip="All about what is selected"),
        Binding("home", "scroll_top", "First row", show=False),
        Binding("end", "scroll_bottom", "Last row", show=False),
    ]

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id, cursor_type="row", zebra_stripes=False, cell_padding=_PADDING)
        self._cells: dict[str, Mapping[str, Cell]] = {}
        self._widths: dict[str, int] = {}
        self._widest: dict[str, int] = {}
        self._drawn: dict[str, dict[str, Text]] = {}

    @property
    def selected(self) -> str:
        """The key of the row under the cursor; empty where there is none."""
        keys = list(self._drawn)
        key = keys[self.cursor_row] if 0 <= self.cursor_row < len(keys) else ""
        return key if key in self._cells else ""  # a table that is hidden is not drawn anew

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "select_cursor":
            return bool(self.selected)
        return super().check_action(action, parameters)

    def show_rows(self, rows: Mapping[str, Mapping[str, Cell]]) -> None:
        """The rows in order, each with a cell for every column. Draws no more than has changed."""
        self._cells = dict(rows)
        self._redraw()

    def on_resize(self, event: events.Resize) -> None:
        self._widest = {}
        self._redraw()

    def _redraw(self) -> None:
        if not self.size.width:
            return
        for column in self.COLUMNS:
            widest = max((_length(cells[column.key], column) for cells in self._cells.values()), default=0)
            self._widest[column.key] = max(widest, self._widest.get(column.key, 0))
        widths = fit(self.COLUMNS, self._widest, self.size.width - _SCROLLBAR, gap=2 * _PADDING)
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
        selected, row, top = self.selected, self.cursor_row, self.scroll_offset.y
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
            now = keys.index(selected) if selected in drawn else max(0, min(row, len(keys) - 1))
            self.move_cursor(row=now, scroll=not top)
        self._widths, self._drawn = widths, drawn
        if top:  # who looks at the top goes on looking at the top; everybody else at the rows that they look at
            self.call_after_refresh(self.scroll_to, y=top + now - row, animate=False)

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
