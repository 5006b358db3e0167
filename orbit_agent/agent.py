"""One agent, put together: session, link, executor, workers, models, blobs, advertisement, and how they end.

Only wiring and lifetimes live here; each part decides for itself.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Sequence

import grpc
import psutil

from orbit_agent import hardware
from orbit_agent.advertise import Advertiser
from orbit_agent.attempts import Attempts
from orbit_agent.config import AgentConfig
from orbit_agent.executor import Executor
from orbit_agent.link import LeaderFinder, Link
from orbit_agent.models.agent_models import AgentModels, cached, warm
from orbit_agent.models_for_workers import ServedModels
from orbit_agent.objects import BlobFiles
from orbit_agent.outbox import Outbox
from orbit_agent.sharing import Home, Sharer
from orbit_agent.workers.api import Call, LogRecord
from orbit_agent.workers.pool import WorkerPool
from orbit_core.clock import SystemClock
from orbit_core.ids import time_ordered_id
from orbit_core.limits import ERROR_MESSAGE_MAX_CHARS
from orbit_core.pb.orbit.v1 import agents_pb2, blobs_pb2_grpc, common_pb2
from orbit_core.rpc_errors import ErrorInterceptor
from orbit_core.store.api import Store
from orbit_core.store.blobs import LocalBlobs
from orbit_core.store.keys import Keys
from orbit_core.store.peers import Peers
from orbit_core.store.transport import SERVER_OPTIONS, BlobFetcher, BlobService
from satellites.registry import installed, missing

log = logging.getLogger(__name__)

HEARTBEAT_S = 2.0
LOG_BATCH_S = 0.3
LOG_BATCH_MAX = 500
#: Blobs are asked for and copied again for this long while the leader changes: no attempt is spent on that.
BLOB_PATIENCE_S = 20.0
#: Log records that wait for a stream; the oldest go first.
LOG_BACKLOG_MAX = 10_000

_PRICE_KINDS = {
    "owned": agents_pb2.PRICE_KIND_OWNED,
    "on-demand": agents_pb2.PRICE_KIND_ON_DEMAND,
    "spot": agents_pb2.PRICE_KIND_SPOT,
}


class Agent:
    """`run` from start to end; `stop` begins the drain."""

    def __init__(self, config: AgentConfig, store: Store, models: AgentModels) -> None:
        self._config = config
        self._clock = SystemClock()
        self._models = models
        keys = Keys(config.prefix)
        self._blobs = LocalBlobs(config.data / "blobs")
        self._home = Home(self._clock)
        self._finder = LeaderFinder(store, keys)
        self._peers = Peers()
        self._fetcher = BlobFetcher(
            self._blobs,
            lambda: self._finder.address,
            fetch=self._peers.fetch,
            patience_s=BLOB_PATIENCE_S,
            home=self._home.blobs,
        )
        sharer = Sharer(
            self._blobs,
            self._home,
            leader=self._finder.wait,
            push=self._peers.push,
            patience_s=BLOB_PATIENCE_S,
            clock=self._clock,
        )
        self._pool = WorkerPool(
            scratch_root=config.data / "scratch",
            size=config.slots,
            models=ServedModels(models.inference),
            files=BlobFiles(self._fetcher),
            on_log=self._log,
        )
        self._attempts = Attempts(
            Outbox(config.data / "outbox"),
            self._clock,
            window=config.slots,
            execute=Executor(self._pool, self._fetcher, self._blobs, sharer).run,
            send=lambda event: self._link.send(event),
        )
        self._link = Link(self._finder, opening=self._opening, on_command=self._command)
        self._advertiser = Advertiser(store, keys, config.id)
        self._advertisement = self._describe(models.providers)
        self._logs: list[common_pb2.LogRecord] = []
        self._stopping = asyncio.Event()

    @classmethod
    async def create(cls, config: AgentConfig, store: Store) -> Agent:
        """Finds out what this machine can do; raises where inference is set up in a way that cannot work."""
        models = await AgentModels.create(
            config.models,
            (store, Keys(config.prefix)),
            labels=config.labels,
            threads=config.threads,
            memory_limit_bytes=config.memory_bytes or hardware.usable_memory_bytes(),
            cache_limit_bytes=config.model_cache_bytes,
        )
        return cls(config, store, models)

    def _describe(self, providers: Sequence[str]) -> agents_pb2.Advertisement:
        config = self._config
        return agents_pb2.Advertisement(
            agent_id=config.id,
            session_id=time_ordered_id("session", self._clock.now_ms(), os.urandom(7)),
            hardware=hardware.discover(
                config.data, cpus=config.cpus, memory_bytes=config.memory_bytes, providers=list(providers)
            ),
            labels=config.labels,
            price_usd_per_hour=config.price_at(self._clock.now_ms()),
            tariff=[
                agents_pb2.TariffRate(from_minute=minute, price_usd_per_hour=price) for minute, price in config.tariff
            ],
            price_kind=_PRICE_KINDS[config.price_kind],
            satellites=_offered(),
            started_ms=self._clock.now_ms(),
        )

    # Lifetime.

    def stop(self) -> None:
        """Begins the drain; `run` returns when it is over."""
        self._stopping.set()

    async def run(self, ready: Callable[[str], None]) -> None:
        """Serves until `stop`. `ready(address)` is called once the agent can be reached."""
        server = grpc.aio.server(interceptors=[ErrorInterceptor()], options=SERVER_OPTIONS)
        blobs_pb2_grpc.add_BlobServiceServicer_to_server(BlobService(self._blobs), server)
        port = server.add_insecure_port(self._config.listen)
        host = self._config.advertise or self._config.listen.rpartition(":")[0]
        self._advertisement.address = f"{host}:{port}"
        await server.start()
        await self._pool.start()
        await self._models.start()
        tasks = [
            asyncio.create_task(work, name=name)
            for name, work in (
                ("finder", self._finder.run()),
                ("models", self._models.run()),
                ("link", self._introduce()),
                ("heartbeats", self._heartbeats()),
                ("logs", self._send_logs()),
            )
        ]
        try:
            ready(self._advertisement.address)
            await self._until_stopped(tasks)
            await self._attempts.drain(self._config.drain_s)
        finally:
            tasks += self._attempts.tasks
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._advertiser.withdraw()
            await self._pool.close()
            await self._models.close()
            await self._peers.close()
            await server.stop(grace=0.2)

    async def _until_stopped(self, tasks: Sequence[asyncio.Task[None]]) -> None:
        """Until `stop`, or until a part that should never end has ended, which is a bug that must show."""
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait([stopping, *tasks], return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done():
                    task.result()
                    raise RuntimeError(f"{task.get_name()} ended")
        finally:
            stopping.cancel()

    # What the link asks.

    def _opening(self) -> list[agents_pb2.AgentEvent]:
        return self._attempts.opening(self._advertisement)

    def _command(self, command: agents_pb2.AgentCommand) -> None:
        self._attempts.command(command)
        kind = command.WhichOneof("kind")
        if kind == "welcome":
            self._home.follow(command.welcome)
        elif kind == "drain":
            self.stop()
        elif kind == "pull_model":
            self._models.pull(command.pull_model)

    # What goes out by itself.

    async def _introduce(self) -> None:
        """Speaks to the mesh once its registrations of models are known here: work that needs them may follow."""
        await self._models.registered()
        self._tell_of(await self._models.report())
        self._advertiser.say(self._advertisement)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._advertiser.run())
            group.create_task(self._advertiser.attach(self._link))

    async def _heartbeats(self) -> None:
        psutil.cpu_percent()
        while True:
            await self._models.news(HEARTBEAT_S)
            models = await self._models.report()
            if self._tell_of(models):
                self._advertiser.say(self._advertisement)
            beat = agents_pb2.Heartbeat(
                cpu_load=psutil.cpu_percent() / 100,
                memory_free_bytes=psutil.virtual_memory().available,
                warm_models=self._advertisement.warm_models,
                price_usd_per_hour=self._config.price_at(self._clock.now_ms()),
                models=models,
            )
            self._link.send(agents_pb2.AgentEvent(heartbeat=beat))

    def _tell_of(self, models: Sequence[agents_pb2.AgentModel]) -> bool:
        """Brings the advertisement up to date; whether that changes what etcd should hold."""
        said = self._advertisement
        before = (list(said.warm_models), list(said.cached_models))
        now = (warm(models), cached(models))
        said.ClearField("models")
        said.models.extend(models)
        said.ClearField("warm_models")
        said.warm_models.extend(now[0])
        said.ClearField("cached_models")
        said.cached_models.extend(now[1])
        return now != before

    def _log(self, call: Call, record: LogRecord) -> None:
        self._logs.append(
            common_pb2.LogRecord(
                time_ms=record.time_ms,
                level="error" if record.level == "critical" else record.level,
                message=record.message[:ERROR_MESSAGE_MAX_CHARS],
                run_id=call.run_id,
                invocation_id=call.invocation_id,
                step=call.step,
                attempt=call.attempt,
            )
        )
        if len(self._logs) > LOG_BACKLOG_MAX:
            del self._logs[: LOG_BACKLOG_MAX // 10]

    async def _send_logs(self) -> None:
        while True:
            await self._clock.sleep(LOG_BATCH_S)
            while self._logs:
                batch = self._logs[:LOG_BATCH_MAX]
                if not self._link.send(agents_pb2.AgentEvent(logs=agents_pb2.LogBatch(records=batch))):
                    break
                del self._logs[: len(batch)]


def _offered() -> tuple[str, ...]:
    """The satellites that can run here; for each of the others the log says what it lacks."""
    known = installed()
    offered = known.runnable()
    for name in known.names():
        if name not in offered:
            lacks = ", ".join(f"{each.module} (install {each.install})" for each in missing(known.get(name)))
            log.warning("%s is not offered, it lacks %s", name, lacks)
    return offered
