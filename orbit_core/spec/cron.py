"""When a cron expression fires next, in a time zone with its changes of the clock. Pure.

Five fields as in crontab(5), with names of months and days, or `@daily` and its like. Of two restricted day fields
either will do, as Vixie cron has it. A local time that the clock repeats fires once, at its first pass; one that
the clock skips fires at the next valid time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import cache, lru_cache
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

from orbit_core.spec.text_error import TextError, quoted

EXPECTED: Final = "five fields: minute, hour, day of the month, month, day of the week"

_NICKNAMES: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_FIELDS: Final = (
    ("minute", 0, 59),
    ("hour", 0, 23),
    ("day of the month", 1, 31),
    ("month", 1, 12),
    ("day of the week", 0, 7),
)
_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_VALUES: Final = {
    3: {name: number for number, name in enumerate(_MONTHS, start=1)},
    4: {name: number for number, name in enumerate(_DAYS)},
}
_FIELD_EXPECTED: Final = ("0 to 59", "0 to 23", "1 to 31", "1 to 12 or jan to dec", "0 to 7 or sun to sat")
_PART = re.compile(r"(?:(?P<any>[*?])|(?P<first>[a-z0-9]+)(?:-(?P<last>[a-z0-9]+))?)(?:/(?P<step>\d{1,4}))?")
_LONGEST_MONTHS: Final = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_YEARS_AHEAD: Final = 50  # 29 February on a given day of the week comes back within 40 years


@dataclass(frozen=True, slots=True)
class CronExpression:
    """The values that each field allows, ascending. Sunday is 0."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: tuple[int, ...]
    months: tuple[int, ...]
    weekdays: tuple[int, ...]
    either_day: bool

    def allows(self, day: date) -> bool:
        """Whether it fires on `day`."""
        in_month, in_week = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        return (in_month or in_week) if self.either_day else (in_month and in_week)

    @property
    def never_fires(self) -> bool:
        """Whether no month that it allows has a day that it allows."""
        return not self.either_day and not any(
            day <= _LONGEST_MONTHS[month - 1] for month in self.months for day in self.days
        )


@lru_cache(maxsize=1024)
def parse_cron(text: str) -> CronExpression:
    """Raises `TextError` at the field that cannot be read."""
    expanded = _NICKNAMES.get(text.strip().lower())
    fields = list(re.finditer(r"\S+", expanded or text))
    if len(fields) != len(_FIELDS):
        raise TextError("this is not a cron expression", expected=EXPECTED)
    sets = [_read_field(index, match[0], match.start()) for index, match in enumerate(fields)]
    weekdays = tuple(sorted({day % 7 for day in sets[4]}))
    either = not any(fields[index][0].startswith(("*", "?")) for index in (2, 4))
    return CronExpression(sets[0], sets[1], sets[2], sets[3], weekdays, either)


def _read_field(index: int, text: str, offset: int) -> tuple[int, ...]:
    values: set[int] = set()
    for part in text.split(","):
        values.update(_read_part(index, part, offset))
        offset += len(part) + 1
    return tuple(sorted(values))


def _read_part(index: int, text: str, offset: int) -> range:
    name, lowest, highest = _FIELDS[index]
    match = _PART.fullmatch(text.lower())
    if not match or (match["any"] == "?" and index not in (2, 4)):
        raise TextError(f"this is no {name}", offset=offset, found=quoted(text), expected=_FIELD_EXPECTED[index])
    step = int(match["step"] or 1)
    if step == 0:
        raise TextError("a step of 0 never comes", offset=offset, found=quoted(text))
    if match["any"]:
        return range(lowest, highest + 1 - (index == 4), step)
    first = _read_value(index, match["first"], offset)
    if match["last"] is None:
        return range(first, (highest if match["step"] else first) + 1, step)
    last = _read_value(index, match["last"], offset)
    if index == 4 and last == 0:
        last = 7  # a week may end on Sunday too
    if last < first:
        raise TextError(f"this range of the {name} ends before it begins", offset=offset, found=quoted(text))
    return range(first, last + 1, step)


def _read_value(index: int, text: str, offset: int) -> int:
    name, lowest, highest = _FIELDS[index]
    value = _VALUES.get(index, {}).get(text)
    if value is None:
        value = int(text) if text.isdecimal() and len(text) < 5 else -1
    if not lowest <= value <= highest:
        raise TextError(f"this is no {name}", offset=offset, found=quoted(text), expected=_FIELD_EXPECTED[index])
    return value


def next_after(expression: str, timezone: str, after_ms: int) -> int | None:
    """The first tick strictly after `after_ms`, in milliseconds since the epoch; None where none ever comes.

    Raises `TextError` for an expression or a time zone that cannot be read.
    """
    cron, zone = parse_cron(expression), zone_of(timezone)
    if cron.never_fires:
        return None
    after = datetime.fromtimestamp(after_ms / 1000, UTC)
    local = after.astimezone(zone).replace(tzinfo=None, second=0, microsecond=0, fold=0)
    # No local time up to now can mean an instant after now; a later one can mean an instant before it, while the
    # clock repeats an hour.
    for tick in _local_ticks(cron, local + timedelta(minutes=1)):
        instant_ms = round(_instant(tick, zone).timestamp() * 1000)
        if instant_ms > after_ms:
            return instant_ms
    return None


def _local_ticks(cron: CronExpression, start: datetime) -> Iterator[datetime]:
    """The local times at which `cron` fires, from `start` on, as the calendar alone has them."""
    for year in range(start.year, min(start.year + _YEARS_AHEAD, 9998)):
        for month in cron.months:
            if (year, month) < (start.year, start.month):
                continue
            for day in _days_of(cron, year, month):
                if day < start.date():
                    continue
                for hour in cron.hours:
                    for minute in cron.minutes:
                        tick = datetime(year, month, day.day, hour, minute)  # noqa: DTZ001 - local on purpose
                        if tick >= start:
                            yield tick


def _days_of(cron: CronExpression, year: int, month: int) -> Iterator[date]:
    day = date(year, month, 1)
    while day.month == month:
        if cron.allows(day):
            yield day
        day += timedelta(days=1)


def _instant(local: datetime, zone: tzinfo) -> datetime:
    """The instant of a local time: its first pass where there are two, the end of the gap where there is none."""
    first = local.replace(tzinfo=zone, fold=0).astimezone(UTC)
    if first.astimezone(zone).replace(tzinfo=None, fold=0) == local:
        return first
    # In a gap, fold 1 reads the time with the offset after it and lands before the change; fold 0 the other way.
    before, after = local.replace(tzinfo=zone, fold=1).astimezone(UTC), first
    offset = before.astimezone(zone).utcoffset()
    while after - before > timedelta(seconds=1):
        middle = (before + (after - before) / 2).replace(microsecond=0)
        if middle.astimezone(zone).utcoffset() == offset:
            before = middle
        else:
            after = middle
    return after


def zone_of(timezone: str) -> tzinfo:
    """The time zone of that IANA name. Raises `TextError`."""
    if timezone == "UTC":
        return UTC  # also where the machine has no time zone database
    try:
        return ZoneInfo(timezone)
    except (ValueError, OSError, KeyError) as error:  # ZoneInfoNotFoundError is a KeyError
        raise TextError("there is no such time zone", expected="an IANA name such as Europe/Berlin") from error


@cache
def timezones() -> tuple[str, ...]:
    """All names that `zone_of` takes, in alphabetical order."""
    return tuple(sorted(available_timezones() | {"UTC"}))
