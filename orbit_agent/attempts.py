"""What the session decides, done: attempts started and stopped, results put into the outbox, words sent.

The session's inputs come through here, so that its actions are always carried out whole and in order. How an attempt
runs, how a word travels and where a result lies are handed in; nothing here knows workers, gRPC or etcd.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from orbit_agent.outbox import Outbox
from orbit_agent.session import Actions, Key, Session, key_of
from orbit_core.clock import Clock
from orbit_core.pb.orbit.v1 import agents_pb2
from orbit_core.plants import planted

log = logging.getLogger(__name__)

ACKNOWLEDGE_S = 3.0


class Attempts:
    """The attempts of one agent process. `execute` gives a result whatever happens; it is cancelled to stop one."""

    def __init__(
        self,
        outbox: Outbox,
        clock: Clock,
        *,
        window: int,
        execute: Callable[[agents_pb2.Assignment], Awaitable[agents_pb2.AttemptResult]],
        send: Callable[[agents_pb2.AgentEvent], object],
    ) -> None:
        self.session = Session(window=window, kept=outbox.load())
        #: Set whenever something that a drain waits for may have changed.
        self.settled = asyncio.Event()
        self._outbox = outbox
        self._clock = clock
        self._execute = execute
        self._send = send
        self._tasks: dict[Key, asyncio.Task[None]] = {}

    @property
    def tasks(self) -> Sequence[asyncio.Task[None]]:
        """Those of the attempts that run."""
        return tuple(self._tasks.values())

    def opening(self, advertisement: agents_pb2.Advertisement) -> list[agents_pb2.AgentEvent]:
        """What a new stream begins with: a hello, and the results that nobody has acknowledged."""
        return [self.session.hello(advertisement), *self.session.unacknowledged()]

    def command(self, command: agents_pb2.AgentCommand) -> None:
        """Obeys a coordinator. StaleEpochError if it leads no longer."""
        self.do(self.session.command(command))

    def do(self, actions: Actions) -> None:
        """Carries out what the session said, in its order: what is to be kept is kept before anything is sent."""
        self.settled.set()
        for result in actions.store:
            self._store(result)
        for key in actions.forget:
            self._outbox.forget(key)
        for event in actions.send:
            self._send(event)
        for key in actions.stop:
            task = self._tasks.get(key)
            if task is not None:
                task.cancel()
        for assignment in actions.start:
            task = asyncio.create_task(self._attempt(assignment))
            self._tasks[key_of(assignment.key)] = task
            task.add_done_callback(partial(self._ended, key_of(assignment.key)))

    async def drain(self, finish_s: float) -> None:
        """Takes no more, lets finish what fits, hands back the rest, waits a little for acknowledgements."""
        session = self.session
        log.info("draining: %d attempts run", session.running)
        self.do(session.drain("asked to stop"))
        await self._until(lambda: not session.running, finish_s)
        self.do(session.hand_back("drain"))
        await self._until(lambda: not session.attempts, ACKNOWLEDGE_S)

    async def _until(self, done: Callable[[], bool], limit_s: float) -> None:
        deadline_s = self._clock.monotonic_s() + limit_s
        while not done() and self._clock.monotonic_s() < deadline_s:
            self.settled.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.settled.wait(), deadline_s - self._clock.monotonic_s())

    def _store(self, result: agents_pb2.AttemptResult) -> None:
        if planted("outbox-skipped"):
            return
        try:
            self._outbox.put(result)
        except OSError as error:
            # The result is still sent; it is only not safe from a restart of this agent.
            log.error("the outbox cannot be written: %s", error)

    async def _attempt(self, assignment: agents_pb2.Assignment) -> None:
        self.do(self.session.started(key_of(assignment.key), self._clock.now_ms()))
        result = await self._execute(assignment)
        self.do(self.session.finished(result))

    def _ended(self, key: Key, task: asyncio.Task[None]) -> None:
        # Not in the task itself: one that is stopped before its first line never runs a line.
        self._tasks.pop(key, None)
        if task.cancelled():
            self.do(self.session.stopped(key))
