"""Numbers as people read them: money, spans of time, sizes. Pure."""

from __future__ import annotations

import math
from datetime import UTC, datetime


def money(usd: float) -> str:
    """`$1.23`; below ten cents two significant digits: `$0.00042`; next to nothing is said to be so."""
    if usd == 0 or usd >= 0.1:
        return f"${usd:,.2f}"
    if usd < 1e-6:
        return "<$0.000001"
    return f"${usd:.{1 - math.floor(math.log10(usd))}f}"


def span(milliseconds: float) -> str:
    """`45 s`, `3:07`, `2:03:07`, `3 d 4 h`; below ten seconds with one decimal."""
    seconds = abs(milliseconds) / 1000
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, seconds = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    if hours == 0:
        return f"{minutes}:{seconds:02}"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if days else f"{hours}:{minutes:02}:{seconds:02}"


def ago(time_ms: int | None, now_ms: int) -> str:
    if not time_ms:
        return ""
    return f"{span(now_ms - time_ms)} ago" if time_ms <= now_ms else f"in {span(time_ms - now_ms)}"


def clock(time_ms: int) -> str:
    """Local time of day with milliseconds."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).astimezone().strftime("%H:%M:%S.%f")[:-3]


def size(count: int) -> str:
    """`512 B`, `1.5 GiB`."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}".replace(".0 ", " ")
        value /= 1024
    return f"{value:.1f} TiB"


def plural(count: int, noun: str, many: str = "") -> str:
    """`1 problem`, `3 problems`."""
    return f"{count} {noun if count == 1 else many or noun + 's'}"
