"""Machines are bought and given back by whoever leads: journaled first, through providers that fail, and no others."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path

import psutil
import pytest

from orbit_coordinator.buying import Buying, Capacity, give_all_back
from orbit_coordinator.capacity import NONE_TO_BE_HAD, CapacityError, CommandProvider, Commands, Price
from orbit_coordinator.leader import Leader
from orbit_core.clock import SystemClock
from orbit_core.errors import FencedError, InvalidRequestError, NotLeaderError
from orbit_core.sched.capacity import Terms, instance_name
from orbit_core.sched.commands import Command
from orbit_core.sched.events import AgentAttached, CapacityChanged, CapacityChosen, CapacityReleased, Event, RunCreated
from orbit_core.sched.model import ObjectAddress, TriggerFacts
from orbit_core.sched.shortfall import INSTANCE_LABEL
from orbit_core.sched.state import MeshState
from orbit_core.spec.capacity_file import CapacitySpec, read_capacity
from orbit_core.store import codec
from tests.property.sched_worlds import agent, chain

SPEC = {
    "tick": "20ms",
    "retry": "100ms",
    "drain": "10m",
    "pools": [{"name": "zone", "instance": {"cpus": 4, "memory": "8GiB"}, "on-demand": 0.1, "restart": "1s"}],
    "start": "true",
    "stop": "true",
    "list": "true",
}


class Journal:
    def __init__(self) -> None:
        self.events: list[Event] = []
        self.deposed = False

    async def append(self, payloads: Sequence[bytes]) -> int:
        if self.deposed:
            raise FencedError("another leads")
        self.events += [codec.decode_event(payload).event for payload in payloads]
        return len(self.events)

    def of(self, kind: type) -> list[Event]:
        return [event for event in self.events if isinstance(event, kind)]


class Streams:
    """Agents that are attached, and which of them were asked to drain."""

    def __init__(self) -> None:
        self.drained: list[str] = []

    def act(self, commands: Sequence[Command]) -> None: ...

    def room(self) -> dict[str, int]:
        return {}

    def drain(self, agent_id: str) -> bool:
        self.drained.append(agent_id)
        return True


class Provider:
    """Machines in memory; `fails` names the calls that fail."""

    def __init__(self, journal: Journal) -> None:
        self.machines: dict[str, str] = {}
        self.fails: set[str] = set()
        self.none_left = False
        self.starts: list[str] = []
        self.stops: list[str] = []
        self.lists = 0
        self._journal = journal

    def _fail(self, call: str) -> None:
        if call in self.fails:
            raise CapacityError(f"{call} fails")

    async def start(self, pool: str, kind: str, name: str, price_usd_per_hour: float) -> bool:
        chosen = [event.name for event in self._journal.of(CapacityChosen) if isinstance(event, CapacityChosen)]
        assert name in chosen, "bought before it was durable that it should be"
        assert (pool, kind, price_usd_per_hour) == ("zone", "on-demand", 0.1)
        self.starts.append(name)
        self._fail("start")
        if not self.none_left:
            self.machines[name] = pool
        return not self.none_left

    async def stop(self, name: str, pool: str) -> None:
        released = [event.name for event in self._journal.of(CapacityReleased) if isinstance(event, CapacityReleased)]
        assert name in released, "given back by one who may not lead any more"
        self._fail("stop")
        self.stops.append(name)
        self.machines.pop(name, None)

    async def list(self) -> Mapping[str, str]:
        self.lists += 1
        self._fail("list")
        return dict(self.machines)

    async def prices(self) -> Mapping[str, Price]:
        self._fail("prices")
        return {}


class Rig:
    """A leader with one run for which nobody is there, and a market."""

    def __init__(self) -> None:
        self.journal = Journal()
        self.streams = Streams()
        self.provider = Provider(self.journal)
        state = MeshState()
        state.workflows["spec"] = dataclasses.replace(chain(2), sla_ms=20 * 60_000)
        self.leader = Leader(state, self.journal, self.streams, SystemClock())
        capacity = Capacity(CapacitySpec.model_validate(SPEC), self.provider)
        self.buying = Buying(capacity, self.leader, self.streams, SystemClock())  # type: ignore[arg-type]
        self.tasks = [asyncio.create_task(self.leader.run())]

    async def begin(self, run_id: str = "run") -> None:
        now_ms = self.leader.now_ms()
        trigger = TriggerFacts("api-call", now_ms, "now")
        created = RunCreated(run_id, "test/flow", "spec", trigger, ObjectAddress(json="{}"), now_ms + 20 * 60_000)
        await self.leader.tell(created)

    def buy(self) -> None:
        self.tasks.append(asyncio.create_task(self.buying.run()))

    async def ticks(self, number: int) -> None:
        seen = self.provider.lists
        await self.until(lambda: self.provider.lists >= seen + number)

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(20):
            while not condition():
                await asyncio.sleep(0.005)
                for task in self.tasks:
                    assert not task.done(), task.exception()


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    made = Rig()
    yield made
    for task in made.tasks:
        task.cancel()
    await asyncio.gather(*made.tasks, return_exceptions=True)


async def test_a_machine_is_started_once_after_the_decision_is_durable(rig: Rig):
    await rig.begin()
    rig.buy()
    await rig.until(lambda: rig.journal.of(CapacityChanged))
    await rig.ticks(10)
    assert rig.provider.starts == [instance_name(Terms("mesh", 20, 4), "run", 0, 1)]
    assert rig.provider.stops == []
    assert rig.buying.note(rig.leader.state.runs["run"]).startswith("on-demand in zone (orbit-mesh-")


@pytest.mark.parametrize("why", ["none-left", "fails"])
async def test_a_start_that_gave_nothing_is_tried_again_under_another_name(rig: Rig, why: str):
    rig.provider.none_left, rig.provider.fails = why == "none-left", {"start", "prices"} if why == "fails" else set()
    await rig.begin()
    rig.buy()
    await rig.until(lambda: len(rig.provider.starts) >= 2)
    rig.provider.none_left, rig.provider.fails = False, set()
    await rig.until(lambda: rig.provider.machines)
    assert len(set(rig.provider.starts)) == len(rig.provider.starts)


async def test_what_nobody_wants_is_stopped_and_what_is_not_ours_is_left(rig: Rig):
    others = {"orbit-other-stray": "zone", "orbit-mesh-b-stray": "zone", "database": ""}
    rig.provider.machines = {"orbit-mesh-stray": "zone", **others}
    rig.provider.fails = {"list"}
    rig.buy()
    await rig.ticks(3)
    assert rig.provider.stops == []
    rig.provider.fails = {"stop"}
    await rig.ticks(3)
    rig.provider.fails = set()
    await rig.until(lambda: rig.provider.stops)
    await rig.ticks(2)
    assert rig.provider.stops == ["orbit-mesh-stray"]
    assert rig.provider.machines == others


async def test_a_machine_with_an_agent_drains_before_it_is_stopped(rig: Rig):
    facts = dataclasses.replace(agent("its-agent"), labels=((INSTANCE_LABEL, "orbit-mesh-stray"),))
    await rig.leader.tell(AgentAttached(facts))
    rig.provider.machines = {"orbit-mesh-stray": "zone"}
    rig.buy()
    await rig.until(lambda: rig.streams.drained)
    await rig.ticks(2)
    assert set(rig.streams.drained) == {"its-agent"}
    assert rig.provider.stops == []
    del rig.leader.state.agents["its-agent"]
    await rig.until(lambda: rig.provider.stops)


async def test_a_start_that_a_crash_cut_short_is_made_up_for_and_never_doubled(rig: Rig):
    """The last leader chose, and perhaps started, and did not live to say so."""
    await rig.begin("known")
    await rig.begin("unknown")
    for run_id in ("known", "unknown"):
        name = instance_name(Terms("mesh", 20, 4), run_id, 0, 1)
        await rig.leader.tell(CapacityChosen(run_id, 0, "on-demand", "zone", name, 60_000, ""))
    there, not_there = (instance_name(Terms("mesh", 20, 4), run_id, 0, 1) for run_id in ("known", "unknown"))
    rig.provider.machines = {there: "zone"}
    rig.buy()
    await rig.until(lambda: len(rig.journal.of(CapacityChanged)) == 2)
    await rig.ticks(10)
    assert rig.provider.starts == [not_there]
    assert set(rig.provider.machines) == {there, not_there}


async def test_a_mesh_that_ends_gives_back_what_is_its_own(rig: Rig):
    rig.journal.events = [CapacityReleased("orbit-mesh-one")]  # which a mesh that ends need not write
    rig.provider.machines = {"orbit-mesh-one": "zone", "database": ""}
    await give_all_back(Capacity(CapacitySpec.model_validate(SPEC), rig.provider))
    assert rig.provider.stops == ["orbit-mesh-one"]
    rig.provider.fails = {"list"}
    await give_all_back(Capacity(CapacitySpec.model_validate(SPEC), rig.provider))


async def test_one_who_was_deposed_stops_nothing(rig: Rig):
    rig.journal.deposed = True
    rig.provider.machines = {"orbit-mesh-wanted": "zone"}
    outcome = asyncio.create_task(rig.buying.run())
    with pytest.raises(FencedError):
        await rig.tasks[0]
    with pytest.raises(NotLeaderError):
        await outcome
    assert rig.provider.stops == []


# The provider that runs commands.


def provider(folder: Path, *, timeout_s: float = 20.0, **commands: str) -> CommandProvider:
    lines = {"start": "true", "stop": "true", "list": "true", **commands}
    return CommandProvider(Commands(**lines), folder, timeout_s=timeout_s, environment={"ORBIT_ETCD_ENDPOINTS": "etcd"})


async def test_commands_are_told_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ORBIT_PARENT_DEATH_SIGNAL", "1")
    said = 'echo "$ORBIT_INSTANCE $ORBIT_POOL $ORBIT_KIND $ORBIT_PRICE_USD_PER_HOUR $ORBIT_ETCD_ENDPOINTS'
    market = provider(
        tmp_path,
        start=f'{said} $ORBIT_PARENT_DEATH_SIGNAL" > started',
        stop='echo "$ORBIT_INSTANCE $ORBIT_POOL" > stopped',
        list="printf 'one zone\\n\\ntwo\\n'; echo noise >&2",
        prices="""echo '{"zone": {"on-demand": 0.1, "spot": 0.03, "available": false}, "other": {"on-demand": 1}}'""",
    )
    assert await market.start("zone", "spot", "one", 0.03)
    assert (tmp_path / "started").read_text().split() == ["one", "zone", "spot", "0.030000", "etcd"]
    await market.stop("one", "zone")
    assert (tmp_path / "stopped").read_text() == "one zone\n"
    assert await market.list() == {"one": "zone", "two": ""}
    assert await market.prices() == {"zone": Price(0.1, 0.03, available=False), "other": Price(1.0)}
    assert await provider(tmp_path).prices() == {}


async def test_commands_fail_in_words(tmp_path: Path):
    assert not await provider(tmp_path, start=f"exit {NONE_TO_BE_HAD}").start("zone", "spot", "one", 0.03)
    market = provider(tmp_path, start="echo no quota >&2; exit 1", stop="exit 2", list="echo half; exit 3")
    with pytest.raises(CapacityError, match="the start command ended with status 1: no quota"):
        await market.start("zone", "spot", "one", 0.03)
    with pytest.raises(CapacityError, match="stop command ended with status 2: nothing was said"):
        await market.stop("one", "zone")
    with pytest.raises(CapacityError, match="list command ended with status 3"):
        await market.list()
    for said in ("no json", "[]", '{"zone": {"spot": 1}}', '{"zone": {"on-demand": -1}}', '{"zone": 1}'):
        with pytest.raises(CapacityError, match=r"cannot be read.*it prints"):
            await provider(tmp_path, prices=f"echo '{said}'").prices()


async def test_a_command_that_hangs_is_ended_with_all_it_started(tmp_path: Path):
    market = provider(tmp_path, timeout_s=0.5, list="sleep 600 & echo $! > pid; wait")
    with pytest.raises(CapacityError, match=r"did not end within 0\.5 s"):
        await market.list()
    started = int((tmp_path / "pid").read_text())
    async with asyncio.timeout(10):
        while psutil.pid_exists(started) and psutil.Process(started).status() != psutil.STATUS_ZOMBIE:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_a_machine_that_goes_on_does_not_hold_its_start_up(tmp_path: Path):
    line = f"setsid {sys.executable} -c 'import time; time.sleep(30)' & echo $! > pid"
    assert await provider(tmp_path, start=line).start("zone", "spot", "one", 0.03)
    os.kill(int((tmp_path / "pid").read_text()), 9)


# The file.


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"pools": []}, "pools: "),
        ({"start": ""}, "start: "),
        ({"tick": "soon"}, "tick: this is not a duration; write a duration like 30s"),
        ({"mist": 1}, "mist: Extra inputs are not permitted"),
        ({"name": "Prod_1"}, "name: "),
        ({"most": 0}, "most: "),
    ],
)
def test_what_is_wrong_with_a_file_is_said_by_field(tmp_path: Path, change: dict[str, object], said: str):
    with pytest.raises(InvalidRequestError) as caught:
        read_capacity(written(tmp_path, {**SPEC, **change}))
    assert f"{tmp_path / 'capacity.yml'}: {said}" in str(caught.value)
    assert "docs/capacity.md" in str(caught.value)


def test_all_that_is_wrong_with_pools_is_said_at_once(tmp_path: Path):
    (good,) = SPEC["pools"]
    assert isinstance(good, dict)
    bad = {**good, "name": "b", "on-demand": -1, "instance": {"cpus": 1, "memory": "lots", "gpus": 1}}
    with pytest.raises(InvalidRequestError) as caught:
        read_capacity(written(tmp_path, {**SPEC, "pools": [good, bad]}))
    paths = [violation.path for violation in caught.value.violations]
    assert paths == ["pools[1].instance.memory", "pools[1].on-demand"]
    bad["instance"], bad["on-demand"] = {"cpus": 1, "memory": "1GiB", "gpus": 1}, 1
    with pytest.raises(InvalidRequestError, match=r"pools\[1\].instance: with gpus, say gpu-model and gpu-memory too"):
        read_capacity(written(tmp_path, {**SPEC, "pools": [good, bad]}))
    with pytest.raises(InvalidRequestError, match="two pools are called zone"):
        read_capacity(written(tmp_path, {**SPEC, "pools": [good, good]}))


def test_a_file_that_is_none_is_said_too(tmp_path: Path):
    with pytest.raises(InvalidRequestError, match="cannot be read: No such file"):
        read_capacity(tmp_path / "absent.yml")
    (tmp_path / "capacity.yml").write_text("pools: [")
    with pytest.raises(InvalidRequestError, match="is not YAML"):
        read_capacity(tmp_path / "capacity.yml")
    (tmp_path / "capacity.yml").write_text("")
    with pytest.raises(InvalidRequestError, match="the file: "):
        read_capacity(tmp_path / "capacity.yml")


def written(folder: Path, document: object) -> Path:
    path = folder / "capacity.yml"
    path.write_text(json.dumps(document))
    return path
