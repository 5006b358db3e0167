"""How services reach the present term, or what a follower knows: the one way, so that all answer in the same manner.

A follower answers reads from its own copy and says of when that is, in the trailing metadata `orbit-as-of-ms`; a
caller who wants the leader's word only sends `orbit-read: leader`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from orbit_coordinator.leader import Leader
from orbit_coordinator.replica import Replica
from orbit_coordinator.streams import AgentStream
from orbit_coordinator.term import Resources, Term
from orbit_core.errors import NotLeaderError
from orbit_core.read_metadata import AS_OF_KEY, LEADER_ONLY
from orbit_core.sched.state import MeshState

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Reading:
    """The state to read from; `streams`: the agents that are attached here, of which a follower has none."""

    state: MeshState
    streams: Mapping[str, AgentStream] = field(default_factory=dict[str, AgentStream])
    leader: Leader | None = None


class Access:
    """Who leads, and the term if it is this process."""

    def __init__(self, resources: Resources) -> None:
        self.resources = resources
        self.term: Term | None = None
        self.replica = Replica(resources.store, resources.keys, resources.specs, resources.clock)
        self.leader_id = ""
        self.leader_address: str | None = None
        self.epoch = 0
        #: Where this coordinator takes webhooks; empty: nowhere.
        self.http_address = ""

    def leading(self) -> Term:
        """The present term. NotLeaderError, which names the leader where it is known."""
        term = self.term
        if term is None or term.leader.stopped or not term.leadership.held():
            address = self.leader_address if self.leader_id != self.resources.coordinator_id else None
            raise NotLeaderError(leader=address)
        return term

    async def reading(self, context: Any) -> Reading:
        """What this coordinator knows: the leader's own state, or a follower's copy of it, and then it says so.

        NotLeaderError where the caller wants the leader; StoreError where etcd could not be read so far.
        """
        try:
            term = self.leading()
        except NotLeaderError:
            if context is not None and LEADER_ONLY in (context.invocation_metadata() or ()):
                raise
        else:
            return Reading(term.state, term.streams.streams, term.leader)
        copy = await self.replica.look()
        if context is not None:
            context.set_trailing_metadata(((AS_OF_KEY, str(copy.as_of_ms)),))
        return Reading(copy.state)


def page(
    items: list[T], size: int, token: str, key: Callable[[T], str], *, default: int, most: int
) -> tuple[list[T], str]:
    """One page of items that are in the order of their keys, and the token of the next.

    The token is the key of the item that the next page begins with: where that is gone by then, what follows it.
    """
    wanted = min(size or default, most)
    start = 0
    if token:
        start = next((at for at, item in enumerate(items) if key(item) >= token), len(items))
    found = items[start : start + wanted]
    rest = items[start + wanted : start + wanted + 1]
    return found, key(rest[0]) if rest else ""
