"""Commands against coordinators with canned state: what every test of the command line starts from."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.unit.fake_mesh import FakeCoordinator, FakeMesh
from tui.cli.main import run


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def mesh() -> FakeMesh:
    return FakeMesh()


@pytest.fixture
def coordinator(mesh: FakeMesh) -> Iterator[FakeCoordinator]:
    coordinator = FakeCoordinator(mesh)
    yield coordinator
    coordinator.stop()


@pytest.fixture
def orbit(
    coordinator: FakeCoordinator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., Said]:
    """Runs one command line against the fake mesh."""
    monkeypatch.setenv("ORBIT_ADDRESS", coordinator.address)
    monkeypatch.setenv("ORBIT_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("ORBIT_DEBUG", raising=False)

    def call(*arguments: str, stdin: str | None = None) -> Said:
        if stdin is not None:
            monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        capsys.readouterr()
        code = run(arguments)
        captured = capsys.readouterr()
        return Said(code, captured.out, captured.err)

    return call
