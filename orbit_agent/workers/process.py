"""One worker process as the agent sees it: started, given one attempt at a time, watched, killed.

Which attempt goes to which process is the pool's to decide.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import orbit_agent
from orbit_agent.workers import frames, leftovers, tree
from orbit_agent.workers.api import Call, OnObject, Outcome
from orbit_agent.workers.output import OutputPump
from orbit_agent.workers.serving import Services, Serving
from orbit_core.limits import MIB

START_TIMEOUT_S: Final = 60.0
#: How long a process may take to clean up after an attempt, to say its last line, or to be seen dead.
GRACE_S: Final = 2.0

#: What of the agent's environment a worker sees: nothing that could hold a credential.
_ENVIRONMENT: Final = (
    "PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR", "LD_LIBRARY_PATH",
    "CUDA_VISIBLE_DEVICES", "DOCLING_ARTIFACTS_PATH", "VIRTUAL_ENV",
)  # fmt: skip


class WorkerStartError(Exception):
    """A worker process did not start; the message ends with what it said."""


@dataclass(slots=True)
class _Verdict:
    """Why the agent killed a process."""

    code: str
    message: str
    retryable: bool


@dataclass(slots=True, eq=False)
class WorkerProcess:
    """Use `spawn`. `served` and `last_satellite` help the pool to choose."""

    home: Path
    process: asyncio.subprocess.Process
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    served: int = 0
    last_satellite: str = ""
    pool_key: str | None = None
    idle_since_s: float = 0.0
    serving: Serving | None = None
    _verdict: _Verdict | None = None
    _pumps: list[OutputPump] = field(default_factory=list)
    _last_words: deque[str] = field(default_factory=lambda: deque(maxlen=5))

    @classmethod
    async def spawn(cls, home: Path, scratch_root: Path) -> WorkerProcess:
        """A process that is ready for its first attempt. Raises `WorkerStartError`."""
        try:
            os.makedirs(home)
            ours, theirs = socket.socketpair()
        except OSError as error:
            raise WorkerStartError(f"a worker process cannot be started: {error}") from error
        with theirs:
            # First of all: from the start of the process on, nothing may come between it and whoever will end it.
            reader, writer = await asyncio.open_unix_connection(sock=ours)
            try:
                process = await asyncio.create_subprocess_exec(
                    sys.executable, "-P", "-m", "orbit_agent.workers.child", str(theirs.fileno()), str(os.getpid()),
                    stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                    pass_fds=[theirs.fileno()], start_new_session=True, cwd=home, env=_environment(home, scratch_root),
                )  # fmt: skip
            except BaseException as error:
                writer.close()
                if isinstance(error, OSError):
                    raise WorkerStartError(f"a worker process cannot be started: {error}") from error
                raise
        worker = cls(home, process, reader, writer)
        assert process.stdout is not None and process.stderr is not None
        worker._pumps = [
            OutputPump(process.stdout, lambda line: worker._said("stdout", line)),
            OutputPump(process.stderr, lambda line: worker._said("stderr", line)),
        ]
        ready = False
        try:
            ready = await worker._is_ready(START_TIMEOUT_S) and await worker._output_ended()
        finally:
            if not ready:
                await worker.close()
        if not ready:
            words = " | ".join(worker._last_words) or "it said nothing"
            raise WorkerStartError(f"a worker process did not start: {words}")
        return worker

    @property
    def alive(self) -> bool:
        return self.process.returncode is None and self._verdict is None

    def resident_bytes(self) -> int:
        return tree.resident_bytes(self.process.pid)

    async def attempt(self, call: Call, scratch: Path, on_object: OnObject, services: Services) -> Outcome:
        """Runs one attempt. Whatever ends it early (cancelled, timeout, death) leaves the process dead.

        Raises only what `on_object` raises.
        """
        serving = Serving(call, scratch, services, self.writer)
        try:
            opening = serving.opening()
        except (TypeError, ValueError, RecursionError, frames.FrameError) as error:
            return serving.died("invalid-input", f"config or input cannot be sent as JSON: {error}", False)
        self.serving = serving
        self.served += 1
        self.last_satellite = call.satellite
        deadline = asyncio.timeout(call.timeout_s)
        try:
            async with deadline:
                result = await serving.until_result(opening, self.reader, on_object)
        except TimeoutError:
            if not deadline.expired():
                raise
            result = None
            await self._dump_stacks()
            self.kill("timeout", f"the attempt took longer than its timeout of {call.timeout_s:g} s", retryable=True)
        except frames.FrameError as error:
            result = None
            self.kill("invalid-result", f"what the satellite gave cannot be read: {error}", retryable=False)
        finally:
            await serving.close()
        if result is None:
            outcome = serving.died(*await self._cause_of_death())
        else:
            await self._settle()
            outcome = serving.ended(result)
        self.serving = None
        return outcome

    def watch_memory(self) -> None:
        """Called a few times a second: kills the process when its attempt has passed its limit."""
        serving = self.serving
        if serving is None or not self.alive:
            return
        used, limit = self.resident_bytes(), serving.call.memory_bytes
        serving.peak_memory_bytes = max(serving.peak_memory_bytes, used)
        if used > limit:
            self.kill(
                "memory-limit",
                f"the attempt used {used / MIB:.0f} MiB and its limit is {limit / MIB:.0f} MiB: "
                "raise `resources.memory` of this step",
                # What earlier attempts left in the process counts too: then a fresh one deserves a try.
                retryable=self.served > 1,
            )

    def kill(self, code: str, message: str, *, retryable: bool) -> None:
        """Ends the process and everything it has started, at once. The first reason given is the one reported."""
        if self._verdict is None:
            self._verdict = _Verdict(code, message, retryable)
            tree.kill(self.process.pid)

    async def close(self) -> None:
        """Kills the process if need be and waits until nothing of it is left but its home directory."""
        self.kill("closed", "the worker pool was closed", retryable=True)
        await self.process.wait()
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()
        for pump in self._pumps:
            # A process that escaped the kill may hold the pipe open; its words are not worth waiting for.
            await asyncio.wait([pump.task], timeout=GRACE_S)
            pump.task.cancel()
        await asyncio.gather(*(pump.task for pump in self._pumps), return_exceptions=True)

    async def _settle(self) -> None:
        """After a result: all output is read and the process is ready again, or it is killed."""
        if not await self._output_ended():
            self.kill("unclean", "closed its output", retryable=True)
        elif not await self._is_ready(GRACE_S):
            self.kill("unclean", "did not end its work in time", retryable=True)
        if self.alive and tree.descendants(self.process.pid):
            self.kill("unclean", "left processes behind", retryable=True)

    async def _output_ended(self) -> bool:
        """Waits until all that was written before the last end marker has been read."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GRACE_S):
                for pump in self._pumps:
                    await pump.ended.wait()
                    pump.ended.clear()
                return True
        return False

    async def _is_ready(self, timeout_s: float) -> bool:
        """Reads on until the process says so; what a satellite's stray threads still send is dropped."""
        with contextlib.suppress(TimeoutError, frames.FrameError):
            async with asyncio.timeout(timeout_s):
                while (frame := await frames.read_async(self.reader)) is not None:
                    if frame["t"] == "ready":
                        return True
        return False

    async def _cause_of_death(self) -> tuple[str, str, bool]:
        """Code, message and whether to retry, for a process whose channel has closed."""
        with contextlib.suppress(TimeoutError):
            # Its channel closes a moment before it can be waited for.
            await asyncio.wait_for(self.process.wait(), GRACE_S)
        if self._verdict is None:
            status = self.process.returncode
            self.kill("worker-exited", _exit_story(status), retryable=True)
        await self.close()
        assert self._verdict is not None
        return self._verdict.code, self._verdict.message, self._verdict.retryable

    async def _dump_stacks(self) -> None:
        """Where does it hang? faulthandler writes every stack to stderr, even while the interpreter is stuck."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGUSR1)
            await asyncio.sleep(0.1)

    def _said(self, source: str, line: str) -> None:
        if self.serving is not None:
            self.serving.output(source, line)
        else:
            self._last_words.append(line)


def _environment(home: Path, scratch_root: Path) -> dict[str, str]:
    kept = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    # The same code as the agent's, from a clone as from an installation, and whatever the agent was told to add.
    code = str(Path(orbit_agent.__file__).parent.parent)
    inherited = os.environ.get("PYTHONPATH", "")
    return kept | {
        "PYTHONPATH": os.pathsep.join(filter(None, [code, inherited])),
        # Not the user's: no credentials, no settings of theirs are to be picked up by accident.
        "HOME": str(home),
        "TMPDIR": str(home),
        leftovers.VARIABLE: str(scratch_root),
        "AWS_EC2_METADATA_DISABLED": "true",
        "HF_HUB_OFFLINE": "1",
        "ORT_DISABLE_TELEMETRY": "1",
    }


def _exit_story(status: int | None) -> str:
    if status is None:
        return "the worker process closed its channel without ending"
    if status >= 0:
        return f"the worker process exited with status {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    hint = ": the machine may have run out of memory" if -status == signal.SIGKILL else ""
    return f"the worker process was killed by {name}{hint}"
