"""A network of its own for each agent, joined by a bridge, so that any of them can be cut off, also in one direction.

Linux network namespaces, made and removed with `ip`; needs root. `why_not` says what stands in the way.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from dataclasses import dataclass

_SUBNETS = range(100, 200)


class NamespaceError(Exception):
    """`ip` or `tc` refused."""


def why_not() -> str | None:
    """Why there can be no namespaces here; None: there can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if shutil.which("ip") is None or shutil.which("tc") is None:
        return "there is no `ip` and `tc` (package iproute2)"
    name = f"orbit-probe-{os.getpid()}"
    try:
        _run("ip", "netns", "add", name)
        _run("ip", "netns", "del", name)
    except NamespaceError as error:
        return str(error)
    return None


@dataclass(frozen=True, slots=True)
class Namespace:
    """Where one agent lives. `port`: the bridge's end of its cable."""

    name: str
    address: str
    port: str


class Network:
    """`host`: the address by which agents reach this machine."""

    def __init__(self, agents: int) -> None:
        self._id = f"ob{os.getpid() % 100_000}"
        self._bridge = f"{self._id}br"
        subnet = next(each for each in _SUBNETS if f"10.203.{each}." not in _run("ip", "-o", "addr"))
        self.host = f"10.203.{subnet}.1"
        self.namespaces = [
            Namespace(f"{self._id}n{number}", f"10.203.{subnet}.{number + 10}", f"{self._id}v{number}")
            for number in range(agents)
        ]

    def open(self) -> None:
        _run("ip", "link", "add", self._bridge, "type", "bridge")
        _run("ip", "addr", "add", f"{self.host}/24", "dev", self._bridge)
        _run("ip", "link", "set", self._bridge, "up")
        for each in self.namespaces:
            _run("ip", "netns", "add", each.name)
            _run("ip", "link", "add", each.port, "type", "veth", "peer", "name", "eth0", "netns", each.name)
            _run("ip", "link", "set", each.port, "master", self._bridge, "up")
            _run("ip", "-n", each.name, "addr", "add", f"{each.address}/24", "dev", "eth0")
            for link in ("eth0", "lo"):
                _run("ip", "-n", each.name, "link", "set", link, "up")

    def close(self) -> None:
        """Removes whatever there is of it."""
        for command in (
            *(("ip", "netns", "del", each.name) for each in self.namespaces),
            ("ip", "link", "del", self._bridge),
        ):
            subprocess.run(command, capture_output=True, check=False)

    def command(self, number: int) -> tuple[str, ...]:
        """What stands before a command that is to run where that agent lives."""
        return ("ip", "netns", "exec", self.namespaces[number].name)

    async def cut(self, number: int, seconds: float) -> None:
        """The agent is cut off from everything."""
        port = self.namespaces[number].port
        _run("ip", "link", "set", port, "down")
        try:
            await asyncio.sleep(seconds)
        finally:
            _run("ip", "link", "set", port, "up")

    async def cut_one_way(self, number: int, seconds: float, *, to_agent: bool) -> None:
        """Packets are lost in one direction: a queue that holds none drops them all."""
        each = self.namespaces[number]
        namespace, device = ((), each.port) if to_agent else (("-n", each.name), "eth0")
        _run("tc", *namespace, "qdisc", "add", "dev", device, "root", "pfifo", "limit", "0")
        try:
            await asyncio.sleep(seconds)
        finally:
            _run("tc", *namespace, "qdisc", "del", "dev", device, "root")


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NamespaceError(f"`{' '.join(command)}`: {done.stderr.strip()}")
    return done.stdout


async def forward(host: str, target: str) -> tuple[asyncio.Server, str]:
    """Carries connections to `host` on to a port of loopback, which other networks cannot reach; its address."""
    target_host, _, target_port = target.rpartition(":")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there = await asyncio.open_connection(target_host, int(target_port))
        except OSError:
            writer.close()
            return
        pumps = [asyncio.ensure_future(_pump(reader, there[1])), asyncio.ensure_future(_pump(there[0], writer))]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            writer.close()
            there[1].close()

    server = await asyncio.start_server(serve, host, 0)
    return server, f"{host}:{server.sockets[0].getsockname()[1]}"


async def _pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    try:
        while data := await source.read(65_536):
            target.write(data)
            await target.drain()
    except OSError:
        return
