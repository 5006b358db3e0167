"""Nothing changes unannounced: what `touched_runs` leaves out, `step` leaves alone."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orbit_coordinator import snapshots
from orbit_coordinator.snapshots import MESH_PART, RUN_PART, Pictures
from orbit_core.plants import plant
from orbit_core.sched.events import Event, TermBegan
from orbit_core.sched.state import Run
from orbit_core.sched.touch import touched_runs
from orbit_core.store.codec import decode, encode, encode_mesh, encode_run
from tests.property.sched_worlds import World, agent, chain


@dataclass
class Watched(World):
    """A world that tells `pictures` of every event first, and looks at every run before and after."""

    pictures: Pictures | None = None
    looks: bool = True

    def tell(self, event: Event) -> None:
        announced = touched_runs(self.state, event, self.now_ms)
        before = {run.id: encode(run) for run in self.state.runs.values()} if self.looks else {}
        if self.pictures is not None:
            self.pictures.before(self.state, event, self.now_ms)
        self.looks, looks = False, self.looks  # commands lead to further events inside this one
        super().tell(event)
        self.looks = looks
        if looks and not self._led_further(event):
            gone_or_changed = [i for i in before if i not in self.state.runs or encode(self.state.runs[i]) != before[i]]
            assert [run_id for run_id in gone_or_changed if run_id not in announced] == []

    def _led_further(self, event: Event) -> bool:
        return self.history[-1][1] is not event


def adventure(seed: int, world: Watched) -> None:
    """Some words of a mesh with several runs and agents that come and go."""
    rng = random.Random(seed)
    for name in ("a", "b"):
        world.attach(agent(name))
    for number in range(3):
        world.start(f"run-{number}")
    for number in range(60):
        world.place()
        what = rng.random()
        present = sorted(world.state.agents)
        if what < 0.1 and present:
            world.lose(rng.choice(present))
        elif what < 0.2:
            world.attach(agent(rng.choice("ab"), session=str(rng.randrange(3))))
        elif what < 0.3:
            world.wait(rng.choice([1, 2_000, 90_000]))
        elif what < 0.35:
            world.tell(TermBegan(number))
        else:
            world.progress()


def world_of(seed: int, pictures: Pictures | None = None, *, looks: bool = True) -> Watched:
    behave = random.Random(seed)
    flow = chain(3, failure=True)
    return Watched(flow, random.Random(seed), lambda *_: behave.randint(0, 4), pictures=pictures, looks=looks)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 2**32))
def test_no_event_changes_a_run_that_it_does_not_announce(seed: int) -> None:
    adventure(seed, world_of(seed))


async def _picture_while_the_world_goes_on(seed: int) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """What a picture should hold, and what it holds."""
    pictures = Pictures()
    world = world_of(seed, pictures, looks=False)
    adventure(seed, world)
    await pictures.begin(world.state)
    await pictures.finish()  # so that the next one need not encode what does not change
    adventure(seed + 1, world)
    wanted = {RUN_PART + run.id: encode(decode(Run, encode(run))) for run in world.state.runs.values()}
    wanted[MESH_PART] = encode_mesh(world.state)
    await pictures.begin(world.state)
    task = asyncio.create_task(pictures.finish())
    await asyncio.sleep(0)
    adventure(seed + 2, world)
    found = await task
    parts = {k: v if k == MESH_PART else encode(decode(Run, v)) for k, v in found.items()}
    return wanted, parts


@pytest.mark.parametrize("seed", range(12))
async def test_a_picture_is_of_one_moment_though_the_leader_goes_on(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "SLICE_INVOCATIONS", 20)
    wanted, found = await _picture_while_the_world_goes_on(seed)
    assert found == wanted


async def test_without_a_look_beforehand_a_picture_is_of_two_moments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "SLICE_INVOCATIONS", 20)
    with plant("snapshot-of-two-moments"):
        outcomes = [await _picture_while_the_world_goes_on(seed) for seed in range(6)]
    assert any(wanted != found for wanted, found in outcomes)


@pytest.mark.parametrize("size", [1, 3, 1_000])
def test_a_run_in_pieces_is_the_run(size: int) -> None:
    world = world_of(5)
    adventure(5, world)
    for run in world.state.runs.values():
        assert encode(decode(Run, b"".join(encode_run(run, size)))) == encode(run)
