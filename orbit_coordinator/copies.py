"""Blobs as a coordinator has them: kept here, and put where they are safe before they count: into the home of the
mesh's blobs, or, where it has none, on another machine. Read from wherever they lie.

What lies on one machine only is lost with it. Agents keep what they made and what they are given, coordinators what
they led by; who is there stands in etcd. Nothing here decides what has to be kept, or for how long.
"""

from __future__ import annotations

import json
import logging
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import aclosing
from typing import Final, NoReturn

from orbit_core.clock import Clock
from orbit_core.errors import BlobError, OrbitError, StoreError
from orbit_core.pb.orbit.v1 import common_pb2
from orbit_core.plants import planted
from orbit_core.store.api import Store
from orbit_core.store.blobs import BlobInfo, BlobSource, BlobStore, PeerBlobs
from orbit_core.store.blobs.api import BlobDiskError, BlobUnreachableError
from orbit_core.store.blobs.peer import Fetch
from orbit_core.store.keys import Keys
from orbit_core.store.transport import patiently

log = logging.getLogger(__name__)

#: Has the machine at an address hold blobs too. BlobError where it does not take one.
Push = Callable[[str, BlobStore, Sequence[common_pb2.BlobRef]], Awaitable[None]]
#: Which of some blobs the machine at an address holds. BlobError where it does not answer.
Held = Callable[[str, Sequence[str]], Awaitable[Collection[str]]]
#: Addresses of the other machines that hold blobs, best first.
Others = Callable[[], Awaitable[Sequence[str]]]

#: A second copy is tried for so long: a machine that has died stands in etcd until its lease ends.
SECOND_COPY_S: Final = 10.0
#: What a result needs and nobody gives is asked for again for so long, before its attempt counts as failed.
RESULT_PATIENCE_S: Final = 15.0
#: Errors that say nothing about whether a blob can be had: this machine's disk, S3 or etcd is in the way.
NOT_ITS_FAULT: Final = (BlobDiskError, BlobUnreachableError, StoreError)
_AGAIN_S: Final = 0.5
_THERE_FOR_S: Final = 0.5
#: The holder of what lies in the home, whoever of the mesh lives.
AT_HOME: Final = "home"
#: What has been seen in the home is not looked for again for so long, and that many are remembered.
_AT_HOME_FOR_S: Final = 600.0
_AT_HOME_KEPT: Final = 100_000


async def other_machines(store: Store, keys: Keys, own_address: str) -> list[str]:
    """Where others serve blobs now: coordinators, then agents, those on this very host last. StoreError."""
    found: list[str] = []
    for span in (keys.coordinators(), keys.agents()):
        listed = await store.range(span.start, span.end)
        found += [str(json.loads(kv.value).get("address", "")) for kv in listed.kvs]
    host = own_address.rpartition(":")[0]
    there = [address for address in dict.fromkeys(found) if address and address != own_address]
    return sorted(there, key=lambda address: address.rpartition(":")[0] == host)


