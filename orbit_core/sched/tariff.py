"""Tariffs: what an hour of an agent costs by the time of day (UTC), the same every day, as its owner has promised.

A tariff is what a plan may count on; prices that merely were so before are not. Pure arithmetic; who pays what is in
`price`.
"""

from __future__ import annotations

from collections.abc import Iterator

#: (minute of the day, US dollars an hour from then on), by minute; the last rate holds until the first comes round.
Tariff = tuple[tuple[int, float], ...]
#: The dearest hour that is taken for one, in US dollars.
_DEAREST_USD = 1e6

DAY_MS = 24 * 3_600_000
_MINUTE_MS = 60_000


def rate(text: str) -> tuple[int, float]:
    """`HH:MM=USD`, as in `22:00=0.04`; ValueError, which says what is wrong, for anything else."""
    at, equals, usd = text.strip().partition("=")
    hours, colon, minutes = at.partition(":")
    if not (equals and colon and hours.isdecimal() and minutes.isdecimal() and int(hours) < 24 and int(minutes) < 60):
        raise ValueError(f"{text!r} is not of the form HH:MM=USD, as in 22:00=0.04")
    try:
        price = float(usd)
    except ValueError:
        raise ValueError(f"{usd!r} in {text!r} is not a price") from None
    if not 0 <= price < _DEAREST_USD:
        raise ValueError(f"the price in {text!r} is not between 0 and a million US dollars an hour")
    return 60 * int(hours) + int(minutes), price


def price_at(tariff: Tariff, at_ms: int) -> float:
    """US dollars an hour at that time. `tariff`: not empty."""
    minute = at_ms % DAY_MS // _MINUTE_MS
    current = tariff[-1][1]
    for begins, price in tariff:
        if begins <= minute:
            current = price
    return current


def spans(tariff: Tariff, from_ms: int, to_ms: int) -> Iterator[tuple[int, int, float]]:
    """(begin, end, US dollars an hour) of each stretch of one price between the two times."""
    starts = [begins * _MINUTE_MS for begins, _ in tariff]
    at_ms = from_ms
    while at_ms < to_ms:
        day_ms = at_ms - at_ms % DAY_MS
        ends = [day_ms + start for start in starts if day_ms + start > at_ms]
        end_ms = min(to_ms, ends[0] if ends else day_ms + DAY_MS + starts[0])
        yield at_ms, end_ms, price_at(tariff, at_ms)
        at_ms = end_ms


def mean_price(tariff: Tariff, from_ms: int, to_ms: int) -> float:
    """US dollars an hour on average between the two times."""
    if to_ms <= from_ms:
        return price_at(tariff, from_ms)
    days = (to_ms - from_ms) // DAY_MS
    paid = days * _paid(tariff, from_ms, from_ms + DAY_MS) if days else 0.0
    return (paid + _paid(tariff, from_ms + days * DAY_MS, to_ms)) / (to_ms - from_ms)


def _paid(tariff: Tariff, from_ms: int, to_ms: int) -> float:
    return sum(price * (end - begin) for begin, end, price in spans(tariff, from_ms, to_ms))


def lowest_price(tariff: Tariff, from_ms: int, to_ms: int) -> float:
    """The least that an hour costs at any time between the two."""
    to_ms = min(to_ms, from_ms + DAY_MS)
    return min((price for _, _, price in spans(tariff, from_ms, to_ms)), default=price_at(tariff, from_ms))
