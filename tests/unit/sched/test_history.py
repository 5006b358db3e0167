"""What is remembered of agents and prices, and what a day of spot prices lets expect of the next."""

from __future__ import annotations

import dataclasses

from orbit_core.sched import history
from orbit_core.sched.events import AgentAttached, AgentChanged, AgentLost, TermBegan
from orbit_core.sched.history import ABSENT, History, note_gone, note_there, stretches, usual_day
from orbit_core.sched.model import AgentFacts
from orbit_core.sched.state import MeshState
from orbit_core.sched.step import step
from orbit_core.sched.tariff import DAY_MS, price_at
from orbit_core.store import codec

HOUR_MS = 3_600_000
MIDNIGHT_MS = 20_000 * DAY_MS


def agent(name: str = "a", usd: float = 0.10, kind: str = "spot", **more: object) -> AgentFacts:
    facts = AgentFacts(name, "1", f"{name}:1", 4_000, 8 << 30, (), usd, kind, satellites=("satellite/t/work",))
    return dataclasses.replace(facts, **more)  # type: ignore[arg-type]


def nights(days: int, *, cheap_from: int = 22) -> list[tuple[int, float]]:
    """Prices of so many days up to MIDNIGHT_MS: 0.30 from six o'clock on, 0.10 from `cheap_from` on."""
    begin = MIDNIGHT_MS - days * DAY_MS
    found = [(begin, 0.10)]
    for day in range(days):
        at = begin + day * DAY_MS
        found += [(at + 6 * HOUR_MS, 0.30), (at + cheap_from * HOUR_MS, 0.10)]
    return found


def test_events_leave_who_was_there_when_and_for_how_much() -> None:
    state = MeshState()
    step(state, AgentAttached(agent()), 1_000)
    step(state, AgentChanged(agent(usd=0.20)), 2_000)
    step(state, AgentChanged(agent(usd=0.20, warm_models=("m",))), 2_500)
    step(state, AgentLost("a", "1", announced=True), 3_000)
    step(state, AgentAttached(agent(usd=0.05, session="2")), 5_000)
    known = state.history
    assert known.since_ms == 1_000
    assert known.agents["a"].prices == [(1_000, 0.10), (2_000, 0.20), (3_000, ABSENT), (5_000, 0.05)]
    assert len(known.kinds) == 1, "models and prices make no other kind of it"
    assert list(known.markets.values()) == [known.agents["a"].prices]
    assert list(stretches(known.agents["a"].prices, 1_500, 6_000)) == [
        (1_500, 2_000, 0.10),
        (2_000, 3_000, 0.20),
        (5_000, 6_000, 0.05),
    ]
    assert codec.decode_mesh(codec.encode_mesh(state)).history == known


def test_a_market_has_a_price_as_long_as_any_of_its_agents_is_there() -> None:
    known = History()
    one, two = agent("one", 0.10), agent("two", 0.12)
    note_there(known, one, 1_000)
    note_there(known, two, 2_000)
    note_gone(known, two, 3_000, [one])
    note_gone(known, one, 4_000, [])
    assert list(known.markets.values()) == [[(1_000, 0.10), (2_000, 0.12), (3_000, 0.10), (4_000, ABSENT)]]
    note_there(known, agent("own", kind="owned"), 5_000)
    assert len(known.markets) == 1, "what is owned has no market"


def test_machines_whose_systems_leave_them_a_little_less_memory_are_of_one_kind() -> None:
    known = History()
    note_there(known, agent("one", memory_bytes=(8 << 30) - 40_000_000), 1_000)
    note_there(known, agent("two", memory_bytes=(8 << 30) - 90_000_000), 1_000)
    note_there(known, agent("half", memory_bytes=4 << 30), 1_000)
    assert [kind.memory_bytes for kind in known.kinds] == [8 << 30, 4 << 30]
    assert len(known.markets) == 2


