"""Every screen of the terminal app after real key presses, at the smallest size that it is made for and at a large one.

`ORBIT_UPDATE_SNAPSHOTS=1 pytest tests/snapshot` writes the files anew: look at what has changed before committing it.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from orbit_core.errors import MeshUnreachableError, PreconditionError
from tests.snapshot.tui_world import AGENTS, MESH, NOW_MS, RUN_A, RUN_C, CannedClient, shots_of

Size = tuple[int, int]
pytestmark = pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=["80x24", "120x40"])
AWAY = MeshUnreachableError("no coordinator answers at 127.0.0.1:7070: connection refused")


async def test_overview(size: Size) -> None:
    client = CannedClient()
    async with shots_of(client, size) as shots:
        await shots.shows("overview")
        await shots.press("f")
        await shots.shows("overview-under-way")
        await shots.press("f", "down", "down")
        await shots.shows("overview-on-an-ended-run")
        await shots.press("tab", "end", "up")
        await shots.shows("overview-on-an-agent")
        await shots.press("home")
        await shots.shows("overview-on-the-first-agent")
        await shots.press("enter")
        await shots.shows("agent")
        await shots.press("escape", "2", "home", "enter")
        await shots.shows("run")
        await shots.press("escape")
        await shots.shows("overview")


async def test_drain(size: Size) -> None:
    client = CannedClient()
    async with shots_of(client, size) as shots:
        await shots.shows("overview")
        await shots.press("1")
        await shots.shows("overview-on-the-first-agent")
        await shots.press("d")
        await shots.shows("drain")
        await shots.press("escape", "d", "y")
        await shots.shows("drained")
    assert client.done == [("drain", "cheap")], "escape was no, y was yes"


async def test_cancel(size: Size) -> None:
    client = CannedClient()
    async with shots_of(client, size) as shots:
        await shots.shows("overview")
        await shots.press("c")
        await shots.shows("cancel")
        await shots.press("n", "c", "right", "enter")
        await shots.shows("cancelled")
    assert client.done == [("cancel", RUN_A.run_id)]


async def test_a_run(size: Size) -> None:
    async with shots_of(CannedClient(), size, run_id=RUN_A.run_id) as shots:
        await shots.shows("run")
        await shots.press("down", "enter")
        await shots.shows("run-one-step")
        await shots.press("3")
        await shots.shows("run-one-step-logs")
        await shots.press("1", "enter", "3")
        await shots.shows("run-logs")
        await shots.press("2", "down")
        await shots.shows("run-on-a-failure")
        await shots.press("enter")
        await shots.shows("failure")


async def test_retry(size: Size) -> None:
    client = CannedClient()
    async with shots_of(client, size, run_id=RUN_C.run_id) as shots:
        await shots.shows("run-ended")
        await shots.press("r")
        await shots.shows("run-retried")
        await shots.press("escape")
        await shots.shows("overview-with-a-retry")
    assert client.done == [("retry", RUN_C.run_id)]


async def test_a_run_changes_while_it_is_looked_at(size: Size) -> None:
    client = CannedClient(runs_=(RUN_A,))
    async with shots_of(client, size, run_id=RUN_A.run_id) as shots:
        await shots.shows("run-alone")
        client.now_is(replace(RUN_A, expected_late=True, budget_usd=0.5, cost_usd=0.2, lineages_succeeded=44))
        await shots.shows("run-late")
        client.now_is(replace(RUN_A, state="paused", budget_usd=0.5, cost_usd=0.5, reason="its budget is spent"))
        await shots.shows("run-paused")
        client.now_is(replace(RUN_A, state="failed", sla="missed", ended_ms=NOW_MS, reason="poisoned"))
        await shots.shows("run-failed")


async def test_nothing_there_yet(size: Size) -> None:
    client = CannedClient(agents_=(), runs_=())
    async with shots_of(client, size) as shots:
        await shots.shows("empty")
        await shots.press("enter", "c", "r", "d", "tab", "enter")  # nothing is selected: nothing happens
        client.agents_ = AGENTS[1:2]
        client.runs_ = (RUN_C,)
        await shots.shows("empty-no-more")
        await shots.press("2", "f")
        await shots.shows("none-under-way")


async def test_a_mesh_that_is_not_there(size: Size) -> None:
    client = CannedClient(away=AWAY)
    async with shots_of(client, size) as shots:
        await shots.shows("nobody")
        client.away = None
        await shots.shows("overview")


async def test_a_mesh_that_goes_and_comes_back(size: Size) -> None:
    client = CannedClient()
    async with shots_of(client, size) as shots:
        await shots.shows("overview")
        client.away = AWAY
        await shots.shows("silent")
        client.away = None
        client.mesh_ = replace(MESH, leader_id="coordinator-1", epoch=8)
        await shots.shows("new-leader")


async def test_an_agent_that_is_lost(size: Size) -> None:
    client = CannedClient()
    async with shots_of(client, size) as shots:
        await shots.shows("overview")
        client.agents_ = tuple(replace(each, state="lost") if each.agent_id == "gpu-box" else each for each in AGENTS)
        await shots.shows("agent-lost")


async def test_a_run_that_is_not_there(size: Size) -> None:
    async with shots_of(CannedClient(), size, run_id="run-none") as shots:
        await shots.shows("no-such-run")


async def test_a_deed_that_is_refused(size: Size) -> None:
    class Refusing(CannedClient):
        async def retry(self, run_id: str):
            raise PreconditionError("its cluster is disabled", remedy="`orbit enable demo/quarterly-reports`")

    async with shots_of(Refusing(), size) as shots:
        await shots.press("down", "down", "r")
        await shots.shows("refused")


async def test_palette(size: Size) -> None:
    client = CannedClient()
    async with shots_of(client, size) as shots:
        await shots.shows("overview")
        await shots.press("ctrl+p")
        await shots.shows("palette")
        await shots.press(*"embedding")
        await shots.shows("palette-search")
        await shots.press("down", "enter")
        await shots.shows("run-by-the-palette")
        await shots.press("ctrl+p")
        await shots.shows("palette-of-a-run")
