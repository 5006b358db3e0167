"""What Orbit asks of its store: the types, the errors and the `Store` protocol.

Everything above the store speaks this protocol only; `EtcdStore` and `MemoryStore` implement it and pass the
same contract tests. It is etcd's own model (revisions, leases, transactions, watches), not an abstraction of
key-value stores in general. Keys and values are bytes. No I/O and no protobuf belongs here.

A mutating call ends in one of four ways: it returns (it is durable), `OutcomeUnknownError` (it may have landed,
or land later), `StoreFullError` or another `StoreError` (it has not landed and never will).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol, TypeAlias

from orbit_core.errors import LimitError, StoreError
from orbit_core.limits import ETCD_TXN_MAX_OPS, ETCD_VALUE_MAX_BYTES, KIB

#: etcd refuses requests over 1.5 MiB; keys, compares and framing need some of that.
REQUEST_MAX_BYTES: Final = 1_472 * KIB
#: Keys read in one message at first; fewer when the values turn out to be large.
PAGE_KEYS: Final = 1_000


class CompactedError(StoreError):
    """The revision asked for has been compacted away: read again, then watch from there."""

    code = "store-compacted"

    def __init__(self, compact_revision: int | None) -> None:
        super().__init__(
            "the revision asked for has been compacted away"
            + (f"; the oldest that is left is {compact_revision}" if compact_revision else "")
        )
        #: The oldest revision that is left, where the store says (a watch does, a read does not).
        self.compact_revision = compact_revision


@dataclass(frozen=True, slots=True)
class KeyValue:
    """One key as of one revision. `lease` is 0 for a key that no lease holds."""

    key: bytes
    value: bytes
    create_revision: int
    mod_revision: int
    version: int
    lease: int = 0


@dataclass(frozen=True, slots=True)
class RangeResult:
    """Keys in order. `more`: the limit cut the range short; `count`: how many keys the whole range has."""

    kvs: tuple[KeyValue, ...]
    revision: int
    more: bool
    count: int


@dataclass(frozen=True, slots=True)
class PutResult:
    revision: int


@dataclass(frozen=True, slots=True)
class DeleteResult:
    revision: int
    deleted: int


@dataclass(frozen=True, slots=True)
class Get:
    """Read one key, or `[key, end)`, inside a transaction."""

    key: bytes
    end: bytes = b""
    limit: int = 0
    keys_only: bool = False


@dataclass(frozen=True, slots=True)
class Put:
    key: bytes
    value: bytes
    lease: int = 0


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete one key, or `[key, end)`."""

    key: bytes
    end: bytes = b""


Op: TypeAlias = Get | Put | Delete
OpResult: TypeAlias = RangeResult | PutResult | DeleteResult
CompareTarget: TypeAlias = Literal["version", "create", "mod", "value", "lease"]
CompareSign: TypeAlias = Literal["==", "!=", "<", ">"]


@dataclass(frozen=True, slots=True)
class Compare:
    """A condition of a transaction. A key that is absent has revisions and version 0; its value compares to nothing."""

    key: bytes
    target: CompareTarget
    sign: CompareSign
    operand: int | bytes

    def __post_init__(self) -> None:
        if isinstance(self.operand, bytes) != (self.target == "value"):
            raise TypeError(f"a compare of {self.target!r} takes {'bytes' if self.target == 'value' else 'an int'}")

    @classmethod
    def absent(cls, key: bytes) -> Compare:
        return cls(key, "create", "==", 0)

    @classmethod
    def present(cls, key: bytes) -> Compare:
        return cls(key, "create", ">", 0)

    @classmethod
    def created_at(cls, key: bytes, revision: int) -> Compare:
        return cls(key, "create", "==", revision)

    @classmethod
    def unchanged_since(cls, key: bytes, mod_revision: int) -> Compare:
        return cls(key, "mod", "==", mod_revision)


@dataclass(frozen=True, slots=True)
class TxnResult:
    """`results` has one entry for each operation of the branch that ran."""

    succeeded: bool
    revision: int
    results: tuple[OpResult, ...]

    def range(self, index: int) -> RangeResult:
        """The result of the `Get` at `index` of the branch that ran."""
        result = self.results[index]
        assert isinstance(result, RangeResult)
        return result


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """A change. For a delete, `kv` has the key and the revision of the delete, and an empty value."""

    kind: Literal["put", "delete"]
    kv: KeyValue


@dataclass(frozen=True, slots=True)
class WatchBatch:
    """All that a watch saw up to and including `revision`; the events of one transaction are never split."""

    revision: int
    events: tuple[WatchEvent, ...]


@dataclass(frozen=True, slots=True)
class Lease:
    """The store may grant more seconds than were asked for (etcd has a minimum)."""

    id: int
    ttl_s: int


@dataclass(frozen=True, slots=True)
class Alarm:
    member_id: int
    kind: Literal["nospace", "corrupt"]


@dataclass(frozen=True, slots=True)
class StoreStatus:
    """The fullest member's sizes. `quota_bytes` is what Orbit was told: etcd 3.4 and 3.5 do not say."""

    version: str
    db_size_bytes: int
    db_in_use_bytes: int
    quota_bytes: int
    member_count: int

    @property
    def used_share(self) -> float:
        """What is in use, of the quota. Space freed but not defragmented away counts as free: it is reused."""
        return self.db_in_use_bytes / self.quota_bytes


class LeaseKeeper(Protocol):
    """Keeps one lease alive until closed. Renewal goes on while the event loop is busy."""

    def remaining_s(self) -> float:
        """Seconds until the lease counts as lost here; 0 when it is lost. Never more than the store believes."""
        ...

    async def close(self) -> None:
        """Stop renewing; the lease itself is left to expire or to be revoked."""
        ...


