"""A mesh that stands still, for tests of the terminal UI: a client with canned answers, and the app over it."""

from __future__ import annotations

import asyncio
import difflib
import io
import os
import time
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from rich.console import Console
from textual.pilot import Pilot

from orbit_core.client import (
    Agent,
    Cluster,
    Failure,
    Gpu,
    Hardware,
    Invocation,
    LogRecord,
    Mesh,
    Run,
    RunningInvocation,
    StepProgress,
    Usage,
)
from orbit_core.errors import MeshUnreachableError, NotFoundError
from orbit_core.limits import GIB, MIB
from tui.app.app import OrbitApp
from tui.app.feed import Feed

GOLDEN = Path(__file__).parent / "golden"
DEADLINE_S = 60.0
SETTLED_LOOKS = 75
NOW_MS = 1_790_000_000_000
MESH = Mesh("coordinator-0", "coordinator-0", "127.0.0.1:7070", 7, "0.1.0", 2, 4_711, 2)
DOCUMENT = """
version: 0.0.1b
cluster:
  identifier: demo/quarterly-reports
  sla: 10m
  trigger: {api-call: true}
  satellites:
  - {uses: satellite/orbit/echo, identifier: list-files}
  - {uses: satellite/orbit/echo, identifier: parse-pdf}
  - {uses: satellite/orbit/echo, identifier: scan-for-tables-in-appendices, needs: [list-files]}
  - {uses: satellite/orbit/echo, identifier: extract-json, needs: [parse-pdf, scan-for-tables-in-appendices]}
  - {uses: satellite/orbit/echo, identifier: post}
"""


def agent(agent_id: str, **changes: Any) -> Agent:
    plain = Agent(
        agent_id=agent_id,
        state="attached",
        address="127.0.0.1:7081",
        hardware=Hardware(4_000, 16 * GIB, 80 * GIB, (), "EPYC 7763", "x86_64", "linux", ("CPUExecutionProvider",)),
        labels={"zone": "a"},
        price_usd_per_hour=0.05,
        price_kind="owned",
        satellites=("satellite/orbit/echo", "satellite/orbit/generate"),
        warm_models=(),
        cached_models=(),
        version="0.1.0",
        started_ms=NOW_MS - 3_600_000,
        used_cpu_milli=0,
        used_memory_bytes=0,
        running=(),
        last_seen_ms=NOW_MS - 1_000,
        cpu_load=0.02,
    )
    return replace(plain, **changes)


def running(step: str, count: int) -> tuple[RunningInvocation, ...]:
    return tuple(RunningInvocation(f"inv-{step}-{at}", "run-a", step, 1, NOW_MS - 2_500) for at in range(count))


def step(name: str, *counts: int, section: str = "main") -> StepProgress:
    """`counts`: expected, waiting, ready, running, succeeded, failed, skipped, cancelled."""
    return StepProgress(name, section, "satellite/orbit/echo", *(*counts, *[0] * (8 - len(counts))))


