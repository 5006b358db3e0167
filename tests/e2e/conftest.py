"""Whole meshes of real processes on loopback, and the outside world that they talk to."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import psutil
import pytest

from orbit_core.client import OrbitClient, Patience
from tui.mesh.local import AgentPlan, LocalMesh

AGENTS = (
    AgentPlan(id="cheap", price_usd_per_hour=0.05, cpus=1, memory="2GiB"),
    AgentPlan(id="middle", price_usd_per_hour=0.10, cpus=1, memory="2GiB"),
)


@pytest.fixture
async def start_mesh() -> AsyncIterator[Callable[..., Any]]:
    """Starts meshes that are gone, with every process of theirs, when the test ends."""
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    async with AsyncExitStack() as stack:

        async def start(agents: tuple[AgentPlan, ...] = AGENTS, **settings: Any) -> LocalMesh:
            settings.setdefault("allow_private_addresses", True)
            return await stack.enter_async_context(LocalMesh(agents, **settings))

        yield start
    left = [child for child in psutil.Process().children(recursive=True) if child.pid not in before]
    _, alive = psutil.wait_procs(left, timeout=5)
    assert not alive, f"left behind: {[child.cmdline() for child in alive]}"


@pytest.fixture
async def connect() -> AsyncIterator[Callable[[LocalMesh], OrbitClient]]:
    """Clients that wait out a change of leader, closed when the test ends."""
    clients: list[OrbitClient] = []

    def open_client(mesh: LocalMesh) -> OrbitClient:
        client = OrbitClient(mesh.addresses, patience=Patience(total_s=60, attempt_s=10))
        clients.append(client)
        return client

    yield open_client
    for client in clients:
        await client.close()


@dataclass
class Webhook:
    """A receiver that remembers. `answer(number of this request)` gives the status, where `judge(its body)` gives 0."""

    url: str
    requests: list[tuple[str, bytes]] = field(default_factory=list)
    answer: Callable[[int], int] = lambda number: 200
    judge: Callable[[bytes], int] = lambda body: 0

    @property
    def keys(self) -> list[str]:
        """The Idempotency-Key of every request, in order."""
        return [key for key, _ in self.requests]


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    receiver = Webhook("")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            receiver.requests.append((self.headers.get("Idempotency-Key", ""), body))
            self.send_response(receiver.judge(body) or receiver.answer(len(receiver.requests)))
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, format: str, *args: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver.url = f"http://127.0.0.1:{server.server_port}/hook"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield receiver
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def eventually() -> Callable[..., Any]:
    """Waits for a condition, with a deadline."""

    async def wait(condition: Callable[[], Any], *, seconds: float = 30.0, what: str = "it") -> Any:
        async with asyncio.timeout(seconds):
            while True:
                found = condition()
                if asyncio.iscoroutine(found):
                    found = await found
                if found:
                    return found
                await asyncio.sleep(0.05)

    return wait