class Store(Protocol):
    """A linearizable, revisioned key-value store with leases, transactions and watches: etcd v3, or its twin."""

    async def range(
        self,
        key: bytes,
        end: bytes = b"",
        *,
        limit: int = 0,
        revision: int = 0,
        keys_only: bool = False,
        serializable: bool = False,
    ) -> RangeResult:
        """`key`, or `[key, end)`, in one message. Linearizable unless `serializable` (which may be behind).

        With a `limit`, fewer keys may come (and `more` is set) where the message would grow too large.
        """
        ...

    async def put(self, key: bytes, value: bytes, *, lease: int = 0) -> PutResult: ...

    async def delete(self, key: bytes, end: bytes = b"") -> DeleteResult: ...

    async def txn(
        self, *, compare: Sequence[Compare] = (), success: Sequence[Op] = (), failure: Sequence[Op] = ()
    ) -> TxnResult:
        """Run `success` if every compare holds, else `failure`, atomically. A branch may write a key only once."""
        ...

    def watch(self, key: bytes, end: bytes = b"", *, from_revision: int) -> AsyncGenerator[WatchBatch, None]:
        """Every change of `key` or `[key, end)` from `from_revision` on, across broken connections, without a gap.

        There is no "from now": read first, then watch from the read's revision + 1, and nothing is missed.
        Raises `CompactedError` when the place to go on from is gone. Close the iterator (`aclosing`) when done.
        """
        ...

    async def lease_grant(self, ttl_s: int) -> Lease: ...

    async def lease_revoke(self, lease_id: int) -> None:
        """Revoke a lease and delete its keys. Raises `NotFoundError` for one that has ended."""
        ...

    async def lease_keepalive(self, lease_id: int) -> int:
        """Renew once; the TTL in seconds, or 0 when the lease has ended."""
        ...

    def keep_lease(self, lease: Lease, *, granted_at_s: float, on_lost: Callable[[], None]) -> LeaseKeeper:
        """Renew `lease` until closed. `granted_at_s`: the store's `monotonic_s()` *before* the grant was asked for.

        `on_lost` is called once, on the loop that called this, when the lease has ended or could not be renewed
        within its TTL.
        """
        ...

    def monotonic_s(self) -> float:
        """The clock that leases are reckoned by."""
        ...

    async def compact(self, revision: int) -> None:
        """Forget history before `revision`. Doing so twice is not an error."""
        ...

    async def defragment(self) -> None:
        """Give freed space back to the file system, one member after the other; each is blocked meanwhile."""
        ...

    async def alarms(self) -> tuple[Alarm, ...]: ...

    async def disarm(self, alarm: Alarm) -> None: ...

    async def status(self) -> StoreStatus: ...

    async def close(self) -> None: ...

    async def get(self, key: bytes, *, serializable: bool = False) -> KeyValue | None:
        found = await self.range(key, serializable=serializable)
        return found.kvs[0] if found.kvs else None

    async def get_prefix(self, prefix: bytes, *, keys_only: bool = False, serializable: bool = False) -> RangeResult:
        """All keys under `prefix` as of one revision, read in pages."""
        kvs: list[KeyValue] = []
        revision = 0
        async for page in self.scan(prefix, prefix_end(prefix), keys_only=keys_only, serializable=serializable):
            kvs.extend(page.kvs)
            revision = page.revision
        return RangeResult(tuple(kvs), revision, more=False, count=len(kvs))

    async def scan(
        self, key: bytes, end: bytes, *, keys_only: bool = False, serializable: bool = False
    ) -> AsyncIterator[RangeResult]:
        """`[key, end)` in pages, all as of the revision of the first (which `revision` of each page names)."""
        revision = 0
        limit = PAGE_KEYS
        while True:
            page = await self.range(
                key,
                end,
                limit=limit,
                revision=revision,
                keys_only=keys_only,
                serializable=serializable,
            )
            revision = revision or page.revision
            yield RangeResult(page.kvs, revision, page.more, page.count)
            if not page.more:
                return
            key = page.kvs[-1].key + b"\x00"
            # Where values are large and few fit into a message, the next one is not asked for many more.
            limit = min(PAGE_KEYS, 2 * len(page.kvs))


def prefix_end(prefix: bytes) -> bytes:
    """The first key after all keys that start with `prefix`: the `end` of its range."""
    for index in range(len(prefix) - 1, -1, -1):
        if prefix[index] < 0xFF:
            return prefix[:index] + bytes([prefix[index] + 1])
    return b"\x00"  # etcd's way of saying: to the end of the key space


def check_value(key: bytes, value: bytes) -> None:
    """Raise `LimitError` for a value that the store would refuse."""
    if len(value) > ETCD_VALUE_MAX_BYTES:
        raise LimitError(
            f"the value of {key.decode(errors='replace')!r} has {len(value)} bytes; at most"
            f" {ETCD_VALUE_MAX_BYTES} fit into one key",
            remedy="put it into the blob store and keep a reference",
        )


def check_txn(success: Sequence[Op], failure: Sequence[Op]) -> None:
    """Raise `LimitError` for a transaction that the store would refuse for its size."""
    for branch in (success, failure):
        if len(branch) > ETCD_TXN_MAX_OPS:
            raise LimitError(f"a transaction has {len(branch)} operations; at most {ETCD_TXN_MAX_OPS} are allowed")
    size = 0
    for op in (*success, *failure):
        size += len(op.key)
        if isinstance(op, Put):
            check_value(op.key, op.value)
            size += len(op.value)
    if size > REQUEST_MAX_BYTES:
        raise LimitError(f"a transaction has {size} bytes; at most {REQUEST_MAX_BYTES} are allowed")
