"""The demonstration, from nothing to the last line: a mesh, an outside world, the job, and everything gone again.

The job is real and nothing in Orbit is faked: see `cluster.yml` for what runs and `outside` for what stands for the
world. Rendering lives in `closing` and in the command line's `live`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from rich.console import Console
from rich.text import Text

from orbit_core.client import OrbitClient, Run, context_file, orbit_home
from orbit_core.errors import ModelError
from tui.cli import live
from tui.cli.session import now_ms
from tui.cli.sources import full_source, is_name
from tui.cli.words import money, plural
from tui.demo.closing import closing, took
from tui.demo.job import EXTRACT_STEP, LIST_STEP, Bucket, Credentials, Job, cluster_file, make_job
from tui.demo.outcome import Document, documents
from tui.demo.outside import STATE_PATH, TOKEN_VARIABLE, State
from tui.mesh import AgentPlan, Child, ChildEnded, LocalMesh

AGENTS: Final = (
    AgentPlan(id="spare-spot", price_usd_per_hour=0.04, price_kind="spot", cpus=1, memory="2GiB"),
    AgentPlan(id="office-pc", price_usd_per_hour=0.09, price_kind="owned", cpus=2, memory="4GiB"),
    AgentPlan(
        id="cloud-vm", price_usd_per_hour=0.34, price_kind="on-demand", cpus=4, memory="8GiB", labels={"size": "large"}
    ),
)
#: A model of one's own: its name here, and where it is kept. One agent fetches and loads it, not all three of them.
OWN_MODEL: Final = "demo-model"
OWN_MODEL_LABELS: Final = {"size": "large"}


@dataclass(frozen=True, slots=True)
class Options:
    """`documents` includes the damaged one. `model`: a name that ships with Orbit, or a source of models. `keep`:
    leave the mesh running at the end, until Ctrl-C.
    """

    documents: int = 24
    model: str = "orbit-demo"
    keep: bool = False
    plain: bool = False


@dataclass(slots=True)
class Demonstration:
    """One performance. `as_expected` says after `play` whether all went as it should."""

    options: Options
    out: Console
    err: Console
    as_expected: bool = False
    _credentials: Credentials = field(default_factory=Credentials)
    _restarts: set[asyncio.Task[int]] = field(default_factory=set)

    async def play(self) -> None:
        mesh = LocalMesh(AGENTS, allow_private_addresses=True, on_end=lambda ended: self._on_end(mesh, ended))
        outside = Child(
            "outside",
            [sys.executable, "-m", "tui.demo.outside"],
            mesh.log_dir / "outside.log",
            environment={**os.environ, TOKEN_VARIABLE: self._credentials.api_bearer_token},
        )
        try:
            job = await self._set_up(mesh, outside)
            with context_file(orbit_home(), mesh.addresses, "demo"):
                await self._perform(mesh, outside, job)
        except ExceptionGroup as failed:  # of the task group in which everything starts
            raise failed.exceptions[0] from None
        finally:
            for restart in self._restarts:
                restart.cancel()
            await asyncio.gather(*self._restarts, return_exceptions=True)
            await outside.stop()
            await mesh.stop()
        self._say_where_next()

    async def _set_up(self, mesh: LocalMesh, outside: Child) -> Job:
        with self._doing("a private etcd, an elected coordinator, three agents, and an outside world"):
            async with asyncio.TaskGroup() as group:
                making = group.create_task(asyncio.to_thread(make_job, self.options.documents))
                group.create_task(mesh.start())
                group.create_task(outside.start())
        for plan, child in zip(mesh.plans, mesh.agents, strict=True):
            price = f"{money(plan.price_usd_per_hour)} an hour, {plan.price_kind}"
            self._say(f"  {child.name:<14} {plan.cpus:g} cores, {plan.memory}, {price}, pid {child.pid}")
        for child in mesh.coordinators:
            self._say(f"  {child.name:<14} pid {child.pid}")
        return making.result()

    async def _perform(self, mesh: LocalMesh, outside: Child, job: Job) -> None:
        state = await _state_of(outside)
        with self._doing(f"{plural(len(job.files), 'quarterly report')} uploaded to the bucket, one of them damaged"):
            bucket = await asyncio.to_thread(Bucket, state.s3, self._credentials)
            await asyncio.to_thread(bucket.fill, job.files)
        try:
            async with OrbitClient(mesh.addresses) as client:
                model = await self._model(client)
                run = await self._run(client, outside, state, model)
                self._say("  while it runs: kill -9 any of these processes, and see that nothing is lost")
                run = await live.follow(client.watch(run.run_id), self.err, plain=self.options.plain, now_ms=now_ms)
                found = await _read(client, run, job)
            left = await asyncio.to_thread(bucket.keys)
        finally:
            bucket.close()
        seen = await _state_of(outside)
        self.out.print()
        self.out.print(closing(run, found, seen, left))
        self.as_expected = (
            run.state == "partially-succeeded"
            and run.sla == "met"
            and (run.lineages_succeeded, run.lineages_failed) == (len(job.files) - 1, 1)
        )
        if self.options.keep:
            await self._keep(mesh)

    async def _model(self, client: OrbitClient) -> str:
        """The name of the model that reads the reports; a repository or a folder is registered and fetched first."""
        if is_name(self.options.model):
            return self.options.model
        source = full_source(self.options.model)
        with self._doing(f"{source} fetched as {OWN_MODEL}"):
            await client.add_model(OWN_MODEL, source, labels=OWN_MODEL_LABELS)
            pull = await client.pull_model(OWN_MODEL)
            failures: dict[str, str] = {}
            async for model in client.watch_pull(pull):
                failures = pull.failures(model)
            if failures:
                raise ModelError(
                    f"{source} cannot be used: {'; '.join(failures.values())}",
                    remedy="without --model the demonstration runs on the model that ships with Orbit, offline",
                )
        return OWN_MODEL

    async def _run(self, client: OrbitClient, outside: Child, state: State, model: str) -> Run:
        with self._doing("the cluster file submitted, and a run of it started"):
            content = cluster_file(
                s3=state.s3,
                receivers=f"http://{outside.address}",
                model=model,
                credentials=self._credentials,
            )
            submission = await client.submit(content, file_name="cluster.yml")
            return await client.trigger(submission.cluster.identifier)

    async def _keep(self, mesh: LocalMesh) -> None:
        self.out.print()
        self._say(f"kept: the mesh at {', '.join(mesh.addresses)}, logs in {mesh.log_dir}; Ctrl-C ends it")
        self._say("  in another terminal: orbit runs, orbit status, orbit results, orbit logs, orbit agents")
        await asyncio.Event().wait()

    def _on_end(self, mesh: LocalMesh, ended: ChildEnded) -> None:
        """An agent's work goes to the others; without a coordinator nobody would give it to them."""
        self.err.print(Text(f"  {ended.name} was killed" if ended.status < 0 else f"  {ended}", "bold yellow"))
        names = [child.name for child in mesh.coordinators]
        if ended.name in names:
            self._say("  starting another coordinator")
            restart = asyncio.ensure_future(mesh.start_coordinator(names.index(ended.name)))
            self._restarts.add(restart)

    def _say(self, text: str) -> None:
        self.err.print(Text(text, "dim"), soft_wrap=True)

    @contextlib.contextmanager
    def _doing(self, what: str) -> Iterator[None]:
        """Something that takes a moment; said when it is done."""
        began_s = time.monotonic()
        animated = self.err.is_terminal and not self.options.plain
        with self.err.status(f"{what} …") if animated else contextlib.nullcontext():
            yield
        self.err.print(took(what, 1000 * (time.monotonic() - began_s)))

    def _say_where_next(self) -> None:
        self.out.print()
        for command, what in (
            ("orbit demo --keep", "the same, and the mesh stays: then orbit runs, status, results, logs, agents"),
            ("orbit up -n 2", "a mesh of your own; README.md goes on from there"),
        ):
            self.out.print(Text.assemble((f"{command:18} ", "bold"), what), soft_wrap=True)


async def _read(client: OrbitClient, run: Run, job: Job) -> list[Document]:
    invocations = [each async for each in client.invocations(run.run_id)]
    steps = [LIST_STEP, EXTRACT_STEP]
    results = [each async for each in client.results(run.run_id, follow=False, steps=steps)]
    return documents(invocations, results, job.reports)


async def _state_of(outside: Child) -> State:
    def fetch() -> bytes:
        # No proxy: it is on loopback, whatever the environment says.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://{outside.address}{STATE_PATH}", timeout=10) as response:
            return response.read()

    return State.from_json(await asyncio.to_thread(fetch))
