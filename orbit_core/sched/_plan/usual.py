"""Waiting for spot prices that follow the day: expected of the past, and never counted on.

What nobody has promised may be waited for as long as everything could still be done in time without it: on agents
that do not go away, which are there, at what they cost then. From the last such moment on the price of now is taken
to stay, so that nothing is gained by waiting, and work goes wherever it is cheapest in time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from orbit_core.sched._plan import greedy
from orbit_core.sched._plan.picture import NEARLY, Option, Picture, WorkClass
from orbit_core.sched.history import History, market_of, usual_day
from orbit_core.sched.model import AgentFacts
from orbit_core.sched.tariff import Tariff

_ENOUGH = 1e-6


def usual_prices(history: History, facts: Sequence[AgentFacts], now_ms: int) -> dict[int, Tariff]:
    """By number of the pool, what its price usually is by the time of day. `facts`: one agent of each pool."""
    found: dict[int, Tariff] = {}
    for pool, each in enumerate(facts):
        if each.price_kind == "spot" and not each.tariff:
            usual = usual_day(history.markets.get(market_of(each), ()), now_ms)
            if usual:
                found[pool] = usual
    return found


def only_while_safe(picture: Picture, usual: Mapping[int, Tariff]) -> Picture:
    """The picture with usual prices only where they may be waited for. `usual`: the pools that have some."""
    sure = {
        number: _lasting(picture, work)
        for number, work in enumerate(picture.classes)
        if any(pool in usual for pool in work.options)
    }
    if not sure:
        return picture
    last = _last_slices(picture, sure)
    classes = list(picture.classes)
    awaited: dict[int, None] = {}
    for number in sure:
        options = dict(classes[number].options)
        for pool in usual:
            if pool in options:
                option = options[pool] = _kept_until(options[pool], last.get(number, 0))
                if option.least_usd * NEARLY < option.cost_usd:
                    awaited[pool] = None
        classes[number] = replace(classes[number], options=options)
    return replace(picture, classes=tuple(classes), awaited=awaited)


def _kept_until(option: Option, last: int) -> Option:
    """Expected prices up to that slice, and none below that of now after it. What starts now costs what it does now."""
    costs = tuple(
        option.cost_usd if at == 0 else cost if at <= last else max(cost, option.cost_usd)
        for at, cost in enumerate(option.costs_usd)
    )
    return replace(option, costs_usd=costs)


def _lasting(picture: Picture, work: WorkClass) -> dict[int, Option]:
    """Where the class can run that does not go away."""
    return {pool: option for pool, option in work.options.items() if not picture.pools[pool].spot}


def _last_slices(picture: Picture, sure: Mapping[int, dict[int, Option]]) -> dict[int, int]:
    """By class, the last slice until whose begin it may wait; none for classes that must not wait at all.

    `sure`: the classes that would like to wait, with where they can run that does not go away.
    """
    alone = {number: _last_alone(picture, picture.classes[number], options) for number, options in sure.items()}
    at_once = _late(picture, sure, alone, 0)
    able = {number: last for number, last in alone.items() if last and not at_once.get(number)}
    low, high = 0, max(able.values(), default=0)
    while low < high:
        middle = (low + high + 1) // 2
        late = _late(picture, sure, able, middle)
        if all(amount <= at_once.get(number, 0.0) + _ENOUGH for number, amount in late.items()):
            low = middle
        else:
            high = middle - 1
    return {number: min(last, low) for number, last in able.items()}


def _last_alone(picture: Picture, work: WorkClass, options: Mapping[int, Option]) -> int:
    """The last slice at whose begin it could still be begun elsewhere, were there room for all of it; 0: none."""
    finish_ms = work.finish_ms - _again_ms(options)
    latest = max((finish_ms - option.reserve_ms - option.duration_ms for option in options.values()), default=0.0)
    return max(at for at in picture.slices if at == 0 or picture.bounds_ms[at] <= latest)


def _again_ms(options: Mapping[int, Option]) -> float:
    """What is kept free: for what spot agents take with them at the last moment, and for rooms that are free later."""
    return 2 * max((option.duration_ms for option in options.values()), default=0.0)


def _late(
    picture: Picture, sure: Mapping[int, dict[int, Option]], able: Mapping[int, int], at: int
) -> Mapping[int, float]:
    """What would be late if all that is able to waited for that slice, and spot agents were gone then."""
    classes = list(picture.classes)
    for number, options in sure.items():
        work = classes[number]
        if not options:
            continue
        begin = picture.bounds_ms[at] if able.get(number, -1) >= at else 0.0
        finish_ms = work.finish_ms - _again_ms(options)
        classes[number] = replace(work, options=options, release_ms=max(work.release_ms, begin), finish_ms=finish_ms)
    return greedy.schedule(replace(picture, classes=tuple(classes))).late
