"""One model's process as the agent sees it: started, told to load, asked, hung up on.

It keeps the table of what was asked and not yet answered. Which model runs where, and what is started again after a
crash, is `server`'s business.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import signal
import socket
import sys
from collections import deque
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import psutil

import orbit_agent
from orbit_agent.inference import frames, wire
from orbit_agent.inference.backend import BackendInfo, LoadSettings, Request, Result
from orbit_agent.inference.errors import InferenceError, InvalidGenerationError, ModelCrashedError, error_from_code
from orbit_core.limits import KIB, LOG_LINE_MAX_CHARS

_log = logging.getLogger("orbit.inference")

START_TIMEOUT_S: Final = 60.0
END_TIMEOUT_S: Final = 2.0
#: What a process has last written to stderr, for the story of its end.
_LAST_LINES: Final = 5


class ModelProcess:
    """Use `start`; then `load` once, then `ask` as often and as concurrently as wanted, then `close`."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._process = process
        self._reader = reader
        self._writer = writer
        self._keys = itertools.count()
        self._asked: dict[int, asyncio.Future[Result]] = {}
        self._hello: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._loaded: asyncio.Future[BackendInfo] = asyncio.get_running_loop().create_future()
        self._last_lines: deque[str] = deque(maxlen=_LAST_LINES)
        self._ended = False
        assert process.stderr is not None
        self._tasks = [asyncio.create_task(self._receive()), asyncio.create_task(self._listen(process.stderr))]

    @classmethod
    async def start(cls) -> ModelProcess:
        """Starts a process without a model; it may still be importing. Raises `ModelCrashedError`."""
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-P",
                    "-m",
                    "orbit_agent.inference.child",
                    str(theirs.fileno()),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.DEVNULL,
                    stderr=asyncio.subprocess.PIPE,
                    pass_fds=(theirs.fileno(),),
                    start_new_session=True,
                    env=child_environment(),
                )
        except OSError as error:
            ours.close()
            raise ModelCrashedError(f"a model process cannot be started: {error}") from error
        reader, writer = await asyncio.open_unix_connection(sock=ours)
        return cls(process, reader, writer)

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it can still be asked."""
        return not self._ended

    @property
    def in_flight(self) -> int:
        """How many requests it holds."""
        return len(self._asked)

    def memory_bytes(self) -> int:
        """What is resident, 0 once it has ended."""
        try:
            return psutil.Process(self.pid).memory_info().rss
        except psutil.Error:
            return 0

    async def standing_by(self) -> None:
        """Returns once everything is imported. Raises `ModelCrashedError`."""
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                await asyncio.shield(self._hello)
        except TimeoutError as error:
            raise ModelCrashedError(f"a model process did not start within {START_TIMEOUT_S:.0f} s") from error

    async def load(self, folder: Path, settings: LoadSettings) -> BackendInfo:
        """Loads the model in `folder`. Raises what the process says is wrong with it, or `ModelCrashedError`."""
        await self.standing_by()
        self._send({"t": "load", "folder": str(folder), "settings": asdict(settings)})
        return await asyncio.shield(self._loaded)

    async def ask(self, request: Request) -> Result:
        """The answer to one request; being cancelled cancels it in the process too."""
        if self._ended:
            raise self._crash()
        key = next(self._keys)
        try:
            question = frames.encode({"t": "run", "key": key, "request": wire.encode_request(request)})
        except frames.FrameError as error:
            raise InvalidGenerationError(f"the request cannot be sent to its model: {error}") from error
        answer: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._asked[key] = answer
        try:
            self._writer.write(question)
            return await answer
        except asyncio.CancelledError:
            if not answer.done() or answer.cancelled():
                self._send({"t": "cancel", "key": key})
            raise
        finally:
            self._asked.pop(key, None)

    async def close(self) -> None:
        """Ends the process. What it holds fails with `ModelCrashedError`."""
        self._end()
        self._writer.close()
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _send(self, frame: frames.Frame) -> None:
        # The process reads at once and without limit, so the buffer holds no more than what was asked just now.
        if not self._ended:
            self._writer.write(frames.encode(frame))

    async def _receive(self) -> None:
        try:
            while (frame := await frames.read_async(self._reader)) is not None:
                self._take(frame)
        finally:
            # Its socket closes a moment before it can be waited for, and then its status tells why.
            try:
                async with asyncio.timeout(END_TIMEOUT_S):
                    await self._process.wait()
            except TimeoutError:
                self._process.kill()
            self._end()

    def _take(self, frame: frames.Frame) -> None:
        match frame["t"]:
            case "ready":
                _resolve(self._hello, None)
            case "loaded":
                _resolve(self._loaded, BackendInfo(**frame["info"]))
            case "failed":
                _reject(self._loaded, _error(frame))
            case "result":
                _resolve(self._asked.get(frame["key"]), wire.decode_result(frame["result"]))
            case "error":
                _reject(self._asked.get(frame["key"]), _error(frame))
            case unknown:
                _log.error("a model process sent a frame of unknown kind %r", unknown)

    async def _listen(self, stderr: asyncio.StreamReader) -> None:
        rest = b""
        while chunk := await stderr.read(64 * KIB):
            *lines, rest = (rest + chunk).split(b"\n")
            rest = rest[-LOG_LINE_MAX_CHARS:]
            for line in lines:
                text = line.decode(errors="replace").rstrip()[:LOG_LINE_MAX_CHARS]
                self._last_lines.append(text)
                _log.info("model process %d: %s", self.pid, text)

    def _end(self) -> None:
        """From now on nothing can be asked; whoever waits learns why."""
        if self._ended:
            return
        self._ended = True
        for future in [self._hello, self._loaded, *self._asked.values()]:
            _reject(future, self._crash())
            if future in (self._hello, self._loaded) and not future.cancelled():
                future.exception()  # nobody may be waiting for these

    def _crash(self) -> InferenceError:
        code = self._process.returncode
        if code is None:
            story = "was closed"
        elif code < 0:
            story = f"was ended by {signal.Signals(-code).name}"
        else:
            story = f"exited with status {code}"
        hint = " (out of memory?)" if code == -signal.SIGKILL else ""
        words = f": {' | '.join(self._last_lines)}" if self._last_lines else ""
        return ModelCrashedError(f"the model's process {story}{hint}{words}", remedy="send the request again")


def child_environment() -> dict[str, str]:
    """The environment of a process that imports a runtime: the agent's, with this code on its path, no telemetry."""
    code = str(Path(orbit_agent.__file__).parent.parent)
    path = os.pathsep.join(filter(None, [code, os.environ.get("PYTHONPATH", "")]))
    # Weights in huge pages: one token at a time reads all of them, and is 7 % faster so. Known to glibc alone.
    tunables = ":".join(filter(None, [os.environ.get("GLIBC_TUNABLES", ""), "glibc.malloc.hugetlb=1"]))
    return {**os.environ, "PYTHONPATH": path, "GLIBC_TUNABLES": tunables, "ORT_DISABLE_TELEMETRY": "1"}


def _error(frame: frames.Frame) -> InferenceError:
    return error_from_code(frame["code"], frame["message"], frame["remedy"])


def _resolve(future: asyncio.Future[Any] | None, value: Any) -> None:
    if future is not None and not future.done():
        future.set_result(value)


def _reject(future: asyncio.Future[Any] | None, error: Exception) -> None:
    if future is not None and not future.done():
        future.set_exception(error)