def test_agents_of_a_time_without_history_are_known_from_the_next_term_on() -> None:
    state = MeshState()
    step(state, AgentAttached(agent()), 1_000)
    state.history = History()
    step(state, TermBegan(2), 7_000)
    assert state.history.agents["a"].prices == [(7_000, 0.10)]
    assert state.history.since_ms == 7_000


def test_what_is_older_than_two_weeks_is_forgotten_and_said_to_be(monkeypatch) -> None:
    known = History()
    note_there(known, agent("gone"), 0 + HOUR_MS)
    note_gone(known, agent("gone"), 2 * HOUR_MS, [])
    note_there(known, agent("stays", 0.10, cpu_milli=8_000), HOUR_MS)
    note_there(known, agent("stays", 0.20, cpu_milli=8_000), DAY_MS)
    late_ms = history.KEPT_MS + 2 * DAY_MS
    note_there(known, agent("stays", 0.30, cpu_milli=8_000), late_ms)
    assert list(known.agents) == ["stays"]
    assert known.agents["stays"].prices == [(DAY_MS, 0.20), (late_ms, 0.30)]
    assert [kind.cpu_milli for kind in known.kinds] == [8_000]
    assert known.since_ms == late_ms - history.KEPT_MS
    monkeypatch.setattr(history, "CHANGES_KEPT", 4)
    for number in range(1, 8):
        note_there(known, agent("stays", number, cpu_milli=8_000), late_ms + 10 * number)
    note_there(known, agent("stays", 9, cpu_milli=8_000), late_ms + DAY_MS)
    assert len(known.agents["stays"].prices) == 4
    assert known.since_ms == known.agents["stays"].prices[0][0] == late_ms + 50
    late_ms += DAY_MS
    monkeypatch.setattr(history, "AGENTS_KEPT", 3)
    for number in range(6):
        at_ms = late_ms + 1_000 * number
        note_there(known, agent(f"brief-{number}"), at_ms)
        note_gone(known, agent(f"brief-{number}"), at_ms + 500, [])
    assert "stays" in known.agents
    assert len(known.agents) <= 4
    assert known.since_ms > late_ms, "of those that are forgotten nothing can be said"


def test_a_price_that_was_low_at_night_on_each_of_three_days_is_expected_to_be_so_again() -> None:
    now_ms = MIDNIGHT_MS + 12 * HOUR_MS
    usual = usual_day([*nights(4), (MIDNIGHT_MS + 6 * HOUR_MS, 0.30)], now_ms)
    assert [round(price_at(usual, now_ms + hour * HOUR_MS), 6) for hour in (0, 9, 10, 17, 18)] == [
        *(0.30, 0.30),
        *(0.10, 0.10, 0.30),
    ]


def test_nothing_is_expected_of_two_days_or_of_a_night_that_was_dear_once_or_unattended() -> None:
    now_ms = MIDNIGHT_MS + 12 * HOUR_MS
    today = (MIDNIGHT_MS + 6 * HOUR_MS, 0.30)
    assert usual_day([*nights(2), today], now_ms) == ()
    assert usual_day([(MIDNIGHT_MS - 9 * DAY_MS, 0.30)], now_ms) == ()
    evening = MIDNIGHT_MS - DAY_MS + 22 * HOUR_MS
    for odd in (0.40, ABSENT):
        broken = sorted(
            [*(each for each in nights(4) if each[0] != evening), (evening, odd), (MIDNIGHT_MS, 0.1), today]
        )
        usual = usual_day(broken, now_ms)
        assert price_at(usual, MIDNIGHT_MS + 22 * HOUR_MS) >= 0.30
        assert price_at(usual, MIDNIGHT_MS + 27 * HOUR_MS) < 0.11, "the hours after midnight were cheap every day"


def test_an_hour_that_is_dearer_today_than_usual_is_not_waited_for() -> None:
    now_ms = MIDNIGHT_MS + 22 * HOUR_MS + 600_000
    usual = usual_day([*nights(4), (MIDNIGHT_MS + 6 * HOUR_MS, 0.30)], now_ms)
    assert price_at(usual, now_ms) == 0.30
    assert price_at(usual, now_ms + HOUR_MS) < 0.11
