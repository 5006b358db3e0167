"""Sees everything and is never wrong: follows etcd as it changes, and holds every process to what it may say and do.

The judge replays each journal record through `step` as it lands, so its state is what is durable, no more and no
less. Whatever a coordinator sends, an agent starts or a client hears is compared with that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from orbit_coordinator.upkeep import blobs_of
from orbit_core.pb.orbit.v1 import agents_pb2
from orbit_core.sched.events import (
    AgentAttached,
    AgentLost,
    AttemptFailed,
    AttemptReturned,
    AttemptSkipped,
    AttemptSucceeded,
    Event,
    InputsLost,
    LogsBatched,
    Placed,
    RunArchived,
    RunBroken,
    RunCreated,
)
from orbit_core.sched.invariants import violations
from orbit_core.sched.lineage import maker_of
from orbit_core.sched.model import Page, Status
from orbit_core.sched.state import Invocation, MeshState, Run
from orbit_core.sched.step import run_of, step
from orbit_core.sched.workflow import Workflow
from orbit_core.store import records
from orbit_core.store.api import WatchEvent
from orbit_core.store.codec import decode_event, digest
from orbit_core.store.keys import Keys
from orbit_core.store.snapshot import SnapshotDamagedError, assemble
from tests.simulation.work import End, ends

if TYPE_CHECKING:
    from tests.simulation.bucket import Bucket
    from tests.simulation.nodes import Node

Key = tuple[str, str, int]
#: How old an end may be before sending its work out again is a fault and not a race.
_RACE_S = 2.0
#: A machine that has stood in etcd for so long can be given a copy of a blob.
_LISTED_S = 6.0


class Judge:
    """`say` writes history; `now_s` is the true time. `found` holds what is wrong, in words."""

    def __init__(
        self, keys: Keys, workflows: Mapping[str, Workflow], say: Callable[[str], None], now_s: Callable[[], float]
    ) -> None:
        self.state = MeshState()
        self.state.workflows.update(workflows)
        self.sequence = 0
        self.epoch = 0
        self.events = 0
        self.elections = 0
        self.found: list[str] = []
        self.created: dict[str, RunCreated] = {}
        self.outcomes: dict[str, dict[str, End]] = {}
        self.cancelled: set[str] = set()
        self.statuses: dict[str, str] = {}
        #: Short names of runs, for stories.
        self.aliases: dict[str, str] = {}
        self._keys = keys
        self._say = say
        self._now_s = now_s
        self._placed: set[Key] = set()
        self._answered: set[Key] = set()
        self._ended_at_s: dict[str, float] = {}
        self._manifest = 0
        self._newest = b""
        self._parts: dict[str, dict[int, bytes]] = {}
        self._batches: set[bytes] = set()
        self._archived: set[str] = set()
        #: Machines that stand in etcd, and since when.
        self._listed_s: dict[bytes, float] = {}
        #: The machines, for their disks, and the blobs whose every copy a fault has taken.
        self.nodes: Mapping[str, Node] = {}
        self.gone: set[str] = set()
        #: Where the mesh keeps its blobs for good; None: on two machines.
        self.bucket: Bucket | None = None
        self._names: dict[str, str] = {}

    def accuse(self, what: str) -> None:
        self._say(f"VIOLATION {what}")
        self.found.append(what)

    # Names that a person can follow.

    def name(self, invocation_id: str) -> str:
        return self._names.get(invocation_id, invocation_id)

    def _learn(self, run: Run) -> None:
        steps = self.state.workflow(run).steps
        for invocation in run.invocations.values():
            if invocation.id not in self._names:
                short = self.aliases.get(run.id, run.id[-4:])
                number = sum(1 for known in self._names.values() if known.startswith(f"{short}."))
                self._names[invocation.id] = f"{short}.{steps[invocation.step].identifier}.{number}"
                if steps[invocation.step].gather is not None:
                    self._fired(run, invocation)

    def _fired(self, run: Run, gathered: Invocation) -> None:
        """A fan-in has fired: nothing that it waits for may still go on, or be yet to come."""
        workflow = self.state.workflow(run)
        upstream = workflow.upstream[gathered.step]
        roots = run.roots if gathered.parent is None else run.invocations[gathered.parent].children
        below = [run.invocations[each] for each in roots if each != gathered.id]
        if gathered.parent is not None:
            below = [each for each in below if each.index == gathered.index]
        while below:
            each = below.pop()
            below.extend(run.invocations[child] for child in each.children)
            total = (each.outputs.count if each.outputs else 0) * len(workflow.fans[each.step])
            if each.step in upstream and (not (each.ended or each.remaking) or each.expanded < total):
                self.accuse(f"{self.name(gathered.id)} fired before {self.name(each.id)} had ended")

    # What lands in etcd.

    def landed(self, events: Sequence[WatchEvent]) -> None:
        span = self._keys.journal_from(0)
        for event in events:
            key = event.kv.key
            if key == self._keys.leader():
                self._elected(event)
            elif span.start <= key < span.end:
                if event.kind == "put":
                    self._record(event)
                elif self._keys.journal_seq(key) > self._manifest:
                    self.accuse(f"journal record {self._keys.journal_seq(key)} was deleted, and no snapshot holds it")
            elif key.startswith(self._keys.manifests().start):
                self._manifested(event)
            elif key.startswith(self._keys.parts().start):
                self._chunk(event)
            elif event.kind == "put" and key.startswith(self._keys.archive().start):
                self._archived.add(self._keys.run_id(key))
            elif key.startswith((self._keys.agents().start, self._keys.coordinators().start)):
                if event.kind == "put":
                    self._listed_s.setdefault(key, self._now_s())
                else:
                    self._listed_s.pop(key, None)

    def _manifested(self, event: WatchEvent) -> None:
        """The newest snapshot is of something that is there, and stays."""
        seq = self._keys.manifest_seq(event.kv.key)
        if event.kind == "delete":
            if seq == self._manifest:
                self.accuse(f"the newest snapshot, after record {seq}, was deleted")
        elif seq >= self._manifest:
            self._manifest, self._newest = seq, event.kv.value
            self._say(f"etcd: snapshot after record {seq}")
            if seq > self.sequence:
                self.accuse(f"a snapshot claims record {seq}, and there are {self.sequence}")

    def _chunk(self, event: WatchEvent) -> None:
        sha256, index = self._keys.part_of_chunk(event.kv.key)
        if event.kind == "put":
            self._parts.setdefault(sha256, {})[index] = event.kv.value
        elif self._parts.pop(sha256, None) and self._newest:
            try:
                assemble(
                    self._newest, {each: [chunks[n] for n in sorted(chunks)] for each, chunks in self._parts.items()}
                )
            except SnapshotDamagedError as error:
                self.accuse(f"the newest snapshot, after record {self._manifest}, was damaged: {error}")

    def _elected(self, event: WatchEvent) -> None:
        if event.kind == "put":
            self.epoch = event.kv.create_revision
            self.elections += 1
            self._say(f"etcd: epoch {self.epoch} begins: {event.kv.value.decode()}")
        else:
            self.epoch = 0
            self._say("etcd: nobody leads")

    def _record(self, event: WatchEvent) -> None:
        seq = self._keys.journal_seq(event.kv.key)
        batch = records.decode(event.kv.value)
        if seq <= self._manifest and batch.batch_id in self._batches:
            return  # a late try of a record that a snapshot has replaced since: nobody reads it
        self._batches.add(batch.batch_id)
        if event.kv.version != 1 or seq <= self.sequence:
            self.accuse(f"journal record {seq} was written over")
            return
        if seq != self.sequence + 1:
            self.accuse(f"journal record {seq} follows {self.sequence}")
        if batch.epoch != self.epoch:
            self.accuse(f"journal record {seq} was written by epoch {batch.epoch} while {self.epoch} led")
        self.sequence = seq
        for payload in batch.payloads:
            timed = decode_event(payload)
            self._happened(seq, timed.event, timed.now_ms)

    def _happened(self, seq: int, event: Event, now_ms: int) -> None:
        self.events += 1
        before = self._under_way(event)
        open_before = self._open(event)
        if isinstance(event, RunBroken):
            self.accuse(f"{event.run_id} broke: {event.message}")
        if isinstance(event, RunCreated) and event.run_id in self.outcomes and event.run_id not in self.state.runs:
            self.accuse(f"{event.run_id} has ended, and was created once more")
        if isinstance(event, RunArchived) and event.run_id in self.state.runs:
            self._archive(self.state.runs[event.run_id])
        try:
            step(self.state, event, now_ms)
        except Exception as error:
            self.accuse(f"event {type(event).__name__} of record {seq} cannot be replayed: {error!r}")
            return
        if isinstance(event, RunCreated):
            self.created.setdefault(event.run_id, event)
        for run in self.state.runs.values():
            self._learn(run)
        self._remember(event)
        self._losses(event, before)
        self._blamed(event, before)
        self._ends(open_before)
        self._blobs(event)
        self._say(f"journal {seq}: {self._words(event)}")
        for violation in violations(self.state):
            self.accuse(violation)

    # Blobs.

    def pages(self) -> list[str]:
        """Those that live runs rest on."""
        found = {sha256: None for run in self.state.runs.values() for sha256, _ in blobs_of(run)}
        return list(found)

    def _blobs(self, event: Event) -> None:
        if isinstance(event, RunCreated):
            self._twice([event.payload.page] if event.payload.page else [])
        elif isinstance(event, LogsBatched):
            self._twice(event.outputs.pages)
        elif isinstance(event, AttemptSucceeded):
            found = self.state.invocation(event.key.run_id, event.key.invocation_id)
            if found is not None and found[1].outputs == event.outputs and not found[0].ended:
                self._twice(event.outputs.pages)
        elif isinstance(event, InputsLost):
            self._lost(event)

    def _twice(self, pages: Sequence[Page]) -> None:
        """What is durable now lies in the bucket; without one, on two machines, where there were two to take it."""
        if self.bucket is not None:
            for page in pages:
                if page.sha256 not in self.gone and page.sha256 not in self.bucket.contents:
                    self.accuse(f"blob {page.sha256[:8]} counts as durable, and is not in the bucket")
            return
        standing = [since_s for since_s in self._listed_s.values() if self._now_s() - since_s > _LISTED_S]
        for page in pages:
            copies = [node.name for node in self.nodes.values() if page.sha256 in node.blobs.contents]
            if page.sha256 not in self.gone and len(copies) < 2 and len(standing) > 1:
                self.accuse(f"blob {page.sha256[:8]} counts as durable, and lies on {', '.join(copies) or 'no disk'}")

    def _lost(self, event: InputsLost) -> None:
        """Blobs were given up: rightly, and only where nothing makes them again did something fail of it."""
        found = self.state.invocation(event.key.run_id, event.key.invocation_id)
        if found is None or not (found[1].awaits or (found[1].failure and found[1].failure.code == "data-lost")):
            return
        run, invocation = found
        graves = [node.name for node in self.nodes.values() if node.dead_for_good]
        for sha256 in event.sha256:
            holders = [n.name for n in self.nodes.values() if sha256 in n.blobs.contents and not n.dead_for_good]
            holders += ["the bucket"] if self.bucket is not None and sha256 in self.bucket.contents else []
            maker = maker_of(self.state, run, sha256)
            if holders and maker is not None and maker.id in invocation.awaits and maker.agent:
                continue  # it is being made again already: waiting for that is right, and a copy lies there just now
            if holders:
                self.accuse(f"blob {sha256[:8]} was given up, and lies on {', '.join(holders)}")
            elif sha256 not in self.gone and len(graves) < 2:
                self.accuse(f"blob {sha256[:8]} was lost with {', '.join(graves) or 'no machine'}")
        if not invocation.awaits and all(maker_of(self.state, run, sha256) for sha256 in event.sha256):
            self.accuse(f"{self.name(invocation.id)} failed for blobs that could have been made again")

    def _open(self, event: Event) -> dict[str, Run]:
        run_id = run_of(event)
        run = self.state.runs.get(run_id) if run_id else None
        return {} if run is None or run.ended else {run.id: run}

    def _ends(self, open_before: dict[str, Run]) -> None:
        for run in open_before.values():
            for invocation in run.invocations.values():
                if invocation.ended:
                    self._ended_at_s.setdefault(invocation.id, self._now_s())

    def _under_way(self, event: Event) -> dict[str, tuple[int, Status]]:
        """Losses and status of what the agent had, where an event may take it away."""
        agent_id = event.agent.id if isinstance(event, AgentAttached) else getattr(event, "agent_id", "")
        agent = self.state.agents.get(agent_id)
        if agent is None or not isinstance(event, AgentAttached | AgentLost):
            return {}
        found = {
            each.invocation_id: self.state.invocation(each.run_id, each.invocation_id)
            for each in agent.assigned.values()
        }
        return {key: (known[1].losses, known[1].status) for key, known in found.items() if known}

    def _blamed(self, event: Event, before: dict[str, tuple[int, Status]]) -> None:
        for run in self.state.runs.values():
            for invocation_id in before:
                each = run.invocations.get(invocation_id)
                if each is not None and each.failure and each.failure.code == "poisoned" and len(before) > 1:
                    self.accuse(f"{self.name(invocation_id)} was blamed for an agent that it shared")

    def _losses(self, event: Event, before: dict[str, tuple[int, Status]]) -> None:
        for run in self.state.runs.values():
            for invocation_id, (losses, status) in before.items():
                invocation = run.invocations.get(invocation_id)
                if invocation is None or invocation.losses == losses:
                    continue
                announced = isinstance(event, AgentLost) and event.announced
                if announced or status is not Status.RUNNING:
                    self.accuse(f"{self.name(invocation_id)} was {status}, and the loss of its agent counts")

    def _remember(self, event: Event) -> None:
        if isinstance(event, Placed):
            for placement in event.placements:
                attempt = self.state.runs[placement.run_id].invocations[placement.invocation_id].attempt
                self._placed.add((placement.run_id, placement.invocation_id, attempt))
        elif isinstance(event, AttemptSucceeded | AttemptFailed | AttemptSkipped | AttemptReturned):
            self._answered.add((event.key.run_id, event.key.invocation_id, event.key.attempt))

    def _archive(self, run: Run) -> None:
        if run.id not in self._archived:
            self.accuse(f"{run.id} leaves the state, and its record was not written")
        self.statuses[run.id] = run.status
        self.outcomes[run.id] = ends(run, self.state.workflow(run))
        if run.status == "cancelled":
            self.cancelled.add(run.id)
        for each in run.invocations.values():
            if each.failure is not None and "did not say how" in each.failure.message:
                self.accuse(f"{self.name(each.id)} was waited for until its time-out")

    def _words(self, event: Event) -> str:
        kind = type(event).__name__
        if isinstance(event, Placed):
            return "Placed " + ", ".join(f"{self.name(p.invocation_id)} on {p.agent_id}" for p in event.placements)
        key = getattr(event, "key", None)
        if key is not None:
            return f"{kind} {self.name(key.invocation_id)}#{key.attempt} by {getattr(event, 'agent_id', '')}"
        if isinstance(event, AgentAttached):
            held = ", ".join(f"{self.name(k.invocation_id)}#{k.attempt}" for k in event.held)
            return f"{kind} {event.agent.id} session {event.agent.session} holding [{held}]"
        about = run_of(event) or getattr(event, "agent_id", "") or getattr(event, "identifier", "")
        return f"{kind} {about}".rstrip()

    # What processes say and do.

    def sent(self, agent: str, command: agents_pb2.AgentCommand) -> None:
        """A coordinator puts a command on its way."""
        kind = command.WhichOneof("kind")
        if kind == "assign":
            key = _key(command.assign.key)
            if key not in self._placed:
                self.accuse(f"{self.name(key[1])}#{key[2]} was sent to {agent}, and that is not durable")
            ended_s = self._ended_at_s.get(key[1])
            current = command.assign.epoch == self.epoch
            found = self.state.invocation(key[0], key[1])
            again = found is not None and found[1].remaking is not None
            if current and ended_s is not None and self._now_s() - ended_s > _RACE_S and not again:
                self.accuse(f"{self.name(key[1])} had ended, and was sent to {agent} once more")
        elif kind == "ack":
            key = _key(command.ack.key)
            found = self.state.invocation(key[0], key[1])
            if found is not None and not found[1].ended and not found[0].ended and key not in self._answered:
                self.accuse(f"the result of {self.name(key[1])}#{key[2]} was acknowledged, and is not durable")

    def accepted(self, run_id: str) -> None:
        """A client heard that its run is accepted."""
        if run_id not in self.created:
            self.accuse(f"{run_id} was accepted, and is not durable")

    def leads(self, coordinator: str, state: MeshState, sequence: int) -> None:
        """A coordinator has recovered, and begins to lead."""
        if sequence != self.sequence:
            self._say(f"{coordinator} recovered {sequence} of {self.sequence} records")
            return  # it has been deposed meanwhile, or what follows shows it
        if digest(state) != digest(self.state):
            self.accuse(f"{coordinator} recovered another state than the journal says")
        for violation in violations(state):
            self.accuse(f"after recovery: {violation}")

    def told_by_follower(self, coordinator: str, state: MeshState, sequence: int, wanted: int) -> None:
        """A coordinator that does not lead answers a read that began when `wanted` records were durable."""
        if sequence > self.sequence or sequence < wanted:
            self.accuse(f"{coordinator} reads as of record {sequence}, and there were {wanted} to {self.sequence}")
        elif sequence == self.sequence and digest(state) != digest(self.state):
            self.accuse(f"{coordinator} reads another state than the journal says")


def _key(message: agents_pb2.AttemptKey) -> Key:
    return (message.run_id, message.invocation_id, message.attempt)
