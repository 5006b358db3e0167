"""Ending on SIGINT and SIGTERM alike: what runs is cancelled, so that it stops its children, and then waited for."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


async def until_signalled(work: Coroutine[Any, Any, None]) -> bool:
    """Run `work`; whether a signal ended it. Each signal cancels it once more: a second one cuts the stopping short."""
    task = asyncio.ensure_future(work)
    signalled = False

    def cancel() -> None:
        nonlocal signalled
        signalled = True
        task.cancel()

    loop = asyncio.get_running_loop()
    for number in _SIGNALS:
        loop.add_signal_handler(number, cancel)
    try:
        await task
    except asyncio.CancelledError:
        if not signalled:
            raise
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
    return signalled
