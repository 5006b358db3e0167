"""One child process of Orbit's: started, ready, watched, ended. What it is for is not known here.

A child prints one line on standard output when it is ready, `{"event": "ready", "id": …, "address": …}`, and logs to
standard error, which goes to a file. It is told to end with the thread that started it (the kernel does that on
Linux), so that nothing is left when this process is killed; and it has a session of its own, so that Ctrl-C in the
terminal reaches only this process, which ends its children in order.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from orbit_core.errors import InternalError, OrbitError

PARENT_DEATH_VARIABLE: Final = "ORBIT_PARENT_DEATH_SIGNAL"
_TAIL_BYTES: Final = 4_096
_TAIL_LINES: Final = 12


@dataclass(frozen=True, slots=True)
class ChildEnded:
    """A child ended though nobody had asked it to."""

    name: str
    status: int
    log: Path
    log_tail: str

    def __str__(self) -> str:
        how = f"was killed by signal {-self.status}" if self.status < 0 else f"ended with status {self.status}"
        return f"{self.name} {how}; its log is {self.log}"


class Child:
    """A process named `name`, running `arguments`, logging to `log`.

    `on_end` is called, on the loop, when it ends without having been asked to.
    """

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        log: Path,
        *,
        environment: Mapping[str, str] = os.environ,
        on_end: Callable[[ChildEnded], None] = lambda ended: None,
    ) -> None:
        self.name = name
        self.log = log
        self.address = ""
        self.arguments = tuple(arguments)
        self._environment = {**environment, PARENT_DEATH_VARIABLE: "1", "PYTHONUNBUFFERED": "1"}
        self._on_end = on_end
        self._process: asyncio.subprocess.Process | None = None
        self._watching: asyncio.Task[None] | None = None
        self._asked_to_end = False

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    @property
    def pid(self) -> int:
        """Of the process as it was last started; 0 before that."""
        return self._process.pid if self._process else 0

    async def start(self, *, timeout_s: float = 60.0) -> None:
        """Start and wait for the ready line. Raises `InternalError` with the end of the log."""
        self._asked_to_end = False
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *self.arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env=self._environment,
                start_new_session=True,
            )
        self._process = process
        try:
            async with asyncio.timeout(timeout_s):
                self.address = await self._ready_address(process)
        except BaseException as error:
            await self.kill()
            if isinstance(error, TimeoutError):
                raise self._failed(f"was not ready after {timeout_s:g} s") from error
            raise
        self._watching = asyncio.create_task(self._watch(process))

    async def stop(self, *, timeout_s: float = 30.0) -> None:
        """End it gently; by force after `timeout_s`. May be called at any time, and again."""
        await self._end(signal.SIGTERM, timeout_s)

    async def kill(self) -> None:
        """As `kill -9`, and waited for."""
        await self._end(signal.SIGKILL, timeout_s=30.0)

    def log_tail(self) -> str:
        """The last lines of its log."""
        try:
            with self.log.open("rb") as file:
                file.seek(max(0, self.log.stat().st_size - _TAIL_BYTES))
                return "\n".join(file.read().decode(errors="replace").splitlines()[-_TAIL_LINES:])
        except OSError:
            return ""

    async def _end(self, how: signal.Signals, timeout_s: float) -> None:
        self._asked_to_end = True
        process = self._process
        if process is None:
            return
        if process.returncode is None:
            process.send_signal(how)
            try:
                async with asyncio.timeout(timeout_s):
                    await process.wait()
            except TimeoutError:
                process.kill()
            except asyncio.CancelledError:
                process.kill()  # whoever is in such a hurry still leaves nothing behind
                raise
        await process.wait()
        if self._watching is not None:
            await self._watching
            self._watching = None

    async def _ready_address(self, process: asyncio.subprocess.Process) -> str:
        assert process.stdout is not None
        while line := await process.stdout.readline():
            try:
                said = json.loads(line)
                if said["event"] == "ready":
                    return str(said["address"])
            except (ValueError, KeyError, TypeError):
                continue
        status = await process.wait()
        raise self._failed(f"ended with status {status} before it was ready")

    async def _watch(self, process: asyncio.subprocess.Process) -> None:
        """Read what it still says, so that it never blocks, until it has ended."""
        assert process.stdout is not None
        while await process.stdout.read(4_096):
            pass
        status = await process.wait()
        if not self._asked_to_end:
            self._on_end(ChildEnded(self.name, status, self.log, self.log_tail()))

    def _failed(self, what: str) -> OrbitError:
        return InternalError(
            f"{self.name} {what}; its log ends with:\n{self.log_tail()}",
            remedy="ORBIT_LOG=DEBUG makes it say more; a data directory of your own keeps the whole log",
        )
