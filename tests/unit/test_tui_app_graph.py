"""Graphs drawn as text: what the eye follows is what the file says."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

from hypothesis import given
from hypothesis import strategies as st

from tui.app.model.graph import LANES_MAX, gutters, order


def drawn(needs: Mapping[str, Sequence[str]]) -> str:
    steps = order(needs)
    return "\n".join(f"{line} {step}" for line, step in zip(gutters(steps, needs), steps, strict=True))


def picture(text: str) -> str:
    return textwrap.dedent(text).strip("\n")


def test_a_chain() -> None:
    assert drawn({"a": [], "b": ["a"], "c": ["b"]}) == picture(
        """
        ● a
        ● b
        ● c
        """
    )


def test_a_fork_and_a_join() -> None:
    assert drawn({"list": [], "parse": ["list"], "scan": ["list"], "join": ["parse", "scan"]}) == picture(
        """
        ●─╮ list
        ● │ parse
        ├─● scan
        ●   join
        """
    )


def test_three_ways() -> None:
    needs = {"list": [], "a": ["list"], "b": ["list"], "c": ["list"], "join": ["a", "b", "c"]}
    assert drawn(needs) == picture(
        """
        ●─┬─╮ list
        ● │ │ a
        ├─● │ b
        ├───● c
        ●     join
        """
    )


def test_two_roots() -> None:
    assert drawn({"a": [], "b": [], "c": ["a", "b"]}) == picture(
        """
        ●   a
        ├─● b
        ●   c
        """
    )


def test_a_step_is_drawn_after_what_it_needs_and_a_cycle_does_not_hang() -> None:
    assert order({"late": ["early"], "early": [], "other": ["gone"]}) == ("early", "late", "other")
    assert sorted(order({"a": ["b"], "b": ["a"]})) == ["a", "b"]


@st.composite
def graphs(draw: st.DrawFn) -> dict[str, list[str]]:
    names = [f"s{at}" for at in range(draw(st.integers(1, 14)))]
    return {name: draw(st.lists(st.sampled_from(names[:at]), unique=True)) if at else []
            for at, name in enumerate(names)}  # fmt: skip


@given(graphs())
def test_every_drawing_is_whole(needs: dict[str, list[str]]) -> None:
    steps = order(needs)
    lines = gutters(steps, needs)
    width = {len(line) for line in lines}
    assert len(width) == 1 and width.pop() <= 2 * LANES_MAX - 1
    if any("…" in line for line in lines):
        return
    assert all(line.count("●") == 1 for line in lines)
    for above, line, below in zip(("", *lines), lines, (*lines[1:], ""), strict=False):
        for at, glyph in enumerate(line):
            if glyph in "│├┤┼╯╰┴":
                assert above[at] in "│├┤┼╮╭┬●", f"a line from nowhere in {line!r}"
            if glyph in "│├┤┼╮╭┬":
                assert below[at] in "│├┤┼╯╰┴●", f"a line to nowhere in {line!r}"
    for at, step in enumerate(steps):
        has_above = any(need in needs for need in needs[step])
        assert not has_above or lines[at - 1][lines[at].index("●")] != " ", "what is needed leads here from above"
