"""`orbit quote` and `orbit submit --quote` tell the same and store nothing; `orbit cost` tells what was lost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orbit_core.client import OrbitClient
from orbit_core.client.scheduling import CostLine, Quotation, QuotedSla
from tests.unit.conftest import Said
from tests.unit.fake_mesh import FakeMesh


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What was asked of the mesh, which answers that an hour is cheaper than ten minutes."""
    found: list[bytes] = []

    async def quote(_: OrbitClient, content: bytes, **__: Any) -> Quotation:
        found.append(content)
        short = QuotedSla(600_000, True, 0.5, 300_000, 420_000)
        long = QuotedSla(3_600_000, True, 0.1, 1_800_000, 2_000_000)
        return Quotation("demo/reports", short, (short, long), 450_000, ("work: no agent has satellite/x/y",))

    monkeypatch.setattr(OrbitClient, "quote", quote)
    return found


@pytest.mark.parametrize("command", [["quote"], ["submit", "--quote"]])
def test_a_quote_tells_each_sla_and_stores_nothing(
    orbit: Callable[..., Said], mesh: FakeMesh, asked: list[bytes], tmp_path: Path, command: list[str]
) -> None:
    path = tmp_path / "cluster.yml"
    path.write_text("version: 0.0.1b\n")
    said = orbit(*command, str(path))
    assert said.code == 0
    lines = said.out.splitlines()
    assert lines[1].startswith("10:00")
    assert "(asked)" in lines[1]
    assert "0.5" in lines[1]
    assert "0.1" in lines[2]
    assert "no agent has satellite/x/y" in said.err
    assert orbit(*command, str(path), "-o", "json").json["quote"]["cost_usd"] == 0.5
    assert asked == [path.read_bytes()] * 2
    assert not mesh.clusters


def test_cost_tells_what_was_lost_and_a_dash_where_nobody_can_know(
    orbit: Callable[..., Said], mesh: FakeMesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def cost(_: OrbitClient, by: str) -> tuple[CostLine, ...]:
        assert by == "run"
        looked_back = CostLine("run-1", 1, 2.0, 10, 10, 1_000, 10.0, 1, 1.5, 0.5)
        under = CostLine("run-2", 1, 1.0, 0, 0, 1_000, 0.0, 1, 1.25, -0.25)
        return looked_back, under, CostLine("run-3", 1, 1.0, 0, 0, 1_000, 0.0), CostLine("free", 1, 0, 0, 0, 9, 0, 1)

    monkeypatch.setattr(OrbitClient, "cost", cost)
    lost = [line.split()[3:5] for line in orbit("cost").out.splitlines()[1:]]
    assert lost == [["$0.50", "(25%)"], ["-$0.25", "(-25%)"], ["-", "0"], ["$0.00", "0"]]
    assert orbit("cost", "-o", "json").json[0]["lost_usd"] == 0.5
