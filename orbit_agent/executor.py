"""Runs one attempt: fetches its objects, resolves references, asks a worker process, gathers what comes out.

Everything that can go wrong becomes the `Failure` of that attempt. Secrets are filled in here and nowhere earlier.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from orbit_agent.objects import ObjectFetcher, OutputCollector
from orbit_agent.workers.api import Call, Outcome
from orbit_agent.workers.pool import WorkerPool
from orbit_core.errors import BlobError, OrbitError, ReferenceError_, SecretError
from orbit_core.limits import ERROR_MESSAGE_MAX_CHARS
from orbit_core.pb.orbit.v1 import agents_pb2, common_pb2
from orbit_core.spec.expressions import Condition
from orbit_core.spec.resolve import Values, resolve
from orbit_core.store.blobs import BlobStore
from orbit_core.store.transport import BlobFetcher

log = logging.getLogger(__name__)


class BlobSharer(Protocol):
    """Copies blobs to where they outlive this machine."""

    async def share(self, blobs: Sequence[common_pb2.BlobRef]) -> None: ...


class Executor:
    """Runs attempts; one instance serves the whole agent."""

    def __init__(self, pool: WorkerPool, fetcher: BlobFetcher[Any], blobs: BlobStore, sharer: BlobSharer) -> None:
        self._pool = pool
        self._objects = ObjectFetcher(fetcher)
        self._fetcher = fetcher
        self._blobs = blobs
        self._sharer = sharer

    async def run(self, assignment: agents_pb2.Assignment) -> agents_pb2.AttemptResult:
        """The attempt's result, whatever happens. Cancelled: the worker's process is killed."""
        result = agents_pb2.AttemptResult(key=assignment.key)
        started_s = time.monotonic()
        try:
            await self._attempt(assignment, result)
        except (ReferenceError_, SecretError) as error:
            result.failure.CopyFrom(_failure(error.code, str(error), retryable=False))
        except BlobError as error:
            result.failure.CopyFrom(_failure(error.code, str(error), retryable=True))
        except OrbitError as error:
            result.failure.CopyFrom(_failure(error.code, str(error), retryable=True))
        except Exception as error:
            log.exception("an attempt failed inside the agent")
            result.failure.CopyFrom(_failure("agent-error", f"{type(error).__name__}: {error}", retryable=True))
        if not result.usage.duration_ms:
            result.usage.duration_ms = max(1, round((time.monotonic() - started_s) * 1000))
        result.ended_ms = time.time_ns() // 1_000_000
        return result

    async def _attempt(self, assignment: agents_pb2.Assignment, result: agents_pb2.AttemptResult) -> None:
        scope, parent = await self._scope(assignment)
        if assignment.condition and not Condition.parse(assignment.condition).holds(scope):
            result.skipped.CopyFrom(agents_pb2.Skipped())
            if assignment.gather_needs:
                await self._pass_on(parent, result)
            return
        call = _call(assignment, scope, parent)
        collector = OutputCollector(self._blobs)
        outcome = await self._pool.run(call, collector.add)
        result.usage.CopyFrom(_usage(outcome))
        if outcome.status == "failed":
            result.failure.CopyFrom(_failure(outcome.code, outcome.message, retryable=outcome.retryable))
            return
        outputs, blobs = await collector.finish()
        await self._sharer.share(blobs)
        result.outputs.CopyFrom(outputs)
        result.blobs.extend(blobs)

    async def _pass_on(self, gathered: Any, result: agents_pb2.AttemptResult) -> None:
        """A skipped gather returns what it brought together, which lies nowhere as one object."""
        collector = OutputCollector(self._blobs)
        await collector.add(gathered)
        outputs, blobs = await collector.finish()
        await self._sharer.share(blobs)
        result.skipped.outputs.CopyFrom(outputs)
        result.blobs.extend(blobs)

    async def _scope(self, assignment: agents_pb2.Assignment) -> tuple[Values, Any]:
        """What references read, and the object that the step's input starts from."""
        read = self._objects.read
        gathered = {each.step: [await read(ref) for ref in each.objects] for each in assignment.gathered}
        if assignment.gather_needs:
            parent: Any = {need: gathered.get(need, []) for need in assignment.gather_needs}
        else:
            parent = await read(assignment.parent)
        scope = Values(
            output_by_step={each.step: await read(each.object) for each in assignment.lineage},
            outputs_by_step=gathered,
            cluster=json.loads(assignment.facts_json),
            trigger=await read(assignment.payload),
            failure=json.loads(assignment.failure_json) if assignment.failure_json else None,
        )
        return scope, parent


def _call(assignment: agents_pb2.Assignment, scope: Values, parent: Any) -> Call:
    secrets = dict(assignment.secrets)
    config = _mapping(resolve(json.loads(assignment.config_json), scope, secrets))
    own = config.pop("secrets", None) if "secrets" in config else None
    given: dict[str, Any] = dict(parent) if isinstance(parent, Mapping) else {"value": parent}
    if assignment.input_json:
        given |= _mapping(resolve(json.loads(assignment.input_json), scope))
    return Call(
        run_id=assignment.key.run_id,
        cluster=assignment.cluster,
        step=assignment.step,
        invocation_id=assignment.key.invocation_id,
        attempt=assignment.key.attempt,
        satellite=assignment.satellite,
        config=config,
        input=given,
        secrets={name: str(value) for name, value in (own or {}).items()},
        timeout_s=assignment.timeout_ms / 1000,
        memory_bytes=assignment.resources.memory_bytes,
        cpu=assignment.resources.cpu_milli / 1000,
        allow_private_addresses=assignment.allow_private_addresses,
        pool_key=assignment.cluster,
        sensitive_values=tuple(secrets.values()),
    )


def _mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ReferenceError_(f"a mapping is expected, and the references give {type(value).__name__}")
    return value


def _failure(code: str, message: str, *, retryable: bool) -> common_pb2.Failure:
    return common_pb2.Failure(code=code, message=message[:ERROR_MESSAGE_MAX_CHARS], retryable=retryable)


def _usage(outcome: Outcome) -> common_pb2.Usage:
    return common_pb2.Usage(
        input_tokens=outcome.input_tokens,
        output_tokens=outcome.output_tokens,
        duration_ms=outcome.duration_ms,
        peak_memory_bytes=outcome.peak_memory_bytes,
    )
