"""Long blocking work, such as a download: on a thread of its own, so that nothing else waits for it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from functools import partial
from threading import Thread
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


async def apart(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What `work` returns or raises.

    Unlike `asyncio.to_thread` it takes no thread of the loop's few, which heartbeats need, and does not hold up the
    end of the process. Being cancelled leaves it running, and nobody hears how it ended.
    """
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[T] = loop.create_future()

    def tell(resolve: Callable[[Any], None], value: object) -> None:
        if not outcome.done():
            resolve(value)

    def run() -> None:
        try:
            said = partial(tell, outcome.set_result, work(*args, **kwargs))
        except BaseException as error:
            said = partial(tell, outcome.set_exception, error)
        with contextlib.suppress(RuntimeError):  # the loop has been closed meanwhile
            loop.call_soon_threadsafe(said)

    Thread(target=run, name="models", daemon=True).start()
    return await outcome
