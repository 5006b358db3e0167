"""What keeps the app up to date: what it tells of a mesh that answers, does not, or refuses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from orbit_core.client import LogRecord, Run
from orbit_core.errors import BlobError, MeshUnreachableError, NotFoundError, PermissionError_
from tests.snapshot.tui_world import AGENTS, FAILURES, LOGS, MESH, NOW_MS, RUN_A, CannedClient
from tui.app.feed import FAILURES_MAX, Feed
from tui.app.model.messages import (
    AgentsListed,
    Answered,
    FailuresListed,
    GraphRead,
    LogsRefused,
    LogsSeen,
    RunChanged,
    RunRefused,
    RunsListed,
    Silent,
)

ENDED = replace(RUN_A, state="succeeded", ended_ms=NOW_MS)


class Heard(list[Any]):
    """What was told, and waiting for something that will be."""

    def __init__(self) -> None:
        super().__init__()
        self._more = asyncio.Event()

    def __call__(self, message: Any) -> None:
        self.append(message)
        self._more.set()

    async def until(self, condition: Callable[[list[Any]], bool]) -> None:
        async with asyncio.timeout(20):
            while not condition(self):
                self._more.clear()
                await self._more.wait()

    def of(self, kind: type) -> list[Any]:
        return [each for each in self if isinstance(each, kind)]


def feed_of(client: CannedClient) -> Feed:
    return Feed(client, lambda: NOW_MS)


@asynccontextmanager
async def following(work: Any) -> AsyncGenerator[asyncio.Task[None], None]:
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_the_mesh_is_asked_and_its_runs_are_watched() -> None:
    client, heard = CannedClient(), Heard()
    async with following(feed_of(client).follow_mesh(heard)):
        await heard.until(lambda told: bool(heard.of(RunsListed)))
        assert list(heard)[:3] == [Answered(MESH), AgentsListed(AGENTS), RunsListed(client.runs_)]
        client.now_is(ENDED)
        await heard.until(lambda told: RunChanged(ENDED) in told)
        asked = len(heard.of(Answered))
        await heard.until(lambda told: len(heard.of(Answered)) > asked)


async def test_a_mesh_that_is_away_is_silence_until_it_is_back() -> None:
    client, heard = CannedClient(away=MeshUnreachableError("connection refused")), Heard()
    async with following(feed_of(client).follow_mesh(heard)):
        await heard.until(lambda told: told == [Silent(NOW_MS, "connection refused")])
        client.away = None
        await heard.until(lambda told: bool(heard.of(RunsListed)))


async def test_a_long_wait_is_silence_with_the_reason_that_the_client_gives() -> None:
    class Waiting(CannedClient):
        async def mesh(self):
            await asyncio.Event().wait()

    heard = Heard()
    feed = feed_of(Waiting())
    feed.waiting(MeshUnreachableError("c1 does not lead"), 1.0)
    async with following(feed.follow_mesh(heard)):
        await heard.until(lambda told: told == [Silent(NOW_MS, "c1 does not lead")])


async def test_a_runs_page_is_told_in_full_and_ends_with_the_run() -> None:
    client, heard = CannedClient(), Heard()
    async with following(feed_of(client).follow_run(RUN_A.run_id, heard)) as task:
        await heard.until(lambda told: bool(heard.of(FailuresListed)) and bool(heard.of(LogsSeen)))
        client.now_is(ENDED)
        await asyncio.wait_for(task, 20)
    assert heard.of(FailuresListed) == [FailuresListed(FAILURES, more=False)], "asked again only when more have failed"
    (graph,) = heard.of(GraphRead)
    assert graph.needs["extract-json"] == ("parse-pdf", "scan-for-tables-in-appendices")
    assert heard.of(LogsSeen) == [LogsSeen(LOGS)]
    assert heard[-1] == RunChanged(ENDED)


async def test_the_graph_of_another_version_is_not_told() -> None:
    client, heard = CannedClient(runs_=(replace(ENDED, spec_hash="cd" * 32),)), Heard()
    await feed_of(client).follow_run(RUN_A.run_id, heard)
    assert heard.of(GraphRead) == [GraphRead({})]


async def test_more_failures_than_fit_are_cut_and_said_to_be() -> None:
    client, heard = CannedClient(runs_=(ENDED,), failures=FAILURES * FAILURES_MAX), Heard()
    await feed_of(client).follow_run(RUN_A.run_id, heard)
    (listed,) = heard.of(FailuresListed)
    assert len(listed.failures) == FAILURES_MAX and listed.more


async def test_what_will_not_change_is_told_once_and_not_asked_again() -> None:
    heard = Heard()
    await feed_of(CannedClient()).follow_run("run-none", heard)
    assert heard == [
        RunRefused("there is no run run-none (`orbit runs` lists them)"),
        LogsRefused("there is no run run-none (`orbit runs` lists them)"),
    ]


async def test_a_refusal_of_the_logs_leaves_the_rest() -> None:
    class Closed(CannedClient):
        async def logs(self, run_id: str, **options: Any) -> AsyncGenerator[LogRecord, None]:
            for record in ():
                yield record
            raise PermissionError_("logs need the role operator")

    heard = Heard()
    await feed_of(Closed(runs_=(ENDED,))).follow_run(RUN_A.run_id, heard)
    assert LogsRefused("logs need the role operator") in heard
    assert heard.of(RunChanged) == [RunChanged(ENDED)] and not heard.of(RunRefused)


async def test_a_break_is_told_and_made_good_without_telling_logs_twice() -> None:
    class Breaking(CannedClient):
        broken = 0

        async def watch(self, run_id: str) -> AsyncGenerator[Run, None]:
            self.broken += 1
            yield RUN_A if self.broken == 1 else ENDED
            if self.broken == 1:
                raise MeshUnreachableError("the leader is gone")

        async def logs(self, run_id: str, **options: Any) -> AsyncGenerator[LogRecord, None]:
            for record in LOGS[: 2 if not self.broken else None]:
                yield record
            if self.broken < 2:
                raise MeshUnreachableError("the leader is gone")

    heard = Heard()
    await asyncio.wait_for(feed_of(Breaking()).follow_run(RUN_A.run_id, heard), 20)
    assert heard.of(RunRefused) == [RunRefused("the leader is gone")]
    assert [record for message in heard.of(LogsSeen) for record in message.records] == list(LOGS)
    assert heard.of(RunChanged)[-1] == RunChanged(ENDED)


async def test_an_error_of_the_answer_ends_the_page() -> None:
    class Lost(CannedClient):
        async def watch(self, run_id: str) -> AsyncGenerator[Run, None]:
            yield RUN_A
            raise BlobError("the archive of this run is damaged")

    heard = Heard()
    client = Lost(records=())
    async with following(feed_of(client).follow_run(RUN_A.run_id, heard)):
        await heard.until(lambda told: RunRefused("the archive of this run is damaged") in told)
    assert len(heard.of(RunRefused)) == 1


async def test_a_cluster_that_is_gone_has_no_graph() -> None:
    class Gone(CannedClient):
        async def cluster(self, identifier: str):
            raise NotFoundError(f"there is no cluster {identifier}")

    heard = Heard()
    await feed_of(Gone(runs_=(ENDED,))).follow_run(RUN_A.run_id, heard)
    assert heard.of(GraphRead) == [GraphRead({})] and not heard.of(RunRefused)
