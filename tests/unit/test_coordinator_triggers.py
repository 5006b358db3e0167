"""Which cron ticks are due."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from orbit_coordinator.triggers import due_ticks, run_id_of
from orbit_core.sched.state import ClusterEntry
from orbit_core.spec.models import CronTrigger


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def entry(*, submitted: str, last: str | None = None) -> ClusterEntry:
    return ClusterEntry("a/b", "hash", at(submitted), last_tick_ms=at(last) if last else 0)


NIGHTLY = "0 0 * * *"


@pytest.mark.parametrize(
    ("catch_up", "now", "expected"),
    [
        ("latest", "2026-03-01T23:59:59", []),
        ("latest", "2026-03-02T00:00:00", ["2026-03-02T00:00:00"]),
        ("latest", "2026-03-09T10:00:00", ["2026-03-09T00:00:00"]),
        ("all", "2026-03-04T10:00:00", ["2026-03-02T00:00:00", "2026-03-03T00:00:00", "2026-03-04T00:00:00"]),
        ("none", "2026-03-04T10:00:00", []),
        ("none", "2026-03-04T00:00:30", ["2026-03-04T00:00:00"]),
        ("latest", "2028-03-04T10:00:00", ["2028-03-04T00:00:00"]),
    ],
)
def test_missed_ticks(catch_up, now, expected):
    trigger = CronTrigger(cron=NIGHTLY, catch_up=catch_up)
    known = entry(submitted="2026-03-01T12:00:00")
    assert due_ticks(trigger, known, at(now)) == [at(text) for text in expected]


def test_never_before_submission_and_never_twice():
    trigger = CronTrigger(cron=NIGHTLY)
    assert due_ticks(trigger, entry(submitted="2026-03-01T12:00:00"), at("2026-03-01T12:00:01")) == []
    fired = entry(submitted="2026-03-01T12:00:00", last="2026-03-02T00:00:00")
    assert due_ticks(trigger, fired, at("2026-03-02T00:00:01")) == []


def test_the_same_firing_is_the_same_run():
    assert run_id_of("a/b", "cron", "1") == run_id_of("a/b", "cron", "1")
    assert len({run_id_of("a/b", "cron", "1"), run_id_of("a/b", "cron", "2"), run_id_of("a/c", "cron", "1")}) == 3
