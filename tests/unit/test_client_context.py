"""Which mesh is meant: the order of sources, and a context file that survives whatever it finds."""

from __future__ import annotations

from pathlib import Path

import pytest

from orbit_core.client import OrbitClient, context_file, orbit_home, parse_addresses, resolve_addresses
from orbit_core.client.context import read_context, write_context
from orbit_core.errors import InvalidRequestError, MeshUnreachableError
from tests.unit.fake_mesh import FakeCoordinator, FakeMesh


def test_the_order_of_sources(tmp_path: Path) -> None:
    environment = {"ORBIT_HOME": str(tmp_path)}
    with pytest.raises(MeshUnreachableError) as caught:
        resolve_addresses(environment=environment)
    assert caught.value.remedy is not None and "orbit up" in caught.value.remedy
    write_context(tmp_path, ["127.0.0.1:1", "127.0.0.1:2"])
    assert resolve_addresses(environment=environment) == ("127.0.0.1:1", "127.0.0.1:2")
    environment["ORBIT_ADDRESS"] = "example.org:7070"
    assert resolve_addresses(environment=environment) == ("example.org:7070",)
    assert resolve_addresses("[::1]:7070", environment) == ("[::1]:7070",)


def test_orbit_home_has_a_default() -> None:
    assert orbit_home({}).name == "orbit"
    assert orbit_home({"ORBIT_HOME": "/x"}) == Path("/x")


@pytest.mark.parametrize(
    "text", ["", ",", "localhost", "localhost:", "localhost:0", "localhost:65536", "http://a:1", "a b:1", "a:1,b"]
)
def test_what_is_not_an_address(text: str) -> None:
    with pytest.raises(InvalidRequestError):
        parse_addresses(text)


def test_the_context_lasts_as_long_as_the_block(tmp_path: Path) -> None:
    with context_file(tmp_path / "home", ["127.0.0.1:1"]) as path:
        assert read_context(path.parent) == ("127.0.0.1:1",)
        assert [each.name for each in path.parent.iterdir()] == ["context.json"]
        assert path.stat().st_mode & 0o077 == 0
    assert read_context(tmp_path / "home") == ()


def test_a_mesh_that_took_the_name_over_keeps_it(tmp_path: Path) -> None:
    with context_file(tmp_path, ["127.0.0.1:1"]):
        write_context(tmp_path, ["127.0.0.1:2"])
    assert read_context(tmp_path) == ("127.0.0.1:2",)


def test_another_context_becomes_current_when_one_goes(tmp_path: Path) -> None:
    write_context(tmp_path, ["127.0.0.1:1"], "first")
    with context_file(tmp_path, ["127.0.0.1:2"], "second"):
        assert read_context(tmp_path) == ("127.0.0.1:2",)
    assert read_context(tmp_path) == ("127.0.0.1:1",)


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"{", b"[]", b"\xff", b'{"version": 99}', b'{"version": 1}'),
        *(b'{"version": 1, "current": "a", "contexts": {"a": 3}}', b'{"version": 1, "current": "a", "contexts": [3]}'),
    ],
)
def test_a_file_that_is_not_one_counts_as_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "context.json").write_bytes(content)
    assert read_context(tmp_path) == ()
    write_context(tmp_path, ["127.0.0.1:1"])
    assert read_context(tmp_path) == ("127.0.0.1:1",)


async def test_a_client_follows_the_file_to_the_next_mesh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`orbit up` that is started again has new ports; who waits for it finds them."""
    monkeypatch.setenv("ORBIT_HOME", str(tmp_path))
    monkeypatch.delenv("ORBIT_ADDRESS", raising=False)
    first, second = FakeCoordinator(FakeMesh()), FakeCoordinator(FakeMesh())
    try:
        write_context(tmp_path, [first.address])
        async with OrbitClient() as client:
            await client.runs()
            first.stop()
            write_context(tmp_path, [second.address])
            await client.runs()
        assert second.calls["ListRuns"] == 1
    finally:
        first.stop()
        second.stop()
