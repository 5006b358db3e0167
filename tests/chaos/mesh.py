"""The mesh that suffers: proxies before its coordinators, and a network for each of its processes, etcd's included."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from orbit_core.store.embedded import EmbeddedEtcd, EtcdBinary, free_ports
from tests.chaos.namespaces import Network
from tests.chaos.proxy import RepeatingProxy
from tui.mesh.child import Child
from tui.mesh.local import AgentPlan, LocalMesh

_LOOPBACK = "127.0.0.1"


def agent(index: int) -> str:
    return f"agent-{index}"


def coordinator(index: int) -> str:
    return f"coordinator-{index}"


def member(index: int) -> str:
    return f"etcd-{index}"


class ScatteredEtcd(EmbeddedEtcd):
    """`network`: where members live; None: on loopback."""

    def __init__(self, data_dir: Path, network: Network | None, *, binary: EtcdBinary, member_count: int) -> None:
        super().__init__(data_dir, binary=binary, member_count=member_count)
        self._network = network

    def _host(self, index: int) -> str:
        return self._network.address(member(index)) if self._network else super()._host(index)

    def _before(self, index: int) -> Sequence[str]:
        return self._network.command(member(index)) if self._network else super()._before(index)


class ProxiedMesh(LocalMesh):
    """`network`: where agents and coordinators live; None: on loopback. Proxies live here, beside the clients."""

    def __init__(
        self, plans: Sequence[AgentPlan], network: Network | None, rng: random.Random, **settings: Any
    ) -> None:
        super().__init__(plans, **settings)
        self.repeated: Counter[str] = Counter()
        self._network = network
        self._own_addresses = [
            f"{network.address(coordinator(index)) if network else _LOOPBACK}:{port}"
            for index, port in enumerate(free_ports(settings["coordinators"]))
        ]
        self._proxies = [RepeatingProxy(address, rng, self.repeated) for address in self._own_addresses]

    async def start(self) -> None:
        for proxy in self._proxies:
            await proxy.start(self._network.host if self._network else _LOOPBACK)
        await super().start()

    async def stop(self) -> None:
        await super().stop()
        for proxy in self._proxies:
            await proxy.stop()

    def _coordinator(self, index: int, address: str = "") -> Child:
        """Listens where its proxy expects it, and tells everybody the proxy's address."""
        child = super()._coordinator(index, self._own_addresses[index])
        before = self._network.command(coordinator(index)) if self._network else ()
        return self._with(child, ["--advertise", self._proxies[index].address], before)

    def _agent(self, index: int, plan: AgentPlan) -> Child:
        child = super()._agent(index, plan)
        if self._network is None:
            return child
        listen = f"{self._network.address(agent(index))}:0"
        return self._with(child, ["--listen", listen], self._network.command(agent(index)))

    def _with(self, child: Child, more: Sequence[str], before: Sequence[str]) -> Child:
        """The same child with words before and behind its command: of an option that is said twice, the last counts."""
        arguments = [*before, *child.arguments, *more]
        return Child(child.name, arguments, child.log, environment=self.environment, on_end=self._ended)
