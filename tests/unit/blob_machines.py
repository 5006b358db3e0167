"""A coordinator's disk and those of other machines, without any network: what copies of blobs are tested with."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from orbit_coordinator.copies import MeshBlobs
from orbit_core.clock import SystemClock
from orbit_core.errors import BlobError
from orbit_core.pb.orbit.v1 import common_pb2
from orbit_core.sched.events import AgentAttached, AttemptSucceeded, Placed, Placement, RunCreated
from orbit_core.sched.model import AttemptKey, Blob, ObjectAddress, Outputs, Page, TriggerFacts, Usage
from orbit_core.sched.state import MeshState
from orbit_core.sched.step import step
from orbit_core.store.blobs import BlobStore, MemoryBlobs, read_blob
from tests.property.sched_worlds import agent, chain


class Clock(SystemClock):
    """Stands still but for who sleeps."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def monotonic_s(self) -> float:
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        self.now_s += seconds


class Machines:
    """Others, by address. `refusing`: those whose disk is full, or that cannot be reached."""

    def __init__(self, *addresses: str) -> None:
        self.disks = {address: MemoryBlobs() for address in addresses}
        self.refusing: set[str] = set()
        self.pushes: list[str] = []
        self.local = MemoryBlobs()
        self.clock = Clock()
        self.blobs = MeshBlobs(
            self.local, fetch=self.fetch, push=self.push, held=self.held, others=self.others, clock=self.clock
        )

    async def others(self) -> Sequence[str]:
        return list(self.disks)

    async def push(self, address: str, local: BlobStore, blobs: Sequence[common_pb2.BlobRef]) -> None:
        self.pushes.append(address)
        if address in self.refusing or address not in self.disks:
            raise BlobError(f"{address} takes nothing")
        for blob in blobs:
            await self.disks[address].put(await read_blob(local, blob.sha256))

    async def held(self, address: str, hashes: Sequence[str]) -> set[str]:
        if address not in self.disks:
            raise BlobError(f"{address} does not answer")
        return set(hashes) & set(self.disks[address].contents)

    async def fetch(self, address: str, sha256: str) -> AsyncIterator[bytes]:
        if address not in self.disks:
            raise BlobError(f"{address} does not answer")
        async for chunk in self.disks[address].open(sha256):
            yield chunk

    def holders(self, sha256: str) -> list[str]:
        return [address for address, disk in self.disks.items() if sha256 in disk.contents]


PAGE, FILE, PAYLOAD = b'{"n":1}\n', b"a file", b'{"large":1}\n'


async def a_run_on(machines: Machines, maker: str) -> MeshState:
    """A run with a payload, and one result with a page and a file that only its agent has."""
    state = MeshState()
    state.workflows["spec"] = chain(2)
    for name in ("b", "c"):
        step(state, AgentAttached(agent(name)), 1_000)
    payload = await machines.local.put(PAYLOAD)
    address = ObjectAddress(page=Page(payload.sha256, payload.size_bytes, 1))
    step(state, RunCreated("run", "test/flow", "spec", TriggerFacts("api-call", 1, ""), address, 2**50), 1_000)
    root = state.runs["run"].roots[0]
    step(state, Placed((Placement("run", root, maker),)), 1_000)
    page = await machines.disks[f"{maker}:1"].put(PAGE)
    file = await machines.disks[f"{maker}:1"].put(FILE)
    outputs = Outputs(pages=(Page(page.sha256, page.size_bytes, 1),))
    blobs = (Blob(page.sha256, page.size_bytes), Blob(file.sha256, file.size_bytes))
    step(state, AttemptSucceeded(AttemptKey("run", root, 1), maker, outputs, Usage(), blobs), 1_000)
    return state


def with_home(machines: Machines, home: BlobStore) -> MeshBlobs:
    """The coordinator's blobs where the mesh has a home for them."""
    return MeshBlobs(
        machines.local,
        fetch=machines.fetch,
        push=machines.push,
        held=machines.held,
        others=machines.others,
        clock=machines.clock,
        home=home,
    )
