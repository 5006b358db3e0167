"""Waiting grows, has an end, and survives an outage of any length."""

from __future__ import annotations

from orbit_core.store.backoff import backoff_s


def test_it_grows_up_to_a_second() -> None:
    assert 0.025 <= backoff_s(1) <= 0.05
    assert 0.1 <= backoff_s(3) <= 0.2
    for attempt in (6, 100, 1_000_000):
        assert 0.5 <= backoff_s(attempt) <= 1.0
