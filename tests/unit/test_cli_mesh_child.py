"""One child process: ready, not ready, dying by itself, ended gently and by force."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import psutil
import pytest

from orbit_core.errors import InternalError
from tui.mesh import Child, ChildEnded

READY = """
import json, os, signal, sys, time
print("to the log", file=sys.stderr, flush=True)
print("not json", flush=True)
print(json.dumps({"event": "ready", "id": "c", "address": "127.0.0.1:%s" % os.environ["PORT"]}), flush=True)
"""
SLEEP = "time.sleep(600)"
STUBBORN = "signal.signal(signal.SIGTERM, signal.SIG_IGN); print('x' * 200_000, flush=True); time.sleep(600)"


@pytest.fixture
async def child(tmp_path: Path) -> AsyncIterator[Callable[..., Child]]:
    made: list[Child] = []

    def make(script: str, on_end: Callable[[ChildEnded], None] = lambda ended: None) -> Child:
        arguments = [sys.executable, "-c", script]
        made.append(Child("c", arguments, tmp_path / "c.log", environment={"PORT": "7070"}, on_end=on_end))
        return made[-1]

    yield make
    for each in made:
        await each.kill()


async def test_ready_with_its_address_and_its_log(child: Callable[..., Child]) -> None:
    started = child(READY + SLEEP)
    await started.start()
    assert (started.address, started.running) == ("127.0.0.1:7070", True)
    assert psutil.Process(started.pid).environ()["ORBIT_PARENT_DEATH_SIGNAL"] == "1"
    await started.stop()
    assert not started.running and not psutil.pid_exists(started.pid)
    assert started.log_tail() == "to the log"
    await started.stop()


async def test_one_that_ends_before_it_is_ready_tells_its_log(child: Callable[..., Child]) -> None:
    with pytest.raises(InternalError, match="ended with status 3 before it was ready") as caught:
        await child("import sys; print('no disk', file=sys.stderr); sys.exit(3)").start()
    assert "no disk" in caught.value.message


async def test_one_that_never_gets_ready_is_ended(child: Callable[..., Child]) -> None:
    slow = child("import time; time.sleep(600)")
    with pytest.raises(InternalError, match="not ready after"):
        await slow.start(timeout_s=0.5)
    assert not slow.running


async def test_a_death_that_nobody_asked_for_is_told(child: Callable[..., Child]) -> None:
    told: asyncio.Queue[ChildEnded] = asyncio.Queue()
    victim = child(READY + SLEEP, told.put_nowait)
    await victim.start()
    psutil.Process(victim.pid).kill()
    async with asyncio.timeout(20):
        ended = await told.get()
    assert str(ended).startswith("c was killed by signal 9")
    assert ended.log_tail == "to the log"
    await victim.start()
    await victim.kill()
    assert told.empty(), "this one was asked for"


async def test_one_that_will_not_end_is_killed(child: Callable[..., Child]) -> None:
    stubborn = child(READY + STUBBORN)
    await stubborn.start()
    await stubborn.stop(timeout_s=0.5)
    assert not psutil.pid_exists(stubborn.pid)


async def test_whoever_is_in_a_hurry_leaves_nothing_behind(child: Callable[..., Child]) -> None:
    stubborn = child(READY + STUBBORN)
    await stubborn.start()
    stopping = asyncio.create_task(stubborn.stop())
    await asyncio.sleep(0)
    stopping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopping
    await stubborn.stop()
    assert not psutil.pid_exists(stubborn.pid)
