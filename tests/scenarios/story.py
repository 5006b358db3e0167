"""Stories of a mesh as text: a script of commands, and under each what the mesh did. Live code, virtual time.

    # Title: what the story shows.
    > mesh c1 c2 a1 a2          start these, one after the other, and wait until all are attached
    > work step 2s returns=3    how a satellite behaves: fails=N (first N tries), broken, poison, paged
    > submit chain
    > trigger r1 chain          a user's request; waits until it is accepted (`ask` does not wait)
    > tick 5s
    > crash c1 · lose c1 · boot c1 · bury a1 · pause a1 5s · drain a1 · drop a1 · disk-full a1 5s · repeat a1 5s
    > cut a1 c1 5s · split a1 c1 5s (both ways) · etcd down 3s · etcd mute 3s · etcd slow 3s · etcd full 9s · compact
    > lose-blob               every copy of a blob that a live run rests on
    > skew c2 -1h               before it is started
    > cancel r1
    > expect r1 succeeded       waits; also: expect leader c2 · expect runs step 3 · expect quiet

`leader` stands for whoever leads. Commands begin with `> `; every other line is what came of them.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orbit_coordinator.triggers import run_id_of
from orbit_core.pb.orbit.v1 import runs_pb2
from orbit_core.sched.model import Failure
from tests.simulation.faults import Fault
from tests.simulation.nodes import Agent
from tests.simulation.work import Answer, Script
from tests.simulation.world import World, quietly

_PATIENCE_S = 180.0
_SHOWN = (
    "leads as",
    "runs ",
    "dies",
    "starts",
    "drained",
    "goes on",
    "paused",
    "accepted",
    "VIOLATION",
    "nobody leads",
    "every copy",
)
_TOLD = ("RunArchived", "RunCancelled", "AgentLost", "AttemptReturned", "AttemptFailed")


def render(text: str) -> str:
    """The story with what happens now under each of its commands."""
    disk = Path(tempfile.mkdtemp(prefix="orbit-story-"))
    try:
        with quietly():
            return _play(text, disk)
    finally:
        shutil.rmtree(disk, ignore_errors=True)


def _play(text: str, disk: Path) -> str:
    random.seed(0)  # back-offs of live code draw from here
    world = World(0, disk, calm=True)
    asyncio.set_event_loop(world.loop)
    try:
        return world.loop.run_until_complete(world.spawn(None, Story(world).play(text)))
    finally:
        world.loop.bury()
        asyncio.set_event_loop(None)
        world.loop.close()


@dataclass
class _Manner:
    duration_s: float = 0.5
    returns: int = 1
    fails: int = 0
    broken: bool = False
    poison: bool = False
    paged: bool = False


class _Manners(Script):
    def __init__(self) -> None:
        super().__init__(0)
        self.of: dict[str, _Manner] = {}

    def answer(self, invocation_id: str, step_name: str, attempt: int) -> Answer:
        manner = self.of.get(step_name, _Manner())
        if manner.poison:
            return Answer(manner.duration_s, kills_agent=True)
        if manner.broken:
            return Answer(manner.duration_s, failure=Failure("broken", "it never works", retryable=False))
        if attempt <= manner.fails:
            return Answer(manner.duration_s, failure=Failure("flaky", f"try {attempt}"))
        return Answer(manner.duration_s, tuple(f'{{"n":{n}}}' for n in range(manner.returns)), paged=manner.paged)


class Story:
    """Plays commands, one after the other."""

    def __init__(self, world: World) -> None:
        self.world = world
        world.network.steady = world.etcd.steady = True
        self.manners = world.script = _Manners()
        self.runs: dict[str, str] = {}
        self.tasks: list[asyncio.Task[Any]] = []

    async def play(self, text: str) -> str:
        lines: list[str] = []
        for line in text.splitlines():
            if line.startswith("> "):
                lines += [line, *await self._command(line[2:].split("  #")[0].split())]
            elif line.startswith("#") or not line.strip():
                lines.append(line)
        return "\n".join(lines).rstrip() + "\n"

    async def _command(self, words: list[str]) -> list[str]:
        began = len(self.world.history)
        said: list[str] = await getattr(self, "_" + words[0].replace("-", "_"))(*words[1:]) or []
        happened = [self._shown(line) for line in self.world.history[began:]]
        return [f"    {line}" for line in [*filter(None, happened), *said]]

    def _shown(self, line: str) -> str:
        time, _, what = line.strip().partition(" ")
        if not any(word in what for word in _SHOWN + _TOLD):
            return ""
        for name, run_id in self.runs.items():
            what = what.replace(run_id, name)
        what = what.partition(": ")[2] if what.startswith("journal ") else what
        return f"{int(float(time)):4d} s  {what}"

    # Commands.

    async def _mesh(self, *names: str) -> None:
        for name in names:
            self.world.nodes[name].boot()
            await asyncio.sleep(0.2)
        for name, node in self.world.nodes.items():
            node.dead_for_good = name not in names
        await self._until(self._attached)

    def _attached(self) -> bool:
        leader = self.world.leader()
        term = leader.access.term if leader is not None and leader.access is not None else None
        return term is not None and set(term.streams.streams) == {a.name for a in self.world.agents.values() if a.up}

    async def _work(self, step: str, seconds: str, *options: str) -> None:
        manner = self.manners.of[step] = _Manner(_seconds(seconds))
        for option in options:
            name, _, value = option.partition("=")
            setattr(manner, name, int(value) if value else True)

    async def _submit(self, name: str) -> None:
        await self.world.submit(name)

    async def _trigger(self, name: str, cluster: str) -> None:
        await self._ask(name, cluster)
        await self.tasks[-1]

    async def _ask(self, name: str, cluster: str) -> None:
        run_id = run_id_of(f"lab/{cluster}", "api-call", name)
        self.runs[name] = run_id
        self.world.judge.aliases[run_id] = name
        self.tasks.append(self.world.spawn(self.world.user, self.world.trigger(cluster, name)))

    async def _cancel(self, name: str) -> None:
        request = runs_pb2.CancelRunRequest(run_id=self.runs[name], reason="changed my mind")
        await self.world.spawn(self.world.user, self.world.insist(lambda node: node.runs.CancelRun(request, None)))

    async def _tick(self, seconds: str) -> None:
        await asyncio.sleep(_seconds(seconds))

    async def _boot(self, name: str) -> None:
        self.world.nodes[name].dead_for_good = False
        self.world.nodes[name].boot()

    async def _skew(self, name: str, by: str) -> None:
        self.world.nodes[name].clock.set_back(-round(_seconds(by) * 1000))

    async def _crash(self, name: str) -> None:
        self._end(name, silent=False)

    async def _lose(self, name: str) -> None:
        self._end(name, silent=True)

    async def _bury(self, name: str) -> None:
        node = self._node(name)
        node.dead_for_good = True
        self._end(node.name, silent=True)

    def _end(self, name: str, *, silent: bool) -> None:
        node = self._node(name)
        self.world.say(f"{node.name} dies")
        node.crash(silent=silent)

    async def _pause(self, name: str, seconds: str) -> None:
        self._fault("pause-agent", self._node(name).name, seconds=seconds)

    async def _drain(self, name: str) -> None:
        self._fault("drain-agent", name)

    async def _drop(self, name: str) -> None:
        self._fault("drop-stream", name)

    async def _repeat(self, name: str, seconds: str) -> None:
        self._fault("repeat-words", name, seconds=seconds)

    async def _disk_full(self, name: str, seconds: str) -> None:
        self._fault("disk-full", name, seconds=seconds)

    async def _cut(self, source: str, target: str, seconds: str) -> None:
        self._fault("cut-one-way", self._name(source), self._name(target), seconds)

    async def _split(self, one: str, other: str, seconds: str) -> None:
        self._fault("cut-both", self._name(one), self._name(other), seconds)

    async def _etcd(self, how: str, seconds: str) -> None:
        self._fault(f"etcd-{how}", seconds=seconds)

    async def _compact(self) -> None:
        self._fault("compact")

    async def _lose_blob(self) -> None:
        self._fault("lose-blob")

    def _fault(self, kind: str, target: str = "", other: str = "", seconds: str = "0s") -> None:
        self.world.begin(Fault(self.world.loop.time(), kind, target, other, _seconds(seconds)))

    def _name(self, name: str) -> str:
        return name if name == "etcd" else self._node(name).name

    def _node(self, name: str) -> Any:
        if name != "leader":
            return self.world.nodes[name]
        leader = self.world.leader()
        assert leader is not None, "nobody leads"
        return leader

    # What has to come.

    async def _expect(self, what: str, *words: str) -> list[str]:
        judge = self.world.judge
        if what == "quiet":
            met = await self._until(lambda: not judge.state.runs and self._attached() and not self._held())
            return [f"quiet: {met}"]
        if what == "leader":
            met = await self._until(lambda: (leader := self.world.leader()) is not None and leader.name in words)
            return [f"leader is {' or '.join(words)}: {met}"]
        if what == "runs":
            step, count = words
            begun = sum(1 for line in self.world.history if " runs " in line and f".{step}." in line)
            return [f"{step} ran {begun} times: {begun == int(count)}"]
        run_id = self.runs[what]
        await self._until(lambda: run_id in judge.statuses)
        return [f"{what} is {judge.statuses.get(run_id, 'unfinished')}: {judge.statuses.get(run_id) == words[0]}"]

    def _held(self) -> bool:
        return any(isinstance(node, Agent) and node.holds_something for node in self.world.nodes.values())

    async def _until(self, met: Any) -> bool:
        deadline_s = self.world.loop.time() + _PATIENCE_S
        while not met() and self.world.loop.time() < deadline_s:  # noqa: ASYNC110
            await asyncio.sleep(0.25)
        return bool(met())


def _seconds(text: str) -> float:
    number, unit = text[:-1], text[-1]
    return float(number) * {"s": 1, "m": 60, "h": 3600}[unit]