class MeshBlobs(BlobStore):
    """`local`, with the mesh around it. `stat` and `list` are about this machine only.

    `home`: where the mesh keeps its blobs for good; None: on two machines.
    """

    def __init__(
        self,
        local: BlobStore,
        *,
        fetch: Fetch,
        push: Push,
        held: Held,
        others: Others,
        clock: Clock,
        home: BlobStore | None = None,
    ) -> None:
        self._local = local
        self._push = push
        self._held = held
        self._others = others
        self._clock = clock
        self._home = home
        self._hints: dict[str, Sequence[str]] = {}
        #: Who is there, and until when that is not asked again.
        self._there: tuple[Sequence[str], float] = ((), 0.0)
        #: What lies in the home, and until when that is taken for granted.
        self._at_home: OrderedDict[str, float] = OrderedDict()
        self._peers = PeerBlobs(local, fetch, self._locate, self._find_home)

    async def put(self, source: BlobSource, *, expected_sha256: str | None = None) -> BlobInfo:
        """Here and in the home, or on another machine where there is one, when this returns. BlobError, StoreError."""
        info = await self._local.put(source, expected_sha256=expected_sha256)
        if not planted("kept-once") and await self.secure([info.sha256]) is None:
            log.warning("blob %s lies on this machine only: there is no other", info.sha256)
        return info

    async def keep(self, sha256: str, first: Sequence[str] = ()) -> None:
        """The blob is where this coordinator keeps what work rests on when this returns: in the home, else here.

        Errors as `ensure`; BlobUnreachableError where the home cannot be asked.
        """
        if self._home is None:
            await self.ensure(sha256, first)
        elif not await self._is_at_home(sha256, self._home):
            await self.ensure(sha256, first)
            await self.secure([sha256], patience_s=0.0)

    async def keep_result(self, hashes: Sequence[str], maker: str) -> None:
        """What a result rests on is kept when this returns. BlobError where one of it cannot be had, again and again.

        What is wrong here, and not with a blob, is waited out: the agent holds the result until it is acknowledged,
        and whoever leads next is told of it again.
        """
        deadline_s = self._clock.monotonic_s() + RESULT_PATIENCE_S
        waiting = list(hashes)
        while waiting:
            try:
                await self.keep(waiting[0], [maker])
                waiting.pop(0)
                continue
            except NOT_ITS_FAULT as error:
                log.warning("blob %s of a result cannot be kept yet: %s", waiting[0], error)
            except BlobError:
                if self._clock.monotonic_s() >= deadline_s:
                    raise
            await self._clock.sleep(_AGAIN_S)

    async def secure(
        self, hashes: Sequence[str], first: Sequence[str] = (), *, patience_s: float = SECOND_COPY_S
    ) -> str | None:
        """Sees to it that the home, or one other machine, has what lies here; that one's address, or `AT_HOME`.

        None: there is no home and no other machine. `first`: machines that probably have it. BlobError where there
        are others and none takes it.
        """
        if self._home is not None:
            if not planted("home-skipped"):
                await self._bring_home(hashes, self._home, patience_s)
            return AT_HOME
        infos = [await self._local.stat(sha256) or _not_here(sha256) for sha256 in hashes]
        blobs = [common_pb2.BlobRef(sha256=info.sha256, size_bytes=info.size_bytes) for info in infos]
        deadline_s = self._clock.monotonic_s() + patience_s
        while others := await self.others():
            for address in dict.fromkeys([*(each for each in first if each in others), *others]):
                try:
                    await self._push(address, self._local, blobs)
                    return address
                except (OrbitError, OSError) as error:
                    log.warning("a second copy of %s is not taken by %s: %s", ", ".join(hashes), address, error)
            if self._clock.monotonic_s() >= deadline_s:
                raise BlobError(
                    f"no other machine takes a second copy of {', '.join(hashes)}",
                    remedy="look at the disks of the agents, and whether they can be reached from the coordinator",
                )
            await self._clock.sleep(_AGAIN_S)
        return None

    async def scarce(self, hashes: Sequence[str]) -> dict[str, list[str]]:
        """Those that are not where they are safe, each with the other machines that have it: not in the home, or, where
        there is none, on less than two machines though there are more. BlobUnreachableError, StoreError.
        """
        if self._home is not None:
            return {sha256: [] for sha256 in hashes if not await self._is_at_home(sha256, self._home)}
        others = await self.others()
        holders: dict[str, list[str]] = {sha256: [] for sha256 in hashes}
        here = {sha256 for sha256 in hashes if await self._local.stat(sha256) is not None}
        for address in others:
            wanted = [sha256 for sha256 in hashes if len(holders[sha256]) + (sha256 in here) < 2]
            if not wanted:
                break
            try:
                for sha256 in await self._held(address, wanted):
                    holders[sha256].append(address)
            except (OrbitError, OSError) as error:
                log.info("%s does not say what it holds: %s", address, error)
        return {sha256: found for sha256, found in holders.items() if others and len(found) + (sha256 in here) < 2}

    def doubt(self) -> None:
        """Somebody found a blob missing: what has been seen in the home is looked for again."""
        self._at_home.clear()

    async def keepers(self) -> Sequence[str]:
        """Whom `secure` may name. StoreError."""
        return [AT_HOME] if self._home is not None else await self.others()

    async def ensure(self, sha256: str, first: Sequence[str] = ()) -> BlobInfo:
        """The blob is here when this returns. BlobError where nobody has it, StoreError where nobody can be asked."""
        self._hints[sha256] = first
        try:
            return await self._peers.ensure(sha256)
        finally:
            self._hints.pop(sha256, None)

    async def others(self) -> Sequence[str]:
        """Addresses of the other machines, as of a moment ago where there were any. StoreError."""
        there, until_s = self._there
        now_s = self._clock.monotonic_s()
        if not there or now_s >= until_s:
            there = await self._others()
            self._there = (there, now_s + _THERE_FOR_S)
        return there

    async def open(self, sha256: str) -> AsyncGenerator[bytes, None]:
        async with aclosing(self._peers.open(sha256)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def stat(self, sha256: str) -> BlobInfo | None:
        return await self._local.stat(sha256)

    async def delete(self, sha256: str) -> bool:
        """From here, and from the home; whether it was there. What other machines have is not touched."""
        self._at_home.pop(sha256, None)
        gone = self._home is not None and await self._home.delete(sha256)
        return await self._local.delete(sha256) or gone

    async def list(self) -> AsyncIterator[BlobInfo]:
        async for info in self._local.list():
            yield info

    async def _locate(self, sha256: str) -> Sequence[str]:
        return list(dict.fromkeys([*self._hints.get(sha256, ()), *await self.others()]))

    async def _find_home(self) -> BlobStore | None:
        return self._home

    async def _is_at_home(self, sha256: str, home: BlobStore) -> bool:
        if self._at_home.get(sha256, 0.0) > self._clock.monotonic_s():
            return True
        if await home.stat(sha256) is None:
            return False
        self._seen_at_home(sha256)
        return True

    def _seen_at_home(self, sha256: str) -> None:
        self._at_home[sha256] = self._clock.monotonic_s() + _AT_HOME_FOR_S
        self._at_home.move_to_end(sha256)
        if len(self._at_home) > _AT_HOME_KEPT:
            self._at_home.popitem(last=False)

    async def _bring_home(self, hashes: Sequence[str], home: BlobStore, patience_s: float) -> None:
        async def bring() -> None:
            for sha256 in hashes:
                if not await self._is_at_home(sha256, home):
                    await home.put(self._local.open(sha256), expected_sha256=sha256)
                    self._seen_at_home(sha256)

        await patiently(bring, patience_s, self._clock)


def _not_here(sha256: str) -> NoReturn:
    raise BlobError(f"blob {sha256} does not lie here")
