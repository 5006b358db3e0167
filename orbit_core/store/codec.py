"""How scheduling's events and state become bytes in the journal and in snapshots, and back.

JSON by way of pydantic: field names are the format, a field that an older writer did not know takes its default. The
format version of a record is the journal's; a change that defaults cannot carry needs a new one. Nothing here decides
anything.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, TypeVar, get_args

from pydantic import TypeAdapter, ValidationError

from orbit_core.errors import StoreError
from orbit_core.ids import content_hash
from orbit_core.sched.estimate import Estimates
from orbit_core.sched.events import Event
from orbit_core.sched.history import History
from orbit_core.sched.state import Agent, ClusterEntry, Invocation, MeshState, Run

T = TypeVar("T")

_EVENTS: dict[str, type] = {kind.__name__: kind for kind in get_args(Event)}


class CorruptRecordError(StoreError):
    """A stored record cannot be read."""

    code = "corrupt-record"


@dataclass(frozen=True, slots=True)
class TimedEvent:
    """An event and the time at which `step` saw it."""

    now_ms: int
    event: Event


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def encode_event(event: Event, now_ms: int) -> bytes:
    """One event with its time: `<now_ms> <type> <json>`."""
    body: bytes = _adapter(type(event)).dump_json(event, exclude_defaults=True)
    return b"%d %s %s" % (now_ms, type(event).__name__.encode(), body)


def decode_event(data: bytes) -> TimedEvent:
    """The event that `encode_event` made; CorruptRecordError where it is none."""
    try:
        time, kind, body = data.split(b" ", 2)
        return TimedEvent(int(time), _adapter(_EVENTS[kind.decode()]).validate_json(body))
    except (ValueError, KeyError, ValidationError) as error:
        raise CorruptRecordError(f"a journal record cannot be read: {error}") from error


def encode(value: object) -> bytes:
    """A run, a workflow, an agent: any one of the dataclasses of scheduling."""
    return _adapter(type(value)).dump_json(value, exclude_defaults=True)


def encode_run(run: Run, slice_invocations: int) -> Iterator[bytes]:
    """A run in pieces of at most so many invocations, which make what `decode` reads when they are put together."""
    head = encode(replace(run, invocations={}))
    yield head[:-1] + b',"invocations":{'
    some: dict[str, Invocation] = {}
    first = True
    for number, (key, invocation) in enumerate(tuple(run.invocations.items()), start=1):
        some[key] = invocation
        if len(some) == slice_invocations or number == len(run.invocations):
            inside = _adapter(dict[str, Invocation]).dump_json(some, exclude_defaults=True)[1:-1]
            yield inside if first else b"," + inside
            some, first = {}, False
    yield b"}}"


def decode(kind: type[T], data: bytes) -> T:
    """The value of that class that `encode` made."""
    try:
        found: T = _adapter(kind).validate_json(data)
    except ValidationError as error:
        raise CorruptRecordError(f"a stored {kind.__name__} cannot be read: {error}") from error
    return found


@dataclass(frozen=True, slots=True)
class MeshRecord:
    """The part of the state that belongs to no run."""

    now_ms: int
    clusters: dict[str, ClusterEntry]
    agents: dict[str, Agent]
    estimates: Estimates = field(default_factory=Estimates)
    history: History = field(default_factory=History)


def encode_mesh(state: MeshState) -> bytes:
    """Clusters, agents and what was learnt; runs are encoded one by one."""
    return encode(MeshRecord(state.now_ms, state.clusters, state.agents, state.estimates, state.history))


def decode_mesh(data: bytes) -> MeshState:
    """A state without runs and workflows."""
    record = decode(MeshRecord, data)
    return MeshState(
        now_ms=record.now_ms,
        clusters=record.clusters,
        agents=record.agents,
        estimates=record.estimates,
        history=record.history,
    )


def digest(state: MeshState) -> str:
    """A hash of everything that counts: two histories that agree have the same."""
    runs = {run.id: json.loads(encode(run)) for run in state.runs.values()}
    whole = {"mesh": json.loads(encode_mesh(state)), "runs": runs}
    return content_hash(json.dumps(whole, sort_keys=True).encode())
