"""Snapshots of the state, so that recovery replays little: parts by content, then a manifest that names them.

A part (one run, say) is named by the hash of its bytes, so a part that has not changed is not written again. The
manifest comes last, fenced: a snapshot that was interrupted has none and does not exist. Only after the manifest
are older manifests, parts that nothing names any more and the journal up to it deleted, fenced as well.

A write that was given up may still land, seconds later, while its leader leads on: a deletion among them would take
what the next snapshot has put. So each snapshot begins by taking the turn, and every write of it holds only while
nobody has taken it since.

What a part means is the coordinator's business.
"""

from __future__ import annotations

import asyncio
import json
import logging
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from orbit_core.errors import StoreError
from orbit_core.ids import content_hash
from orbit_core.limits import ETCD_TXN_MAX_OPS, ETCD_VALUE_MAX_BYTES
from orbit_core.plants import planted
from orbit_core.store.api import Compare, Delete, Get, Op, Put, Store
from orbit_core.store.election import Leadership
from orbit_core.store.keys import Keys

logger = logging.getLogger(__name__)

FORMAT_VERSION: Final = 1
CHUNK_MAX_BYTES: Final = ETCD_VALUE_MAX_BYTES
PART_MAX_BYTES: Final = 1 << 30  # beyond this a part is not a run's state but a mistake
_COMPRESS_FROM_BYTES: Final = 512
_RAW, _ZLIB = b"\x00", b"\x01"
_TXN_MAX_BYTES: Final = ETCD_VALUE_MAX_BYTES  # of values in one transaction: etcd stays responsive
_TRUNCATE_STEP: Final = 1_000  # journal records deleted in one transaction


@dataclass(frozen=True, slots=True)
class Snapshot:
    """`parts`: name to bytes; the journal goes on after record `seq`. `epoch`: whose leader wrote it."""

    seq: int
    epoch: int
    parts: Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class SnapshotWritten:
    """What writing a snapshot did: parts in all, and those that had to be written, with their stored size."""

    seq: int
    parts: int
    parts_written: int
    bytes_written: int
    revision: int


@dataclass(frozen=True, slots=True)
class _Part:
    name: str
    sha256: str
    chunks: tuple[bytes, ...]


class SnapshotWriter:
    """Writes snapshots during one term of leading."""

    def __init__(self, store: Store, keys: Keys, leadership: Leadership) -> None:
        self._store = store
        self._keys = keys
        self._leadership = leadership
        self._turn: list[Compare] = []

    async def write(self, seq: int, parts: Mapping[str, bytes]) -> SnapshotWritten:
        """Make `parts` the snapshot after journal record `seq`, then delete what it replaces.

        Raises `FencedError` when the lead is lost. A write of unknown outcome raises `OutcomeUnknownError`: the
        snapshot then exists whole or not at all, and the next one may be written at any time. Raises
        `SnapshotOvertakenError` where a write of an earlier one has come so late; the same holds.
        """
        encoded = await asyncio.to_thread(_encode_parts, parts)
        body = await asyncio.to_thread(_encode_body, encoded)
        await self._take_turn(seq)
        stored = await self._stored_chunks()
        new = {part.sha256: part for part in (*encoded, body) if len(part.chunks) != stored.get(part.sha256)}
        written_bytes = await self._put_chunks(new.values())
        manifest = {
            "format": FORMAT_VERSION,
            "seq": seq,
            "epoch": self._leadership.epoch,
            "body": [body.sha256, len(body.chunks)],
        }
        if planted("snapshot-truncates-first"):
            await self._truncate(seq)
        await self._fenced([Put(self._keys.manifest(seq), json.dumps(manifest).encode())])
        revision = await self._delete_older(seq, {part.sha256 for part in (*encoded, body)})
        return SnapshotWritten(seq, len(encoded), len(new), written_bytes, revision)

    async def _take_turn(self, seq: int) -> None:
        """From here on no write of an earlier snapshot can land."""
        key = self._keys.snapshot_turn()
        self._turn = []
        revision = await self._fenced([Put(key, str(seq).encode())])
        if not planted("snapshot-out-of-turn"):
            self._turn = [Compare.unchanged_since(key, revision)]

    async def _stored_chunks(self) -> dict[str, int]:
        """How many chunks of each part are there."""
        span = self._keys.parts()
        counts: dict[str, int] = {}
        async for page in self._store.scan(span.start, span.end, keys_only=True):
            for kv in page.kvs:
                sha256, _ = self._keys.part_of_chunk(kv.key)
                counts[sha256] = counts.get(sha256, 0) + 1
        return counts

    async def _put_chunks(self, parts: Iterable[_Part]) -> int:
        puts: list[Put] = []
        size = written = 0
        for part in parts:
            for index, chunk in enumerate(part.chunks):
                if puts and (size + len(chunk) > _TXN_MAX_BYTES or len(puts) == ETCD_TXN_MAX_OPS):
                    await self._fenced(puts)
                    puts, size = [], 0
                puts.append(Put(self._keys.part_chunk(part.sha256, index), chunk))
                size += len(chunk)
                written += len(chunk)
        if puts:
            await self._fenced(puts)
        return written

    async def _delete_older(self, seq: int, needed: set[str]) -> int:
        """Delete what the snapshot after `seq` replaces; the revision from which on history is of use."""
        manifests = self._keys.manifests()
        revision = await self._fenced(
            [Delete(manifests.start, self._keys.manifest(seq)), Delete(self._keys.manifest(seq + 1), manifests.end)]
        )
        unneeded = [self._keys.part(sha256) for sha256 in await self._stored_chunks() if sha256 not in needed]
        for start in range(0, len(unneeded), ETCD_TXN_MAX_OPS):
            spans = unneeded[start : start + ETCD_TXN_MAX_OPS]
            revision = await self._fenced([Delete(span.start, span.end) for span in spans])
        return await self._truncate(seq) or revision

    async def _truncate(self, seq: int) -> int:
        """Delete the journal up to `seq`; the last revision that did, 0 when there was nothing to delete."""
        revision = 0
        first = await self._store.range(self._keys.journal(0), self._keys.journal(seq + 1), limit=1, keys_only=True)
        if first.kvs:
            # In steps, and oldest first: a deletion that is interrupted leaves no hole.
            for start in range(self._keys.journal_seq(first.kvs[0].key), seq + 1, _TRUNCATE_STEP):
                end = min(start + _TRUNCATE_STEP, seq + 1)
                revision = await self._fenced([Delete(self._keys.journal(start), self._keys.journal(end))])
        return revision

    async def _fenced(self, ops: Sequence[Op]) -> int:
        guard = self._leadership.guard()
        result = await self._store.txn(compare=[guard, *self._turn], success=ops, failure=[Get(guard.key)])
        if not result.succeeded:
            leads = any(kv.create_revision == guard.operand for kv in result.range(0).kvs)
            raise SnapshotOvertakenError if leads else self._leadership.fenced()
        return result.revision


