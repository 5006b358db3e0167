"""The streams to agents: who is attached, what they have room for, and what is sent to them.

A stream is one term's: it begins with the agent's `Hello`, and everything that the agent says becomes an event of the
leader. What is to be sent is put into the stream's queue in the order in which `step` gave it; assignments are built
when they are sent, so that one whose attempt has ended meanwhile is dropped.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from orbit_coordinator.assignments import key_message, key_of, under_way
from orbit_coordinator.leader import Leader
from orbit_core.clock import Clock
from orbit_core.failpoints import reach
from orbit_core.limits import ERROR_MESSAGE_MAX_CHARS
from orbit_core.pb.orbit.v1 import agents_pb2, common_pb2
from orbit_core.plants import planted
from orbit_core.sched.commands import AckResult, ArchiveRun, CollectLogs, Command, Dispatch, StopAttempt
from orbit_core.sched.events import (
    AgentAttached,
    AgentChanged,
    AgentDetached,
    AgentDraining,
    AttemptFailed,
    AttemptReturned,
    AttemptSkipped,
    AttemptStarted,
    AttemptSucceeded,
    Event,
)
from orbit_core.sched.model import AgentFacts, AttemptKey, Blob, Failure, Gpu, Outputs, Page, Usage
from orbit_core.store.blobs.home import BlobHome

log = logging.getLogger(__name__)

_PRICE_KINDS = {
    agents_pb2.PRICE_KIND_OWNED: "owned",
    agents_pb2.PRICE_KIND_ON_DEMAND: "on-demand",
    agents_pb2.PRICE_KIND_SPOT: "spot",
}

#: States of a model that needs no fetch.
_HERE = (agents_pb2.MODEL_STATE_CACHED, agents_pb2.MODEL_STATE_WARM)

#: Gives the assignment of an attempt, or None when it has ended meanwhile.
Builder = Callable[[AttemptKey], Awaitable[agents_pb2.Assignment | None]]
#: Makes sure that blobs are held where the coordinator can serve them; says which are not to be had.
BlobKeeper = Callable[[Sequence[common_pb2.BlobRef], str], Awaitable[str | None]]


@dataclass(slots=True)
class AgentStream:
    """One attached agent."""

    advertisement: agents_pb2.Advertisement
    credit: int
    last_seen_ms: int
    cpu_load: float = 0.0
    outgoing: asyncio.Queue[Command | agents_pb2.AgentCommand | None] = field(default_factory=asyncio.Queue)
    #: What has taken room on this stream: an assignment that is sent again takes none a second time.
    given: set[AttemptKey] = field(default_factory=set)

    def give(self, key: AttemptKey) -> None:
        if key not in self.given:
            self.given.add(key)
            self.credit -= 1

    def take_back(self, key: AttemptKey) -> None:
        """The attempt ended before it was sent: the agent never hears of it, and will not give its room back."""
        if key in self.given and not planted("unsent-keeps-room"):
            self.given.discard(key)
            self.credit += 1

    def close(self) -> None:
        self.outgoing.put_nowait(None)


class AgentStreams:
    """All streams of one term; the `Effects` of its leader, together with what handles runs' ends."""

    def __init__(
        self,
        *,
        epoch: int,
        coordinator_id: str,
        clock: Clock,
        build: Builder,
        keep_blobs: BlobKeeper,
        on_logs: Callable[[Sequence[common_pb2.LogRecord], str], None],
        on_failed: Callable[[AttemptFailed], None],
        on_run: Callable[[CollectLogs | ArchiveRun], None],
        blob_home: BlobHome | None = None,
    ) -> None:
        self.streams: dict[str, AgentStream] = {}
        self._epoch = epoch
        self._coordinator_id = coordinator_id
        self._clock = clock
        self._build = build
        self._keep_blobs = keep_blobs
        self._on_logs = on_logs
        self._on_failed = on_failed
        self._on_run = on_run
        self._blob_home = blob_home
        self._tasks: set[asyncio.Task[None]] = set()

    # What the leader asks.

    def act(self, commands: Sequence[Command]) -> None:
        for command in commands:
            if isinstance(command, CollectLogs | ArchiveRun):
                self._on_run(command)
            elif isinstance(command, Dispatch | StopAttempt | AckResult):
                reach("before-dispatch" if isinstance(command, Dispatch) else "before-acknowledgement")
                stream = self.streams.get(command.agent_id)
                if stream is None:
                    continue  # it says what it holds when it attaches again
                if isinstance(command, Dispatch):
                    stream.give(command.key)
                stream.outgoing.put_nowait(command)

    def room(self) -> dict[str, int]:
        return {agent_id: stream.credit for agent_id, stream in self.streams.items()}

    def drain(self, agent_id: str) -> bool:
        """Asks the agent to take no more and to end; False when it is not attached."""
        return self._say(agent_id, agents_pb2.AgentCommand(drain=agents_pb2.DrainCommand(epoch=self._epoch)))

    def pull_model(self, agent_id: str, name: str, pull_id: str) -> bool:
        """Asks the agent to fetch a model; False when it is not attached."""
        pull = agents_pb2.PullModelCommand(epoch=self._epoch, name=name, pull_id=pull_id)
        return self._say(agent_id, agents_pb2.AgentCommand(pull_model=pull))

    def _say(self, agent_id: str, command: agents_pb2.AgentCommand) -> bool:
        stream = self.streams.get(agent_id)
        if stream is None:
            return False
        stream.outgoing.put_nowait(command)
        return True

    # One stream.

    async def serve(
        self, leader: Leader, requests: AsyncIterator[agents_pb2.AttachRequest]
    ) -> AsyncIterator[agents_pb2.AttachResponse]:
        """Runs one agent's stream until either side ends it."""
        first = await anext(aiter(requests), None)
        if first is None or not first.events or first.events[0].WhichOneof("kind") != "hello":
            log.warning("a stream that did not begin with a hello was closed")
            return
        hello = first.events[0].hello
        agent_id = hello.advertisement.agent_id
        stream = AgentStream(hello.advertisement, hello.credit, self._clock.now_ms())
        if agent_id in self.streams:
            self.streams[agent_id].close()
        stream.outgoing.put_nowait(self._welcome())
        # Registered before the event, so that commands which the event leads to find their stream.
        self.streams[agent_id] = stream
        attached = AgentAttached(
            facts_of(hello.advertisement), tuple(key_of(key) for key in hello.held), hello.draining
        )
        reader: asyncio.Task[None] | None = None
        try:
            await leader.tell(attached)
            reader = asyncio.create_task(self._read(leader, stream, first.events[1:], requests))
            async for response in self._write(leader, stream):
                yield response
        finally:
            if reader is not None:
                reader.cancel()
            if self.streams.get(agent_id) is stream:
                del self.streams[agent_id]
                leader.tell(AgentDetached(agent_id, stream.advertisement.session_id))

    def _welcome(self) -> agents_pb2.AgentCommand:
        welcome = agents_pb2.Welcome(epoch=self._epoch, coordinator_id=self._coordinator_id)
        if (home := self._blob_home) is not None:
            welcome.blob_home.uri = home.uri
            welcome.blob_home.endpoint_url = home.endpoint_url
            welcome.blob_home.region = home.region
        return agents_pb2.AgentCommand(welcome=welcome)

    async def _write(self, leader: Leader, stream: AgentStream) -> AsyncIterator[agents_pb2.AttachResponse]:
        while True:
            batch = [await stream.outgoing.get()]
            while not stream.outgoing.empty():
                batch.append(stream.outgoing.get_nowait())
            messages = [await self._message(leader, stream, item) for item in batch if item is not None]
            commands = [each for each in messages if each is not None and not self._too_late(leader, stream, each)]
            if commands:
                yield agents_pb2.AttachResponse(commands=commands)
            if None in batch:
                return

    def _too_late(self, leader: Leader, stream: AgentStream, message: agents_pb2.AgentCommand) -> bool:
        """Building took so long that the attempt has ended (an earlier one came back): it is not done once more."""
        if message.WhichOneof("kind") != "assign":
            return False
        key = key_of(message.assign.key)
        if under_way(leader.state, key) is not None:
            return False
        stream.take_back(key)
        leader.nudge()
        return True

    async def _message(
        self, leader: Leader, stream: AgentStream, command: Command | agents_pb2.AgentCommand
    ) -> agents_pb2.AgentCommand | None:
        if isinstance(command, agents_pb2.AgentCommand):
            return command
        if isinstance(command, Dispatch):
            assignment = await self._build(command.key)
            if assignment is None:
                stream.take_back(command.key)
                leader.nudge()
                return None
            return agents_pb2.AgentCommand(assign=assignment)
        if isinstance(command, StopAttempt):
            stop = agents_pb2.StopAttempt(key=key_message(command.key), epoch=self._epoch, reason=command.reason)
            return agents_pb2.AgentCommand(stop=stop)
        assert isinstance(command, AckResult)
        return agents_pb2.AgentCommand(ack=agents_pb2.ResultAck(key=key_message(command.key), epoch=self._epoch))

    async def _read(
        self,
        leader: Leader,
        stream: AgentStream,
        early: Sequence[agents_pb2.AgentEvent],
        requests: AsyncIterator[agents_pb2.AttachRequest],
    ) -> None:
        try:
            for event in early:
                self._hear(leader, stream, event)
            async for request in requests:
                stream.last_seen_ms = self._clock.now_ms()
                for event in request.events:
                    self._hear(leader, stream, event)
        finally:
            stream.close()

    def _hear(self, leader: Leader, stream: AgentStream, message: agents_pb2.AgentEvent) -> None:
        agent_id = stream.advertisement.agent_id
        kind = message.WhichOneof("kind")
        if kind == "result":
            self._spawn(self._result(leader, stream, message.result))
        elif kind == "started":
            leader.tell(AttemptStarted(key_of(message.started.key), agent_id))
        elif kind == "returned":
            leader.tell(AttemptReturned(key_of(message.returned.key), agent_id, message.returned.reason))
        elif kind == "credit":
            stream.credit += message.credit.assignments
            leader.nudge()
        elif kind == "logs":
            self._on_logs(message.logs.records, agent_id)
        elif kind == "heartbeat":
            self._heartbeat(leader, stream, message.heartbeat)
        elif kind == "draining":
            leader.tell(AgentDraining(agent_id))

    def _heartbeat(self, leader: Leader, stream: AgentStream, beat: agents_pb2.Heartbeat) -> None:
        stream.cpu_load = beat.cpu_load
        known = stream.advertisement
        before = facts_of(known)
        known.price_usd_per_hour = beat.price_usd_per_hour
        known.ClearField("models")
        known.models.extend(beat.models)
        known.ClearField("warm_models")
        known.warm_models.extend(beat.warm_models)
        known.ClearField("cached_models")
        known.cached_models.extend(model.name for model in beat.models if model.state in _HERE)
        now = facts_of(known)
        if now != before:
            leader.tell(AgentChanged(now))

    async def _result(self, leader: Leader, stream: AgentStream, result: agents_pb2.AttemptResult) -> None:
        agent_id = stream.advertisement.agent_id
        missing = await self._keep_blobs(result.blobs, stream.advertisement.address)
        if missing is None:
            event = result_event(result, agent_id, leader.draw())
        else:
            failure = Failure("data-lost", f"a blob of the result cannot be had: {missing}")
            event = AttemptFailed(key_of(result.key), agent_id, failure, _usage(result.usage), leader.draw())
        if isinstance(event, AttemptFailed):
            self._on_failed(event)
        leader.tell(event)

    def _spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        """Ends every stream: the agents will look for the next leader."""
        for stream in self.streams.values():
            stream.close()
        for task in self._tasks:
            task.cancel()


