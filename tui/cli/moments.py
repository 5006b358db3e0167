"""Moments on the command line: so long ago, or a date and time."""

from __future__ import annotations

from datetime import datetime

import click

from orbit_core.errors import OrbitError
from orbit_core.spec.durations import parse_duration_ms
from tui.cli.session import now_ms


class Moment(click.ParamType):
    """`90m` (so long ago), `2026-01-31`, `2026-01-31T12:00`, with `Z` or `+02:00` unless local time is meant.

    Milliseconds since the epoch.
    """

    name = "time"

    def convert(self, value: str | int, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        try:
            return now_ms() - parse_duration_ms(value)
        except (ValueError, OrbitError):
            pass
        try:
            return round(datetime.fromisoformat(value).astimezone().timestamp() * 1000)
        except ValueError:
            self.fail(f"{value!r} is not a time: write it like 90m, 2026-01-31 or 2026-01-31T12:00Z", param, ctx)
