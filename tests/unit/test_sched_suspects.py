"""Poison: an input that ends its agents is found out, and its neighbours are not blamed for it."""

from __future__ import annotations

import random

from orbit_core.sched.events import TimePassed
from orbit_core.sched.model import Status
from orbit_core.sched.state import Run, rebuild_indices
from tests.property.sched_worlds import World, agent, plan, workflow

WIDE = workflow(plan(0), plan(1, needs=(0,)))
KILLER = 2  # the object whose invocation ends its agent


def a_wide_run(agents: int = 2) -> tuple[World, Run]:
    world = World(WIDE, random.Random(0), lambda run, i, attempt: 4 if run.invocations[i].step == 0 else 1)
    for number in range(agents):
        world.attach(agent(f"a{number}", cpus=2))
    world.start()
    world.place()
    while world.progress():
        pass
    return world, world.state.runs["run-1"]


def begin_all(world: World) -> None:
    """Whatever has been given to an agent runs."""
    for known, begun in list(world.on_agents.items()):
        if not begun:
            world.start_attempt(known)


def die_twice(world: World, *, cpus: int) -> None:
    """The only agent, with all that it runs."""
    for session in ("2", "3"):
        world.place()
        begin_all(world)
        world.lose("a0")
        world.attach(agent("a0", session=session, cpus=cpus))


def deadly(run: Run, invocation_id: str) -> bool:
    invocation = run.invocations[invocation_id]
    return invocation.step == 1 and invocation.index == KILLER


def go_on(world: World, run: Run) -> int:
    """Until the run ends: agents that run the killer die, the others finish; how many died."""
    deaths = 0
    while not run.ended:
        world.place()
        begin_all(world)
        doomed = sorted({name for name, key in world.on_agents if deadly(run, key.invocation_id)})
        for name in doomed:
            deaths += 1
            world.lose(name)
            world.attach(agent(name, session=str(deaths), cpus=2))
        world.progress()
        world.tell(TimePassed())
    return deaths


def test_the_killer_is_poisoned_after_three_and_everyone_else_succeeds() -> None:
    world, run = a_wide_run()
    assert go_on(world, run) == 3
    failed = [each for each in run.invocations.values() if each.status is Status.FAILED]
    assert [each.index for each in failed] == [KILLER]
    assert failed[0].failure is not None and failed[0].failure.code == "poisoned"


def test_one_agent_is_enough_to_find_out() -> None:
    world, run = a_wide_run(agents=1)
    assert go_on(world, run) == 3
    assert run.lineages_failed == 1 and run.lineages_succeeded == 3


def test_an_innocent_that_shared_two_deaths_runs_alone_and_ends() -> None:
    world, run = a_wide_run(agents=1)
    die_twice(world, cpus=8)
    suspects = [each for each in run.invocations.values() if each.suspect]
    assert len(suspects) >= 2, "all that ran there, twice"
    world.place()
    assert len(world.on_agents) == 1, "one at a time, though there is room for eight"
    world.settle()
    assert run.lineages_failed == 0


def test_a_suspect_goes_before_everything_else() -> None:
    world, _ = a_wide_run(agents=1)
    die_twice(world, cpus=2)
    world.start("run-2")
    world.place()
    assert [key.run_id for _, key in world.on_agents] == ["run-1"]


def test_a_suspect_waits_for_an_agent_whose_stream_has_room() -> None:
    world, _ = a_wide_run(agents=1)
    die_twice(world, cpus=2)
    assert world.placer.place(world.state, {}).placements == ()
    assert world.placer.place(world.state, {"a0": 0}).placements == ()
    assert len(world.placer.place(world.state, {"a0": 1}).placements) == 1


def test_suspects_are_known_again_after_a_failover() -> None:
    world, _ = a_wide_run(agents=1)
    die_twice(world, cpus=2)
    before = dict(world.state.suspects)
    rebuild_indices(world.state)
    assert before and world.state.suspects == before
