"""`python -m bench.recovery`: how long a new leader takes to have 100,000 live invocations back.

Builds the state through the live `step`, writes it as a snapshot with a tail of journal behind it, recovers it, and
checks that it is the same. The store is the in-memory twin: what is measured is Orbit's own work, not etcd's disk.
Prints one line of JSON. Also how long a snapshot keeps the event loop from everything else at worst, in slices as it is
taken and in one go as it could be: all of it, and again when about half of the runs have changed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Sequence
from typing import Any

from orbit_coordinator.recovery import recover
from orbit_coordinator.snapshots import Pictures
from orbit_core.limits import FAN_OUT_WINDOW
from orbit_core.sched.events import (
    AgentAttached,
    AttemptStarted,
    AttemptSucceeded,
    Event,
    Placed,
    Placement,
    RunCreated,
)
from orbit_core.sched.model import AgentFacts, AttemptKey, ObjectAddress, Outputs, TriggerFacts, Usage
from orbit_core.sched.state import MeshState
from orbit_core.sched.step import step
from orbit_core.sched.workflow import Need, StepPlan, Workflow
from orbit_core.spec.models import RetryPolicy
from orbit_core.store.codec import digest, encode, encode_event, encode_mesh
from orbit_core.store.election import Candidate, Election
from orbit_core.store.journal import JournalWriter
from orbit_core.store.keys import Keys
from orbit_core.store.memory import MemoryStore
from orbit_core.store.snapshot import SnapshotWriter

_NOW_MS = 1_700_000_000_000
_SPEC = "spec"
_JOURNAL_TAIL_RECORDS = 2_000


class _Specs:
    """The one workflow, as the spec store would give it."""

    def __init__(self, workflow: Workflow) -> None:
        self.workflow = workflow

    async def get(self, spec_hash: str) -> _Specs:
        return self


def _workflow() -> Workflow:
    def plan(index: int) -> StepPlan:
        return StepPlan(
            index=index,
            identifier=f"s{index}",
            section="main",
            satellite="satellite/orbit/echo",
            needs=(index - 1,) if index else (),
            retries=RetryPolicy(),
            request=Need(cpu_milli=1, memory_bytes=1 << 20),
            timeout_ms=60_000,
            typical_ms=1_000,
        )

    return Workflow(identifier="bench/recovery", sla_ms=3_600_000, steps=(plan(0), plan(1)))


def _agent(number: int) -> AgentFacts:
    return AgentFacts(f"agent-{number}", "1", f"agent-{number}:1", 10**6, 1 << 50)


def build(live: int) -> MeshState:
    """A mesh with about `live` invocations that have not ended: most ready, some running."""
    state = MeshState()
    state.workflows[_SPEC] = _workflow()
    for number in range(100):
        step(state, AgentAttached(_agent(number)), _NOW_MS)
    objects = Outputs(inline=tuple(json.dumps({"n": n, "text": "x" * 60}) for n in range(FAN_OUT_WINDOW)))
    for number in range(-(-live // FAN_OUT_WINDOW)):
        run_id, agent = f"run-{number:05d}", f"agent-{number % 100}"
        trigger = TriggerFacts("api-call", _NOW_MS, "now")
        created = RunCreated(run_id, "bench/recovery", _SPEC, trigger, ObjectAddress(json="{}"), _NOW_MS + 3_600_000)
        step(state, created, _NOW_MS)
        root = state.runs[run_id].roots[0]
        step(state, Placed((Placement(run_id, root, agent),)), _NOW_MS)
        key = AttemptKey(run_id, root, 1)
        step(state, AttemptSucceeded(key, agent, objects, Usage(duration_ms=5)), _NOW_MS)
        for child in state.runs[run_id].invocations[root].children[:10]:
            step(state, Placed((Placement(run_id, child, agent),)), _NOW_MS)
    return state


def _tail(state: MeshState) -> list[Event]:
    found: list[Event] = []
    for run in state.runs.values():
        for invocation in run.invocations.values():
            if invocation.agent is not None:
                found.append(AttemptStarted(AttemptKey(run.id, invocation.id, invocation.attempt), invocation.agent))
                if len(found) == _JOURNAL_TAIL_RECORDS:
                    return found
    return found


class Stalls:
    """The longest time that the event loop did not come round, in seconds."""

    def __init__(self) -> None:
        self.longest_s = 0.0

    async def __aenter__(self) -> Stalls:
        self._task = asyncio.create_task(self._watch())
        await asyncio.sleep(0)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await asyncio.sleep(0)
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _watch(self) -> None:
        last_s = time.perf_counter()
        while True:
            await asyncio.sleep(0)
            now_s = time.perf_counter()
            self.longest_s, last_s = max(self.longest_s, now_s - last_s), now_s


async def measure(live: int) -> dict[str, Any]:
    state = build(live)
    store, keys = MemoryStore(), Keys()
    election = Election(store, keys, Candidate("c", "c:1"), ttl_s=3_600)
    leadership = await election.campaign()
    pictures, snapshots = Pictures(), SnapshotWriter(store, keys, leadership)
    async with Stalls() as in_one_go:
        _encode_in_one_go(state)
    async with Stalls() as in_slices:
        await pictures.begin(state)
        written = await snapshots.write(10, await pictures.finish())
    journal = JournalWriter(store, keys, leadership, next_seq=11, linger_s=0)
    for event in _tail(state):
        pictures.before(state, event, _NOW_MS)
        step(state, event, _NOW_MS)
        await journal.append([encode_event(event, _NOW_MS)])
    began_s = time.perf_counter()
    recovered = await recover(store, keys, _Specs(state.workflows[_SPEC]))  # type: ignore[arg-type]
    recovery_s = time.perf_counter() - began_s
    same = digest(recovered.state) == digest(state)
    async with Stalls() as again:
        await pictures.begin(state)
        await pictures.finish()
    await journal.close()
    await election.resign()
    await store.close()
    return {
        "live_invocations": sum(
            1 for run in state.runs.values() for each in run.invocations.values() if not each.ended
        ),
        "runs": len(state.runs),
        "snapshot_mib": round(written.bytes_written / (1 << 20), 1),
        "journal_records_after_it": _JOURNAL_TAIL_RECORDS,
        "recovery_s": round(recovery_s, 2),
        "recovered_the_same": same,
        "longest_stall_in_one_go_ms": round(in_one_go.longest_s * 1000, 1),
        "longest_stall_ms": round(in_slices.longest_s * 1000, 1),
        "longest_stall_half_changed_ms": round(again.longest_s * 1000, 1),
        "stall_ratio": round(in_one_go.longest_s / in_slices.longest_s, 1),
    }


def _encode_in_one_go(state: MeshState) -> None:
    encode_mesh(state)
    for run in state.runs.values():
        encode(run)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.recovery", description=__doc__)
    parser.add_argument("--live", type=int, default=100_000)
    figures = asyncio.run(measure(parser.parse_args(arguments).live))
    print(json.dumps(figures))
    return 0 if figures["recovered_the_same"] else 1


if __name__ == "__main__":
    sys.exit(main())
