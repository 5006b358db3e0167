"""Machines of the simulated mesh, coordinators and agents: live code, but for the satellites, which are scripted."""

from __future__ import annotations

import asyncio
import errno
import json
import random
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orbit_agent.advertise import Advertiser
from orbit_agent.attempts import Attempts
from orbit_agent.link import LeaderFinder, Link
from orbit_agent.objects import ObjectFetcher
from orbit_agent.outbox import Outbox
from orbit_agent.sharing import Home, Sharer
from orbit_coordinator.archive import Archive
from orbit_coordinator.candidacy import campaign_and_lead, relieve, watch_leader
from orbit_coordinator.copies import MeshBlobs, other_machines
from orbit_coordinator.logs import LogStore
from orbit_coordinator.services.access import Access
from orbit_coordinator.services.agents import AgentLinkService
from orbit_coordinator.services.runs import RunService
from orbit_coordinator.specs import SpecStore
from orbit_coordinator.term import Resources
from orbit_core.errors import BlobError
from orbit_core.limits import GIB
from orbit_core.pb.orbit.v1 import agents_pb2, common_pb2
from orbit_core.store.blobs import BlobStore, read_blob
from orbit_core.store.blobs.memory import MemoryBlobs
from orbit_core.store.election import Candidate, Election
from orbit_core.store.listing import Listing
from orbit_core.store.transport import BlobFetcher
from tests.simulation.bucket import HOME, SeenFrom, open_seen_from
from tests.simulation.virtual import NodeClock, Process
from tests.simulation.work import Answer

if TYPE_CHECKING:
    from tests.simulation.world import World

SLOTS = 4
HEARTBEAT_S = 2.0
BLOB_PATIENCE_S = 20.0
SNAPSHOT_EVERY_RECORDS = 12
SATELLITES = ("satellite/orbit/echo", "satellite/orbit/fail")


class Node:
    """A machine: it has a disk and a clock, and at most one process."""

    def __init__(self, world: World, name: str, skew_ms: int) -> None:
        self.world = world
        self.name = name
        self.clock = NodeClock(world.loop, began_ms=world.BEGAN_MS, skew_ms=skew_ms)
        self.rng = random.Random(f"{world.seed}/{name}")
        self.process = Process(name)
        self.process.alive = False
        self.dead_for_good = False
        self.starts = 0
        self.blobs = MemoryBlobs()

    @property
    def up(self) -> bool:
        return self.process.alive

    def boot(self) -> None:
        if self.dead_for_good or self.up:
            return
        self.starts += 1
        self.process = Process(f"{self.name}#{self.starts}")
        self.world.say(f"{self.name} starts")
        self.begin()

    def begin(self) -> None:
        raise NotImplementedError

    def crash(self, *, silent: bool = False) -> None:
        if self.up:
            self.process.alive = False
            self.world.network.ended(self.process, silent=silent)

    # Blobs, from and to other machines.

    async def push(self, address: str, local: BlobStore, blobs: Sequence[common_pb2.BlobRef]) -> None:
        node = await self._peer(address)
        for blob in blobs:
            node.blobs.contents[blob.sha256] = await read_blob(local, blob.sha256)
        await self._peer(address)  # the answer has to come back

    async def held(self, address: str, hashes: Sequence[str]) -> set[str]:
        node = await self._peer(address)
        found = {sha256 for sha256 in hashes if sha256 in node.blobs.contents}
        await self._peer(address)
        return found

    async def fetch(self, address: str, sha256: str) -> AsyncIterator[bytes]:
        node = await self._peer(address)
        async for chunk in node.blobs.open(sha256):
            yield chunk

    async def _peer(self, address: str) -> Node:
        network = self.world.network
        await self.clock.sleep(network.latency_s())
        node = self.world.nodes.get(address.partition(":")[0])
        reached = node is not None and network.reaches(self.name, node.name) and network.reaches(node.name, self.name)
        if node is not None and reached and node.up and not node.process.paused:
            return node
        await self.clock.sleep(1.0)
        raise BlobError(f"{address} does not answer")

    def spawn(self, work: Any) -> asyncio.Task[Any]:
        """A task that should end only with its process."""
        task = self.world.spawn(self.process, work)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        if not task.cancelled() and task.exception() is not None:
            self.world.judge.accuse(f"a part of {self.name} ended: {task.exception()!r}")


