"""What keeps the model up to date: lists asked for again and again, and the watch streams of what is looked at.

The feed never raises for a mesh that is away: it says `Silent` and asks on. An answer that will not be another one
the next time ends what it answers: a run's page says so and is left alone. Agents and new runs have no stream of
their own, so their lists are polled; runs under way are watched. What a message means is the model's business.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing
from typing import Final, Protocol

from orbit_core.client import Agent, Cluster, Invocation, InvocationState, LogRecord, Mesh, Run, RunState
from orbit_core.errors import MeshUnreachableError, NotFoundError, NotLeaderError, OrbitError, StoreError
from orbit_core.spec.loader import load
from tui.app.model.messages import (
    AgentsListed,
    Answered,
    FailuresListed,
    GraphRead,
    LogsRefused,
    LogsSeen,
    MeshMessage,
    PageMessage,
    RunChanged,
    RunRefused,
    RunsListed,
    Silent,
)

#: The newest runs that are listed, and how many of those under way are watched.
RUNS_LISTED: Final = 100
RUNS_WATCHED_MAX: Final = 16
#: Failed invocations that a run's page lists.
FAILURES_MAX: Final = 200
#: An answer that takes longer is told as silence.
SILENCE_S: Final = 2.0
_POLL_S: Final = 1.0
_AGAIN_S: Final = 2.0
#: Log records that arrive together are told together, at most this many.
_LOG_BATCH: Final = 200
#: What goes by: nobody leads, or the store is away. Any other error is an answer.
_PASSING: Final = (MeshUnreachableError, NotLeaderError, StoreError)


class MeshClient(Protocol):
    """What the app needs of `orbit_core.client.OrbitClient`."""

    async def mesh(self) -> Mesh: ...

    async def agents(self, *, include_lost: bool = False) -> tuple[Agent, ...]: ...

    async def drain(self, agent_id: str) -> Agent: ...

    async def cluster(self, identifier: str) -> Cluster: ...

    async def runs(
        self, cluster: str = "", *, states: Iterable[RunState] = (), limit: int = RUNS_LISTED
    ) -> tuple[Run, ...]: ...

    async def cancel(self, run_id: str, *, reason: str = "") -> Run: ...

    async def retry(self, run_id: str) -> Run: ...

    def watch(self, run_id: str) -> AsyncGenerator[Run, None]: ...

    def logs(
        self, run_id: str, *, follow: bool = False, step: str = "", invocation_id: str = ""
    ) -> AsyncGenerator[LogRecord, None]: ...

    def invocations(
        self, run_id: str, *, step: str = "", states: Iterable[InvocationState] = ()
    ) -> AsyncGenerator[Invocation, None]: ...


class Feed:
    """Tells what `client` says. `now_ms` is wall time. `waiting` is called by the client when it has to wait."""

    def __init__(self, client: MeshClient, now_ms: Callable[[], int]) -> None:
        self._client = client
        self._now_ms = now_ms
        self._reason = ""

    def waiting(self, error: OrbitError, waited_s: float) -> None:
        """The client's `on_wait`: why there is no answer yet."""
        self._reason = error.message

    async def follow_mesh(self, tell: Callable[[MeshMessage], None]) -> None:
        """Agents, runs and who leads, until cancelled."""
        watches: dict[str, asyncio.Task[None]] = {}
        try:
            while True:
                runs = await self._pulse(tell)
                for run in [each for each in runs if not each.ended][:RUNS_WATCHED_MAX]:
                    if run.run_id not in watches or watches[run.run_id].done():
                        watches[run.run_id] = asyncio.create_task(self._watch(run.run_id, tell))
                watches = {run_id: task for run_id, task in watches.items() if not task.done()}
                await asyncio.sleep(_POLL_S)
        finally:
            for task in watches.values():
                task.cancel()
            await asyncio.gather(*watches.values(), return_exceptions=True)

    async def _pulse(self, tell: Callable[[MeshMessage], None]) -> tuple[Run, ...]:
        """Ask once; a long wait and an error alike are told as silence. The runs, none where nobody answered."""
        since_ms = self._now_ms()
        asking = asyncio.create_task(self._ask(tell))
        try:
            while not (await asyncio.wait({asking}, timeout=SILENCE_S))[0]:
                tell(Silent(since_ms, self._reason or "no answer yet"))
            return asking.result()
        except OrbitError as error:
            tell(Silent(since_ms, error.message))
            return ()
        finally:
            asking.cancel()

    async def _ask(self, tell: Callable[[MeshMessage], None]) -> tuple[Run, ...]:
        mesh = await self._client.mesh()
        agents = await self._client.agents(include_lost=True)
        runs = await self._client.runs(limit=RUNS_LISTED)
        tell(Answered(mesh))
        tell(AgentsListed(agents))
        tell(RunsListed(runs))
        return runs

    async def _watch(self, run_id: str, tell: Callable[[MeshMessage], None]) -> None:
        """Until the run has ended or the watch breaks: the next pulse begins another."""
        try:
            async with aclosing(self._client.watch(run_id)) as stream:
                async for run in stream:
                    tell(RunChanged(run))
        except OrbitError:
            return  # whether the mesh answers is the pulse's to say

    async def follow_run(self, run_id: str, tell: Callable[[PageMessage], None]) -> None:
        """All that a run's page shows, until the run has ended and everything is told, or none of it can be had."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow_state(run_id, tell))
            group.create_task(self._follow_logs(run_id, tell))

    async def _follow_state(self, run_id: str, tell: Callable[[PageMessage], None]) -> None:
        failures, failed, graph_read = FailuresListed((), more=False), -1, False
        while True:
            try:
                async with aclosing(self._client.watch(run_id)) as stream:
                    async for run in stream:
                        tell(RunChanged(run))
                        if not graph_read:
                            tell(GraphRead(await self._needs(run)))
                            graph_read = True
                        now_failed = sum(step.failed for step in run.steps)
                        if now_failed != failed and not failures.more:
                            failures = await self._failures(run_id)
                            tell(failures)
                        failed = now_failed
                return
            except _PASSING as error:
                tell(RunRefused(error.message))
                await asyncio.sleep(_AGAIN_S)
            except OrbitError as error:
                tell(RunRefused(str(error)))
                return

    async def _needs(self, run: Run) -> dict[str, tuple[str, ...]]:
        """The graph of the file that the run was made from; empty where the cluster is another by now, or gone."""
        try:
            cluster = await self._client.cluster(run.cluster)
        except NotFoundError:
            return {}
        if cluster.spec_hash != run.spec_hash:
            return {}
        spec = (await asyncio.to_thread(load, cluster.document)).cluster
        return {step.identifier: tuple(step.needs) for step in spec.satellites} if spec else {}

    async def _failures(self, run_id: str) -> FailuresListed:
        found: list[Invocation] = []
        async with aclosing(self._client.invocations(run_id, states=("failed",))) as stream:
            async for invocation in stream:
                if len(found) == FAILURES_MAX:
                    return FailuresListed(tuple(found), more=True)
                found.append(invocation)
        return FailuresListed(tuple(found), more=False)

    async def _follow_logs(self, run_id: str, tell: Callable[[PageMessage], None]) -> None:
        """A break is made good by the client; when it gives up, the logs begin anew where they were not told."""
        told = 0
        while True:
            try:
                async with aclosing(_batches(self._client.logs(run_id, follow=True))) as stream:
                    seen = 0
                    async for records in stream:
                        new = records[max(0, told - seen) :]
                        seen += len(records)
                        if new:
                            tell(LogsSeen(new))
                            told = seen
                return
            except _PASSING:
                await asyncio.sleep(_AGAIN_S)
            except OrbitError as error:
                tell(LogsRefused(str(error)))
                return


async def _batches(stream: AsyncGenerator[LogRecord, None]) -> AsyncGenerator[tuple[LogRecord, ...], None]:
    """What is there at once, together: a screen is not drawn for each line of a flood."""
    batch: list[LogRecord] = []
    coming: asyncio.Task[LogRecord] | None = None
    try:
        while True:
            coming = asyncio.ensure_future(anext(stream))
            await asyncio.wait({coming}, timeout=0 if batch else None)
            if batch and (len(batch) >= _LOG_BATCH or not coming.done()):
                yield tuple(batch)
                batch = []
            batch.append(await coming)
    except StopAsyncIteration:
        if batch:
            yield tuple(batch)
    finally:
        if coming is not None:
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)
        await stream.aclose()
