"""Planted bugs: mutants of the protocol in live code, each switched on by name, to see that the laboratory finds it.

A plant is an `if planted("name")` at the line that it breaks; `CATALOG` says what each does. Off by default and never
on in production: nothing reads a variable or a file here, only the simulation calls `plant`. Off, it costs one
look-up in an empty set.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

CATALOG: Final[dict[str, str]] = {
    "journal-no-fence": "the journal is written without the epoch in the condition",
    "journal-sequence-unchecked": "a journal record is written over one that is there",
    "unknown-taken-for-written": "a write without an answer counts as durable",
    "unknown-taken-for-lost": "a write without an answer is sent again under the next number",
    "effect-before-persist": "commands are acted on before their event is durable",
    "answer-before-persist": "whoever told an event hears that it is durable before it is",
    "told-before-durable": "who asks again for what is being written hears that it is there",
    "no-resend": "an assignment that was lost on its way is not sent again",
    "no-requeue-on-loss": "what a lost agent ran is not given to another",
    "no-dedupe-of-results": "a result is committed though the invocation has ended",
    "late-result-keeps-room": "a result of an earlier attempt leaves the present one booked on its agent",
    "snapshot-off-by-one": "a snapshot claims to hold one record more than it does",
    "snapshot-truncates-first": "the journal is truncated before the manifest is written",
    "snapshot-out-of-turn": "a late write of a snapshot that was given up lands beside the next one",
    "snapshot-of-two-moments": "a run that changes while a snapshot is taken is in it as it is afterwards",
    "timer-lost-on-failover": "waiting invocations get no timer after recovery from a snapshot",
    "gather-fires-early": "a fan-in fires when one object is still open",
    "fan-out-stalls": "no further child is created when one ends",
    "retry-unbounded": "a failing invocation is tried for ever",
    "poison-uncounted": "an input that ends its agents is tried for ever",
    "suspects-share": "an input that may have ended its agents runs beside others",
    "announced-loss-counted": "a drained agent's attempts count as if it had died",
    "assignment-not-deduplicated": "an assignment that comes twice starts twice",
    "credit-leak": "an acknowledged result gives no room back",
    "result-not-resent": "results that nobody acknowledged are not sent on a new stream",
    "outbox-skipped": "a result is not kept on disk until it is acknowledged",
    "follower-misses-truncation": "a follower takes a journal that a snapshot has emptied for one without news",
    "kept-once": "a payload, a batch of logs, a record counts as durable with one copy",
    "home-skipped": "where the mesh has a bucket for its blobs, one counts as durable before it is there",
    "full-without-leader": "a full etcd that nobody leads over stays full",
    "lost-at-once": "inputs that cannot be had just now are taken for lost at once",
    "lost-not-made-again": "work whose blobs are lost is not made again though it could be",
    "archive-skipped": "an ended run leaves the state without its record",
    "ends-forgotten-on-failover": "a new leader does not finish what ended runs still need",
    "time-stalls-on-failover": "timers wait until the new leader's clock has caught up with the last one's",
    "guards-not-renewed": "a new leader reckons an attempt's time by the last leader's clock",
    "unsent-keeps-room": "an assignment that ended before it was sent takes its agent's room for good",
    "deposed-keeps-streams": "a coordinator whose term is over keeps its agents",
}

_active: set[str] = set()


def planted(name: str) -> bool:
    """Whether the plant is switched on."""
    return name in _active


@contextmanager
def plant(*names: str) -> Generator[None, None, None]:
    """Switches plants on for a while. ValueError for a name that is not in the catalog."""
    unknown = [name for name in names if name not in CATALOG]
    if unknown:
        raise ValueError(f"no plant is called {', '.join(unknown)}; there are {', '.join(CATALOG)}")
    _active.update(names)
    try:
        yield
    finally:
        _active.difference_update(names)
