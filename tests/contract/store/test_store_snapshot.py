"""The contract of snapshots: whole or not there, unchanged parts not written again, fenced to the last delete."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator

import pytest

from orbit_core.errors import FencedError, OutcomeUnknownError
from orbit_core.limits import ETCD_VALUE_MAX_BYTES, MIB
from orbit_core.store import api
from orbit_core.store.api import Put, Store
from orbit_core.store.election import Candidate, Election, Leadership
from orbit_core.store.journal import JournalReader, JournalWriter
from orbit_core.store.keys import Keys
from orbit_core.store.snapshot import SnapshotOvertakenError, SnapshotWriter, load_newest, reclaim

DEADLINE_S = 30


@pytest.fixture
async def election(store: Store, keys: Keys) -> AsyncIterator[Election]:
    election = Election(store, keys, Candidate("a", "127.0.0.1:1"), ttl_s=60)
    yield election
    await election.resign()


@pytest.fixture
async def leadership(election: Election) -> Leadership:
    async with asyncio.timeout(DEADLINE_S):
        return await election.campaign()


@pytest.fixture
def writer(store: Store, keys: Keys, leadership: Leadership) -> SnapshotWriter:
    return SnapshotWriter(store, keys, leadership)


async def part_keys(store: Store, keys: Keys) -> list[bytes]:
    return [kv.key for kv in (await store.get_prefix(keys.parts().start, keys_only=True)).kvs]


async def test_a_snapshot_is_loaded_as_it_was_written(
    store: Store, keys: Keys, writer: SnapshotWriter, leadership: Leadership
) -> None:
    assert await load_newest(store, keys) is None
    parts = {"run-1": b"small", "run-2": os.urandom(3 * MIB), "run-3": b"compressible" * 400_000, "empty": b""}
    written = await writer.write(7, parts)
    assert (written.parts, written.parts_written) == (4, 5)  # and the list of parts
    loaded = await load_newest(store, keys)
    assert loaded is not None
    assert (loaded.seq, loaded.epoch, dict(loaded.parts)) == (7, leadership.epoch, parts)
    largest = max(len(kv.value) for kv in (await store.get_prefix(keys.parts().start)).kvs)
    assert largest <= ETCD_VALUE_MAX_BYTES


async def test_what_has_not_changed_is_not_written_again(store: Store, keys: Keys, writer: SnapshotWriter) -> None:
    parts = {f"run-{number}": os.urandom(1_000) for number in range(150)}
    assert (await writer.write(1, parts)).parts_written == 151
    parts["run-3"] = b"changed"
    second = await writer.write(2, parts)
    assert second.parts_written == 2
    assert (await writer.write(3, parts)).parts_written == 0
    assert len(await part_keys(store, keys)) == 151, "replaced parts are deleted"
    loaded = await load_newest(store, keys)
    assert loaded is not None
    assert loaded.seq == 3
    assert dict(loaded.parts) == parts


async def test_equal_parts_are_kept_once(store: Store, keys: Keys, writer: SnapshotWriter) -> None:
    await writer.write(1, {"a": b"same", "b": b"same"})
    assert len(await part_keys(store, keys)) == 2
    loaded = await load_newest(store, keys)
    assert loaded is not None
    assert dict(loaded.parts) == {"a": b"same", "b": b"same"}


async def test_a_snapshot_cut_off_before_its_manifest_does_not_exist(
    store: Store, keys: Keys, writer: SnapshotWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    await writer.write(1, {"run-1": b"old"})
    txn = store.txn

    async def crash_at_the_manifest(**kwargs):
        if any(isinstance(op, Put) and op.key == keys.manifest(2) for op in kwargs["success"]):
            raise ConnectionError("the coordinator dies here")
        return await txn(**kwargs)

    monkeypatch.setattr(store, "txn", crash_at_the_manifest)
    with pytest.raises(ConnectionError):
        await writer.write(2, {"run-1": b"new", "run-2": b"new too"})
    monkeypatch.undo()
    loaded = await load_newest(store, keys)
    assert loaded is not None
    assert (loaded.seq, dict(loaded.parts)) == (1, {"run-1": b"old"})

    assert (await writer.write(3, {"run-1": b"new", "run-2": b"new too"})).parts_written == 0, "they lie there already"
    assert len(await part_keys(store, keys)) == 3, "what was left over is gone"


@pytest.mark.parametrize("given_up", range(5))
async def test_a_write_of_a_snapshot_that_was_given_up_changes_nothing_when_it_lands_late(
    store: Store, keys: Keys, writer: SnapshotWriter, monkeypatch: pytest.MonkeyPatch, given_up: int
) -> None:
    """Turn, parts, manifest, older manifests, unneeded parts: whichever of them comes after the next snapshot."""
    await writer.write(1, {"run-1": b"old", "run-2": b"kept"})
    txn, held, sent = store.txn, [], []

    async def hold_one_back(**kwargs):
        sent.append(kwargs)
        if len(sent) == given_up + 1:
            held.append(kwargs)
            raise OutcomeUnknownError
        return await txn(**kwargs)

    monkeypatch.setattr(store, "txn", hold_one_back)
    with pytest.raises(OutcomeUnknownError):
        await writer.write(2, {"run-1": b"new", "run-2": b"kept"})
    monkeypatch.undo()
    parts = {"run-1": b"old", "run-2": b"newer"}  # a part that the snapshot that was given up has no need of
    await writer.write(3, parts)
    await txn(**held[0])
    loaded = await load_newest(store, keys)
    assert loaded is not None
    assert (loaded.seq, dict(loaded.parts)) == (3, parts)


async def test_a_snapshot_that_is_overtaken_is_given_up_and_the_next_one_is_whole(
    store: Store, keys: Keys, writer: SnapshotWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    await writer.write(1, {"run-1": b"old"})
    txn = store.txn

    async def another_takes_the_turn(**kwargs):
        monkeypatch.undo()
        result = await txn(**kwargs)
        await store.put(keys.snapshot_turn(), b"an earlier one, late")
        return result

    monkeypatch.setattr(store, "txn", another_takes_the_turn)
    with pytest.raises(SnapshotOvertakenError):
        await writer.write(2, {"run-1": b"new"})
    await writer.write(3, {"run-1": b"newest"})
    loaded = await load_newest(store, keys)
    assert loaded is not None
    assert (loaded.seq, dict(loaded.parts)) == (3, {"run-1": b"newest"})


async def test_a_damaged_snapshot_is_passed_over(
    store: Store, keys: Keys, writer: SnapshotWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def keep_the_older(seq: int, needed: set[str]) -> int:
        return 0

    monkeypatch.setattr(writer, "_delete_older", keep_the_older)
    await writer.write(1, {"run-1": b"old"})
    before = set(await part_keys(store, keys))
    await writer.write(2, {"run-1": b"new"})
    chunk = next(iter(set(await part_keys(store, keys)) - before))
    whole = await store.get(chunk)
    assert whole is not None
    for damage in (whole.value + b"!", b"\x01junk", b"\x07", None):
        if damage is None:
            await store.delete(chunk)
        else:
            await store.put(chunk, damage)
        loaded = await load_newest(store, keys)
        assert loaded is not None
        assert (loaded.seq, dict(loaded.parts)) == (1, {"run-1": b"old"})


async def test_the_journal_is_cut_up_to_the_snapshot(
    store: Store, keys: Keys, writer: SnapshotWriter, leadership: Leadership, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orbit_core.store.snapshot._TRUNCATE_STEP", 2)
    monkeypatch.setattr(api, "PAGE_KEYS", 2)
    journal = JournalWriter(store, keys, leadership, next_seq=1)
    for number in range(1, 8):
        await journal.append([bytes([number])])
    written = await writer.write(5, {"run-1": b"state"})
    assert [record.seq async for record in JournalReader(store, keys).read(6)] == [6, 7]
    left = await store.get_prefix(keys.journal_from(0).start[:-20])
    assert [keys.journal_seq(kv.key) for kv in left.kvs] == [6, 7]
    await writer.write(5, {"run-1": b"state"})
    await reclaim(store, written.revision)
    loaded = await load_newest(store, keys)
    assert loaded is not None
    assert loaded.seq == 5
    await journal.close()


async def test_a_deposed_leader_writes_and_deletes_nothing(
    store: Store, keys: Keys, writer: SnapshotWriter, leadership: Leadership
) -> None:
    await writer.write(1, {"run-1": b"old"})
    before = await store.get_prefix(keys.everything().start)
    held = await store.get(keys.leader())
    assert held is not None
    await store.lease_revoke(held.lease)
    with pytest.raises(FencedError):
        await writer.write(2, {"run-1": b"from the grave"})
    assert leadership.lost.is_set()
    after = await store.get_prefix(keys.everything().start)
    assert [kv for kv in after.kvs] == [kv for kv in before.kvs if kv.key != keys.leader()]
