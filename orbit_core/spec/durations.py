"""Durations as a cluster file writes them (`90m`, `1h30m`, `PT6H`), to milliseconds and back. Pure."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Final

from orbit_core.spec.text_error import TextError

EXPECTED: Final = "a duration like 30s, 90m, 6h, 7d, 1h30m or PT6H"

_UNITS_MS: Final = {
    "w": 7 * 24 * 3_600_000,
    "d": 24 * 3_600_000,
    "h": 3_600_000,
    "m": 60_000,
    "s": 1_000,
    "ms": 1,
}
_MAX_CHARS: Final = 64
_NUMBER: Final = r"\d{1,15}(?:\.\d{1,9})?"
_PLAIN = re.compile("".join(rf"(?:(?P<{unit}>{_NUMBER}){unit})?" for unit in _UNITS_MS), re.ASCII)
_ISO = re.compile(
    rf"P(?:(?P<w>{_NUMBER})W)?(?:(?P<d>{_NUMBER})D)?"
    rf"(?:T(?=\d)(?:(?P<h>{_NUMBER})H)?(?:(?P<m>{_NUMBER})M)?(?:(?P<s>{_NUMBER})S)?)?",
    re.ASCII,
)
_CALENDAR = re.compile(r"P\d+(?:Y|M)", re.ASCII)


def parse_duration_ms(text: str) -> int:
    """`text` in milliseconds. Units go from the largest to the smallest, each at most once.

    Raises `TextError` for anything else: no unit, a sign, a fraction of a millisecond, calendar months.
    """
    trimmed = text.strip()
    if not trimmed or len(trimmed) > _MAX_CHARS:
        raise TextError("this is not a duration", expected=EXPECTED)
    match = _PLAIN.fullmatch(trimmed) or _ISO.fullmatch(trimmed)
    parts = {unit: number for unit, number in match.groupdict().items() if number} if match else {}
    if not parts:
        raise TextError(_why_not(trimmed), expected=EXPECTED)
    total = sum((Fraction(number) * _UNITS_MS[unit] for unit, number in parts.items()), Fraction(0))
    if total.denominator != 1:
        raise TextError("a duration is a whole number of milliseconds", expected=EXPECTED)
    return int(total)


def _why_not(text: str) -> str:
    if text.isdecimal():
        return "a duration needs a unit"
    if _CALENDAR.match(text):
        return "months and years have no fixed length"
    return "this is not a duration"


def format_duration_ms(duration_ms: int) -> str:
    """The shortest text in days, hours, minutes, seconds and milliseconds that reads back as the same."""
    if duration_ms < 0:
        raise ValueError(f"a duration is not negative: {duration_ms}")
    if duration_ms == 0:
        return "0s"
    parts: list[str] = []
    left = duration_ms
    for unit in ("d", "h", "m", "s", "ms"):
        count, left = divmod(left, _UNITS_MS[unit])
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts)