# The wire's messages as events.


def facts_of(advertisement: agents_pb2.Advertisement) -> AgentFacts:
    hardware = advertisement.hardware
    return AgentFacts(
        id=advertisement.agent_id,
        session=advertisement.session_id,
        address=advertisement.address,
        cpu_milli=hardware.cpu_milli,
        memory_bytes=hardware.memory_bytes,
        gpus=tuple(Gpu(gpu.model, gpu.memory_bytes) for gpu in hardware.gpus),
        price_usd_per_hour=advertisement.price_usd_per_hour,
        price_kind=_PRICE_KINDS.get(advertisement.price_kind, "owned"),
        labels=tuple(sorted(advertisement.labels.items())),
        satellites=tuple(advertisement.satellites),
        warm_models=tuple(advertisement.warm_models),
        cached_models=tuple(advertisement.cached_models),
        barred_models=tuple(model.name for model in advertisement.models if model.barred),
        tariff=tuple((rate.from_minute, rate.price_usd_per_hour) for rate in advertisement.tariff),
    )


def result_event(result: agents_pb2.AttemptResult, agent_id: str, draw: float) -> Event:
    key, usage = key_of(result.key), _usage(result.usage)
    kind = result.WhichOneof("outcome")
    blobs = tuple(Blob(blob.sha256, blob.size_bytes) for blob in result.blobs)
    if kind == "outputs":
        return AttemptSucceeded(key, agent_id, _outputs(result.outputs), usage, blobs)
    if kind == "skipped":
        outputs = _outputs(result.skipped.outputs) if result.skipped.HasField("outputs") else None
        return AttemptSkipped(key, agent_id, usage, outputs, blobs)
    failure = result.failure
    message = failure.message[:ERROR_MESSAGE_MAX_CHARS]
    return AttemptFailed(key, agent_id, Failure(failure.code or "error", message, failure.retryable), usage, draw)


def _outputs(outputs: common_pb2.Outputs) -> Outputs:
    pages = tuple(Page(page.blob.sha256, page.blob.size_bytes, page.count) for page in outputs.pages)
    return Outputs(inline=tuple(text.decode() for text in outputs.inline_json), pages=pages)


def _usage(usage: common_pb2.Usage) -> Usage:
    return Usage(
        duration_ms=usage.duration_ms,
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        peak_memory_bytes=usage.peak_memory_bytes,
    )
