"""One simulated mesh from its first moment to quiescence: nodes, etcd, network, clients, faults, and a judge.

`simulate(seed)` gives an `Outcome`; the same seed and faults give the same history, byte for byte.
"""

from __future__ import annotations

import asyncio
import gc
import hashlib
import json
import logging
import random
import shutil
import sys
import tempfile
import warnings
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orbit_core.errors import OrbitError
from orbit_core.limits import MIB, OBJECT_INLINE_MAX_BYTES
from orbit_core.pb.orbit.v1 import runs_pb2
from orbit_core.sched import lineage
from orbit_core.sched.events import ClusterSubmitted
from orbit_core.store.keys import Keys
from tests.simulation import work
from tests.simulation.bucket import Bucket
from tests.simulation.etcd import Client, Etcd
from tests.simulation.faults import AGENTS, COORDINATORS, ETCD, Fault, faults_of, has_home
from tests.simulation.judge import Judge
from tests.simulation.network import Network
from tests.simulation.nodes import SLOTS, Agent, Coordinator, Node
from tests.simulation.virtual import NodeClock, Process, StuckError, VirtualLoop

#: Everything has ended this long after the last fault is over, or never will.
QUIET_WITHIN_S = 400.0
SETTLE_S = 3.0
QUOTA_BYTES = 64 * MIB
FAN_OUT_WINDOW = 3


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a seed came to. `history`: a line for everything that happened."""

    seed: int
    faults: tuple[Fault, ...]
    violations: tuple[str, ...]
    history: tuple[str, ...]
    virtual_s: float
    events: int
    elections: int

    @property
    def fingerprint(self) -> str:
        """A hash of the whole history."""
        return hashlib.sha256("\n".join(self.history).encode()).hexdigest()


class World:
    """Nodes and what is between them."""

    BEGAN_MS = 1_700_000_000_000

    def __init__(self, seed: int, disk: Path, *, calm: bool = False) -> None:
        """`calm`: right clocks and no poison, for stories that bring their own trouble."""
        self.seed = seed
        self.disk = disk
        self.loop = VirtualLoop()
        self.rng = random.Random(f"{seed}/world")
        self.reader = random.Random(f"{seed}/reader")
        self.impatient = random.Random(f"{seed}/impatient")
        self.keys = Keys()
        self.history: list[str] = []
        poison = 0.0 if calm else self.rng.choice((0.0, 0.0, 0.08))
        self.script = work.Script(seed, poison=poison, paged=0.0 if calm else self.rng.choice((0.0, 0.5)))
        specs = {name: work.cluster(name) for name in work.NAMES}
        self.judge = Judge(self.keys, {}, self.say, self.loop.time)
        self._specs = specs
        truth = NodeClock(self.loop, began_ms=self.BEGAN_MS, skew_ms=0)
        self.etcd = Etcd(truth, self.judge.landed, quota_bytes=QUOTA_BYTES)
        self.network = Network(self.loop, random.Random(f"{seed}/network"), self.judge.sent)
        #: Where blobs are kept for good, in some seeds; and the one agent that may not use it, in some of those.
        self.bucket = Bucket() if has_home(seed) and not calm else None
        self._barred = random.Random(f"{seed}/barred").choice(("", *AGENTS))
        skews = [0] * 6 if calm else [self._skew_ms() for _ in range(6)]
        self.coordinators = {n: Coordinator(self, n, skews[i]) for i, n in enumerate(COORDINATORS)}
        self.agents = {n: Agent(self, n, skews[3 + i]) for i, n in enumerate(AGENTS)}
        self.nodes: dict[str, Node] = {**self.coordinators, **self.agents}
        self.judge.nodes = self.nodes
        self.judge.bucket = self.bucket
        self.user = Process("user")
        self.accepted: list[str] = []

    def _skew_ms(self) -> int:
        return self.rng.choice((0, 0, self.rng.randint(-5_000, 5_000), 3_600_000, -3_600_000))

    def may_use_bucket(self, agent: str) -> bool:
        return agent != self._barred

    def say(self, what: str) -> None:
        self.history.append(f"{self.loop.time():9.4f} {what}")

    def spawn(self, process: Process | None, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        return self.loop.spawn(process, coroutine)

    def client(self, node: Node) -> Client:
        def reaches(to_etcd: bool) -> bool:
            return self.network.reaches(node.name, ETCD) if to_etcd else self.network.reaches(ETCD, node.name)

        rng = random.Random(f"{self.seed}/{node.name}/{node.starts}")
        return Client(self.loop, self.etcd, node.clock, rng, reaches)

    def coordinator_at(self, address: str) -> Coordinator | None:
        node = self.coordinators.get(address.partition(":")[0])
        return node if node is not None and node.up else None

    def leader(self) -> Coordinator | None:
        for node in self.coordinators.values():
            term = node.access.term if node.up and node.access is not None else None
            if term is not None and not term.leader.stopped and term.leadership.epoch == self.judge.epoch:
                return node
        return None

    # The story.

    async def run(self, faults: Sequence[Fault]) -> None:
        for node in self.nodes.values():
            self.loop.later(self.rng.uniform(0, 1.5), node.boot)
        plans = [(round(self.rng.uniform(0, 12), 3), name) for name in self._runs()]
        self.spawn(self.user, self._submit(plans))
        self.spawn(self.user, self._read_from_followers())
        for fault in faults:
            self.loop.later(fault.at_s, self.begin, fault)
        over_s = max([fault.at_s + fault.for_s for fault in faults], default=0.0) + 12.0
        await asyncio.sleep(over_s)
        deadline_s = self.loop.time() + QUIET_WITHIN_S
        while not (quiet := self._quiet(len(plans))) and self.loop.time() < deadline_s and not self.judge.found:  # noqa: ASYNC110
            await asyncio.sleep(1.0)
        await asyncio.sleep(SETTLE_S)  # the last acknowledgements are on their way
        self._final(quiet)
        if quiet and not self.judge.found:
            await self._read_records()

    async def _read_records(self) -> None:
        """Whoever leads now can read the record of every run of which another machine that is there has a copy."""
        leader = self.leader()
        assert leader is not None and leader.access is not None
        archive = leader.access.resources.archive
        for run_id in self.accepted:
            summary = await archive.get(run_id)
            if any(agent.up and summary.record_sha256 in agent.blobs.contents for agent in self.agents.values()):
                try:
                    await self.spawn(leader.process, archive.run(run_id))
                except OrbitError as error:
                    self.judge.accuse(f"the record of {run_id} cannot be read: {error}")
            elif len({agent.name for agent in self.agents.values() if agent.dead_for_good}) == 0:
                self.say(f"the record of {run_id} lies on one machine only")

    def _runs(self) -> list[str]:
        return self.rng.choices(work.NAMES, k=self.rng.choice((1, 2, 3)))

    async def _submit(self, plans: Sequence[tuple[float, str]]) -> None:
        for name in sorted({name for _, name in plans}):
            await self.submit(name)
        for number, (at_s, name) in enumerate(sorted(plans)):
            self.spawn(self.user, self._trigger(at_s, name, number))
            if self.impatient.random() < 0.4:
                self.spawn(self.user, self._trigger_again(at_s + self.impatient.uniform(0.0, 8.0), name, number))

    async def submit(self, name: str) -> None:
        """A user submits one of the laboratory's clusters."""
        await self.insist(lambda node: self._submit_cluster(node, name))

    async def _submit_cluster(self, node: Coordinator, name: str) -> None:
        assert node.access is not None
        term = node.access.leading()
        cluster, workflow = self._specs[name]
        spec = await node.access.resources.specs.put(cluster, workflow, term.leadership)
        self.judge.state.workflows[spec.spec_hash] = workflow
        term.state.workflows[spec.spec_hash] = workflow
        await term.leader.tell(ClusterSubmitted(cluster.identifier, spec.spec_hash))

    async def _trigger(self, at_s: float, name: str, number: int) -> None:
        await asyncio.sleep(at_s)
        run_id = await self.trigger(name, str(number))
        if self.rng.random() < 0.08:
            await asyncio.sleep(self.rng.uniform(0.5, 6))
            cancel = runs_pb2.CancelRunRequest(run_id=run_id, reason="changed my mind")
            await self.insist(lambda node: node.runs.CancelRun(cancel, None))
            self.say(f"user: {run_id} is cancelled")

    async def _trigger_again(self, at_s: float, name: str, number: int) -> None:
        """The same request once more, whether the first has been answered or not."""
        await asyncio.sleep(at_s)
        request = self._request(name, str(number))
        await self.insist(lambda node: node.runs.TriggerRun(request, None))

    async def _read_from_followers(self) -> None:
        """Somebody who looks now and then, wherever he is answered."""
        while True:
            await asyncio.sleep(self.reader.uniform(1.0, 6.0))
            node = self.reader.choice(list(self.coordinators.values()))
            if node.up and node is not self.leader():
                with suppress(OrbitError, ConnectionError):
                    await self.network.call("user", (node.name, node.process), lambda node=node: self._look(node))

    async def _look(self, node: Coordinator) -> None:
        assert node.access is not None
        if node.access.term is None:
            began_ms, durable = node.clock.now_ms(), self.judge.sequence
            copy = await node.access.replica.look()
            if copy.as_of_ms >= began_ms:  # etcd could be read
                self.judge.told_by_follower(node.name, copy.state, copy.sequence, durable)

    async def trigger(self, name: str, request_id: str) -> str:
        """A user starts a run, and asks until somebody has accepted it; its identifier."""
        request = self._request(name, request_id)
        response = await self.insist(lambda node: node.runs.TriggerRun(request, None))
        run_id: str = response.run.run_id
        self.say(f"user: {run_id} ({name}) is accepted")
        self.accepted.append(run_id)
        self.judge.accepted(run_id)
        return run_id

    def _request(self, name: str, request_id: str) -> runs_pb2.TriggerRunRequest:
        """Some payloads are large, and lie in a blob."""
        payload = json.dumps({"large": "x" * OBJECT_INLINE_MAX_BYTES}).encode() if self.script.pages else b"{}"
        return runs_pb2.TriggerRunRequest(cluster=f"lab/{name}", request_id=request_id, payload_json=payload)

    async def insist(self, ask: Any) -> Any:
        """Asks one coordinator after the other until one answers."""
        while True:
            for node in list(self.coordinators.values()):
                if not node.up:
                    continue
                try:
                    return await self.network.call("user", (node.name, node.process), lambda node=node: ask(node))
                except (OrbitError, ConnectionError):
                    await asyncio.sleep(0.1)
            await asyncio.sleep(0.2)

    # Faults.

    def begin(self, fault: Fault) -> None:
        self.say(f"FAULT {str(fault)[9:].strip()}")
        leader = self.leader()
        node = self.nodes.get(fault.target)
        match fault.kind:
            case "crash-leader":
                self._crash(leader)
            case "crash-coordinator" | "crash-agent":
                self._crash(node)
            case "lose-machine":
                self._crash(node, silent=True)
            case "lose-blob":
                self._lose_blob()
            case "bury-agent" | "bury-coordinator":
                assert node is not None
                node.dead_for_good = True
                node.crash(silent=True)
            case "pause-leader":
                self._pause(leader, fault.for_s)
            case "pause-agent":
                self._pause(node, fault.for_s)
            case "cut-both":
                self._cut(fault.target, fault.other, fault.for_s)
                self._cut(fault.other, fault.target, fault.for_s)
            case "cut-one-way" | "cut-from-etcd":
                self._cut(fault.target, fault.other, fault.for_s)
            case "drop-stream":
                assert node is not None
                for connection in self.network.of(node.process):
                    connection.break_soon(fast=self.rng.random() < 0.5)
            case "flap-stream":
                assert node is not None
                self._flap(node, self.loop.time() + fault.for_s)
            case "etcd-down":
                self.etcd.down = True
                self.loop.later(fault.for_s, self._set, "down", False)
            case "etcd-slow":
                self._set("slow", 0.4)
                self.loop.later(fault.for_s, self._set, "slow", 0.0)
            case "etcd-late":
                self._set("late", 0.15)
                self.loop.later(fault.for_s, self._set, "late", 0.0)
            case "etcd-mute":
                self._set("mute", 0.4)
                self.loop.later(fault.for_s, self._set, "mute", 0.0)
            case "etcd-full":
                self.etcd._quota_bytes = self.etcd._bytes
                self.loop.later(fault.for_s, setattr, self.etcd, "_quota_bytes", QUOTA_BYTES)
            case "compact":
                self.spawn(self.etcd.process, self.etcd.compact(self.etcd._revision))
            case "disk-full":
                assert isinstance(node, Agent)
                node.disk_full = True
                self.loop.later(fault.for_s, setattr, node, "disk_full", False)
            case "repeat-words":
                self.network.repeated.add(fault.target)
                self.loop.later(fault.for_s, self.network.repeated.discard, fault.target)
            case "home-away":
                assert self.bucket is not None
                self.bucket.away = True
                self.loop.later(fault.for_s, setattr, self.bucket, "away", False)
            case "drain-agent":
                assert isinstance(node, Agent)
                node.drain()
            case _:
                raise ValueError(fault.kind)

    def _lose_blob(self) -> None:
        """A page that a live run rests on is on no disk any more."""
        pages = self.judge.pages()
        if pages:
            sha256 = self.rng.choice(pages)
            self.say(f"every copy of {sha256[:8]} is gone")
            self.judge.gone.add(sha256)
            for disk in (*(node.blobs for node in self.nodes.values()), *([self.bucket] if self.bucket else [])):
                disk.contents.pop(sha256, None)

    def _flap(self, node: Node, until_s: float) -> None:
        """Streams that never last, while etcd is slow: much is in flight whenever one ends and the next begins."""
        over = self.loop.time() >= until_s
        self.etcd.slow = 0.0 if over else 0.4
        if not over:
            for connection in self.network.of(node.process):
                connection.break_soon(fast=True)
            self.loop.later(self.rng.uniform(0.1, 0.6), self._flap, node, until_s)

    def _set(self, name: str, value: object) -> None:
        setattr(self.etcd, name, value)

    def _crash(self, node: Node | None, *, silent: bool = False) -> None:
        if node is None or not node.up:
            return
        self.say(f"{node.name} dies")
        node.crash(silent=silent)
        self.loop.later(self.rng.uniform(0.3, 12.0), node.boot)

    def crash_agent(self, agent: Agent, *, restart_s: float) -> None:
        agent.crash()
        self.loop.later(restart_s, agent.boot)

    def _pause(self, node: Node | None, for_s: float) -> None:
        if node is None or not node.up or node.process.paused:
            return
        process = node.process
        process.paused = True
        self.say(f"{node.name} is paused")
        self.network.paused(process)

        def resume() -> None:
            if process.alive:
                self.say(f"{node.name} goes on")
                self.loop.resume(process)

        self.loop.later(for_s, resume)

    def _cut(self, source: str, target: str, for_s: float) -> None:
        self.network.cut(source, target)
        self.loop.later(for_s, self.network.heal, source, target)

    # The end.

    def _quiet(self, runs: int) -> bool:
        leader = self.leader()
        return (
            len(self.accepted) == runs
            and not self.judge.state.runs
            and leader is not None
            and all(node.up for node in self.nodes.values() if not node.dead_for_good)
            and not any(agent.holds_something for agent in self.agents.values())
            and self.all_attached(leader)
        )

    def all_attached(self, leader: Coordinator) -> bool:
        term = leader.access.term if leader.access else None
        wanted = {agent.name for agent in self.agents.values() if not agent.dead_for_good}
        return term is not None and set(term.streams.streams) == wanted == set(term.state.agents)

    def _final(self, quiet: bool) -> None:
        judge = self.judge
        if not quiet:
            if not judge.found:
                judge.accuse(f"nothing more happens, and not all is done: {self._unfinished()}")
            return
        for run_id in self.accepted:
            if run_id not in judge.outcomes:
                judge.accuse(f"{run_id} was accepted and is lost")
            elif run_id not in judge.cancelled:
                self._compare(run_id)
        leader = self.leader()
        assert leader is not None and leader.access is not None and leader.access.term is not None
        for name, stream in leader.access.term.streams.streams.items():
            if stream.credit != SLOTS:
                judge.accuse(f"all is done, and {name} has room for {stream.credit} attempts of {SLOTS}")
        for agent in self.agents.values():
            if not agent.dead_for_good and list((self.disk / agent.name).iterdir()):
                judge.accuse(f"all is acknowledged, and the outbox of {agent.name} is not empty")
        for error in self.loop.errors:
            judge.accuse(f"nobody looked at this error: {error}")

    def _unfinished(self) -> str:
        parts = [f"{len(self.accepted)} runs accepted"]
        for run in self.judge.state.runs.values():
            open_now = [f"{self.judge.name(i.id)} {i.status}" for i in run.invocations.values() if not i.ended]
            parts.append(f"{run.id} {run.status}, {run.pending} pending: {', '.join(open_now)}")
        leader = self.leader()
        parts.append(f"leader {leader.name if leader else 'nobody'}")
        if leader and leader.access and leader.access.term:
            term = leader.access.term
            parts.append(f"streams {sorted(term.streams.streams)}, agents {sorted(term.state.agents)}")
        for agent in self.agents.values():
            if agent.attempts is not None and agent.attempts.session.attempts:
                held = [f"{self.judge.name(a.key[1])} {a.phase}" for a in agent.attempts.session.attempts.values()]
                parts.append(f"{agent.name} holds {', '.join(held)}")
        return "; ".join(parts)

    def _compare(self, run_id: str) -> None:
        """The run came to what it had to come to; to less where an innocent was poisoned, or blobs are lost."""
        created = self.judge.created[run_id]
        workflow = self.judge.state.workflows[created.spec_hash]
        wanted = work.expected(created, workflow, self.script)
        actual = self.judge.outcomes[run_id]
        misfortunes = ("poisoned", "data-lost")  # the judge has looked at each of the latter
        unlucky = {key for key, end in actual.items() if end.failure in misfortunes and wanted.get(key) != end}
        if unlucky:
            return
        for key, end in wanted.items():
            if actual.get(key) != end:
                self.judge.accuse(f"{self.judge.name(key)} should be {end}, and is {actual.get(key)}")
        for key in actual:
            if key not in wanted:
                self.judge.accuse(f"{self.judge.name(key)} should not exist")


