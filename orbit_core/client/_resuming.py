"""What makes a stream that began anew go on where it broke: remembering what was given. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from orbit_core.client.types import LogRecord, Result


class GivenResults:
    """Each result once, by what it is a result of. Grows by one small entry for each result of the run."""

    def __init__(self) -> None:
        self._given: set[tuple[str, int]] = set()

    def new(self, result: Result) -> list[Result]:
        """The result, or nothing."""
        key = (result.invocation_id, -1 if result.failure else result.index)
        if key in self._given:
            return []
        self._given.add(key)
        return [result]


class GivenLogs:
    """Each log record as often as the stream held it, whatever order it comes in after a restart.

    A record has no identity on the wire and a new leader may have lost some, so positions cannot be trusted:
    records are counted by content, and a restarted stream is silent on as many of each as were given before.
    """

    def __init__(self) -> None:
        self._given: Counter[int] = Counter()
        self._owed: Counter[int] = Counter()

    def restart(self) -> None:
        self._owed = self._given.copy()

    def new(self, records: Iterable[LogRecord]) -> Iterator[LogRecord]:
        for record in records:
            key = hash(record)
            if self._owed[key]:
                self._owed[key] -= 1
                continue
            self._given[key] += 1
            yield record
