"""The mesh that suffers: a `LocalMesh` with proxies before its coordinators and a network for each of its agents."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

from orbit_core.store.embedded import free_ports
from tests.chaos.namespaces import Network, forward
from tests.chaos.proxy import RepeatingProxy
from tui.mesh.child import Child
from tui.mesh.local import AgentPlan, LocalMesh


class ProxiedMesh(LocalMesh):
    """`network`: where agents live; None: beside everything else, on loopback."""

    def __init__(
        self, plans: Sequence[AgentPlan], network: Network | None, rng: random.Random, **settings: Any
    ) -> None:
        super().__init__(plans, **settings)
        self.repeated: Counter[str] = Counter()
        self._network = network
        self._own_ports = free_ports(settings["coordinators"])
        self._proxies = [RepeatingProxy(f"127.0.0.1:{port}", rng, self.repeated) for port in self._own_ports]
        self._forwards: list[Any] = []
        self._etcd_for_agents: list[str] = []

    async def start(self) -> None:
        host = self._network.host if self._network else "127.0.0.1"
        for proxy in self._proxies:
            await proxy.start(host)
        for endpoint in self.etcd_endpoints if self._network else ():
            server, address = await forward(host, endpoint.removeprefix("http://"))
            self._forwards.append(server)
            self._etcd_for_agents.append(f"http://{address}")
        await super().start()

    async def stop(self) -> None:
        await super().stop()
        for server in self._forwards:
            server.close()
        for proxy in self._proxies:
            await proxy.stop()

    def _coordinator(self, index: int, address: str = "") -> Child:
        """Listens where its proxy expects it, and tells everybody the proxy's address."""
        child = super()._coordinator(index, f"127.0.0.1:{self._own_ports[index]}")
        return self._with(child, ["--advertise", self._proxies[index].address])

    def _agent(self, index: int, plan: AgentPlan) -> Child:
        child = super()._agent(index, plan)
        if self._network is None:
            return child
        listen = f"{self._network.namespaces[index].address}:0"
        arguments = ["--etcd", ",".join(self._etcd_for_agents), "--listen", listen]
        return self._with(child, arguments, self._network.command(index))

    def _with(self, child: Child, more: Sequence[str], before: Sequence[str] = ()) -> Child:
        """The same child with words before and behind its command: of an option that is said twice, the last counts."""
        arguments = [*before, *child.arguments, *more]
        return Child(child.name, arguments, child.log, environment=self.environment, on_end=self._ended)
