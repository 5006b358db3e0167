"""A watch whose stream breaks in the middle of a revision, by a script of what etcd sends."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from types import SimpleNamespace
from typing import Any, cast

import grpc
import grpc.aio

from orbit_core.pb.etcd import kv_pb2, rpc_pb2
from orbit_core.store.etcd.members import Members
from orbit_core.store.etcd.watch import Watch


def response(*events: tuple[bytes, int], fragment: bool = False, revision: int = 0) -> rpc_pb2.WatchResponse:
    return rpc_pb2.WatchResponse(
        header=rpc_pb2.ResponseHeader(revision=revision or max(mod for _, mod in events)),
        fragment=fragment,
        events=[kv_pb2.Event(kv=kv_pb2.KeyValue(key=key, mod_revision=mod)) for key, mod in events],
    )


class ScriptedMembers:
    """Answers each watch with the next script, then breaks the stream; remembers where each was to start."""

    def __init__(self, *scripts: Sequence[rpc_pb2.WatchResponse]) -> None:
        self._scripts = list(scripts)
        self.started_at: list[int] = []
        self.current = SimpleNamespace(watch=SimpleNamespace(Watch=self._watch), connected=self._connected)
        self.all = (self.current,)

    def go_on_from(self, member: object) -> None:
        pass

    async def metadata(self, member: object, timeout_s: float) -> tuple[tuple[str, str], ...]:
        return ()

    async def _connected(self, timeout_s: float, *, patient: bool) -> bool:
        return True

    def _watch(self, metadata: object) -> Any:
        assert metadata == (("hasleader", "true"),)
        return _Stream(self, self._scripts.pop(0))


class _Stream:
    def __init__(self, members: ScriptedMembers, script: Sequence[rpc_pb2.WatchResponse]) -> None:
        self._members = members
        self._script = script

    async def write(self, request: rpc_pb2.WatchRequest) -> None:
        assert request.create_request.fragment
        self._members.started_at.append(request.create_request.start_revision)

    async def __aiter__(self) -> AsyncIterator[rpc_pb2.WatchResponse]:
        for one in self._script:
            yield one
        empty = grpc.aio.Metadata()
        raise grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, empty, empty, "cut")

    def cancel(self) -> None:
        pass


async def seen(members: ScriptedMembers, count: int) -> list[tuple[bytes, int]]:
    watch = Watch(cast(Members, members), b"a", b"z", 5, 1.0)
    events: list[tuple[bytes, int]] = []
    async for batch in watch.batches():
        revisions = {event.kv.mod_revision for event in batch.events}
        assert max(revisions) == batch.revision
        events += [(event.kv.key, event.kv.mod_revision) for event in batch.events]
        if len(events) >= count:
            break
    return events


async def test_the_parts_of_a_revision_are_put_together() -> None:
    members = ScriptedMembers(
        [
            response((b"a", 5), (b"b", 6), fragment=True),
            response((b"c", 6), fragment=True),
            response((b"d", 6), (b"e", 7)),
        ]
    )
    assert await seen(members, 5) == [(b"a", 5), (b"b", 6), (b"c", 6), (b"d", 6), (b"e", 7)]


async def test_a_revision_that_was_cut_in_the_middle_comes_again_whole() -> None:
    members = ScriptedMembers(
        [response((b"a", 5), (b"b", 6), fragment=True)],
        [response((b"b", 6), (b"c", 6)), response((b"d", 9))],
    )
    assert await seen(members, 4) == [(b"a", 5), (b"b", 6), (b"c", 6), (b"d", 9)]
    assert members.started_at == [5, 6]


async def test_a_progress_notice_moves_the_place_to_resume() -> None:
    members = ScriptedMembers([response(revision=41)], [response((b"a", 42))])
    assert await seen(members, 1) == [(b"a", 42)]
    assert members.started_at == [5, 42]


async def test_the_header_of_a_message_with_events_proves_nothing() -> None:
    """etcd stamps it on sending: events between the last one and the header may still be to come."""
    members = ScriptedMembers([response((b"a", 5), revision=50)], [response((b"b", 6))])
    assert await seen(members, 2) == [(b"a", 5), (b"b", 6)]
    assert members.started_at == [5, 6]
