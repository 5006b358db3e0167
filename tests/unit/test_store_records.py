"""Journal records: every batch survives its encoding, and damage is noticed."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orbit_core.limits import ETCD_VALUE_MAX_BYTES
from orbit_core.store import records
from orbit_core.store.records import Batch, RecordError

BATCH_ID = bytes(range(16))

batches = st.builds(
    Batch,
    batch_id=st.binary(min_size=16, max_size=16),
    epoch=st.integers(0, 2**63 - 1),
    payloads=st.lists(st.binary(max_size=300), max_size=20).map(tuple),
)


@given(batches)
def test_a_batch_survives(batch: Batch) -> None:
    record = records.encode(batch)
    assert records.decode(record) == batch
    assert records.batch_id_of(record) == batch.batch_id


@given(batches, st.integers(0, 10_000))
def test_a_record_that_was_cut_is_noticed(batch: Batch, at: int) -> None:
    record = records.encode(batch)
    with pytest.raises(RecordError):
        records.decode(record[: at % len(record)])


def test_compression_is_used_where_it_pays() -> None:
    repetitive = Batch(BATCH_ID, 1, (b"the same again " * 1_000,))
    assert len(records.encode(repetitive)) < 1_000
    noise = Batch(BATCH_ID, 1, (os.urandom(10_000),))
    assert 10_000 < len(records.encode(noise)) < 10_100


def test_the_largest_body_fits_into_one_value() -> None:
    payload = os.urandom(records.BODY_MAX_BYTES - records.PAYLOAD_OVERHEAD_BYTES)
    assert records.body_bytes([payload]) == records.BODY_MAX_BYTES
    assert len(records.encode(Batch(BATCH_ID, 1, (payload,)))) <= ETCD_VALUE_MAX_BYTES


def test_a_later_format_is_refused_with_a_remedy() -> None:
    record = records.encode(Batch(BATCH_ID, 1, (b"x",)))
    with pytest.raises(RecordError, match="at least as new"):
        records.decode(b"\x02" + record[1:])


def test_a_bomb_does_not_unfold() -> None:
    whole = records.encode(Batch(BATCH_ID, 1, (bytes(500_000),)))
    lying = whole[:30] + (100).to_bytes(4, "big") + whole[34:]
    with pytest.raises(RecordError, match="101 bytes where 100"):
        records.decode(lying)
