"""A coordinator's part in elections: it watches who leads, campaigns, leads while it may, and campaigns again.

Knows no sockets: the server gives it the access that services share, the simulation does the same.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Awaitable, Callable
from contextlib import aclosing

from orbit_coordinator.services.access import Access
from orbit_coordinator.space import LOOK_EVERY_S, relieve_leaderless
from orbit_coordinator.term import Term
from orbit_core.errors import OrbitError, StoreError
from orbit_core.plants import planted
from orbit_core.store.election import Election, observe

log = logging.getLogger(__name__)

_RETRY_S = 1.0

#: Tells the outside (the health service) whether this coordinator leads.
SayServing = Callable[[bool], Awaitable[None]]


async def watch_leader(access: Access) -> None:
    """Keeps in mind who leads, for those who ask the wrong coordinator. Until cancelled."""
    resources = access.resources
    while True:
        try:
            async with aclosing(observe(resources.store, resources.keys)) as leaders:
                async for leader in leaders:
                    access.leader_id = leader.candidate.coordinator_id if leader else ""
                    access.leader_address = leader.candidate.address if leader else None
                    access.epoch = leader.epoch if leader else 0
        except StoreError as error:
            log.warning("cannot see who leads: %s", error)
            await resources.clock.sleep(_RETRY_S)


async def relieve(access: Access) -> None:
    """A full etcd takes no new leader, and only a leader would give space back: so candidates do. Until cancelled."""
    resources = access.resources
    while True:
        await resources.clock.sleep(LOOK_EVERY_S)
        if access.term is None and not planted("full-without-leader"):
            try:
                await relieve_leaderless(resources.store, resources.keys)
            except OrbitError as error:
                log.warning("etcd is full, nobody leads, and space could not be given back yet: %s", error)


async def campaign_and_lead(access: Access, election: Election, say_serving: SayServing) -> None:
    """Campaigns and leads, again and again, until cancelled."""
    while True:
        leadership = await election.campaign()
        try:
            term = await Term.begin(access.resources, leadership)
            access.term = term
            access.replica.forget()
            await say_serving(True)
            await term.run()
        except OrbitError:
            log.exception("the term of epoch %d ended", leadership.epoch)
            await access.resources.clock.sleep(_RETRY_S)
        finally:
            access.term = None
            with contextlib.suppress(Exception):
                await say_serving(False)
            await election.resign()