RUN_A = Run(
    run_id="run-ujrx4mdnw5yq2b7kcz3a",
    cluster="demo/quarterly-reports",
    spec_hash="ab" * 32,
    state="running",
    sla="pending",
    created_ms=NOW_MS - 133_000,
    deadline_ms=NOW_MS + 467_000,
    ended_ms=None,
    trigger="api-call",
    cost_usd=0.0123,
    usage=Usage(12_000, 3_456, 90_000, 700 * MIB),
    lineages_succeeded=41,
    lineages_failed=2,
    steps=(
        step("list-files", 1, 0, 0, 0, 1),
        step("parse-pdf", 120, 0, 40, 16, 62, 2),
        step("scan-for-tables-in-appendices", 120, 4, 6, 10, 80, 0, 20),
        step("extract-json", 62, 0, 13, 4, 45),
        step("post", 45, 2, 0, 2, 41),
        step("page-somebody", 2, 0, 0, 1, 1, section="failure"),
        step("ship-logs", 0, section="logs"),
    ),
    attempts=291,
    attempts_lost=3,
    reason="",
    retry_of="",
)
RUN_B = replace(
    RUN_A,
    run_id="run-c4kk2p0a7tzn5w6qv9xy",
    cluster="research/an-embedding-of-everything-we-have-ever-written-down",
    created_ms=NOW_MS - 3_000_000,
    deadline_ms=NOW_MS + 120_000,
    cost_usd=1.25,
    lineages_failed=0,
    steps=(step("read", 10, 0, 0, 0, 10), step("embed", 5_000, 0, 900, 32, 3_100)),
)
RUN_C = replace(
    RUN_A,
    run_id="run-3ee9qmlp8d1uhsf0t6vb",
    state="partially-succeeded",
    sla="missed",
    created_ms=NOW_MS - 90_000_000,
    ended_ms=NOW_MS - 86_000_000,
    cost_usd=12.5,
    steps=(step("list-files", 1, 0, 0, 0, 1), step("parse-pdf", 120, 0, 0, 0, 112, 8)),
    lineages_failed=8,
    retry_of="run-0ld",
)
AGENTS = (
    agent(
        "gpu-box",
        price_usd_per_hour=1.99,
        price_kind="spot",
        hardware=replace(
            agent("x").hardware, cpu_milli=16_000, memory_bytes=128 * GIB, gpus=(Gpu("H100", 80 * GIB),) * 2
        ),
        used_cpu_milli=12_000,
        used_memory_bytes=52 * GIB,
        running=running("extract-json", 4) + running("parse-pdf", 2),
        cpu_load=0.82,
        warm_models=("orbit/tiny-llm",),
    ),
    agent("cheap", used_cpu_milli=2_000, used_memory_bytes=1536 * MIB, running=running("parse-pdf", 2), cpu_load=0.51),
    agent("ip-10-0-113-27.eu-central-1.compute.internal", price_kind="on-demand", price_usd_per_hour=0.192),
    agent("old-laptop", state="draining", price_usd_per_hour=0.011),
    agent("spot-7", state="lost", price_kind="spot", running=()),
)
FAILURES = tuple(
    Invocation(
        invocation_id=f"inv-{at:020}",
        run_id=RUN_A.run_id,
        step="parse-pdf",
        section="main",
        state="failed",
        attempt=4,
        retries=3,
        parent_id="inv-list",
        index=at,
        agent_id="gpu-box",
        not_before_ms=None,
        started_ms=NOW_MS - 9_000,
        ended_ms=NOW_MS - 4_000,
        failure=Failure(code, message, False),
        usage=Usage(),
        cost_usd=0.0001,
        outputs=0,
        values=(),
    )
    for at, code, message in (
        (17, "pdf-encrypted", "the file needs a password: sec/2024/q3/globex-annual-report-restated.pdf"),
        (63, "timeout", "the attempt was stopped after 5 m\nits last line was: page 811 of 2 304"),
    )
)
LOGS = tuple(
    LogRecord(NOW_MS - 60_000 + 1_500 * at, level, message, RUN_A.run_id, f"inv-{at}", name, "gpu-box", 1)
    for at, (level, name, message) in enumerate(
        (
            ("info", "list-files", "120 files below sec/"),
            ("info", "parse-pdf", "acme-q3.pdf: 14 pages"),
            ("warning", "parse-pdf", "globex-q3.pdf: fonts are missing, text may be incomplete"),
            ("error", "parse-pdf", "the file needs a password"),
            ("debug", "extract-json", "prompt has 912 tokens"),
        )
    )
)


