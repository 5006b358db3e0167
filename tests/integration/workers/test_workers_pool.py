"""The processes of a pool, for real: reused, limited, killed, closed, and none left behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest

from orbit_agent.workers import WorkerPool
from satellites.contract import (
    JsonObject,
)
from tests.integration.workers.mischief import MIB, Files, Mesh, Models, call, eventually, gone, processes_of


async def test_an_attempt_that_hangs_is_killed_and_its_stack_is_in_the_log(mesh: Mesh) -> None:
    outcome = await mesh.run(replace(call("hang"), timeout_s=0.5))
    assert (outcome.status, outcome.code, outcome.retryable) == ("failed", "timeout", True)
    assert "0.5 s" in outcome.message
    assert "in do_hang" in mesh.said()
    assert (await mesh.run(call(satellite="satellite/orbit/echo"))).status == "succeeded"


async def test_a_process_that_exits_costs_one_attempt(mesh: Mesh) -> None:
    outcome = await mesh.run(call("exit"))
    assert (outcome.code, outcome.retryable) == ("worker-exited", True)
    assert "status 3" in outcome.message
    assert "last words" in mesh.said()

    outcome = await mesh.run(call("segfault"))
    assert (outcome.code, outcome.retryable) == ("worker-exited", True)
    assert "SIGSEGV" in outcome.message
    assert "Segmentation fault" in mesh.said()

    assert (await mesh.run(call(satellite="satellite/orbit/echo"))).status == "succeeded"


async def test_an_attempt_that_eats_memory_is_stopped_at_its_limit(mesh: Mesh) -> None:
    outcome = await mesh.run(replace(call("eat"), memory_bytes=192 * MIB))
    assert (outcome.code, outcome.retryable) == ("memory-limit", False)
    assert "192 MiB" in outcome.message
    assert 192 * MIB < outcome.peak_memory_bytes < 512 * MIB


async def test_what_earlier_attempts_left_in_a_process_is_not_held_against_an_input(mesh: Mesh) -> None:
    roomy = replace(call("hoard", bytes=200 * MIB), memory_bytes=512 * MIB)
    await mesh.run(roomy)
    outcome = await mesh.run(replace(call("eat"), memory_bytes=512 * MIB))
    assert (outcome.code, outcome.retryable) == ("memory-limit", True)

    await mesh.run(roomy)
    await mesh.run(replace(call("who"), memory_bytes=512 * MIB))
    await mesh.run(replace(call("who"), memory_bytes=256 * MIB))
    _, hoarder, roomier, smaller = (value["pid"] for value in mesh.objects)
    assert hoarder == roomier != smaller


async def test_one_allocation_far_above_the_limit_fails_inside_the_process(mesh: Mesh) -> None:
    outcome = await mesh.run(replace(call("gulp", bytes=4096 * MIB), memory_bytes=128 * MIB))
    assert (outcome.code, outcome.retryable) == ("memory-limit", False)
    assert outcome.peak_memory_bytes < 1024 * MIB


async def test_processes_are_used_again_for_the_same_key_only(mesh: Mesh) -> None:
    for key in ("a", "a", "b"):
        assert (await mesh.run(replace(call("who"), pool_key=key))).status == "succeeded"
    first, second, third = (value["pid"] for value in mesh.objects)
    assert first == second != third


async def test_a_process_is_given_up_after_so_many_attempts(tmp_path: Path, package: Path) -> None:
    pool = WorkerPool(
        scratch_root=tmp_path / "few", size=1, models=Models(), files=Files(tmp_path / "blobs"),
        on_log=lambda *_: None, attempts_max=2, idle_s=0.3,
    )  # fmt: skip
    await pool.start()
    try:
        pids: list[int] = []

        async def take(value: JsonObject) -> None:
            pids.append(value["pid"])

        for _ in range(3):
            await pool.run(call("who"), take)
        assert pids[0] == pids[1] != pids[2]
        await eventually(lambda: gone(pids[2]))  # idle for too long
    finally:
        await pool.close()


async def test_what_a_satellite_leaves_running_ends_with_its_attempt(mesh: Mesh) -> None:
    assert (await mesh.run(call("leave_process"))).status == "succeeded"
    (value,) = mesh.objects
    await eventually(lambda: gone(value["child"]) and gone(value["pid"]))

    assert (await mesh.run(call("thread"))).status == "succeeded"
    await eventually(lambda: gone(mesh.objects[-1]["pid"]))


async def test_a_cancelled_attempt_is_killed_with_all_it_started(mesh: Mesh, tmp_path: Path) -> None:
    told = tmp_path / "told"
    running = asyncio.create_task(mesh.run(call("spawn_and_hang", tell=str(told))))
    await eventually(lambda: told.exists() and len(told.read_text().split()) == 2)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    for pid in map(int, told.read_text().split()):
        await eventually(lambda pid=pid: gone(pid))
    assert list(mesh.root.glob("attempt-*")) == []


async def test_what_on_object_raises_comes_out_and_the_process_is_not_used_again(mesh: Mesh) -> None:
    async def refuse(value: JsonObject) -> None:
        raise OSError("the outbox is full")

    with pytest.raises(OSError, match="outbox"):
        await mesh.pool.run(call(satellite="satellite/test/stream", count=10), refuse)
    assert (await mesh.run(call(satellite="satellite/orbit/echo"))).status == "succeeded"


async def test_more_calls_than_processes_wait_their_turn(mesh: Mesh) -> None:
    sleeping = replace(call(satellite="satellite/orbit/sleep"), config={"seconds": 0.05})
    outcomes = await asyncio.gather(*(mesh.run(sleeping) for _ in range(8)))
    assert [outcome.status for outcome in outcomes] == ["succeeded"] * 8
    assert len(mesh.pool._idle) <= 2


@pytest.mark.parametrize("turns", [0, 1, 2, 3, 5, 8, 13])
async def test_closing_while_processes_start_leaves_none(tmp_path: Path, package: Path, turns: int) -> None:
    root = tmp_path / "scratch"
    pool = WorkerPool(
        scratch_root=root, size=2, models=Models(), files=Files(tmp_path / "blobs"), on_log=lambda *_: None
    )
    await pool.start()
    for _ in range(turns):
        await asyncio.sleep(0)
    await pool.close()
    assert processes_of(root) == []


async def test_closing_the_pool_ends_what_runs(mesh: Mesh) -> None:
    running = asyncio.create_task(mesh.run(replace(call(satellite="satellite/orbit/sleep"), config={"seconds": 600})))
    await eventually(lambda: bool(mesh.pool._busy) and next(iter(mesh.pool._busy)).serving is not None)
    await mesh.pool.close()
    assert (await running).code == "worker-exited"
    assert (await mesh.run(call())).code == "worker-start-failed"


async def test_a_worker_that_cannot_start_says_why(mesh: Mesh, package: Path) -> None:
    pool = mesh.pool
    await eventually(lambda: len(pool._spares) == 2)
    (package / "satellites.py").write_text("raise RuntimeError('broken installation')")
    (package / "orbit_agent.py").write_text("raise RuntimeError('broken installation')")
    for spare in pool._spares:
        await spare.close()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("orbit_agent.__file__", str(package / "orbit_agent" / "__init__.py"))
        outcome = await mesh.run(call())
    assert (outcome.code, outcome.retryable) == ("worker-start-failed", True)
    assert "broken installation" in outcome.message


AGENT = textwrap.dedent(
    """
    import asyncio, sys
    from pathlib import Path
    sys.path.insert(0, {repository!r})
    from orbit_agent.workers import Call, WorkerPool

    async def main():
        pool = WorkerPool(scratch_root=Path({root!r}), size=2, models=None, files=None, on_log=lambda *_: None)
        await pool.start()
        call = Call("run", "c", "s", "inv", 1, "satellite/test/mischief", {{}},
                    {{"how": "spawn_and_hang", "tell": {told!r}}}, {{"TOKEN": "x"}}, 600.0, 2**29, 1.0, False, "k")
        await pool.run(call, None)

    asyncio.run(main())
    """
)


async def test_workers_do_not_outlive_an_agent_that_is_killed(tmp_path: Path, package: Path) -> None:
    root, told = tmp_path / "scratch", tmp_path / "told"
    repository = str(Path(__file__).parents[2])
    program = AGENT.format(repository=repository, root=str(root), told=str(told))
    agent = await asyncio.create_subprocess_exec(sys.executable, "-c", program)
    try:
        await eventually(lambda: told.exists() and len(told.read_text().split()) == 2)
        worker, stray = map(int, told.read_text().split())
        os.kill(agent.pid, signal.SIGKILL)
        await eventually(lambda: gone(worker))
        # One that was just starting notices as soon as it can.
        await eventually(lambda: [pid for pid in processes_of(root) if pid != stray] == [])
    finally:
        with contextlib.suppress(ProcessLookupError):
            agent.kill()
        await agent.wait()

    # What the satellite itself had started goes when the agent comes back.
    pool = WorkerPool(
        scratch_root=root, size=1, models=Models(), files=Files(tmp_path / "blobs"), on_log=lambda *_: None
    )
    assert root.exists()
    await pool.start()
    await eventually(lambda: gone(stray))
    await pool.close()
