"""The contract of reads, writes, transactions and compaction, for the twin and for a real etcd."""

from __future__ import annotations

import pytest

from orbit_core.errors import InvalidRequestError, LimitError
from orbit_core.limits import ETCD_VALUE_MAX_BYTES
from orbit_core.store import api
from orbit_core.store.api import CompactedError, Compare, Delete, Get, Put, Store, prefix_end
from orbit_core.store.keys import Keys


def key(keys: Keys, name: str) -> bytes:
    return f"{keys.prefix}/{name}".encode()


async def test_a_key_keeps_its_create_revision_and_counts_its_versions(store: Store, keys: Keys) -> None:
    name = key(keys, "a")
    assert await store.get(name) is None
    first = await store.put(name, b"1")
    second = await store.put(name, b"2")
    assert second.revision > first.revision
    found = await store.get(name)
    assert found is not None
    assert (found.value, found.version) == (b"2", 2)
    assert (found.create_revision, found.mod_revision) == (first.revision, second.revision)

    deleted = await store.delete(name)
    assert deleted.deleted == 1
    assert await store.get(name) is None
    third = await store.put(name, b"3")
    again = await store.get(name)
    assert again is not None
    assert (again.create_revision, again.version) == (third.revision, 1)


async def test_deleting_what_is_not_there_changes_nothing(store: Store, keys: Keys) -> None:
    before = (await store.put(key(keys, "a"), b"")).revision
    result = await store.delete(key(keys, "nothing"))
    assert (result.deleted, result.revision) == (0, before)


async def test_a_range_is_ordered_limited_and_may_be_of_the_past(store: Store, keys: Keys) -> None:
    for name in ("c", "a", "b"):
        past = (await store.put(key(keys, name), name.encode())).revision
    await store.delete(key(keys, "b"))
    start, end = keys.everything().start, keys.everything().end

    now = await store.range(start, end)
    assert [kv.value for kv in now.kvs] == [b"a", b"c"]
    then = await store.range(start, end, revision=past)
    assert [kv.value for kv in then.kvs] == [b"a", b"b", b"c"]
    limited = await store.range(start, end, limit=1)
    assert ([kv.value for kv in limited.kvs], limited.more, limited.count) == ([b"a"], True, 2)
    bare = await store.range(start, end, keys_only=True)
    assert [(kv.key, kv.value) for kv in bare.kvs] == [(key(keys, "a"), b""), (key(keys, "c"), b"")]
    with pytest.raises(InvalidRequestError):
        await store.range(start, end, revision=now.revision + 1_000)


async def test_a_prefix_is_read_in_pages_as_of_one_revision(
    store: Store, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "PAGE_KEYS", 3)
    for number in range(8):
        await store.put(key(keys, f"k{number}"), b"old")
    span = keys.everything()
    seen: list[tuple[bytes, bytes]] = []
    revisions = set()
    async for page in store.scan(span.start, span.end):
        seen += [(kv.key, kv.value) for kv in page.kvs]
        revisions.add(page.revision)
        await store.put(key(keys, "k7"), b"new")  # a later page must not show it
        await store.put(key(keys, "k9"), b"new")
    assert seen == [(key(keys, f"k{number}"), b"old") for number in range(8)]
    assert len(revisions) == 1
    whole = await store.get_prefix(span.start)
    assert len(whole.kvs) == whole.count == 9


async def test_values_larger_together_than_a_message_are_read(store: Store, keys: Keys) -> None:
    value = bytes(ETCD_VALUE_MAX_BYTES)
    for number in range(20):
        await store.put(key(keys, f"k{number:02}"), value)
    found = await store.get_prefix(keys.everything().start)
    assert [len(kv.value) for kv in found.kvs] == [ETCD_VALUE_MAX_BYTES] * 20
    await store.delete(keys.everything().start, keys.everything().end)


async def test_a_value_over_the_limit_is_refused_before_it_is_sent(store: Store, keys: Keys) -> None:
    with pytest.raises(LimitError, match="blob store"):
        await store.put(key(keys, "a"), bytes(ETCD_VALUE_MAX_BYTES + 1))
    with pytest.raises(LimitError):
        await store.txn(success=[Put(key(keys, str(number)), bytes(ETCD_VALUE_MAX_BYTES)) for number in range(2)])
    with pytest.raises(LimitError):
        await store.txn(success=[Get(key(keys, str(number))) for number in range(101)])
    assert await store.get(key(keys, "a")) is None