@dataclass
class CannedClient:
    """Answers what it was given; `away` is raised by every call while it is set."""

    mesh_: Mesh = MESH
    agents_: tuple[Agent, ...] = AGENTS
    runs_: tuple[Run, ...] = (RUN_A, RUN_B, RUN_C)
    failures: tuple[Invocation, ...] = FAILURES
    records: tuple[LogRecord, ...] = LOGS
    document: str = DOCUMENT
    away: MeshUnreachableError | None = None
    done: list[tuple[str, str]] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def _answers(self) -> None:
        if self.away:
            raise self.away

    def now_is(self, run: Run) -> Run:
        """This is the run from now on; watches hear of it."""
        self.runs_ = tuple(run if each.run_id == run.run_id else each for each in self.runs_)
        self.changed.set()
        self.changed = asyncio.Event()
        return run

    def _run(self, run_id: str) -> Run:
        self._answers()
        for each in self.runs_:
            if each.run_id == run_id:
                return each
        raise NotFoundError(f"there is no run {run_id}", remedy="`orbit runs` lists them")

    async def mesh(self) -> Mesh:
        self._answers()
        return self.mesh_

    async def agents(self, *, include_lost: bool = False) -> tuple[Agent, ...]:
        self._answers()
        return self.agents_

    async def runs(self, cluster: str = "", *, states: Iterable[str] = (), limit: int = 100) -> tuple[Run, ...]:
        self._answers()
        return self.runs_

    async def cluster(self, identifier: str) -> Cluster:
        self._answers()
        return Cluster(identifier, "", "ab" * 32, 600_000, True, 0, (), None, (), self.document)

    async def watch(self, run_id: str) -> AsyncGenerator[Run, None]:
        while True:
            run, changed = self._run(run_id), self.changed
            yield run
            if run.ended:
                return
            await changed.wait()

    async def logs(
        self, run_id: str, *, follow: bool = False, step: str = "", invocation_id: str = ""
    ) -> AsyncGenerator[LogRecord, None]:
        self._answers()
        for record in self.records:
            yield record
        while follow and not self._run(run_id).ended:
            await self.changed.wait()

    async def invocations(
        self, run_id: str, *, step: str = "", states: Iterable[str] = ()
    ) -> AsyncGenerator[Invocation, None]:
        self._answers()
        for each in self.failures:
            yield each

    async def cancel(self, run_id: str, *, reason: str = "") -> Run:
        run = self._run(run_id)
        self.done.append(("cancel", run_id))
        return self.now_is(replace(run, state="cancelled", sla="met", ended_ms=NOW_MS, reason=reason))

    async def retry(self, run_id: str) -> Run:
        run = self._run(run_id)
        self.done.append(("retry", run_id))
        again = replace(run, run_id="run-again", state="running", sla="pending", created_ms=NOW_MS,
                        deadline_ms=NOW_MS + 600_000, ended_ms=None, retry_of=run_id)  # fmt: skip
        self.runs_ = (again, *self.runs_)
        return again

    async def drain(self, agent_id: str) -> Agent:
        self._answers()
        self.done.append(("drain", agent_id))
        self.agents_ = tuple(
            replace(each, state="draining") if each.agent_id == agent_id else each for each in self.agents_
        )
        return next(each for each in self.agents_ if each.agent_id == agent_id)


class StillApp(OrbitApp):
    """At a moment that does not pass; notices stay until they are looked at."""

    NOTICE_S: ClassVar[Mapping[str, float]] = dict.fromkeys(OrbitApp.NOTICE_S, 3_600.0)


def app_over(client: CannedClient, *, run_id: str = "") -> OrbitApp:
    app = StillApp(client, Feed(client, lambda: NOW_MS), run_id=run_id, now_ms=lambda: NOW_MS)
    app.animation_level = "none"
    return app


def dump(app: OrbitApp) -> str:
    """What the terminal shows, as text; trailing blanks left out. Textual has no public way to it but a picture."""
    width, height = app.size
    console = Console(width=width, height=height, file=io.StringIO(), record=True, force_terminal=True)
    console.print(app.screen._compositor.render_update(full=True, screen_stack=app._background_screens))
    return "".join(f"{line.rstrip()}\n" for line in console.export_text().splitlines())


@dataclass
class Shots:
    """The screens of one app, each compared with the file of its name. `ORBIT_UPDATE_SNAPSHOTS=1` writes them."""

    app: OrbitApp
    pilot: Pilot[None]

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)

    async def shows(self, name: str) -> None:
        """Waits until the screen is that of the file; fails where it does not come to be.

        What a dialog covers is drawn no more: a screen is to be shown as it should be before a dialog opens over it.
        """
        width, height = self.app.size
        file = GOLDEN / f"{width}x{height}" / f"{name}.txt"
        if os.environ.get("ORBIT_UPDATE_SNAPSHOTS") == "1":
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(await self._settled())
            return
        wanted = file.read_text()
        deadline_s = time.monotonic() + DEADLINE_S
        while (seen := dump(self.app)) != wanted and time.monotonic() < deadline_s:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        difference = difflib.unified_diff(wanted.splitlines(), seen.splitlines(), str(file.name), "screen", lineterm="")
        assert seen == wanted, "\n".join(difference)

    async def _settled(self) -> str:
        """The screen once it has stayed the same for so many looks: a busy machine makes them rarer, not fewer."""
        last, same = "", 0
        while same < SETTLED_LOOKS:
            await asyncio.sleep(0.02)
            now = dump(self.app)
            last, same = now, same + 1 if now == last else 0
        return last


@asynccontextmanager
async def shots_of(client: CannedClient, size: tuple[int, int], *, run_id: str = "") -> AsyncGenerator[Shots, None]:
    app = app_over(client, run_id=run_id)
    async with app.run_test(size=size, notifications=True) as pilot:
        yield Shots(app, pilot)