@contextmanager
def quietly() -> Iterator[None]:
    """No logs, no garbage collection at moments of its own, no words from tasks whose process was killed."""
    level, window = logging.root.manager.disable, lineage.FAN_OUT_WINDOW
    hook = sys.unraisablehook
    logging.disable(logging.CRITICAL)
    gc.disable()
    gc.freeze()  # what is there already need not be looked at again after each seed
    lineage.FAN_OUT_WINDOW = FAN_OUT_WINDOW  # type: ignore[misc]
    sys.unraisablehook = lambda args: None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # "never awaited": work for a process that was killed
            yield
            gc.collect()
    finally:
        gc.unfreeze()
        gc.enable()
        sys.unraisablehook = hook
        lineage.FAN_OUT_WINDOW = window  # type: ignore[misc]
        logging.disable(level)


def simulate(seed: int, faults: Sequence[Fault] | None = None) -> Outcome:
    """Runs one seed; `faults` replaces those that the seed draws."""
    chosen = faults_of(seed) if faults is None else tuple(faults)
    disk = Path(tempfile.mkdtemp(prefix="orbit-sim-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
    try:
        with quietly():
            return _simulate(seed, chosen, disk)
    finally:
        shutil.rmtree(disk, ignore_errors=True)


def _simulate(seed: int, faults: tuple[Fault, ...], disk: Path) -> Outcome:
    random.seed(f"{seed}/global")
    world = World(seed, disk)
    asyncio.set_event_loop(world.loop)
    try:
        try:
            world.loop.run_until_complete(world.spawn(None, world.run(faults)))
        except StuckError as error:
            world.judge.accuse(str(error))
        found, history = tuple(world.judge.found), tuple(world.history)
        return Outcome(seed, faults, found, history, world.loop.time(), world.judge.events, world.judge.elections)
    finally:
        world.loop.bury()
        asyncio.set_event_loop(None)
        world.loop.close()