async def load_newest(store: Store, keys: Keys) -> Snapshot | None:
    """The newest snapshot that is whole, or `None`. One that is damaged is passed over, with a warning."""
    span = keys.manifests()
    manifests = await store.range(span.start, span.end)
    if not manifests.kvs:
        return None
    stored = await _stored_parts(store, keys)
    for kv in reversed(manifests.kvs):
        try:
            return await asyncio.to_thread(assemble, kv.value, stored)
        except SnapshotDamagedError as error:
            logger.warning("snapshot %d is passed over: %s", keys.manifest_seq(kv.key), error)
    return None


async def reclaim(store: Store, revision: int) -> None:
    """Give back the space of what was deleted up to `revision`: compact, defragment, and lift a full alarm.

    Each member is blocked while it defragments, so this is for after a snapshot, not for every one.
    """
    await store.compact(revision)
    await store.defragment()
    for alarm in await store.alarms():
        if alarm.kind == "nospace":
            await store.disarm(alarm)


class SnapshotOvertakenError(StoreError):
    """An earlier snapshot of this term has taken the turn, by a write that was given up and came late."""

    code = "snapshot-overtaken"


class SnapshotDamagedError(StoreError):
    """A snapshot lacks a part, or a part is not what its hash says."""

    code = "snapshot-damaged"


async def _stored_parts(store: Store, keys: Keys) -> dict[str, list[bytes]]:
    """The chunks of every part that is there, in order: read in pages, for there are as many parts as runs."""
    span = keys.parts()
    stored: dict[str, list[bytes]] = {}
    async for page in store.scan(span.start, span.end):
        for kv in page.kvs:
            stored.setdefault(keys.part_of_chunk(kv.key)[0], []).append(kv.value)
    return stored


def assemble(manifest_bytes: bytes, stored: Mapping[str, Sequence[bytes]]) -> Snapshot:
    """What a manifest names, of the chunks of each part in order. Raises `SnapshotDamagedError`."""
    manifest = json.loads(manifest_bytes)
    if manifest["format"] != FORMAT_VERSION:
        raise StoreError(
            f"the snapshot has format {manifest['format']}; this Orbit reads {FORMAT_VERSION}",
            remedy="run a version of Orbit that is at least as new as the one that wrote it",
        )
    body = json.loads(_part_bytes(stored, *manifest["body"]))
    parts = {name: _part_bytes(stored, sha256, chunks) for name, sha256, chunks in body}
    return Snapshot(manifest["seq"], manifest["epoch"], parts)


def _part_bytes(stored: Mapping[str, Sequence[bytes]], sha256: str, chunks: int) -> bytes:
    found = stored.get(sha256, ())
    if len(found) != chunks:
        raise SnapshotDamagedError(f"part {sha256} has {len(found)} chunks of {chunks}")
    data = _decode(b"".join(found))
    if content_hash(data) != sha256:
        raise SnapshotDamagedError(f"part {sha256} holds other bytes than its name says")
    return data


def _encode_parts(parts: Mapping[str, bytes]) -> list[_Part]:
    return [_part(name, data) for name, data in sorted(parts.items())]


def _encode_body(parts: Sequence[_Part]) -> _Part:
    """The list of parts is a part itself: it may be large, and often is the same as before."""
    listed = [[part.name, part.sha256, len(part.chunks)] for part in parts]
    return _part("", json.dumps(listed, separators=(",", ":")).encode())


def _part(name: str, data: bytes) -> _Part:
    if len(data) > PART_MAX_BYTES:
        raise StoreError(f"part {name!r} of the snapshot has {len(data)} bytes; at most {PART_MAX_BYTES} are allowed")
    stored = _RAW + data
    if len(data) >= _COMPRESS_FROM_BYTES:
        smaller = zlib.compress(data, 1)
        if len(smaller) < len(data) * 0.9:
            stored = _ZLIB + smaller
    chunks = tuple(stored[at : at + CHUNK_MAX_BYTES] for at in range(0, len(stored), CHUNK_MAX_BYTES))
    return _Part(name, content_hash(data), chunks)


def _decode(stored: bytes) -> bytes:
    codec, data = stored[:1], stored[1:]
    if codec == _RAW:
        return data
    if codec != _ZLIB:
        raise SnapshotDamagedError(f"a part of a snapshot has the unknown encoding {codec!r}")
    try:
        unpacked = zlib.decompressobj().decompress(data, PART_MAX_BYTES)
    except zlib.error as error:
        raise SnapshotDamagedError(f"a part of a snapshot is damaged: {error}") from error
    return unpacked
