"""From what is durable to the state: recovery. How snapshots are made is in `snapshots.py`.

Recovery replays events through the same `step` that made them; decisions and draws are in the events, so nothing is
asked again. A run that fails to replay is quarantined as failed, the others go on.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass

from orbit_coordinator.snapshots import MESH_PART, RUN_PART
from orbit_coordinator.specs import SpecStore
from orbit_core.errors import NotFoundError
from orbit_core.sched.events import Event, RunBroken, RunCreated
from orbit_core.sched.state import MeshState, Run, rebuild_indices
from orbit_core.sched.step import run_of, step
from orbit_core.store.api import Store
from orbit_core.store.codec import decode, decode_event, decode_mesh
from orbit_core.store.journal import JournalReader
from orbit_core.store.keys import Keys
from orbit_core.store.snapshot import load_newest

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Recovered:
    """The state after the last durable event, and the number of its record."""

    state: MeshState
    sequence: int
    events: int
    snapshot_sequence: int


async def recover(store: Store, keys: Keys, specs: SpecStore) -> Recovered:
    """What the journal and the newest snapshot say. Complete only for a leader, after it has won."""
    snapshot = await load_newest(store, keys)
    state, sequence = MeshState(), 0
    if snapshot is not None:
        state, sequence = decode_mesh(snapshot.parts[MESH_PART]), snapshot.seq
        for name, data in sorted(snapshot.parts.items()):
            if name.startswith(RUN_PART):
                run = decode(Run, data)
                state.runs[run.id] = run
        # Parts come by name; the order in which runs began is what iteration goes by.
        state.runs = dict(sorted(state.runs.items(), key=lambda item: (item[1].created_ms, item[0])))
        for run in state.runs.values():
            await load_workflow(state, specs, run.spec_hash)
        rebuild_indices(state)
    last, events = sequence, 0
    async for number, replayed in catch_up(state, store, keys, specs, sequence):
        last, events = number, events + replayed
    return Recovered(state, last, events, sequence)


async def catch_up(
    state: MeshState, store: Store, keys: Keys, specs: SpecStore, sequence: int
) -> AsyncIterator[tuple[int, int]]:
    """Replays the journal behind record `sequence`; after each record its number, and how many events it had.

    A record is replayed whole or not at all, whatever the store raises.
    """
    async for record in JournalReader(store, keys).read(sequence + 1):
        timed = [decode_event(payload) for payload in record.payloads]
        for each in timed:
            if isinstance(each.event, RunCreated):
                await load_workflow(state, specs, each.event.spec_hash)
        for each in timed:
            replay(state, each.event, each.now_ms)
        yield record.seq, len(timed)


def replay(state: MeshState, event: Event, now_ms: int) -> None:
    """One durable event; its commands were acted on, or will be made again from the state."""
    try:
        step(state, event, now_ms)
    except Exception as error:
        run_id = run_of(event)
        log.exception("an event fails to replay: %s of %s", type(event).__name__, run_id)
        if run_id is None:
            return
        step(state, RunBroken(run_id, f"failed to replay: {error}"), now_ms)


async def load_workflow(state: MeshState, specs: SpecStore, spec_hash: str) -> None:
    """Hands the spec's workflow to the state. NotFoundError where the spec is gone."""
    if spec_hash not in state.workflows:
        state.workflows[spec_hash] = (await specs.get(spec_hash)).workflow


async def known_workflows(state: MeshState, specs: SpecStore) -> None:
    """Workflows of the current version of each cluster; one that is gone is said and left out."""
    for entry in state.clusters.values():
        try:
            await load_workflow(state, specs, entry.spec_hash)
        except NotFoundError as error:
            log.error("cluster %s cannot run: %s", entry.identifier, error)
