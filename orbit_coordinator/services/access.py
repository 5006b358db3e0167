"""How services reach the present term: the one way, so that a follower always answers in the same manner."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from orbit_coordinator.term import Resources, Term
from orbit_core.errors import NotLeaderError

T = TypeVar("T")


class Access:
    """Who leads, and the term if it is this process."""

    def __init__(self, resources: Resources) -> None:
        self.resources = resources
        self.term: Term | None = None
        self.leader_id = ""
        self.leader_address: str | None = None
        self.epoch = 0

    def leading(self) -> Term:
        """The present term. NotLeaderError, which names the leader where it is known."""
        term = self.term
        if term is None or term.leader.stopped or not term.leadership.held():
            address = self.leader_address if self.leader_id != self.resources.coordinator_id else None
            raise NotLeaderError(leader=address)
        return term


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
