"""Tariffs: what an hour costs when, over midnight too, and what an agent's command line makes of one."""

from __future__ import annotations

import itertools

import pytest

from orbit_agent import config
from orbit_core.sched.tariff import DAY_MS, lowest_price, mean_price, price_at, spans

HOUR_MS = 3_600_000
NIGHT = ((6 * 60, 0.40), (22 * 60, 0.05))
MIDNIGHT_MS = 20_000 * DAY_MS


def test_the_last_rate_of_a_day_holds_until_the_first_of_the_next() -> None:
    prices = [price_at(NIGHT, MIDNIGHT_MS + hour * HOUR_MS) for hour in (0, 5, 6, 21, 22, 23, 24)]
    assert prices == [0.05, 0.05, 0.40, 0.40, 0.05, 0.05, 0.05]


def test_spans_cover_the_time_without_gaps() -> None:
    begin, end = MIDNIGHT_MS + 20 * HOUR_MS, MIDNIGHT_MS + 31 * HOUR_MS
    found = list(spans(NIGHT, begin, end))
    assert [price for _, _, price in found] == [0.40, 0.05, 0.40]
    assert found[0][0] == begin
    assert found[-1][1] == end
    assert all(one[1] == two[0] for one, two in itertools.pairwise(found))
    assert mean_price(NIGHT, begin, end) == pytest.approx((2 * 0.40 + 8 * 0.05 + 1 * 0.40) / 11)
    assert lowest_price(NIGHT, begin, begin + HOUR_MS) == 0.40
    assert lowest_price(NIGHT, begin, end) == 0.05


def test_one_rate_alone_is_the_price_of_the_whole_day() -> None:
    assert list(spans(((600, 0.3),), MIDNIGHT_MS, MIDNIGHT_MS + HOUR_MS)) == [(MIDNIGHT_MS, MIDNIGHT_MS + HOUR_MS, 0.3)]
    assert mean_price(((600, 0.3),), MIDNIGHT_MS, MIDNIGHT_MS + 3 * DAY_MS) == pytest.approx(0.3)


def test_an_agent_is_told_its_tariff_in_hours_and_minutes(tmp_path) -> None:
    told = config.parse(["--data", str(tmp_path), "--price", "9", "--tariff", "22:00=0.05", "--tariff", "06:00=0.40"])
    assert told.tariff == NIGHT
    assert told.price_at(MIDNIGHT_MS + 23 * HOUR_MS) == 0.05
    assert config.parse(["--data", str(tmp_path), "--price", "9"]).price_at(MIDNIGHT_MS) == 9
    with pytest.raises(SystemExit):
        config.parse(["--data", str(tmp_path), "--tariff", "25:00=0.05"])
