"""Time that costs nothing: an event loop whose clock jumps, and processes in it that can be paused and killed.

Every callback belongs to the process in whose context it was made. A killed process' callbacks are never run again,
not even its `finally` blocks, as after `kill -9`; a paused one's are held until it goes on, as after SIGSTOP. There
are no threads and no sockets, and callbacks run in the order in which they were made: one seed, one history.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
from asyncio import Handle, TimerHandle
from collections.abc import Callable, Coroutine
from typing import Any

CURRENT: contextvars.ContextVar[Process | None] = contextvars.ContextVar("process", default=None)


class Process:
    """One process from its start to its end; a restart makes another one."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.alive = True
        self.paused = False
        self.held: list[Handle] = []

    def __repr__(self) -> str:
        return self.name


class StuckError(Exception):
    """Nothing will ever happen again."""


class VirtualLoop(asyncio.BaseEventLoop):
    """An event loop without a selector: when nothing is ready, time moves to the next timer."""

    def __init__(self) -> None:
        super().__init__()
        self._now_s = 0.0
        self.errors: list[str] = []
        #: Every task ever made: one that is never run again must not be collected, which would run its `finally`.
        self.tasks: list[asyncio.Task[Any]] = []
        self.set_exception_handler(self._note)

    def time(self) -> float:
        return self._now_s

    def _note(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        process = CURRENT.get()
        if process is None or process.alive:
            self.errors.append(f"{context.get('message')}: {error!r}")

    def _run_once(self) -> None:
        ready, scheduled = self._ready, self._scheduled  # type: ignore[attr-defined]
        if not ready:
            while scheduled and scheduled[0]._cancelled:
                heapq.heappop(scheduled)._scheduled = False
            if not scheduled:
                raise StuckError("no task will ever go on")
            self._now_s = max(self._now_s, scheduled[0]._when)
        while scheduled and scheduled[0]._when <= self._now_s:
            timer: TimerHandle = heapq.heappop(scheduled)
            timer._scheduled = False  # type: ignore[attr-defined]
            ready.append(timer)
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle._cancelled:
                self._run(handle)

    def _run(self, handle: Handle) -> None:
        process = handle._context.get(CURRENT)  # type: ignore[attr-defined]
        if process is None or (process.alive and not process.paused):
            handle._run()
        elif process.alive:
            process.held.append(handle)

    def spawn(self, process: Process | None, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """A task that belongs to `process`; None: to the world itself."""
        context = contextvars.copy_context()
        context.run(CURRENT.set, process)
        return self.create_task(work, context=context)

    def create_task(self, coro: Any, **options: Any) -> asyncio.Task[Any]:
        task = super().create_task(coro, **options)
        self.tasks.append(task)
        return task

    def later(self, delay_s: float, callback: Callable[..., object], *args: object) -> None:
        """Calls back as the world itself, whoever asks."""
        context = contextvars.copy_context()
        context.run(CURRENT.set, None)
        self.call_later(delay_s, callback, *args, context=context)

    def bury(self) -> None:
        """Ends everything without a word: what was under way is forgotten."""
        self.set_exception_handler(lambda loop, context: None)
        for task in self.tasks:
            task._log_destroy_pending = False  # type: ignore[attr-defined]
        self.tasks.clear()

    def resume(self, process: Process) -> None:
        process.paused = False
        self._ready.extend(process.held)  # type: ignore[attr-defined]
        process.held = []

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        """There are no threads: the work is done a moment later, in the asker's own time."""
        done = self.create_future()

        def work() -> None:
            if done.cancelled():
                return
            try:
                done.set_result(func(*args))
            except Exception as error:
                done.set_exception(error)

        self.call_later(0.0005, work)
        return done

    def _process_events(self, event_list: Any) -> None: ...

    def _write_to_self(self) -> None: ...


class NodeClock:
    """A machine's clock: `skew_ms` off from the truth, and forward only."""

    def __init__(self, loop: VirtualLoop, *, began_ms: int, skew_ms: int) -> None:
        self._loop = loop
        self._began_ms = began_ms + skew_ms

    def set_back(self, by_ms: int) -> None:
        self._began_ms -= by_ms

    def now_ms(self) -> int:
        return self._began_ms + round(self._loop.time() * 1000)

    def monotonic_s(self) -> float:
        return self._loop.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
