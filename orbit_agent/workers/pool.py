"""Which attempt runs in which process: processes are started ahead, used again, and given up in time.

A process serves one attempt at a time and only one `pool_key` in its life. It is used again while it is clean: it
left no process behind, keeps little memory, and has not served too often. How an attempt runs is `process`'s affair.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import shutil
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Final

from orbit_agent.workers import leftovers
from orbit_agent.workers.api import Call, OnLog, OnObject, Outcome, Redact
from orbit_agent.workers.process import WorkerProcess, WorkerStartError
from orbit_agent.workers.serving import Services
from satellites.contract import Files, Models

#: Attempts after which a process is given up, whatever it looks like: slow leaks end here.
ATTEMPTS_MAX: Final = 200
IDLE_S: Final = 60.0
#: Processes that wait, warm, for a key that has none.
SPARES: Final = 2
WATCH_INTERVAL_S: Final = 0.2
CLOSE_GRACE_S: Final = 5.0
#: A process is used again only while what it holds already is below this share of what the attempt may use.
KEPT_SHARE_MAX: Final = 0.75


class WorkerPool:
    """`size` attempts run at once; further calls wait their turn. Use `start` before and `close` after.

    `scratch_root` is this pool's alone: what an earlier agent left there, processes included, goes on `start`.
    `models` and `files` serve the workers' requests from the agent's process. `on_log` must not block. `redact`
    is applied to all text of logs and errors, after the secrets of the call itself have been taken out.
    """

    def __init__(
        self,
        *,
        scratch_root: Path,
        size: int,
        models: Models,
        files: Files,
        on_log: OnLog,
        redact: Redact | None = None,
        idle_s: float = IDLE_S,
        attempts_max: int = ATTEMPTS_MAX,
    ) -> None:
        self._root = scratch_root.absolute()
        self._size = size
        self._services = Services(models, files, on_log, redact)
        self._idle_s = idle_s
        self._attempts_max = attempts_max
        self._turns = asyncio.Semaphore(size)
        self._numbers = itertools.count(1)
        self._spares: list[WorkerProcess] = []
        self._idle: list[WorkerProcess] = []  # the longest idle first
        self._busy: set[WorkerProcess] = set()
        self._running: set[asyncio.Future[None]] = set()
        self._chores: set[asyncio.Task[None]] = set()
        self._filling: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._closed = False

    async def start(self) -> None:
        """Clears away what an earlier agent left and begins to warm processes up."""
        await asyncio.to_thread(leftovers.clear, self._root)
        self._watching = asyncio.create_task(self._watch())
        self._warm_up()

    async def close(self) -> None:
        """Kills every process, attempts that run included, and removes the scratch directory."""
        self._closed = True
        for task in filter(None, (self._watching, self._filling)):
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        for worker in self._busy:
            worker.kill("worker-exited", "the agent is stopping", retryable=True)
        # Their callers see that and give the processes back; one that hangs elsewhere is not waited for.
        if self._running:
            await asyncio.wait(self._running, timeout=CLOSE_GRACE_S)
        await asyncio.gather(*(self._discard(worker) for worker in [*self._spares, *self._idle, *self._busy]))
        await asyncio.gather(*self._chores)
        self._spares, self._idle = [], []
        await asyncio.to_thread(shutil.rmtree, self._root, ignore_errors=True)

    async def run(self, call: Call, on_object: OnObject) -> Outcome:
        """Runs one attempt; `on_object` is awaited for each object in order, and slows the satellite down.

        Cancelling the caller kills the process. Raises only what `on_object` raises.
        """
        done = asyncio.get_running_loop().create_future()
        self._running.add(done)
        try:
            async with self._turns:
                return await self._run(call, on_object)
        finally:
            self._running.discard(done)
            done.set_result(None)

    async def _run(self, call: Call, on_object: OnObject) -> Outcome:
        scratch = self._root / f"attempt-{next(self._numbers)}"
        try:
            worker = await self._lease(call)
        except WorkerStartError as error:
            return _never_started(str(error))
        try:
            try:
                scratch.mkdir(parents=True)
            except OSError as error:
                return _never_started(f"no scratch directory can be made: {error}")
            return await worker.attempt(call, scratch, on_object, self._services)
        except BaseException:
            worker.kill("abandoned", "nobody waits for this attempt any more", retryable=True)
            raise
        finally:
            # Finished even when the caller has been cancelled: the next attempt must not meet what is left.
            await asyncio.shield(self._chore(self._take_back(worker, scratch)))

    async def _lease(self, call: Call) -> WorkerProcess:
        if self._closed:
            raise WorkerStartError("the worker pool is closed")
        worker = self._reusable(call)
        if worker is not None:
            self._idle.remove(worker)
        else:
            await self._make_room()
            worker = self._take_spare() or await self._start_worker()
        self._busy.add(worker)
        worker.pool_key = call.pool_key
        return worker

    def _reusable(self, call: Call) -> WorkerProcess | None:
        """An idle process for this key that keeps little memory; one that ran the same satellite, if it can be."""
        best: WorkerProcess | None = None
        for worker in reversed(self._idle):
            if worker.pool_key != call.pool_key or not worker.alive:
                continue
            if worker.resident_bytes() > KEPT_SHARE_MAX * call.memory_bytes:
                continue
            if worker.last_satellite == call.satellite:
                return worker  # its libraries are loaded
            best = best or worker
        return best

    def _take_spare(self) -> WorkerProcess | None:
        worker = next((spare for spare in self._spares if spare.alive), None)
        if worker is not None:
            self._spares.remove(worker)
            self._warm_up()
        return worker

    async def _make_room(self) -> None:
        """Ends the process that has been idle longest where there would be more than `size` of them."""
        while self._idle and len(self._idle) + len(self._busy) >= self._size:
            await asyncio.shield(self._chore(self._discard(self._idle.pop(0))))

    async def _start_worker(self) -> WorkerProcess:
        return await WorkerProcess.spawn(self._root / f"worker-{next(self._numbers)}", self._root)

    async def _take_back(self, worker: WorkerProcess, scratch: Path) -> None:
        clean = worker.alive and worker.served < self._attempts_max and not self._closed
        if not clean:
            await self._discard(worker)
        await asyncio.to_thread(shutil.rmtree, scratch, ignore_errors=True)
        self._busy.discard(worker)
        if clean:
            worker.idle_since_s = time.monotonic()
            self._idle.append(worker)

    async def _discard(self, worker: WorkerProcess) -> None:
        await worker.close()
        await asyncio.to_thread(shutil.rmtree, worker.home, ignore_errors=True)

    def _warm_up(self) -> None:
        if self._filling is None or self._filling.done():
            self._filling = asyncio.create_task(self._fill_spares())

    async def _fill_spares(self) -> None:
        with contextlib.suppress(WorkerStartError):  # whoever needs a process is told why there is none
            while len(self._spares) < min(SPARES, self._size) and not self._closed:
                self._spares.append(await self._start_worker())

    def _chore(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Work that goes on when its caller is cancelled, and that `close` waits for."""
        task = asyncio.create_task(work)
        self._chores.add(task)
        task.add_done_callback(self._chores.discard)
        return task

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(WATCH_INTERVAL_S)
            for worker in list(self._busy):
                worker.watch_memory()
            now_s = time.monotonic()
            for worker in [idle for idle in self._idle if now_s - idle.idle_since_s > self._idle_s or not idle.alive]:
                self._idle.remove(worker)
                self._chore(self._discard(worker))


def _never_started(message: str) -> Outcome:
    return Outcome("failed", "worker-start-failed", message, True, 0, 0, 0, 0)
