"""The past of agents and prices: who was there from when to when, and what an hour of it cost. Part of the state.

Kept for two weeks. What runs could have cost with hindsight rests on it (`hindsight`), and so does what spot prices
usually are by the hour of the day (`usual_day`). What to do about either is decided elsewhere.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from orbit_core.sched.model import AgentFacts
from orbit_core.sched.tariff import DAY_MS, Tariff

#: What is older than this is forgotten.
KEPT_MS = 14 * DAY_MS
#: Agents, and changes of one price, that are remembered; beyond them the oldest are forgotten.
AGENTS_KEPT = 2_000
CHANGES_KEPT = 512
#: How often what is too old is looked for.
_FORGET_EVERY_MS = 3_600_000
#: Days that a price has to have been alike on, hour by hour, before anything is expected of the next one.
USUAL_DAYS = 3
_HOUR_MS = 3_600_000
#: In the place of a price: nobody was there.
ABSENT = -1.0

#: (from when in milliseconds, US dollars an hour or `ABSENT`), by time; each holds until the next.
Prices = list[tuple[int, float]]


@dataclass(slots=True)
class Past:
    """One agent: which of `History.kinds` it was last, and its prices."""

    kind: int
    prices: Prices = field(default_factory=Prices)


@dataclass(slots=True)
class History:
    """All that is remembered. `since_ms`: nothing after this is missing; 0: nothing is known yet.

    `kinds`: what agents said of themselves, without names, models and prices. `markets`: the prices of spot agents by
    what is bought and sold alike: hardware, size and zone.
    """

    since_ms: int = 0
    looked_ms: int = 0
    kinds: list[AgentFacts] = field(default_factory=list)
    agents: dict[str, Past] = field(default_factory=dict)
    markets: dict[str, Prices] = field(default_factory=dict)


def market_of(facts: AgentFacts) -> str:
    """The market that a spot agent's price is that of."""
    labels = dict(facts.labels)
    hardware = facts.gpus[0].model if facts.gpus else labels.get("hardware", "cpu")
    return f"{hardware}|{len(facts.gpus)}|{facts.cpu_milli}|{_about(facts.memory_bytes)}|{labels.get('zone', '')}"


