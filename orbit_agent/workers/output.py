"""What a worker process writes to stdout and stderr, cut into lines. Knows nothing of processes or attempts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from orbit_agent.workers.frames import END_OF_OUTPUT
from orbit_core.limits import KIB, LOG_LINE_MAX_CHARS


class OutputPump:
    """Reads one stream to its end and hands on each line; `ended` is set whenever an attempt's share is complete."""

    def __init__(self, stream: asyncio.StreamReader, on_line: Callable[[str], None]) -> None:
        self.ended = asyncio.Event()
        self._stream = stream
        self._on_line = on_line
        self._buffer = b""
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while chunk := await self._stream.read(64 * KIB):
            self._buffer += chunk
            while (marker := self._buffer.find(END_OF_OUTPUT)) >= 0:
                self._cut(self._buffer[:marker], whole=True)
                self._buffer = self._buffer[marker + len(END_OF_OUTPUT) :]
                self.ended.set()
            self._buffer = self._cut(self._buffer, whole=False)
        self._cut(self._buffer, whole=True)
        self._buffer = b""
        self.ended.set()

    def _cut(self, data: bytes, *, whole: bool) -> bytes:
        """Hands on the lines of `data`; gives back what may still go on, which is never longer than a line may be."""
        *lines, rest = data.split(b"\n")
        if whole or (len(rest) > LOG_LINE_MAX_CHARS and END_OF_OUTPUT[:1] not in rest):
            lines, rest = [*lines, rest], b""
        for line in lines:
            if text := line.decode("utf-8", errors="replace").rstrip():
                self._on_line(text)
        return rest
