"""Streams and calls between processes, without sockets: late, cut in one direction, broken at either end first.

A message that was sent before its sender saw the stream break may still arrive, after words of a later stream: that
is how words are repeated and overtaken in life. Messages travel as bytes, so that no two processes share an object.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

from google.protobuf.message import Message

from orbit_core.errors import OrbitError
from orbit_core.pb.orbit.v1 import agents_pb2
from tests.simulation.virtual import Process, VirtualLoop

T = TypeVar("T")

KEEPALIVE_S = (5.0, 10.0)
CALL_TIMEOUT_S = 6.0
#: Serves a stream: the coordinator's `Attach`.
Serve = Callable[[AsyncIterator[Any]], AsyncIterator[Any]]


class _Broken:
    """Stands in a queue for the end of the stream."""


class Connection:
    """One stream from an agent to a coordinator."""

    def __init__(self, network: Network, agent: Process, coordinator: Process, names: tuple[str, str]) -> None:
        self.network = network
        self.ends = {"agent": agent, "coordinator": coordinator}
        self.names = {"agent": names[0], "coordinator": names[1]}
        self.queues: dict[str, asyncio.Queue[Any]] = {"agent": asyncio.Queue(), "coordinator": asyncio.Queue()}
        self.open = {"agent": True, "coordinator": True}
        self.serving: asyncio.Task[Any] | None = None
        self._stuck: dict[str, list[bytes]] = {"agent": [], "coordinator": []}
        self._last_s = {"agent": 0.0, "coordinator": 0.0}

    def send(self, to: str, message: Message) -> None:
        """Puts a message on its way to that end."""
        network = self.network
        other = "coordinator" if to == "agent" else "agent"
        if not self.open[other]:
            return
        when_s = max(self._last_s[to], network.loop.time() + network.latency_s())
        self._last_s[to] = when_s
        network.loop.later(when_s - network.loop.time(), self._arrive, to, message.SerializeToString())
        if isinstance(message, agents_pb2.AttachRequest) and self.names["agent"] in network.repeated:
            words = [each for each in message.events if each.WhichOneof("kind") in ("started", "result", "returned")]
            again = agents_pb2.AttachRequest(events=words)
            network.loop.later(when_s - network.loop.time() + 0.3, self._arrive, to, again.SerializeToString())

    def _arrive(self, to: str, data: bytes) -> None:
        if not self.open[to]:
            return
        other = "coordinator" if to == "agent" else "agent"
        if self._stuck[to] or not self.network.reaches(self.names[other], self.names[to]):
            self._stuck[to].append(data)
            return
        kind = agents_pb2.AttachResponse if to == "agent" else agents_pb2.AttachRequest
        self.queues[to].put_nowait(kind.FromString(data))

    def healed(self) -> None:
        """What was stuck is sent again, if the stream is still there."""
        for to in ("agent", "coordinator"):
            waiting, self._stuck[to] = self._stuck[to], []
            for data in waiting:
                self._arrive(to, data)

    def break_end(self, end: str) -> None:
        """One end notices that the stream is broken."""
        if not self.open[end]:
            return
        self.open[end] = False
        self.queues[end].put_nowait(_Broken)
        if end == "coordinator" and self.serving is not None:
            self.serving.cancel()

    def break_soon(self, *, fast: bool) -> None:
        """Both ends notice, each in its own time: at once after a reset, by their keepalives otherwise."""
        for end in ("agent", "coordinator"):
            delay_s = self.network.latency_s() if fast else self.network.rng.uniform(*KEEPALIVE_S)
            self.network.loop.later(delay_s, self.break_end, end)


class Network:
    """`reaches(source, target)`: whether packets get through. `sent` sees every message of a coordinator."""

    def __init__(
        self,
        loop: VirtualLoop,
        rng: random.Random,
        sent: Callable[[str, agents_pb2.AgentCommand], None],
    ) -> None:
        self.loop = loop
        self.rng = rng
        self.connections: list[Connection] = []
        #: Every message takes the same time, for stories.
        self.steady = False
        self.cuts: list[tuple[str, str]] = []
        #: Agents whose words on attempts arrive twice, as from a stream that broke and one that followed it.
        self.repeated: set[str] = set()
        self._sent = sent

    def latency_s(self) -> float:
        if self.steady:
            return 0.005
        return self.rng.uniform(0.0002, 0.01) if self.rng.random() < 0.95 else self.rng.uniform(0.05, 0.8)

    def reaches(self, source: str, target: str) -> bool:
        return (source, target) not in self.cuts

    def cut(self, source: str, target: str) -> None:
        self.cuts.append((source, target))
        for connection in self.connections:
            if {source, target} == set(connection.names.values()):
                self._doubt(connection)

    def _doubt(self, connection: Connection) -> None:
        """Keepalives go unanswered: the stream breaks, unless packets get through again before."""

        def check(end: str) -> None:
            names = tuple(connection.names.values())
            if not self.reaches(names[0], names[1]) or not self.reaches(names[1], names[0]):
                connection.break_end(end)

        for end in ("agent", "coordinator"):
            self.loop.later(self.rng.uniform(*KEEPALIVE_S), check, end)

    def heal(self, source: str, target: str) -> None:
        if (source, target) in self.cuts:
            self.cuts.remove((source, target))
        for connection in self.connections:
            connection.healed()

    def ended(self, process: Process, *, silent: bool) -> None:
        """A process is gone; `silent`: with its machine, so that nobody is told."""
        for connection in self.of(process):
            connection.break_soon(fast=not silent)

    def paused(self, process: Process) -> None:
        """It answers no pings: its peers give it up after a while, and it finds out when it goes on."""

        def check(connection: Connection, end: str) -> None:
            if process.paused:
                connection.break_end(end)
                self.loop.later(0.0, connection.break_end, "agent" if end == "coordinator" else "coordinator")

        for connection in self.of(process):
            peer = "agent" if connection.ends["coordinator"] is process else "coordinator"
            self.loop.later(self.rng.uniform(*KEEPALIVE_S), check, connection, peer)

    def of(self, process: Process) -> list[Connection]:
        self.connections = [each for each in self.connections if any(each.open.values())]
        return [each for each in self.connections if process in each.ends.values()]

    # A stream, from the agent's side.

    async def attach(
        self,
        agent: tuple[str, Process],
        coordinator: tuple[str, Process] | None,
        serve: Serve,
        requests: AsyncIterator[agents_pb2.AttachRequest],
    ) -> AsyncGenerator[agents_pb2.AttachResponse, None]:
        await asyncio.sleep(self.latency_s())
        if coordinator is None or not coordinator[1].alive:
            raise ConnectionRefusedError("nobody listens there")
        if not self.reaches(agent[0], coordinator[0]) or not self.reaches(coordinator[0], agent[0]):
            await asyncio.sleep(5.0)
            raise ConnectionError("no answer")
        connection = Connection(self, agent[1], coordinator[1], (agent[0], coordinator[0]))
        self.connections.append(connection)
        connection.serving = self.loop.spawn(coordinator[1], self._serve(connection, serve))
        sending = asyncio.create_task(_pump(connection, requests))
        try:
            while True:
                message = await connection.queues["agent"].get()
                if message is _Broken:
                    raise ConnectionResetError("the stream broke")
                yield message
        finally:
            sending.cancel()
            connection.open["agent"] = False
            self.loop.later(self.latency_s(), connection.break_end, "coordinator")

    async def _serve(self, connection: Connection, serve: Serve) -> None:
        try:
            async for response in serve(_heard(connection)):
                for command in response.commands:
                    self._sent(connection.names["agent"], command)
                connection.send("agent", response)
        except OrbitError:
            pass  # the status of the stream: the agent sees that it ended
        finally:
            connection.open["coordinator"] = False
            self.loop.later(self.latency_s(), connection.break_end, "agent")

    async def call(self, source: str, target: tuple[str, Process], work: Callable[[], Awaitable[T]]) -> T:
        """A unary call. ConnectionError where there is no answer; it may have been carried out nevertheless."""
        answer: asyncio.Future[Any] = self.loop.create_future()

        async def serve() -> None:
            outcome: Any
            try:
                outcome = await work()
            except OrbitError as error:
                outcome = error
            await asyncio.sleep(self.latency_s())
            if self.reaches(target[0], source) and not answer.done():
                answer.set_result(outcome)

        await asyncio.sleep(self.latency_s())
        if not target[1].alive:
            raise ConnectionError("nobody listens there")
        if self.reaches(source, target[0]):
            self.loop.spawn(target[1], serve())
        try:
            async with asyncio.timeout(CALL_TIMEOUT_S):
                outcome = await answer
        except TimeoutError:
            raise ConnectionError("no answer") from None
        if isinstance(outcome, OrbitError):
            raise outcome
        return outcome


async def _pump(connection: Connection, requests: AsyncIterator[agents_pb2.AttachRequest]) -> None:
    async for request in requests:
        connection.send("coordinator", request)


async def _heard(connection: Connection) -> AsyncIterator[agents_pb2.AttachRequest]:
    while True:
        message = await connection.queues["coordinator"].get()
        if message is _Broken:
            raise ConnectionResetError("the stream broke")
        yield message