async def test_a_transaction_runs_one_branch_and_has_one_revision(store: Store, keys: Keys) -> None:
    a, b = key(keys, "a"), key(keys, "b")
    done = await store.txn(
        compare=[Compare.absent(a)],
        success=[Put(a, b"1"), Put(b, b"2"), Get(a)],
        failure=[Get(a)],
    )
    assert done.succeeded
    assert done.range(2).kvs[0].value == b"1"
    in_a, in_b = await store.get(a), await store.get(b)
    assert in_a is not None
    assert in_b is not None
    assert in_a.mod_revision == in_b.mod_revision == done.revision

    refused = await store.txn(compare=[Compare.absent(a)], success=[Put(a, b"x")], failure=[Get(a), Get(b)])
    assert not refused.succeeded
    assert [refused.range(index).kvs[0].value for index in range(2)] == [b"1", b"2"]

    removed = await store.txn(success=[Delete(a, prefix_end(a)), Put(b, b"3")])
    assert removed.succeeded
    assert await store.get(a) is None


async def test_every_kind_of_compare(store: Store, keys: Keys) -> None:
    name, other = key(keys, "a"), key(keys, "none")
    created = (await store.put(name, b"m")).revision
    changed = (await store.put(name, b"n")).revision

    async def holds(*compare: Compare) -> bool:
        return (await store.txn(compare=compare)).succeeded

    assert await holds(Compare.present(name), Compare.absent(other), Compare.created_at(name, created))
    assert await holds(Compare.unchanged_since(name, changed), Compare(name, "version", "==", 2))
    assert await holds(Compare(name, "value", "==", b"n"), Compare(name, "value", ">", b"m"))
    assert await holds(Compare(name, "value", "!=", b"m"), Compare(name, "value", "<", b"o"))
    assert await holds(Compare(name, "lease", "==", 0), Compare(name, "mod", ">", created))
    assert not await holds(Compare.absent(name))
    assert not await holds(Compare.unchanged_since(name, created))
    assert not await holds(Compare.present(other))
    assert not await holds(Compare(other, "value", "!=", b"x")), "an absent key's value compares to nothing"
    assert not await holds(Compare.present(name), Compare.present(other)), "all must hold"
    with pytest.raises(TypeError):
        Compare(name, "value", "==", 1)


async def test_a_transaction_may_write_a_key_only_once(store: Store, keys: Keys) -> None:
    name = key(keys, "a")
    with pytest.raises(InvalidRequestError):
        await store.txn(success=[Put(name, b"1"), Put(name, b"2")])
    with pytest.raises(InvalidRequestError):
        await store.txn(success=[Put(name, b"1"), Delete(name)])
    assert await store.get(name) is None


async def test_compaction_keeps_the_present_and_forgets_the_past(store: Store, keys: Keys) -> None:
    name, gone = key(keys, "a"), key(keys, "gone")
    await store.put(gone, b"")
    await store.delete(gone)
    old = (await store.put(name, b"old")).revision
    new = (await store.put(name, b"new")).revision
    await store.compact(new)
    await store.compact(new)  # twice is not an error
    found = await store.get(name)
    assert found is not None
    assert found.value == b"new"
    assert found.version == 2
    with pytest.raises(CompactedError):
        await store.range(name, revision=old)
    with pytest.raises(InvalidRequestError):
        await store.compact(new + 1_000)
    await store.defragment()
    assert (await store.range(name, revision=new)).kvs[0].value == b"new"


async def test_status_and_alarms(store: Store, keys: Keys) -> None:
    await store.put(key(keys, "a"), bytes(10_000))
    status = await store.status()
    assert status.version
    assert 10_000 < status.db_in_use_bytes <= status.db_size_bytes
    assert 0 < status.used_share < 1
    assert await store.alarms() == ()


async def test_a_stale_read_is_allowed_where_it_is_asked_for(store: Store, keys: Keys) -> None:
    await store.put(key(keys, "a"), b"1")
    assert await store.get(key(keys, "a")) is not None
    result = await store.range(key(keys, "a"), serializable=True)
    assert all(kv.value == b"1" for kv in result.kvs)  # a follower may not have the key yet
