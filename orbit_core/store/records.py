"""How a batch of payloads lies in one journal record. Pure: bytes in, bytes out.

A record is a fixed head (format version, compressed or not, batch id, epoch, number of payloads, size of the body)
and a body of payloads, each behind its length. What a payload means is the coordinator's business.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from orbit_core.errors import StoreError
from orbit_core.limits import ETCD_VALUE_MAX_BYTES

FORMAT_VERSION: Final = 1
BATCH_ID_BYTES: Final = 16
_HEAD: Final = struct.Struct(">BB16sQII")  # version, compressed, batch id, epoch, payloads, body bytes
_LENGTH: Final = struct.Struct(">I")
_COMPRESS_FROM_BYTES: Final = 512
_COMPRESS_LEVEL: Final = 1  # the journal is written once a few milliseconds: speed matters more than the last tenth

#: What a batch of payloads may add up to, each counted with `PAYLOAD_OVERHEAD_BYTES`: it then fits uncompressed.
BODY_MAX_BYTES: Final = ETCD_VALUE_MAX_BYTES - _HEAD.size
PAYLOAD_OVERHEAD_BYTES: Final = _LENGTH.size


class RecordError(StoreError):
    """A journal record cannot be read."""

    code = "journal-record"


@dataclass(frozen=True, slots=True)
class Batch:
    """`payloads` in the order in which they were appended; `batch_id` tells a record from any other."""

    batch_id: bytes
    epoch: int
    payloads: tuple[bytes, ...]


def body_bytes(payloads: Sequence[bytes]) -> int:
    """What `payloads` take up in a record before compression."""
    return sum(map(len, payloads)) + PAYLOAD_OVERHEAD_BYTES * len(payloads)


def encode(batch: Batch) -> bytes:
    assert len(batch.batch_id) == BATCH_ID_BYTES
    raw = b"".join(part for payload in batch.payloads for part in (_LENGTH.pack(len(payload)), payload))
    assert len(raw) <= BODY_MAX_BYTES
    body, compressed = raw, False
    if len(raw) >= _COMPRESS_FROM_BYTES:
        smaller = zlib.compress(raw, _COMPRESS_LEVEL)
        if len(smaller) < len(raw) * 0.9:
            body, compressed = smaller, True
    return _HEAD.pack(FORMAT_VERSION, compressed, batch.batch_id, batch.epoch, len(batch.payloads), len(raw)) + body


def batch_id_of(record: bytes) -> bytes:
    """The batch id alone, without decoding the body."""
    return _head(record)[2]


def decode(record: bytes) -> Batch:
    """Raises `RecordError` for bytes that are not a whole record of a known format."""
    _, compressed, batch_id, epoch, count, size = _head(record)
    if size > BODY_MAX_BYTES:
        raise RecordError(f"a journal record claims {size} bytes; at most {BODY_MAX_BYTES} are possible")
    body = record[_HEAD.size :]
    if compressed:
        try:
            body = zlib.decompressobj().decompress(body, size + 1)
        except zlib.error as error:
            raise RecordError(f"a journal record is damaged: {error}") from error
    if len(body) != size:
        raise RecordError(f"a journal record is damaged: {len(body)} bytes where {size} should be")
    return Batch(batch_id, epoch, _split(body, count))


def _head(record: bytes) -> tuple[int, bool, bytes, int, int, int]:
    if len(record) < _HEAD.size:
        raise RecordError(f"a journal record has only {len(record)} bytes")
    version, compressed, batch_id, epoch, count, size = _HEAD.unpack_from(record)
    if version != FORMAT_VERSION:
        raise RecordError(
            f"a journal record has format {version}; this Orbit reads {FORMAT_VERSION}",
            remedy="run a version of Orbit that is at least as new as the one that wrote it",
        )
    return version, bool(compressed), batch_id, epoch, count, size


def _split(body: bytes, count: int) -> tuple[bytes, ...]:
    payloads: list[bytes] = []
    at = 0
    while at < len(body):
        if at + _LENGTH.size > len(body):
            raise RecordError("a journal record is damaged: it ends inside a length")
        (length,) = _LENGTH.unpack_from(body, at)
        at += _LENGTH.size
        payload = body[at : at + length]
        if len(payload) != length:
            raise RecordError("a journal record is damaged: it ends inside a payload")
        payloads.append(payload)
        at += length
    if len(payloads) != count:
        raise RecordError(f"a journal record is damaged: {len(payloads)} payloads where {count} should be")
    return tuple(payloads)
