"""Blobs of results on their way off this machine, before the result is told: into the home of the mesh's blobs where
it has one that this machine can use, else to the leader, who puts them where they belong.

Which blobs a result needs is not decided here; what is fetched from the home goes through the blob fetcher.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from orbit_core.clock import Clock
from orbit_core.errors import BlobError, InvalidRequestError, OrbitError
from orbit_core.pb.orbit.v1 import agents_pb2, common_pb2
from orbit_core.store.blobs import BlobStore
from orbit_core.store.blobs.home import BlobHome, open_home
from orbit_core.store.transport import patiently

log = logging.getLogger(__name__)

#: A home that this machine could not use is tried again after so long.
HOME_AGAIN_S: Final = 60.0


class Home:
    """The home of the mesh's blobs, as the leader names it: opened when it is first wanted."""

    def __init__(self, clock: Clock, open_it: Callable[[BlobHome], Awaitable[BlobStore]] = open_home) -> None:
        self._clock = clock
        self._open_it = open_it
        self._said: BlobHome | None = None
        self._opened: BlobStore | None = None
        self._not_before_s = 0.0
        self._opening = asyncio.Lock()

    def follow(self, welcome: agents_pb2.Welcome) -> None:
        """What a leader says when the agent attaches."""
        told = welcome.blob_home
        try:
            said = BlobHome(told.uri, told.endpoint_url, told.region) if told.uri else None
        except InvalidRequestError as error:  # of a version that knows more kinds
            log.warning("blobs go by way of the leader: %s", error)
            said = None
        if said != self._said:
            self._said, self._opened, self._not_before_s = said, None, 0.0

    async def blobs(self) -> BlobStore | None:
        """None: there is no home, or this machine cannot use it just now."""
        async with self._opening:
            said = self._said
            if said is None or self._opened is not None or self._clock.monotonic_s() < self._not_before_s:
                return self._opened
            try:
                opened = await self._open_it(said)
            except OrbitError as error:
                log.warning("blobs go by way of the leader: %s", error)
                opened = None
            if said == self._said:
                self._opened = opened
                self._not_before_s = self._clock.monotonic_s() + HOME_AGAIN_S
            return opened


class Sharer:
    """`push`: has the machine at an address hold blobs that lie here; `leader`: waits for the leader's address."""

    def __init__(
        self,
        local: BlobStore,
        home: Home,
        *,
        leader: Callable[[], Awaitable[str]],
        push: Callable[[str, BlobStore, Sequence[common_pb2.BlobRef]], Awaitable[None]],
        patience_s: float,
        clock: Clock,
    ) -> None:
        self._local = local
        self._home = home
        self._leader = leader
        self._push = push
        self._patience_s = patience_s
        self._clock = clock

    async def share(self, blobs: Sequence[common_pb2.BlobRef]) -> None:
        """The blobs outlive this machine when this returns, those that lie here. BlobError."""
        if blobs:
            await patiently(lambda: self._copy(blobs), self._patience_s, self._clock)

    async def _copy(self, blobs: Sequence[common_pb2.BlobRef]) -> None:
        # A file that an object only passes on may never have lain here: the leader finds it where it does.
        here = [blob for blob in blobs if await self._local.stat(blob.sha256) is not None]
        home = await self._home.blobs()
        if home is not None:
            try:
                for blob in here:
                    if await home.stat(blob.sha256) is None:
                        await home.put(self._local.open(blob.sha256), expected_sha256=blob.sha256)
                return
            except BlobError as error:
                log.warning("blobs of a result go by way of the leader: %s", error)
        await self._push(await self._leader(), self._local, here)
