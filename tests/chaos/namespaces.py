"""A network of its own for each machine of the mesh, joined by a bridge, so that any can be cut off, also in one
direction.

Linux network namespaces, made and removed with `ip`; needs root. `why_not` says what stands in the way.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import Sequence
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
    """Where one machine lives. `port`: the bridge's end of its cable."""

    name: str
    address: str
    port: str


class Network:
    """One for each of `machines`, which are names. `host`: the address by which they reach this machine."""

    def __init__(self, machines: Sequence[str]) -> None:
        self._id = f"ob{os.getpid() % 100_000}"
        self._bridge = f"{self._id}br"
        subnet = next(each for each in _SUBNETS if f"10.203.{each}." not in _run("ip", "-o", "addr"))
        self.host = f"10.203.{subnet}.1"
        self._namespaces = {
            machine: Namespace(f"{self._id}n{number}", f"10.203.{subnet}.{number + 10}", f"{self._id}v{number}")
            for number, machine in enumerate(machines)
        }

    def open(self) -> None:
        _run("ip", "link", "add", self._bridge, "type", "bridge")
        _run("ip", "addr", "add", f"{self.host}/24", "dev", self._bridge)
        _run("ip", "link", "set", self._bridge, "up")
        for each in self._namespaces.values():
            _run("ip", "netns", "add", each.name)
            _run("ip", "link", "add", each.port, "type", "veth", "peer", "name", "eth0", "netns", each.name)
            _run("ip", "link", "set", each.port, "master", self._bridge, "up")
            _run("ip", "-n", each.name, "addr", "add", f"{each.address}/24", "dev", "eth0")
            for link in ("eth0", "lo"):
                _run("ip", "-n", each.name, "link", "set", link, "up")

    def close(self) -> None:
        """Removes whatever there is of it."""
        for command in (
            *(("ip", "netns", "del", each.name) for each in self._namespaces.values()),
            ("ip", "link", "del", self._bridge),
        ):
            subprocess.run(command, capture_output=True, check=False)

    def address(self, machine: str) -> str:
        return self._namespaces[machine].address

    def command(self, machine: str) -> tuple[str, ...]:
        """What stands before a command that is to run on that machine."""
        return ("ip", "netns", "exec", self._namespaces[machine].name)

    async def cut(self, machine: str, seconds: float) -> None:
        """The machine is cut off from everything."""
        port = self._namespaces[machine].port
        _run("ip", "link", "set", port, "down")
        try:
            await asyncio.sleep(seconds)
        finally:
            _run("ip", "link", "set", port, "up")

    async def cut_one_way(self, machine: str, seconds: float, *, to_it: bool) -> None:
        """Packets are lost in one direction: a queue that holds none drops them all."""
        each = self._namespaces[machine]
        namespace, device = ((), each.port) if to_it else (("-n", each.name), "eth0")
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
