"""A graph of steps drawn as text, one line a step, from its roots down. Pure.

The lines are lanes, as in the history that version control draws, upside down: a lane is an edge on its way to the
step that it leads to. A step ends the lanes that lead to it and opens one for each step below it; an edge to a step
that a lane already leads to joins that lane.

    ●─╮  list
    ● │  parse     needs list
    ├─●  scan      needs list
    ●    join      needs parse and scan
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

#: Wider drawings are cut: their edges would say nothing any more.
LANES_MAX: Final = 12

_UP, _DOWN, _LEFT, _RIGHT = 1, 2, 4, 8
_GLYPHS: Final = {
    0: " ",
    _UP | _DOWN: "│",
    _LEFT | _RIGHT: "─",
    _UP | _LEFT: "╯",
    _UP | _RIGHT: "╰",
    _DOWN | _LEFT: "╮",
    _DOWN | _RIGHT: "╭",
    _UP | _DOWN | _LEFT: "┤",
    _UP | _DOWN | _RIGHT: "├",
    _UP | _LEFT | _RIGHT: "┴",
    _DOWN | _LEFT | _RIGHT: "┬",
    _UP | _DOWN | _LEFT | _RIGHT: "┼",
}
_STEP: Final = "●"


def order(needs: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """The steps, each after those that it needs, otherwise as they come. What stands on a cycle comes last."""
    left = dict(needs)
    done: dict[str, None] = {}
    while left:
        ready = next((step for step in left if all(need in done or need not in needs for need in left[step])), None)
        step = ready if ready is not None else next(iter(left))
        done[step] = None
        del left[step]
    return tuple(done)


def gutters(steps: Sequence[str], needs: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """For each of `steps`, in this order, its line of the drawing; all of the same width."""
    place = {step: at for at, step in enumerate(steps)}
    below: dict[str, list[str]] = {step: [] for step in steps}
    for step in steps:
        for need in dict.fromkeys(needs.get(step, ())):
            if need in place and place[need] < place[step]:
                below[need].append(step)
    lanes: list[str | None] = []
    rows = [_row(step, below[step], lanes) for step in steps]
    width = min(LANES_MAX, max((len(row) for row in rows), default=0))
    return tuple(_draw(row, width) for row in rows)


def _row(step: str, below: Sequence[str], lanes: list[str | None]) -> list[int]:
    """The directions in which each lane's cell has a line, -1 for the step itself; `lanes` moves on."""
    coming = [at for at, goal in enumerate(lanes) if goal is not None]
    ending = [at for at in coming if lanes[at] == step]
    here = ending[0] if ending else _free(lanes)
    for at in ending:
        lanes[at] = None
    joined = {lanes.index(goal) for goal in below if goal in lanes}
    opening = [goal for goal in below if goal not in lanes]
    opened: set[int] = set()
    for number, goal in enumerate(opening):
        at = here if number == 0 else _free(lanes, beyond=here)
        lanes[at] = goal
        opened.add(at)
    row = [0] * len(lanes)
    for at in coming:
        row[at] |= _UP
    for at, goal in enumerate(lanes):
        row[at] |= _DOWN if goal is not None else 0
    for at in {*ending, *joined, *opened} - {here}:
        row[at] |= _LEFT if at > here else _RIGHT
        for between in range(min(at, here) + 1, max(at, here)):
            row[between] |= _LEFT | _RIGHT
    row[here] = -1
    while lanes and lanes[-1] is None:
        lanes.pop()
    return row


def _free(lanes: list[str | None], beyond: int = -1) -> int:
    """The first lane that leads nowhere, a new one if there is none."""
    for at in range(beyond + 1, len(lanes)):
        if lanes[at] is None:
            return at
    lanes.append(None)
    return len(lanes) - 1


def _draw(row: Sequence[int], width: int) -> str:
    cells = [*row, *[0] * (width - len(row))][:width]
    drawn: list[str] = []
    for at, cell in enumerate(cells):
        drawn.append(_STEP if cell < 0 else _GLYPHS[cell])
        drawn.append("─" if _joined_right(row, at) else " ")
    text = "".join(drawn)[:-1] if drawn else ""
    return text if len(row) <= width else text[:-1] + "…"


def _joined_right(row: Sequence[int], at: int) -> bool:
    """Whether a line leads from this cell to the next: the step's own cell is joined to whatever reaches for it."""
    if at + 1 >= len(row):
        return False
    return (row[at] > 0 and bool(row[at] & _RIGHT)) or (row[at + 1] > 0 and bool(row[at + 1] & _LEFT))
