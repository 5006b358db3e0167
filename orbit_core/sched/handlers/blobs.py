"""Blobs that are on no machine any more: what needs them waits, then they are made again, or it fails as `data-lost`.

What a `deterministic` step returned can be made again: the invocation goes through the queue once more (`remaking`)
and ends as it had ended, without any other consequence, if it returns the very same. Everything else that is lost stays
lost: whoever needs it fails, and its lineage with it.
"""

from __future__ import annotations

from orbit_core.limits import DATA_LOST_AFTER_MS, MISSING_INPUTS_RETRY_MS
from orbit_core.plants import planted
from orbit_core.sched import lineage
from orbit_core.sched.commands import Command, RunChanged
from orbit_core.sched.events import InputsLost
from orbit_core.sched.handlers.ends import data_lost, fail
from orbit_core.sched.handlers.under_way import current, release
from orbit_core.sched.model import Status
from orbit_core.sched.state import Invocation, MeshState, Run
from orbit_core.sched.transitions import move


def inputs_lost(state: MeshState, event: InputsLost) -> list[Command]:
    run, invocation = current(state, event.key, event.agent_id)
    if run is None or invocation is None:
        return []
    release(state, invocation)
    waited_ms = [_missing_for_ms(state, run, name) for name in event.sha256] if event.gone else [0]
    # Machines come back; after a while they are taken for gone.
    if min(waited_ms) < DATA_LOST_AFTER_MS and not planted("lost-at-once"):
        invocation.not_before_ms = state.now_ms + MISSING_INPUTS_RETRY_MS
        move(state, run, invocation, Status.WAITING, "its inputs cannot be had just now")
        return [RunChanged(run.id)]
    return _make_or_fail(state, run, invocation, event.sha256)


def _missing_for_ms(state: MeshState, run: Run, sha256: str) -> int:
    """For how long no machine has had the blob. Found missing now; if it had been had since, that was long ago."""
    first_ms, last_ms = run.missing.get(sha256, (state.now_ms, state.now_ms))
    if state.now_ms - last_ms > DATA_LOST_AFTER_MS / 2:
        first_ms = state.now_ms
    run.missing[sha256] = (first_ms, state.now_ms)
    return state.now_ms - first_ms


def _make_or_fail(state: MeshState, run: Run, invocation: Invocation, sha256: tuple[str, ...]) -> list[Command]:
    makers = [(name, lineage.maker_of(state, run, name)) for name in sha256]
    lost = [name for name, maker in makers if maker is None]
    if planted("lost-not-made-again"):
        lost = list(sha256)
    if lost:
        return fail(state, run, invocation, data_lost(f"blob {lost[0]}"))
    invocation.not_before_ms = state.now_ms
    invocation.awaits = list(dict.fromkeys(maker.id for _, maker in makers if maker is not None))
    move(state, run, invocation, Status.WAITING, f"its inputs are made again by {', '.join(invocation.awaits)}")
    for _, maker in makers:
        if maker is not None and maker.remaking is None:
            _make_again(state, run, maker)
    return [RunChanged(run.id)]


def _make_again(state: MeshState, run: Run, maker: Invocation) -> None:
    maker.remaking = maker.status
    maker.failures = maker.losses = 0
    lineage.count_open(state, run, maker, +1)
    move(state, run, maker, Status.READY, "what it returned is lost, and made again")
