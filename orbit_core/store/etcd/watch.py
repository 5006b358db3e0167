"""A watch that outlives its connections: it resumes at the first revision that it has not handed out whole.

Three things keep it free of gaps and doubles. The place to go on from moves only past revisions that have arrived
complete: etcd may split one revision over several messages (`fragment`). Progress notices move it on while nothing
changes, so that a compaction meanwhile does no harm. And `hasleader` makes a member that lost its quorum end the
stream instead of keeping silent.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import grpc
import grpc.aio

from orbit_core.pb.etcd import rpc_pb2
from orbit_core.store.api import CompactedError, WatchBatch, WatchEvent
from orbit_core.store.backoff import backoff_s
from orbit_core.store.etcd import wire
from orbit_core.store.etcd.failures import Verdict, error_of, verdict
from orbit_core.store.etcd.members import Member, Members

_REQUIRE_LEADER = ("hasleader", "true")


class Watch:
    """The position of one watch. `batches()` may be iterated once."""

    def __init__(self, members: Members, key: bytes, end: bytes, from_revision: int, connect_timeout_s: float) -> None:
        self._members = members
        self._key = key
        self._end = end
        self._next_revision = from_revision
        self._connect_timeout_s = connect_timeout_s
        self._held: list[WatchEvent] = []
        self._failures = 0

    async def batches(self) -> AsyncGenerator[WatchBatch, None]:
        while True:
            member = self._members.current
            if await member.connected(self._connect_timeout_s, patient=len(self._members.all) == 1):
                try:
                    async with aclosing(self._responses(member)) as responses:
                        async for response in responses:
                            self._failures = 0
                            batch = self._take(response)
                            if batch is not None:
                                yield batch
                except grpc.aio.AioRpcError as failure:
                    self._judge(failure)
                except asyncio.InvalidStateError:
                    pass  # what gRPC raises for a stream that ended before the request was written
            self._held.clear()  # the rest of that revision comes again, from its start
            self._members.go_on_from(member)
            self._failures += 1
            await asyncio.sleep(backoff_s(self._failures))

    async def _responses(self, member: Member) -> AsyncGenerator[rpc_pb2.WatchResponse, None]:
        """One stream, from the place to go on from until it ends or breaks."""
        metadata = await self._members.metadata(member, self._connect_timeout_s)
        call = member.watch.Watch(metadata=(*metadata, _REQUIRE_LEADER))
        try:
            await call.write(
                rpc_pb2.WatchRequest(
                    create_request=rpc_pb2.WatchCreateRequest(
                        key=self._key,
                        range_end=self._end,
                        start_revision=self._next_revision,
                        progress_notify=True,
                        fragment=True,
                    )
                )
            )
            async for response in call:
                if response.compact_revision:
                    raise CompactedError(response.compact_revision)
                if response.canceled:
                    return
                yield response
        finally:
            call.cancel()

    def _take(self, response: rpc_pb2.WatchResponse) -> WatchBatch | None:
        """The whole revisions that are now known, if there are any new ones."""
        if response.created:
            return None
        events = self._held + [wire.watch_event(event) for event in response.events]
        if response.fragment and events:
            unfinished = events[-1].kv.mod_revision
            self._held = [event for event in events if event.kv.mod_revision == unfinished]
            events = events[: len(events) - len(self._held)]
            revision = unfinished - 1
        else:
            self._held = []
            # The header may name a later revision whose events are still to come (etcd stamps it on sending),
            # so it counts only where it is all that the message says: in a progress notice.
            revision = events[-1].kv.mod_revision if events else response.header.revision
        if revision < self._next_revision:
            return None
        self._next_revision = revision + 1
        return WatchBatch(revision, tuple(events)) if events else None

    def _judge(self, failure: grpc.aio.AioRpcError) -> None:
        """Raise where asking another member would not help."""
        match verdict(failure):
            case Verdict.REFUSED:
                raise error_of("watch", failure) from failure
            case Verdict.LOGIN:
                self._members.forget_login()
            case Verdict.NOT_DONE | Verdict.UNKNOWN:
                pass
