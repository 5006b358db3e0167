"""The worker's end of the socketpair: sends frames from any thread, waits for replies and acknowledgements.

Sending blocks on purpose: a worker runs one attempt and has nothing better to do than to wait for its agent, which
is what keeps a flood of logs or objects from filling either's memory. Nothing here knows what an attempt is.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import queue
import socket
import threading
from typing import Any

from orbit_agent.workers import frames
from satellites.contract import PermanentError, SatelliteError


class Channel:
    """One per process; `calls` holds the attempts that the agent asks for."""

    def __init__(self, sock: socket.socket) -> None:
        self.calls: queue.SimpleQueue[frames.Frame] = queue.SimpleQueue()
        self._sock = sock
        self._sending = threading.Lock()
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._unacknowledged_chars = 0
        self._taken_over = asyncio.Event()
        threading.Thread(target=self._read, name="orbit-channel", daemon=True).start()

    def begin(self) -> None:
        """Ties replies and acknowledgements to the running event loop: one attempt, one loop."""
        self._waiting = {}
        self._unacknowledged_chars = 0
        self._taken_over = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def send(self, frame: frames.Frame) -> None:
        self._send(frames.encode(frame))

    async def send_object(self, encoded: str) -> None:
        """Sends one result, already JSON, once the agent has room for it."""
        size = len(encoded)
        while self._unacknowledged_chars > frames.OBJECT_WINDOW_CHARS:
            self._taken_over.clear()
            await self._taken_over.wait()
        self._unacknowledged_chars += size
        self._send(frames.pack(f'{{"t":"object","size":{size},"value":{encoded}}}'))

    async def request(self, op: str, **arguments: Any) -> Any:
        """Asks the agent for something; raises what the agent's side raised."""
        number = next(self._ids)
        future = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        try:
            self.send({"t": "request", "id": number, "op": op, **arguments})
            return await future
        finally:
            self._waiting.pop(number, None)

    def _send(self, data: bytes) -> None:
        with self._sending:
            self._sock.sendall(data)

    def _read(self) -> None:
        while (frame := frames.read_blocking(self._sock)) is not None:
            match frame["t"]:
                case "call":
                    self.calls.put(frame)
                case "reply":
                    self._in_loop(self._answer, frame)
                case "ack":
                    self._in_loop(self._acknowledge, frame["size"])
                case _:
                    break
        # The agent is gone: nobody wants what is still running here.
        os._exit(0)

    def _in_loop(self, callback: Any, argument: Any) -> None:
        try:
            if self._loop is not None:
                self._loop.call_soon_threadsafe(callback, argument)
        except RuntimeError:
            pass  # the attempt has ended, and its loop with it

    def _acknowledge(self, size: int) -> None:
        self._unacknowledged_chars -= size
        self._taken_over.set()

    def _answer(self, frame: frames.Frame) -> None:
        future = self._waiting.get(frame["id"])
        if future is None or future.done():
            return
        error = frame.get("error")
        if error is None:
            future.set_result(frame.get("value"))
        else:
            kind = PermanentError if error["permanent"] else SatelliteError
            future.set_exception(kind(error["message"], code=error["code"]))
