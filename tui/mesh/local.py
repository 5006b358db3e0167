"""`LocalMesh`: etcd, coordinators and agents as child processes, ready when it says so, gone when it ends.

For `orbit up`, `orbit demo` and tests that need real processes. A child that dies is reported, not started again:
what a mesh does about a loss is the mesh's business, and tests want to see it.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil

from orbit_core.client import OrbitClient, Patience
from orbit_core.errors import ConflictError, MeshUnreachableError, OrbitError
from orbit_core.security.vault import load_master_key
from orbit_core.store.blobs.home import BlobHome
from orbit_core.store.embedded import EmbeddedEtcd
from tui.mesh import temporary
from tui.mesh.child import Child, ChildEnded

READY_TIMEOUT_S: Final = 90.0
_POLL_S: Final = 0.1
_LOOPBACK: Final = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class AgentPlan:
    """One agent to start. What is None is left for the agent to find out."""

    price_usd_per_hour: float = 0.10
    price_kind: str = "owned"
    tariff: tuple[str, ...] = ()  # `HH:MM=USD` each; goes before the price
    cpus: float | None = None
    memory: str | None = None
    slots: int | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    id: str | None = None


class LocalMesh:
    """An async context manager; `addresses` are the coordinators once it is entered.

    `data`: where everything is kept; None: a temporary directory that goes with the mesh. `etcd`: endpoints of one
    that runs already; none: a private one is started. `on_end` hears of children that die by themselves.
    `http_port`: where the first coordinator takes webhooks, the others behind it; 0: any free ports; None: nowhere.
    `blobs`: where it keeps its blobs for good; None: on its machines. `capacity`: a file of machines to buy.
    `drain_s`: how long an agent may finish what it runs when the mesh is stopped.
    Enter it on a thread that lives as long as the mesh: children end with the thread that started them.
    """

    def __init__(
        self,
        agents: Sequence[AgentPlan] = (AgentPlan(),),
        *,
        coordinators: int = 1,
        data: Path | None = None,
        etcd: Sequence[str] = (),
        listen_host: str = _LOOPBACK,
        listen_port: int = 0,
        http_port: int | None = None,
        allow_private_addresses: bool = False,
        models: Path | None = None,
        blobs: BlobHome | None = None,
        capacity: Path | None = None,
        drain_s: float = 2.0,
        environment: Mapping[str, str] | None = None,
        on_end: Callable[[ChildEnded], None] = lambda ended: None,
    ) -> None:
        self.plans = tuple(agents)
        self._coordinator_count = coordinators
        self.temporary = data is None
        self.data = temporary.make() if data is None else data.absolute()
        self._etcd_given = tuple(etcd)
        self._listen_host = listen_host
        self._listen_port = listen_port
        self._http_port = http_port
        self._allow_private_addresses = allow_private_addresses
        self._models = models
        self._blobs = blobs
        self._capacity = capacity
        self._drain_s = drain_s
        self.environment = {**(os.environ if environment is None else environment)}
        self._on_end = on_end
        self._starting = False
        self._died_starting: list[ChildEnded] = []
        self.etcd: EmbeddedEtcd | None = None
        self.coordinators: list[Child] = []
        self.agents: list[Child] = []

    @property
    def addresses(self) -> tuple[str, ...]:
        """The coordinators. One that is started again has the address that it had."""
        return tuple(child.address for child in self.coordinators)

    @property
    def etcd_endpoints(self) -> tuple[str, ...]:
        return self.etcd.endpoints if self.etcd else self._etcd_given

    @property
    def etcd_ended(self) -> bool:
        """Whether the private etcd ended by itself. Nothing can be done without it."""
        return any(
            psutil.Process(pid).status() == psutil.STATUS_ZOMBIE for pid in (self.etcd.pids if self.etcd else ())
        )

    @property
    def pids(self) -> tuple[int, ...]:
        """Of every child that runs now, etcd included."""
        children = tuple(child.pid for child in (*self.coordinators, *self.agents) if child.running)
        return children + (self.etcd.pids if self.etcd else ())

    async def __aenter__(self) -> LocalMesh:
        await self.start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Start everything and wait until a leader is elected and every agent attached."""
        self._starting = True
        try:
            if not self._etcd_given:
                self.etcd = EmbeddedEtcd(self.data / "etcd")
                await self.etcd.start()
            load_master_key(self._master_key_file)  # made once, before several coordinators look for it
            self.coordinators = [self._coordinator(index) for index in range(self._coordinator_count)]
            self.agents = [self._agent(index, plan) for index, plan in enumerate(self.plans)]
            await _start_all((*self.coordinators, *self.agents))
            await self.wait_ready()
        except BaseException:
            await self.stop()
            raise
        finally:
            self._starting = False

    async def stop(self) -> None:
        """End everything in order and remove what was temporary. May be called again."""
        try:
            for children in (self.agents, self.coordinators):
                await asyncio.gather(*(child.stop(timeout_s=self._drain_s + 10) for child in children))
            if self.etcd is not None:
                await self.etcd.stop()
        except asyncio.CancelledError:
            await asyncio.shield(asyncio.create_task(self._kill_all()))
            raise
        finally:
            if self.temporary:
                temporary.remove(self.data)

    async def wait_ready(self, *, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Return when somebody leads and every agent that runs is attached to it."""
        wanted = {child.name for child in self.agents if child.running}
        missing: set[str] = set()
        deadline_s = time.monotonic() + timeout_s
        async with OrbitClient(self.addresses, patience=Patience(total_s=1, attempt_s=5)) as client:
            while time.monotonic() < deadline_s:
                if self._died_starting:
                    ended = self._died_starting[0]
                    raise MeshUnreachableError(f"{ended}; it ends with:\n{ended.log_tail}")
                try:
                    attached = {agent.agent_id for agent in await client.agents() if agent.state == "attached"}
                except OrbitError:
                    attached = set()
                else:
                    missing = wanted - attached
                    if not missing:
                        return
                await asyncio.sleep(_POLL_S)
        what = f"{', '.join(sorted(missing))} did not attach" if missing else "nobody was elected"
        raise MeshUnreachableError(
            f"the mesh was not ready after {timeout_s:g} s: {what}",
            remedy="ORBIT_LOG=DEBUG makes its processes say more; a data directory of your own keeps their logs",
        )

    async def kill_agent(self, index: int) -> None:
        """As `kill -9`."""
        await self.agents[index].kill()

    async def start_agent(self, index: int | None = None, plan: AgentPlan | None = None) -> int:
        """Start a killed agent again, or (without an index) another one after `plan`. Returns its index."""
        if index is None:
            index = len(self.agents)
            self.agents.append(self._agent(index, plan or AgentPlan()))
        self._refuse_running(self.agents[index])
        await self.agents[index].start()
        return index

    async def kill_coordinator(self, index: int | None = None) -> int:
        """As `kill -9`: the one at `index`, or the one that leads. Returns its index."""
        if index is None:
            index = await self._leader_index()
        await self.coordinators[index].kill()
        return index

    async def start_coordinator(self, index: int | None = None) -> int:
        """Start a killed coordinator again, at its address, or (without an index) another one. Returns its index."""
        if index is None:
            index = len(self.coordinators)
            self.coordinators.append(self._coordinator(index))
        else:
            self._refuse_running(self.coordinators[index])
            self.coordinators[index] = self._coordinator(index, self.coordinators[index].address)
        await self.coordinators[index].start()
        return index

    async def _leader_index(self) -> int:
        """Of the coordinator that leads; waits for an election."""
        async with OrbitClient(self.addresses) as client:
            while True:
                leader = (await client.mesh()).leader_address
                if leader in self.addresses:
                    return self.addresses.index(leader)
                await asyncio.sleep(_POLL_S)

    @property
    def log_dir(self) -> Path:
        return self.data / "logs"

    @property
    def _master_key_file(self) -> Path:
        return self.data / "master.key"

    def _coordinator(self, index: int, address: str = "") -> Child:
        port = self._listen_port + index if self._listen_port else 0
        arguments = [
            *("--listen", address or f"{self._listen_host}:{port}"),
            *("--master-key-file", str(self._master_key_file)),
        ]
        if self._http_port is not None:
            arguments += ["--http", f"{self._listen_host}:{self._http_port + index if self._http_port else 0}"]
        if self._allow_private_addresses:
            arguments.append("--allow-private-addresses")
        if self._capacity is not None:
            arguments += ["--capacity", str(self._capacity), "--capacity-ends-here"]
        if self._blobs is not None:
            arguments += ["--blobs", self._blobs.uri, "--blobs-endpoint", self._blobs.endpoint_url]
            arguments += ["--blobs-region", self._blobs.region]
        return self._child("orbit_coordinator", f"coordinator-{index}", arguments)

    def _agent(self, index: int, plan: AgentPlan) -> Child:
        arguments = [
            *("--listen", f"{self._listen_host}:0"),
            *("--price", str(plan.price_usd_per_hour)),
            *("--price-kind", plan.price_kind),
            *("--drain", str(self._drain_s)),
        ]
        optional = {
            "--cpus": plan.cpus,
            "--memory": plan.memory,
            "--slots": plan.slots,
            "--models": self._models,
        }
        for option, value in optional.items():
            if value is not None:
                arguments += [option, str(value)]
        for rate in plan.tariff:
            arguments += ["--tariff", rate]
        for key, value in plan.labels.items():
            arguments += ["--label", f"{key}={value}"]
        return self._child("orbit_agent", plan.id or f"agent-{index}", arguments)

    def _child(self, module: str, name: str, arguments: Sequence[str]) -> Child:
        return Child(
            name,
            [
                *(sys.executable, "-m", module, "--id", name),
                *("--etcd", ",".join(_as_url(each) for each in self.etcd_endpoints)),
                *("--data", str(self.data / name)),
                *arguments,
            ],
            self.log_dir / f"{name}.log",
            environment=self.environment,
            on_end=self._ended,
        )

    def _ended(self, ended: ChildEnded) -> None:
        if self._starting:
            self._died_starting.append(ended)
        self._on_end(ended)

    async def _kill_all(self) -> None:
        await asyncio.gather(*(child.kill() for child in (*self.agents, *self.coordinators)))
        if self.etcd is not None:
            await self.etcd.stop(kill=True)

    @staticmethod
    def _refuse_running(child: Child) -> None:
        if child.running:
            raise ConflictError(f"{child.name} runs already")


def _as_url(endpoint: str) -> str:
    return endpoint if "://" in endpoint else f"http://{endpoint}"


async def _start_all(children: Iterable[Child]) -> None:
    """All at once; when one fails the others are stopped starting, and its own error is raised, not a group."""
    try:
        async with asyncio.TaskGroup() as group:
            for child in children:
                group.create_task(child.start())
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None
