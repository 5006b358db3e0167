from __future__ import annotations

from dataclasses import dataclass

import pytest

from orbit_core.spec.graph import Graph


@dataclass(frozen=True)
class Over:
    over: str


@dataclass(frozen=True)
class Point:
    identifier: str
    needs: tuple[str, ...] = ()
    gather: Over | None = None


def graph(*lines: str) -> Graph:
    """`c: a b` is a step c that needs a and b; `c: a b | over` gathers."""
    points: list[Point] = []
    for line in lines:
        name, _, rest = line.partition(":")
        needs, _, over = rest.partition("|")
        points.append(Point(name.strip(), tuple(needs.split()), Over(over.strip()) if over else None))
    return Graph(points)


CHAIN = graph("a", "b: a", "c: b")
DIAMOND = graph("a", "b: a", "c: a", "d: b c", "e: d")
GATHERED = graph("a", "b: a", "c: b", "g: c | a", "h: g", "all: h | run", "end: all")


def test_order_is_that_of_the_file_wherever_needs_allow() -> None:
    assert CHAIN.order == ("a", "b", "c")
    assert graph("c: b", "b: a", "a", "d").order == ("a", "d", "b", "c")


def test_ancestors_descendants_children() -> None:
    assert DIAMOND.ancestors("d") == {"a", "b", "c"}
    assert DIAMOND.ancestors("a") == frozenset()
    assert DIAMOND.ancestors("nobody") == frozenset()
    assert DIAMOND.descendants("a") == ("b", "c", "d", "e")
    assert DIAMOND.children["a"] == ("b", "c")
    assert DIAMOND.children["e"] == ()
    assert DIAMOND.parents["d"] == ("b", "c")
    assert "d" in DIAMOND
    assert "x" not in DIAMOND


@pytest.mark.parametrize(
    ("of", "step", "spine", "gathered"),
    [
        (CHAIN, "a", (), ()),
        (CHAIN, "c", ("a", "b"), ()),
        (DIAMOND, "c", ("a",), ()),
        (DIAMOND, "d", ("a",), ("b", "c")),
        (DIAMOND, "e", ("a", "d"), ("b", "c")),
        (GATHERED, "g", ("a",), ("b", "c")),
        (GATHERED, "h", ("a", "g"), ("b", "c")),
        (GATHERED, "all", (), ("a", "b", "c", "g", "h")),
        (GATHERED, "end", ("all",), ("a", "b", "c", "g", "h")),
    ],
)
def test_what_a_lineage_holds(of: Graph, step: str, spine: tuple[str, ...], gathered: tuple[str, ...]) -> None:
    assert of.spine(step) == spine
    assert of.gathered(step) == gathered


@pytest.mark.parametrize(
    ("of", "needs", "nearest"),
    [
        (DIAMOND, ("b", "c"), "a"),
        (graph("a", "b: a", "c: b", "d: b"), ("c", "d"), "b"),
        (graph("a", "b: a", "c: b"), ("a", "c"), "a"),
        (graph("a", "b"), ("a", "b"), "run"),
        (graph("a", "b: a", "c: a", "d: b", "e: c", "f: a"), ("d", "e", "f"), "a"),
        (GATHERED, ("h", "c"), "a"),
        (GATHERED, ("all", "c"), "run"),
        (CHAIN, ("b",), "b"),
    ],
)
def test_the_nearest_common_step(of: Graph, needs: tuple[str, ...], nearest: str) -> None:
    assert of.nearest_common(needs) == nearest


def test_what_lies_between_a_gather_and_what_it_is_over() -> None:
    assert GATHERED.between("a", "g") == ("b", "c")
    assert GATHERED.between("run", "all") == ("a", "b", "c", "g", "h")
    assert DIAMOND.between("a", "d") == ("b", "c")


@pytest.mark.parametrize(
    ("of", "cycles"),
    [
        (CHAIN, ()),
        (graph("a: a"), (("a",),)),
        (graph("a: b", "b: a"), (("a", "b"),)),
        (graph("a: c", "b: a", "c: b"), (("a", "b", "c"),)),
        (graph("x", "b: x d", "c: b", "d: c", "e: d"), (("b", "c", "d"),)),
        (graph("a: b", "b: a", "c: d", "d: c"), (("a", "b"), ("c", "d"))),
        (graph("a: b", "b: a", "c: a d", "d: c"), (("a", "b"), ("c", "d"))),
    ],
)
def test_cycles_are_named_along_the_way(of: Graph, cycles: tuple[tuple[str, ...], ...]) -> None:
    assert of.cycles == cycles


def test_what_stands_below_a_cycle_still_has_its_place() -> None:
    broken = graph("x", "a: b", "b: a", "c: b x")
    assert broken.order == ("x", "c")
    assert broken.ancestors("c") == {"x"}


def test_unknown_needs_and_second_names_are_left_out() -> None:
    odd = graph("a", "b: a nobody", "b: nobody", "c: b b")
    assert odd.parents == {"a": (), "b": ("a",), "c": ("b",)}
    assert odd.spine("c") == ("a", "b")


def test_a_gather_over_something_that_is_not_there_is_as_over_the_run() -> None:
    assert graph("a", "b: a | nobody").spine("b") == ()


def test_a_long_chain_is_no_burden() -> None:
    lines = ["s0", *(f"s{index}: s{index - 1}" for index in range(1, 500))]
    assert len(graph(*reversed(lines)).spine("s499")) == 499
