"""A run's picture at one moment, and the lines that stand for it where nothing can move."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from dataclasses import replace

from rich.console import Console

from orbit_core.client import Run, StepProgress, Usage
from tui.cli.live import follow, line, progress
from tui.cli.tables import summary

STEP = StepProgress(
    step="parse", section="main", satellite="s", expected=24, waiting=2, ready=6, running=4, succeeded=11, failed=1,
    skipped=0, cancelled=0,
)  # fmt: skip
RUN = Run(
    run_id="run-1", cluster="demo/reports", spec_hash="", state="running", sla="pending", created_ms=0,
    deadline_ms=600_000, ended_ms=None, trigger="api-call", cost_usd=0.0123, usage=Usage(1_500, 300),
    lineages_succeeded=11, lineages_failed=1, steps=(STEP,), attempts=17, attempts_lost=1, reason="", retry_of="",
)  # fmt: skip
DONE = replace(
    RUN,
    state="partially-succeeded",
    sla="met",
    ended_ms=75_000,
    steps=(replace(STEP, waiting=0, ready=0, running=0, succeeded=23),),
)


def drawn(renderable: object, width: int = 100) -> list[str]:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(renderable)
    return [text.rstrip() for text in console.file.getvalue().splitlines()]  # pyright: ignore[reportAttributeAccessIssue]


def test_the_picture_of_a_running_run() -> None:
    head, step = drawn(progress(RUN, now_ms=60_000))
    assert head == "run-1  demo/reports  running  1:00  SLA 9:00 left  $0.012 so far"
    assert step == "parse  ━━━━━━━━━━━━━━                12/24  4 running  2 waiting  1 failed"


def test_a_deadline_that_has_passed_is_missed_while_it_runs() -> None:
    assert "SLA missed by 5.0 s" in drawn(progress(RUN, now_ms=605_000))[0]


def test_the_summary() -> None:
    text = "\n".join(drawn(summary(DONE, 0)))
    for part in ("partially-succeeded: 11 ok, 1 failed", "met, 1:15 of 10:00", "$0.012", "1,500 in, 300 out"):
        assert part in text
    assert "17 attempts, 1 lost with their agent" in text


async def story(*runs: Run) -> AsyncIterator[Run]:
    for run in runs:
        yield run


async def test_into_a_pipe_go_lines_and_the_last_is_always_there() -> None:
    console = Console(file=io.StringIO(), width=200)
    last = await follow(story(RUN, RUN, DONE), console, plain=False, now_ms=lambda: 0)
    text = console.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]
    assert last is DONE
    assert [one.partition(" ")[2] for one in text.splitlines()] == [line(RUN), line(DONE)]
    assert line(DONE) == "run-1 partially-succeeded $0.012: parse 24/24 (1 failed)"


async def test_on_a_terminal_bars_move_in_place() -> None:
    console = Console(file=io.StringIO(), width=100, force_terminal=True)
    assert await follow(story(RUN, DONE), console, plain=False, now_ms=lambda: 60_000) is DONE
    text = console.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]
    assert "24/24" in text and "\x1b[" in text