class Coordinator(Node):
    """A candidate with its services."""

    def __init__(self, world: World, name: str, skew_ms: int) -> None:
        super().__init__(world, name, skew_ms)
        self.address = f"{name}:1"
        self.access: Access | None = None

    def begin(self) -> None:
        world = self.world
        store = world.client(self)
        blobs = MeshBlobs(
            self.blobs,
            fetch=self.fetch,
            push=self.push,
            held=self.held,
            others=lambda: other_machines(store, world.keys, self.address),
            clock=self.clock,
            home=SeenFrom(world.bucket, self) if world.bucket is not None else None,
        )
        resources = Resources(
            coordinator_id=self.name,
            address=self.address,
            store=store,
            keys=world.keys,
            local_blobs=self.blobs,  # type: ignore[arg-type]
            blobs=blobs,
            specs=SpecStore(store, world.keys),
            secrets=_NoSecrets(),  # type: ignore[arg-type]
            archive=Archive(store, world.keys, blobs),
            logs=LogStore(world.disk / self.name, self.clock),
            clock=self.clock,
            allow_private_addresses=True,
            rng=self.rng,
            snapshot_every_records=SNAPSHOT_EVERY_RECORDS,
            blob_home=HOME if world.bucket is not None else None,
        )
        access = self.access = Access(resources)
        election = Election(store, world.keys, Candidate(self.name, self.address))
        self.links = AgentLinkService(access)
        self.runs = RunService(access)
        where = json.dumps({"address": self.address}).encode()
        self.spawn(Listing(store, world.keys.coordinator(self.name), where).run())
        self.spawn(watch_leader(access))
        self.spawn(relieve(access))
        self.spawn(campaign_and_lead(access, election, self._say_serving))

    async def _say_serving(self, leads: bool) -> None:
        access = self.access
        if leads and access is not None and access.term is not None:
            term = access.term
            self.world.say(f"{self.name} leads as epoch {term.leadership.epoch} after record {term.leader.sequence}")
            self.world.judge.leads(self.name, term.state, term.leader.sequence)

    def serve(self, requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
        return self.links.Attach(requests, None)


class _NoSecrets:
    async def for_step(self, cluster: object, step: object) -> dict[str, str]:
        return {}


class _Outbox(Outbox):
    """On a disk that may be full."""

    def __init__(self, folder: Path, agent: Agent) -> None:
        super().__init__(folder)
        self._agent = agent

    def put(self, result: agents_pb2.AttemptResult) -> None:
        if self._agent.disk_full:
            self._agent.not_kept.add((result.key.invocation_id, result.key.attempt))
            raise OSError(errno.ENOSPC, "no space left on device")
        super().put(result)


class Agent(Node):
    """An agent whose satellites follow the script."""

    def __init__(self, world: World, name: str, skew_ms: int) -> None:
        super().__init__(world, name, skew_ms)
        self.disk_full = False
        self.not_kept: set[tuple[str, int]] = set()
        self.attempts: Attempts | None = None
        self.draining = False
        self._highest_epoch = 0
        self._begun: set[tuple[str, str, int]] = set()

    def begin(self) -> None:
        world = self.world
        self._highest_epoch = 0
        self._begun = set()
        self.draining = False
        store = world.client(self)
        self.advertisement = self._describe()
        self.finder = finder = LeaderFinder(store, world.keys)
        self.home = Home(self.clock, partial(open_seen_from, node=self, allowed=world.may_use_bucket(self.name)))
        self.fetcher = BlobFetcher(
            self.blobs,
            lambda: finder.address,
            patience_s=BLOB_PATIENCE_S,
            fetch=self.fetch,
            home=self.home.blobs,
            clock=self.clock,
        )
        self.sharer = Sharer(
            self.blobs, self.home, leader=finder.wait, push=self.push, patience_s=BLOB_PATIENCE_S, clock=self.clock
        )
        self.attempts = attempts = Attempts(
            _Outbox(world.disk / self.name, self),
            self.clock,
            window=SLOTS,
            execute=self._execute,
            send=lambda event: link.send(event),
        )
        self.link = link = Link(
            finder,
            opening=lambda: attempts.opening(self.advertisement),
            on_command=self._command,
            attach=self._attach,
        )
        self.advertiser = Advertiser(store, world.keys, self.name)
        self.advertiser.say(self.advertisement)
        self._tasks = [
            self.spawn(work)
            for work in (finder.run(), self.advertiser.attach(link), self.advertiser.run(), self._heartbeats())
        ]

    def _describe(self) -> agents_pb2.Advertisement:
        return agents_pb2.Advertisement(
            agent_id=self.name,
            session_id=f"session-{self.starts}",
            address=f"{self.name}:1",
            hardware=agents_pb2.Hardware(cpu_milli=350, memory_bytes=GIB),
            price_usd_per_hour=1.0 + len(self.name) / 10,
            price_kind=agents_pb2.PRICE_KIND_OWNED,
            satellites=SATELLITES,
        )

    async def _heartbeats(self) -> None:
        while True:
            await self.clock.sleep(HEARTBEAT_S)
            beat = agents_pb2.Heartbeat(price_usd_per_hour=self.advertisement.price_usd_per_hour)
            self.link.send(agents_pb2.AgentEvent(heartbeat=beat))

    async def _attach(
        self, address: str, requests: AsyncIterator[agents_pb2.AttachRequest]
    ) -> AsyncGenerator[agents_pb2.AttachResponse, None]:
        node = self.world.coordinator_at(address)
        target = (node.name, node.process) if node is not None else None
        serve = node.serve if node is not None else _nobody
        stream = self.world.network.attach((self.name, self.process), target, serve, requests)
        try:
            async for response in stream:
                yield response
        finally:
            await stream.aclose()

    def _command(self, command: agents_pb2.AgentCommand) -> None:
        assert self.attempts is not None
        kind = command.WhichOneof("kind")
        assert kind is not None
        epoch = getattr(command, kind).epoch
        before = self.attempts.session.running
        self.attempts.command(command)
        if epoch < self._highest_epoch and (kind != "assign" or self.attempts.session.running > before):
            self.world.judge.accuse(
                f"{self.name} obeyed a {kind} of epoch {epoch} after one of epoch {self._highest_epoch}"
            )
        self._highest_epoch = max(self._highest_epoch, epoch)
        if kind == "welcome":
            self.home.follow(command.welcome)
        elif kind == "drain":
            self.drain()

    async def _execute(self, assignment: agents_pb2.Assignment) -> agents_pb2.AttemptResult:
        world = self.world
        key = (assignment.key.run_id, assignment.key.invocation_id, assignment.key.attempt)
        name = f"{world.judge.name(key[1])}#{key[2]}"
        world.say(f"{self.name} runs {name}")
        if key in self._begun:
            world.judge.accuse(f"{self.name} was given {name} once, and began it twice")
        self._begun.add(key)
        result = agents_pb2.AttemptResult(key=assignment.key)
        answer = world.script.answer(key[1], assignment.step, key[2])
        try:
            await self._read(assignment)
            await self.clock.sleep(answer.duration_s)
            await self._answer(answer, result, name)
        except BlobError as error:
            result.failure.CopyFrom(common_pb2.Failure(code=error.code, message=str(error), retryable=True))
        result.usage.duration_ms = round(answer.duration_s * 1000)
        return result

    async def _read(self, assignment: agents_pb2.Assignment) -> None:
        """Every object of the attempt, as a live agent reads them."""
        objects = [assignment.parent, assignment.payload, *(each.object for each in assignment.lineage)]
        objects += [each for gathered in assignment.gathered for each in gathered.objects]
        reader = ObjectFetcher(self.fetcher)
        for reference in objects:
            await reader.read(reference)

    async def _answer(self, answer: Answer, result: agents_pb2.AttemptResult, name: str) -> None:
        if answer.kills_agent:
            self.world.say(f"{self.name} dies of {name}")
            self.world.crash_agent(self, restart_s=self.rng.uniform(0.5, 8.0))
            await asyncio.sleep(0)
        if answer.failure is not None:
            failure = answer.failure
            result.failure.CopyFrom(
                common_pb2.Failure(code=failure.code, message=failure.message, retryable=failure.retryable)
            )
            return
        outputs = answer.as_outputs()
        result.outputs.inline_json.extend(text.encode() for text in outputs.inline)
        for page in outputs.pages:
            await self.blobs.put(answer.page)
            blob = common_pb2.BlobRef(sha256=page.sha256, size_bytes=page.size_bytes)
            await self.sharer.share([blob])
            result.outputs.pages.append(common_pb2.OutputPage(blob=blob, count=page.count))
            result.blobs.append(blob)

    @property
    def holds_something(self) -> bool:
        return self.up and self.attempts is not None and bool(self.attempts.session.attempts)

    # Ends.

    def drain(self) -> None:
        """As SIGTERM: finish, hand back, say goodbye; the machine starts again later."""
        if self.up and not self.draining:
            self.draining = True
            self.spawn(self._drain())

    async def _drain(self) -> None:
        assert self.attempts is not None
        await self.attempts.drain(1.0)
        for task in self._tasks:
            task.cancel()
        await self.advertiser.withdraw()
        self.world.say(f"{self.name} has drained")
        self.check_outbox()
        self.crash()
        self.world.loop.later(self.rng.uniform(0.5, 10.0), self.boot)

    def crash(self, *, silent: bool = False) -> None:
        if self.up:
            self.check_outbox()
        super().crash(silent=silent)

    def check_outbox(self) -> None:
        """What has ended here and is not acknowledged lies on disk, where the disk took it."""
        assert self.attempts is not None
        on_disk = {(each.key.invocation_id, each.key.attempt) for each in Outbox(self.world.disk / self.name).load()}
        for attempt in self.attempts.session.attempts.values():
            key = (attempt.key[1], attempt.key[2])
            if attempt.result is not None and key not in on_disk and key not in self.not_kept:
                judge = self.world.judge
                judge.accuse(f"{self.name} holds the result of {judge.name(key[0])} in memory only")


def _nobody(requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
    raise ConnectionRefusedError
