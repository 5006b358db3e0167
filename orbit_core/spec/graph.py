"""The graph of a block of steps: order, ancestors, and which object of which step a lineage holds.

A lineage holds one object of each step on its *spine*: the parent, the parent's parent, and so on, up to the
nearest gather, from where the spine goes on with the gather's `over`. An ancestor off the spine was gathered:
an invocation sees the list of all its objects (`.outputs`), not one (`.output`).

Takes anything that has the three attributes of `GraphStep`; unknown `needs` are left out and cycles are cut, so
that a broken block can still be looked at. Saying what is wrong is `checks`' business. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

RUN: Final = "run"
"""The `over` of a gather that waits for the whole run; no step may be called so."""


class GraphGather(Protocol):
    @property
    def over(self) -> str: ...


class GraphStep(Protocol):
    """What the graph needs to know of a step."""

    @property
    def identifier(self) -> str: ...

    @property
    def needs(self) -> tuple[str, ...]: ...

    @property
    def gather(self) -> GraphGather | None: ...


class Graph:
    """The graph of `steps`, whose identifiers are taken as unique (a later one with the same name is left out).

    `order`: all steps outside cycles, each after those that it needs, otherwise as they are written.
    `cycles`: disjoint ones, each as the identifiers along it, beginning with the first written.
    """

    def __init__(self, steps: Sequence[GraphStep]) -> None:
        self._steps: dict[str, GraphStep] = {}
        for step in steps:
            self._steps.setdefault(step.identifier, step)
        self.parents: dict[str, tuple[str, ...]] = {
            name: tuple(dict.fromkeys(need for need in step.needs if need in self._steps))
            for name, step in self._steps.items()
        }
        self.order, self.cycles = self._sort()
        self._bits = {name: 1 << index for index, name in enumerate(self.order)}
        self._above: dict[str, int] = {}  # ancestors as bits: sets of them would cost the square of the needs
        self._spines: dict[str, tuple[str, ...]] = {}
        children: dict[str, list[str]] = {name: [] for name in self.order}
        for name in self.order:
            needs = [need for need in self.parents[name] if need in self._bits]
            above = 0
            for need in needs:
                above |= self._bits[need] | self._above[need]
                children[need].append(name)
            self._above[name] = above
            self._spines[name] = self._spine(name, needs)
        self.children: dict[str, tuple[str, ...]] = {name: tuple(below) for name, below in children.items()}

    def __contains__(self, name: str) -> bool:
        return name in self._steps

    def ancestors(self, name: str) -> frozenset[str]:
        """All steps above `name`."""
        above = self._above.get(name, 0)
        return frozenset(other for other, bit in self._bits.items() if above & bit)

    def descendants(self, name: str) -> tuple[str, ...]:
        """All steps below `name`, in order."""
        bit = self._bits.get(name, 0)
        return tuple(other for other in self.order if self._above[other] & bit)

    def spine(self, name: str) -> tuple[str, ...]:
        """The steps of which an invocation of `name` has one object each, from the root down."""
        return self._spines.get(name, ())

    def gathered(self, name: str) -> tuple[str, ...]:
        """The steps of which an invocation of `name` sees all objects: its ancestors off the spine, in order."""
        off = self._above.get(name, 0)
        for held in self.spine(name):
            off &= ~self._bits[held]
        return tuple(other for other, bit in self._bits.items() if off & bit)

    def common(self, needs: Sequence[str]) -> tuple[str, ...]:
        """The steps over which those `needs` can be gathered, from the root down: those on all their spines."""
        lines = [(*self.spine(need), need) for need in needs if need in self._spines]
        shared: list[str] = []
        for names in zip(*lines, strict=False):
            if len(set(names)) > 1:
                break
            shared.append(names[0])
        return tuple(shared)

    def nearest_common(self, needs: Sequence[str]) -> str:
        """What a gather of several `needs` is over, unless it says: the nearest step that all stand below."""
        common = self.common(needs)
        return common[-1] if common else RUN

    def between(self, over: str, name: str) -> tuple[str, ...]:
        """The steps strictly below `over` (of the whole block for `run`) and above `name`, in order."""
        above, over_bit = self._above.get(name, 0), self._bits.get(over, 0)
        return tuple(
            other for other, bit in self._bits.items() if above & bit and (over == RUN or self._above[other] & over_bit)
        )

    def _spine(self, name: str, needs: Sequence[str]) -> tuple[str, ...]:
        gather = self._steps[name].gather
        if gather is None and len(needs) <= 1:
            return (*self._spines[needs[0]], needs[0]) if needs else ()
        over = gather.over if gather is not None else self.nearest_common(needs)
        if over == RUN or over not in self._spines:
            return ()
        return (*self._spines[over], over)

    def _sort(self) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
        """Kahn's algorithm; what is left over stands on a cycle or below one, which is then cut out."""
        order: list[str] = []
        cycles: list[tuple[str, ...]] = []
        done: set[str] = set()
        left = list(self._steps)
        while left:
            waiting: list[str] = []
            for name in left:
                if all(need in done for need in self.parents[name]):
                    order.append(name)
                    done.add(name)
                else:
                    waiting.append(name)
            if len(waiting) == len(left):
                cycle = self._find_cycle(waiting, done)
                cycles.append(cycle)
                done.update(cycle)
                waiting = [name for name in waiting if name not in done]
            left = waiting
        return tuple(order), tuple(cycles)

    def _find_cycle(self, waiting: Sequence[str], done: set[str]) -> tuple[str, ...]:
        """Each of `waiting` needs another of them, so walking up must come back to a step seen before."""
        trail: list[str] = []
        name = waiting[0]
        while name not in trail:
            trail.append(name)
            name = next(need for need in self.parents[name] if need not in done)
        cycle = trail[trail.index(name) :]
        cycle.reverse()  # walked from a step to what it needs; read from what is needed to what needs it
        written = list(self._steps)
        first = min(range(len(cycle)), key=lambda index: written.index(cycle[index]))
        return tuple(cycle[first:] + cycle[:first])
