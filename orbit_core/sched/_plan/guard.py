"""Rows that keep deadlines safe should all of spot go at once: a plan may use spot, and must not need it.

At each boundary between slices, what has not begun by then, and what runs on spot then, has to go into what agents
that do not go away can begin from there to the last moment, all classes with no later deadlines together. Where that
is too much already, it has to become less as fast as spot can do some of it. Agents that last are seen as one, which
begins so many attempts of a class in so much time.
"""

from __future__ import annotations

from collections.abc import Mapping

from orbit_core.sched._plan.picture import Option, Picture, WorkClass
from orbit_core.sched._plan.program import Program

#: Deadlines that are looked at; with more of them some are left out between.
_DEADLINES_MOST = 6
#: What it costs to leave an attempt unsafe, in times of the dearest attempt there is: less than to be late.
_UNSAFE = 5.0


class Guard:
    """Adds its rows to a program. Nothing where no work could run both on spot and elsewhere."""

    def __init__(self, picture: Picture, program: Program) -> None:
        self._picture = picture
        #: By class: the share of the horizon that all agents that last take to begin one attempt.
        self._takes: dict[int, float] = {}
        self._last: dict[int, float] = {}
        #: By class: how many attempts spot can do while these do one.
        self._helped: dict[int, float] = {}
        self._rows: dict[tuple[int, int], int] = {}
        self._uppers: dict[int, float] = {}
        self._slacks: dict[int, int] = {}
        self._deadlines: list[float] = []
        hopes = [work for work in picture.classes if any(picture.pools[pool].spot for pool in work.options)]
        if hopes:
            self._look()
        if self._takes and any(index in self._takes for index, work in enumerate(picture.classes) if work in hopes):
            self._add(program)

    def _look(self) -> None:
        horizon_ms = self._picture.bounds_ms[-1]
        for index, work in enumerate(self._picture.classes):
            lasting = {p: option for p, option in work.options.items() if not self._picture.pools[p].spot}
            pace = self._pace(work, lasting)
            if pace > 0:
                self._helped[index] = self._pace(work, work.options) / pace - 1.0
                self._takes[index] = 1.0 / pace / horizon_ms
                self._last[index] = max(self._latest_start(work, option) for option in lasting.values()) / horizon_ms

    def _pace(self, work: WorkClass, options: Mapping[int, Option]) -> float:
        """Attempts in a millisecond, were it for this class alone."""
        return sum(self._picture.pools[p].slots(work.need) / option.duration_ms for p, option in options.items())

    @staticmethod
    def _latest_start(work: WorkClass, option: Option) -> float:
        """The last moment for an attempt, less half of one: rooms become free one by one, and not when asked for."""
        return max(0.0, work.finish_ms - option.reserve_ms - 1.5 * option.duration_ms)

    def _add(self, program: Program) -> None:
        picture = self._picture
        marks = sorted(set(self._last.values()))
        step = -(-len(marks) // _DEADLINES_MOST)
        self._deadlines = marks[::-1][::step][::-1]
        penalty = _UNSAFE / max(self._takes.values())  # for long attempts as much as is said; less for short ones
        for number, deadline in enumerate(self._deadlines):
            due = [index for index, last in self._last.items() if last <= deadline]
            works = {index: self._takes[index] * picture.classes[index].amount for index in due}
            beyond = sum(works.values()) - deadline
            helped = sum(works[index] * self._helped[index] for index in due) / max(1e-9, sum(works.values()))
            rows: list[int] = []
            for at in picture.slices[1:]:
                begin = picture.bounds_ms[at] / picture.bounds_ms[-1]
                upper = max(0.0, deadline - begin) + max(0.0, beyond - helped * begin)
                row = self._rows[number, at] = program.row(upper=upper)
                self._uppers[row] = upper
                rows.append(row)
            self._slacks[number] = program.column(penalty, [(row, -1.0) for row in rows])

    def entries(self, index: int, pool: int, at: int) -> list[tuple[int, float]]:
        """What an attempt of the class that starts there in that slice puts into which rows."""
        if not self._rows or index not in self._takes:
            return []
        picture = self._picture
        until_ms = picture.bounds_ms[at]
        if picture.pools[pool].spot:
            until_ms += picture.classes[index].options[pool].duration_ms - 1.0
        return [
            (self._rows[number, later], self._takes[index])
            for number, deadline in enumerate(self._deadlines)
            if deadline >= self._last[index]
            for later in picture.slices[1:]
            if picture.bounds_ms[later] <= until_ms
        ]

    def slack(self, filled: Mapping[int, float]) -> dict[int, float]:
        """By column: how unsafe a plan is that fills the rows so far."""
        found: dict[int, float] = {}
        for (number, _), row in self._rows.items():
            column, over = self._slacks[number], filled.get(row, 0.0) - self._uppers[row]
            found[column] = max(over, found.get(column, 0.0))
        return found
