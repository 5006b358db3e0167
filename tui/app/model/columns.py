"""Which columns of a table fit a window, and how wide each may be. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Column:
    """Between `least` and `most` cells wide; of columns that do not all fit, the highest `rank` goes first."""

    key: str
    title: str
    least: int
    most: int
    rank: int
    right: bool = False


def fit(columns: Sequence[Column], wanted: Mapping[str, int], width: int, *, gap: int) -> dict[str, int]:
    """The width of each column that is shown, in order; `gap` cells more are spent on each.

    `wanted`: the widest content of each column. Cells that are left over go to the columns that want them, by rank.
    """
    shown = sorted(columns, key=lambda column: column.rank)
    while len(shown) > 1 and sum(_least(column, wanted) + gap for column in shown) > width:
        shown.pop()
    widths = {column.key: _least(column, wanted) for column in shown}
    left = width - sum(widths.values()) - gap * len(shown)
    for column in shown:
        more = max(0, min(left, min(column.most, wanted.get(column.key, 0)) - widths[column.key]))
        widths[column.key] += more
        left -= more
    return {column.key: widths[column.key] for column in columns if column.key in widths}


def _least(column: Column, wanted: Mapping[str, int]) -> int:
    """No more than its content and title need."""
    return min(column.least, max(wanted.get(column.key, 0), len(column.title)))


def cut(text: str, width: int) -> str:
    """At most `width` characters, the end cut."""
    return text if len(text) <= width else text[: max(0, width - 1)] + "…"


def cut_middle(text: str, width: int) -> str:
    """At most `width` characters, for identifiers: what tells two of them apart is at their end."""
    if len(text) <= width:
        return text
    tail = min(len(text), max(1, (width - 1) * 2 // 3))
    return text[: max(0, width - 1 - tail)] + "…" + text[-tail:]
