"""What an agent holds and how it answers, as a state machine without I/O.

Rules: a command of an older epoch than the highest one seen is refused; an attempt that is known already is never
started twice; a result is kept until it is acknowledged, across streams and (through the outbox) across restarts of
the process. The link carries messages, the executor runs attempts; neither decides anything.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from orbit_core.errors import OrbitError
from orbit_core.pb.orbit.v1 import agents_pb2
from orbit_core.plants import planted

#: Run, invocation, attempt.
Key = tuple[str, str, int]


class StaleEpochError(OrbitError):
    """A coordinator spoke that leads no longer."""

    status = "ABORTED"
    code = "stale-epoch"


class Phase(StrEnum):
    RUNNING = "running"
    STOPPING = "stopping"  # its result is not wanted; its process is being ended
    DONE = "done"  # its result waits to be acknowledged


@dataclass(slots=True)
class Attempt:
    """One attempt that this agent was given."""

    key: Key
    phase: Phase
    result: agents_pb2.AttemptResult | None = None


@dataclass(slots=True)
class Actions:
    """What is to be done after one input, in this order."""

    start: list[agents_pb2.Assignment] = field(default_factory=list)
    stop: list[Key] = field(default_factory=list)
    store: list[agents_pb2.AttemptResult] = field(default_factory=list)
    forget: list[Key] = field(default_factory=list)
    send: list[agents_pb2.AgentEvent] = field(default_factory=list)


def key_of(message: agents_pb2.AttemptKey) -> Key:
    return (message.run_id, message.invocation_id, message.attempt)


def key_message(key: Key) -> agents_pb2.AttemptKey:
    return agents_pb2.AttemptKey(run_id=key[0], invocation_id=key[1], attempt=key[2])


class Session:
    """The attempts of one agent process. `window`: how many it holds at once, unacknowledged ones included."""

    def __init__(self, *, window: int, kept: list[agents_pb2.AttemptResult] | None = None) -> None:
        self.epoch = 0
        self.draining = False
        self.attempts: dict[Key, Attempt] = {}
        self._window = window
        for result in kept or []:
            key = key_of(result.key)
            self.attempts[key] = Attempt(key, Phase.DONE, result)

    # The stream.

    def hello(self, advertisement: agents_pb2.Advertisement) -> agents_pb2.AgentEvent:
        """The first message of a new stream."""
        held = [key_message(attempt.key) for attempt in self.attempts.values() if attempt.phase is not Phase.STOPPING]
        credit = 0 if self.draining else max(0, self._window - len(self.attempts))
        hello = agents_pb2.Hello(
            advertisement=advertisement, epoch=self.epoch, held=held, credit=credit, draining=self.draining
        )
        return agents_pb2.AgentEvent(hello=hello)

    def unacknowledged(self) -> list[agents_pb2.AgentEvent]:
        """Results to be sent again on a new stream."""
        if planted("result-not-resent"):
            return []
        return [
            agents_pb2.AgentEvent(result=attempt.result)
            for attempt in self.attempts.values()
            if attempt.result is not None
        ]

    def command(self, command: agents_pb2.AgentCommand) -> Actions:
        """One command of a coordinator. StaleEpochError if it leads no longer."""
        kind = command.WhichOneof("kind")
        if kind == "welcome":
            self._obey(command.welcome.epoch)
        elif kind == "assign":
            self._obey(command.assign.epoch)
            return self._assign(command.assign)
        elif kind == "stop":
            self._obey(command.stop.epoch)
            return self._stop(key_of(command.stop.key))
        elif kind == "ack":
            self._obey(command.ack.epoch)
            return self._acknowledged(key_of(command.ack.key))
        elif kind == "drain":
            self._obey(command.drain.epoch)
            return self.drain("asked to")
        elif kind == "pull_model":
            self._obey(command.pull_model.epoch)
        return Actions()

    def _obey(self, epoch: int) -> None:
        if epoch < self.epoch:
            raise StaleEpochError(f"a command of epoch {epoch} came after one of epoch {self.epoch}")
        self.epoch = epoch

    def _assign(self, assignment: agents_pb2.Assignment) -> Actions:
        key = key_of(assignment.key)
        known = self.attempts.get(key)
        if known is not None and not planted("assignment-not-deduplicated"):
            again = [agents_pb2.AgentEvent(result=known.result)] if known.result is not None else []
            return Actions(send=again)
        if self.draining:
            return Actions(send=[_returned(key, "drain")])
        self.attempts[key] = Attempt(key, Phase.RUNNING)
        received = agents_pb2.AgentEvent(received=agents_pb2.AttemptReceived(key=assignment.key))
        return Actions(start=[assignment], send=[received])

    def _stop(self, key: Key) -> Actions:
        attempt = self.attempts.get(key)
        if attempt is None or attempt.phase is not Phase.RUNNING:
            return Actions()  # a result that is there already may still be welcome
        attempt.phase = Phase.STOPPING
        return Actions(stop=[key])

    def _acknowledged(self, key: Key) -> Actions:
        attempt = self.attempts.get(key)
        if attempt is None or attempt.phase is not Phase.DONE:
            return Actions()
        del self.attempts[key]
        return Actions(forget=[key], send=[] if planted("credit-leak") else self._credit())

    def _credit(self) -> list[agents_pb2.AgentEvent]:
        if self.draining:
            return []
        return [agents_pb2.AgentEvent(credit=agents_pb2.Credit(assignments=1))]

    # Attempts.

    def started(self, key: Key, now_ms: int) -> Actions:
        """The attempt's satellite begins to run."""
        started = agents_pb2.AttemptStarted(key=key_message(key), started_ms=now_ms)
        return Actions(send=[agents_pb2.AgentEvent(started=started)])

    def finished(self, result: agents_pb2.AttemptResult) -> Actions:
        """An attempt ended by itself, in success or not."""
        key = key_of(result.key)
        attempt = self.attempts.get(key)
        if attempt is None:
            return Actions()
        if attempt.phase is Phase.STOPPING:
            return self.stopped(key)
        attempt.phase, attempt.result = Phase.DONE, result
        return Actions(store=[result], send=[agents_pb2.AgentEvent(result=result)])

    def stopped(self, key: Key) -> Actions:
        """An attempt whose result nobody wants has ended."""
        if self.attempts.pop(key, None) is None:
            return Actions()
        return Actions(send=self._credit())

    # Drain.

    def drain(self, reason: str) -> Actions:
        """Take no more. What runs goes on; `hand_back` ends what does not fit."""
        if self.draining:
            return Actions()
        self.draining = True
        return Actions(send=[agents_pb2.AgentEvent(draining=agents_pb2.Draining(reason=reason))])

    def hand_back(self, reason: str) -> Actions:
        """Ends what still runs and gives it back, so that others can take it at once."""
        actions = Actions()
        for key, attempt in list(self.attempts.items()):
            if attempt.phase is Phase.RUNNING:
                attempt.phase = Phase.STOPPING
                actions.stop.append(key)
                actions.send.append(_returned(key, reason))
        return actions

    @property
    def running(self) -> int:
        return sum(1 for attempt in self.attempts.values() if attempt.phase is Phase.RUNNING)


def _returned(key: Key, reason: str) -> agents_pb2.AgentEvent:
    return agents_pb2.AgentEvent(returned=agents_pb2.AttemptReturned(key=key_message(key), reason=reason))