def _about(memory_bytes: int) -> int:
    """A little more, so that machines of one kind have as much: what a system leaves differs from one to the next."""
    unit = 1 << max(0, memory_bytes.bit_length() - 6)
    return -(-memory_bytes // unit) * unit


# Learning: called by `step` alone.


def note_there(history: History, facts: AgentFacts, now_ms: int) -> None:
    """An agent is there, at this price."""
    if not history.since_ms:
        history.since_ms = history.looked_ms = now_ms
    past = history.agents.setdefault(facts.id, Past(0))
    past.kind = _kind(history, facts)
    _change(past.prices, now_ms, facts.price_usd_per_hour)
    if facts.price_kind == "spot":
        _change(history.markets.setdefault(market_of(facts), []), now_ms, facts.price_usd_per_hour)
    _forget(history, now_ms)


def note_gone(history: History, facts: AgentFacts, now_ms: int, others: Iterable[AgentFacts]) -> None:
    """An agent went away; `others`: those that are there now."""
    past = history.agents.get(facts.id)
    if past is not None:
        _change(past.prices, now_ms, ABSENT)
    prices = history.markets.get(market_of(facts))
    if prices is None or facts.price_kind != "spot":
        return
    alike = [each for each in others if each.price_kind == "spot" and market_of(each) == market_of(facts)]
    _change(prices, now_ms, alike[-1].price_usd_per_hour if alike else ABSENT)


def _kind(history: History, facts: AgentFacts) -> int:
    kind = replace(
        facts,
        id="",
        session="",
        address="",
        memory_bytes=_about(facts.memory_bytes),
        price_usd_per_hour=0.0,
        labels=tuple(label for label in facts.labels if label[0] in ("hardware", "zone")),
        warm_models=(),
        cached_models=(),
        tariff=(),
    )
    if kind not in history.kinds:
        history.kinds.append(kind)
    return history.kinds.index(kind)


def _change(prices: Prices, now_ms: int, usd: float) -> None:
    if prices and prices[-1][1] == usd:
        return
    if prices and prices[-1][0] >= now_ms:
        prices[-1] = (prices[-1][0], usd)
    else:
        prices.append((now_ms, usd))


def _forget(history: History, now_ms: int) -> None:
    """Drops what is too old or too much, and says from when on all is known."""
    crowded = len(history.agents) > AGENTS_KEPT
    if not crowded and now_ms - history.looked_ms < _FORGET_EVERY_MS:
        return
    history.looked_ms = now_ms
    oldest = now_ms - KEPT_MS
    if crowded:
        gone = sorted(past.prices[-1][0] for past in history.agents.values() if past.prices[-1][1] == ABSENT)
        too_many = min(len(gone), len(history.agents) - AGENTS_KEPT + AGENTS_KEPT // 10)
        oldest = max(oldest, gone[too_many - 1]) if too_many else oldest
    for past in history.agents.values():
        oldest = max(oldest, _shorten(past.prices, oldest))
    for prices in history.markets.values():
        _shorten(prices, oldest)
    for kept in (history.agents, history.markets):
        for name in [name for name, past in kept.items() if _is_over(past, oldest)]:
            del kept[name]
    history.since_ms = max(history.since_ms, oldest)
    used = sorted({past.kind for past in history.agents.values()})
    history.kinds = [history.kinds[kind] for kind in used]
    for past in history.agents.values():
        past.kind = used.index(past.kind)


def _shorten(prices: Prices, oldest_ms: int) -> int:
    """Drops what is older, and of too many changes the first; since when all of it is known."""
    held = bisect.bisect_right(prices, oldest_ms, key=lambda change: change[0]) - 1  # its price still held then
    excess = len(prices) - CHANGES_KEPT
    del prices[: max(0, held, excess)]
    return prices[0][0] if excess > max(0, held) else oldest_ms


def _is_over(past: Past | Prices, oldest_ms: int) -> bool:
    prices = past.prices if isinstance(past, Past) else past
    return prices[-1][1] == ABSENT and prices[-1][0] <= oldest_ms


# Asking.


def stretches(prices: Sequence[tuple[int, float]], from_ms: int, to_ms: int) -> Iterator[tuple[int, int, float]]:
    """(begin, end, US dollars an hour) of each stretch of one price between the two times, absences left out."""
    at = max(0, bisect.bisect_right(prices, from_ms, key=lambda change: change[0]) - 1)
    for number in range(at, len(prices)):
        begin, usd = prices[number]
        end = prices[number + 1][0] if number + 1 < len(prices) else to_ms
        begin, end = max(begin, from_ms), min(end, to_ms)
        if begin < end and usd != ABSENT:
            yield begin, end, usd
        if end >= to_ms:
            return


def usual_day(prices: Sequence[tuple[int, float]], now_ms: int) -> Tariff:
    """What an hour usually costs by the time of day: for each hour the dearest that it was on the last days.

    Only what each of the last `USUAL_DAYS` days has shown is expected again. An hour at which nobody was there counts
    as dear as any, and so does the present one where it is dearer than usual. Empty where too little is known, or
    where all hours are alike.
    """
    begin_ms = now_ms - USUAL_DAYS * DAY_MS
    if not prices or prices[0][0] > begin_ms or prices[-1][1] == ABSENT:
        return ()
    worst: list[float] = [0.0] * 24
    unknown: dict[int, None] = {}
    at_ms = begin_ms
    while at_ms < now_ms:
        end_ms = min(now_ms, at_ms - at_ms % _HOUR_MS + _HOUR_MS)
        hour = at_ms % DAY_MS // _HOUR_MS
        known = list(stretches(prices, at_ms, end_ms))
        if sum(end - begin for begin, end, _ in known) < end_ms - at_ms:
            unknown[hour] = None
        else:
            mean = sum((end - begin) * usd for begin, end, usd in known) / (end_ms - at_ms)
            worst[hour] = max(worst[hour], mean)
        at_ms = end_ms
    now_usd = prices[-1][1]
    for hour in unknown:
        worst[hour] = max(now_usd, *worst)
    hour = now_ms % DAY_MS // _HOUR_MS
    worst[hour] = max(worst[hour], now_usd)
    rates = [(60 * hour, usd) for hour, usd in enumerate(worst) if not hour or usd != worst[hour - 1]]
    return tuple(rates) if len(rates) > 1 else ()
