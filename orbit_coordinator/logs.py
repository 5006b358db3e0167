"""Log records of runs: kept in a file for each run, followed by whoever asks, forwarded in batches.

Records are not journaled: they are many, and losing the last moments of them with a machine loses no work. Those of
steps that forward logs are kept and not forwarded again.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Any, Final

from google.protobuf.json_format import MessageToDict, ParseDict

from orbit_core.clock import Clock
from orbit_core.limits import LOG_LINE_MAX_CHARS
from orbit_core.pb.orbit.v1 import common_pb2

log = logging.getLogger(__name__)

FORWARD_EVERY_S: Final = 2.0
FORWARD_MAX_RECORDS: Final = 500
#: More than this waiting to be forwarded for one run: the oldest are dropped, and the drop is logged.
BACKLOG_MAX_RECORDS: Final = 20_000
_READ_RECORDS: Final = 500

#: Takes a run's records, as JSON objects, to be forwarded; `final`: there will be no more.
Forward = Callable[[str, list[dict[str, Any]], bool], None]
#: Says whether a step's records are to be forwarded.
Forwarded = Callable[[str, str], bool]


class LogStore:
    """The records that this coordinator has been sent."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._folder = folder
        self._clock = clock
        self._waiting: dict[str, list[dict[str, Any]]] = {}
        self._followers: dict[str, set[asyncio.Event]] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def add(self, records: Iterable[common_pb2.LogRecord], agent_id: str, forwarded: Forwarded) -> None:
        """Keeps records, wakes followers, and queues what is to be forwarded."""
        lines: dict[str, list[str]] = {}
        for record in records:
            record.agent_id = agent_id
            record.message = record.message[:LOG_LINE_MAX_CHARS]
            shown = MessageToDict(record, preserving_proto_field_name=True)
            shown["time_ms"] = record.time_ms  # int64 would be a string in JSON
            lines.setdefault(record.run_id, []).append(json.dumps(shown, ensure_ascii=False))
            if forwarded(record.run_id, record.step):
                self._queue(record.run_id, shown)
        for run_id, texts in lines.items():
            with self._path(run_id).open("a", encoding="utf-8") as file:
                file.write("".join(f"{text}\n" for text in texts))
            for follower in self._followers.get(run_id, ()):
                follower.set()

    def _queue(self, run_id: str, record: dict[str, Any]) -> None:
        waiting = self._waiting.setdefault(run_id, [])
        waiting.append(record)
        if len(waiting) > BACKLOG_MAX_RECORDS:
            log.warning(
                "log records of %s come faster than they are forwarded: %d dropped", run_id, FORWARD_MAX_RECORDS
            )
            del waiting[:FORWARD_MAX_RECORDS]

    async def forward(self, send: Forward) -> None:
        """Hands over what has gathered, again and again, until cancelled."""
        while True:
            await self._clock.sleep(FORWARD_EVERY_S)
            for run_id in list(self._waiting):
                self.flush(run_id, send, final=False)

    def flush(self, run_id: str, send: Forward, *, final: bool) -> None:
        """Hands over what one run has waiting."""
        waiting = self._waiting.pop(run_id, [])
        batches = [waiting[at : at + FORWARD_MAX_RECORDS] for at in range(0, len(waiting), FORWARD_MAX_RECORDS)]
        if final and not batches:
            batches = [[]]
        for number, batch in enumerate(batches, start=1):
            send(run_id, batch, final and number == len(batches))

    async def read(self, run_id: str, *, follow: Callable[[], bool]) -> AsyncIterator[list[common_pb2.LogRecord]]:
        """The run's records in batches; goes on as long as `follow()` says so."""
        arrived = asyncio.Event()
        self._followers.setdefault(run_id, set()).add(arrived)
        position = 0
        try:
            while True:
                more = follow()
                arrived.clear()
                position, records = await asyncio.to_thread(self._read_from, run_id, position)
                if records:
                    yield records
                elif not more:
                    return
                else:
                    try:
                        await asyncio.wait_for(arrived.wait(), 1.0)
                    except TimeoutError:
                        continue  # the run may have ended meanwhile
        finally:
            followers = self._followers[run_id]
            followers.discard(arrived)
            if not followers:
                del self._followers[run_id]

    def _read_from(self, run_id: str, position: int) -> tuple[int, list[common_pb2.LogRecord]]:
        records: list[common_pb2.LogRecord] = []
        path = self._path(run_id)
        if not path.exists():
            return position, records
        with path.open("rb") as file:
            file.seek(position)
            while len(records) < _READ_RECORDS and (line := file.readline()).endswith(b"\n"):
                position = file.tell()
                records.append(ParseDict(json.loads(line), common_pb2.LogRecord()))
        return position, records

    def content(self, run_id: str) -> bytes:
        """All of a run's records as JSON lines."""
        path = self._path(run_id)
        return path.read_bytes() if path.exists() else b""

    def restore(self, run_id: str, content: bytes) -> None:
        """Puts records back that another coordinator kept, unless there are some here."""
        path = self._path(run_id)
        if not path.exists():
            path.write_bytes(content)

    def forget(self, run_id: str) -> None:
        """A run's records are gone from here; that there were none is not an error."""
        self._path(run_id).unlink(missing_ok=True)

    def _path(self, run_id: str) -> Path:
        return self._folder / f"{run_id}.jsonl"
