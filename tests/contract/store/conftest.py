"""Stores to run the one contract against: the in-memory twin, an etcd, and an etcd of three members."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from orbit_core.errors import NotFoundError
from orbit_core.store.api import Store
from orbit_core.store.embedded import EmbeddedEtcd, EtcdBinary, find_binary
from orbit_core.store.etcd import EtcdConfig, EtcdStore
from orbit_core.store.keys import Keys
from orbit_core.store.memory import MemoryStore

_counter = itertools.count()


@pytest.fixture(scope="session")
def etcd_binary() -> EtcdBinary:
    try:
        return find_binary()
    except NotFoundError as error:
        pytest.skip(str(error))


def _running(binary: EtcdBinary, data_dir: Path, member_count: int) -> Iterator[EmbeddedEtcd]:
    etcd = EmbeddedEtcd(data_dir, binary=binary, member_count=member_count)
    asyncio.run(etcd.start())
    yield etcd
    asyncio.run(etcd.stop(kill=True))


@pytest.fixture(scope="session")
def shared_etcd(etcd_binary: EtcdBinary, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedEtcd]:
    """One etcd for all tests that do not stop it."""
    yield from _running(etcd_binary, tmp_path_factory.mktemp("etcd"), 1)


@pytest.fixture(scope="session")
def shared_cluster(etcd_binary: EtcdBinary, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedEtcd]:
    yield from _running(etcd_binary, tmp_path_factory.mktemp("etcd3"), 3)


@pytest.fixture
async def own_etcd(etcd_binary: EtcdBinary, tmp_path: Path) -> AsyncIterator[EmbeddedEtcd]:
    """An etcd that the test may stop, restart and fill."""
    etcd = EmbeddedEtcd(tmp_path / "etcd", binary=etcd_binary)
    await etcd.start()
    yield etcd
    await etcd.stop(kill=True)


@pytest.fixture(params=["memory", "etcd", "etcd-of-three"])
def store_config(request: pytest.FixtureRequest) -> EtcdConfig | None:
    """How to reach the store of this variant; `None` for the twin."""
    match request.param:
        case "etcd":
            return request.getfixturevalue("shared_etcd").config
        case "etcd-of-three":
            return request.getfixturevalue("shared_cluster").config
        case _:
            return None


@pytest.fixture
async def store(store_config: EtcdConfig | None) -> AsyncIterator[Store]:
    store = EtcdStore(store_config) if store_config else MemoryStore()
    yield store
    await store.close()


@pytest.fixture
def keys() -> Keys:
    """A key space of the test's own."""
    return Keys(f"/test/{next(_counter)}")


class Proxy:
    """A TCP proxy on loopback before one etcd member: cuts connections, and swallows answers."""

    def __init__(self, target: str) -> None:
        host, _, port = target.partition(":")
        self._host, self._port = host, int(port)
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._open = asyncio.Event()
        self._open.set()
        #: While set, what the server answers is thrown away.
        self.swallow_answers = False
        self.bytes_swallowed = 0

    @property
    def address(self) -> str:
        assert self._server is not None
        host, port = self._server.sockets[0].getsockname()
        return f"{host}:{port}"

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._connection, "127.0.0.1", 0)

    async def cut(self) -> None:
        """Break every connection, and take none until `mend`."""
        self._open.clear()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def mend(self) -> None:
        self.swallow_answers = False
        self._open.set()

    async def stop(self) -> None:
        await self.cut()
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            if self._open.is_set():
                await self._forward(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection(self._host, self._port)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(reader, up_writer, answers=False))
                group.create_task(self._pump(up_reader, writer, answers=True))
        except* OSError:
            pass
        finally:
            up_writer.transport.abort()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, answers: bool) -> None:
        while data := await source.read(65_536):
            if answers and self.swallow_answers:
                self.bytes_swallowed += len(data)
                continue
            sink.write(data)
            await sink.drain()
        raise ConnectionResetError("one side has closed")


@pytest.fixture
async def proxy(shared_etcd: EmbeddedEtcd) -> AsyncIterator[Proxy]:
    proxy = Proxy(shared_etcd.endpoints[0])
    await proxy.start()
    yield proxy
    await proxy.stop()


@pytest.fixture
async def proxied(proxy: Proxy) -> AsyncIterator[EtcdStore]:
    """A store whose only way to etcd is through the proxy."""
    store = EtcdStore(EtcdConfig((proxy.address,), request_timeout_s=1.0, read_attempt_timeout_s=0.5))
    yield store
    with contextlib.suppress(Exception):
        await store.close()


@pytest.fixture
async def direct(shared_etcd: EmbeddedEtcd) -> AsyncIterator[EtcdStore]:
    """A store that reaches the same etcd around the proxy."""
    store = EtcdStore(shared_etcd.config)
    yield store
    await store.close()
