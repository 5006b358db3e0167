from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise

import pytest

from orbit_core.spec.cron import next_after, parse_cron, timezones, zone_of
from orbit_core.spec.text_error import TextError


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def ticks(expression: str, timezone: str, after: str, count: int) -> list[str]:
    """The next ticks as UTC, to the minute."""
    found: list[str] = []
    now_ms = ms(after)
    for _ in range(count):
        tick_ms = next_after(expression, timezone, now_ms)
        assert tick_ms is not None
        assert tick_ms > now_ms
        found.append(datetime.fromtimestamp(tick_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M"))
        now_ms = tick_ms
    return found


@pytest.mark.parametrize(
    ("expression", "after", "first"),
    [
        ("0 0 * * *", "2026-03-01 12:00", "2026-03-02 00:00"),
        ("0 0 * * *", "2026-03-01 00:00", "2026-03-02 00:00"),
        ("0 0 * * *", "2026-02-28 23:59", "2026-03-01 00:00"),
        ("* * * * *", "2026-03-01 12:00", "2026-03-01 12:01"),
        ("*/15 * * * *", "2026-03-01 12:16", "2026-03-01 12:30"),
        ("5/15 * * * *", "2026-03-01 12:51", "2026-03-01 13:05"),
        ("30 8-10 * * *", "2026-03-01 10:31", "2026-03-02 08:30"),
        ("0 9 * * mon-fri", "2026-03-06 10:00", "2026-03-09 09:00"),
        ("0 9 * * 0", "2026-03-02 00:00", "2026-03-08 09:00"),
        ("0 9 * * 7", "2026-03-02 00:00", "2026-03-08 09:00"),
        ("0 9 * * fri-sun", "2026-03-07 10:00", "2026-03-08 09:00"),
        ("0 0 29 2 *", "2026-03-01 00:00", "2028-02-29 00:00"),
        ("0 0 29 2 *", "2096-03-01 00:00", "2104-02-29 00:00"),
        ("0 0 1 JAN,jul *", "2026-02-01 00:00", "2026-07-01 00:00"),
        # Of two restricted day fields either will do: the 13th, or a Friday.
        ("0 0 13 * 5", "2026-03-01 00:00", "2026-03-06 00:00"),
        ("0 0 13 * 5", "2026-03-07 00:00", "2026-03-13 00:00"),
        # A field that begins with a star does not count as restricted.
        ("0 0 */2 * 1", "2026-03-01 00:00", "2026-03-09 00:00"),
        ("0 0 ? * 1", "2026-03-01 00:00", "2026-03-02 00:00"),
        ("@daily", "2026-03-01 12:00", "2026-03-02 00:00"),
        ("@Weekly", "2026-03-02 12:00", "2026-03-08 00:00"),
        ("@yearly", "2026-03-02 12:00", "2027-01-01 00:00"),
        ("  0   0 * * *  ", "2026-03-01 12:00", "2026-03-02 00:00"),
    ],
)
def test_the_next_tick(expression: str, after: str, first: str) -> None:
    assert ticks(expression, "UTC", after, 1) == [first]


def test_a_tick_is_strictly_after() -> None:
    assert next_after("* * * * *", "UTC", ms("2026-03-01 12:00") + 1) == ms("2026-03-01 12:01")
    assert next_after("* * * * *", "UTC", ms("2026-03-01 12:01") - 1) == ms("2026-03-01 12:01")


def test_a_time_zone_moves_the_tick() -> None:
    assert ticks("0 9 * * *", "Asia/Tokyo", "2026-03-01 00:00", 2) == ["2026-03-02 00:00", "2026-03-03 00:00"]
    assert ticks("0 9 * * *", "America/New_York", "2026-01-01 00:00", 1) == ["2026-01-01 14:00"]


# Berlin skips 02:00 to 03:00 on 29 March 2026 (01:00 UTC) and repeats 02:00 to 03:00 on 25 October (from 00:00 UTC).


def test_a_skipped_time_fires_at_the_next_valid_one() -> None:
    assert ticks("30 2 * * *", "Europe/Berlin", "2026-03-28 00:00", 3) == [
        "2026-03-28 01:30",
        "2026-03-29 01:00",
        "2026-03-30 00:30",
    ]


def test_several_skipped_times_fire_once() -> None:
    assert ticks("*/20 * * * *", "Europe/Berlin", "2026-03-29 00:30", 4) == [
        "2026-03-29 00:40",
        "2026-03-29 01:00",
        "2026-03-29 01:20",
        "2026-03-29 01:40",
    ]


def test_a_repeated_time_fires_once_at_its_first_pass() -> None:
    assert ticks("30 2 * * *", "Europe/Berlin", "2026-10-24 12:00", 2) == ["2026-10-25 00:30", "2026-10-26 01:30"]
    assert ticks("*/30 * * * *", "Europe/Berlin", "2026-10-24 23:30", 4) == [
        "2026-10-25 00:00",
        "2026-10-25 00:30",
        "2026-10-25 02:00",
        "2026-10-25 02:30",
    ]


def test_from_the_second_pass_of_an_hour_on_nothing_of_it_fires_again() -> None:
    assert ticks("*/30 * * * *", "Europe/Berlin", "2026-10-25 01:10", 1) == ["2026-10-25 02:00"]


def test_a_change_of_the_clock_by_half_an_hour() -> None:
    # Lord Howe Island skips 02:00 to 02:30 on 4 October 2026.
    assert ticks("15 2 * * *", "Australia/Lord_Howe", "2026-10-03 00:00", 2) == ["2026-10-03 15:30", "2026-10-04 15:15"]


def test_a_whole_day_that_never_was() -> None:
    # Samoa skipped 30 December 2011.
    assert ticks("0 12 30 12 *", "Pacific/Apia", "2011-12-01 00:00", 1) == ["2011-12-30 10:00"]


def test_every_minute_of_a_year_of_changes_ascends() -> None:
    for timezone in ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "UTC"):
        found = ticks("17 */3 * * *", timezone, "2026-01-01 00:00", 1_000)
        assert all(before < after for before, after in pairwise(found))


@pytest.mark.parametrize("expression", ["0 0 30 2 *", "0 0 31 2,4,6,9,11 *", "0 0 30,31 feb *"])
def test_what_never_fires(expression: str) -> None:
    assert parse_cron(expression).never_fires
    assert next_after(expression, "UTC", 0) is None


@pytest.mark.parametrize("expression", ["0 0 29 2 *", "0 0 30 2 1", "0 0 31 * *", "0 0 */31 2 *"])
def test_what_fires_seldom(expression: str) -> None:
    assert not parse_cron(expression).never_fires
    assert next_after(expression, "UTC", 0) is not None


@pytest.mark.parametrize(
    ("expression", "offset"),
    [
        ("", 0),
        ("* * * *", 0),
        ("* * * * * *", 0),
        ("@hour", 0),
        ("60 * * * *", 0),
        ("0 24 * * *", 2),
        ("0 0 0 * *", 4),
        ("0 0 32 * *", 4),
        ("0 0 * 13 *", 6),
        ("0 0 * 0 *", 6),
        ("0 0 * * 8", 8),
        ("0 0 * * fry", 8),
        ("0,5,x 0 * * *", 4),
        ("1-0 * * * *", 0),
        ("*/0 * * * *", 0),
        ("*/x * * * *", 0),
        ("? * * * *", 0),
        ("-1 * * * *", 0),
        ("1- * * * *", 0),
        ("1,,2 * * * *", 2),
        ("L * * * *", 0),
        ("H H * * *", 0),
        ("0 0 1W * *", 4),
        ("0 0 * * 1#2", 8),
        ("٣ * * * *", 0),
        ("99999999999999999999 * * * *", 0),
    ],
)
def test_what_is_no_cron_expression_and_where(expression: str, offset: int) -> None:
    with pytest.raises(TextError) as caught:
        parse_cron(expression)
    assert caught.value.offset == offset


@pytest.mark.parametrize("timezone", ["", "Nowhere", "../../etc/passwd", "/etc/localtime", "Europe", "a\x00b", "UTC+2"])
def test_what_is_no_time_zone(timezone: str) -> None:
    with pytest.raises(TextError):
        zone_of(timezone)


def test_utc_is_there_whatever_the_machine_has() -> None:
    assert zone_of("UTC") is UTC
    assert "UTC" in timezones()


def test_far_away_times_end_quietly() -> None:
    assert next_after("0 0 1 1 *", "UTC", ms("9998-06-01 00:00")) is None
