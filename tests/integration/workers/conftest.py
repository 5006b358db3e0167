"""A pool of real worker processes that find the mischievous satellites as installed ones."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from orbit_agent.workers import LogRecord, WorkerPool
from tests.integration.workers.mischief import MISCHIEF, Files, Mesh, Models, processes_of


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "package"
    info = folder / "mischief-1.0.dist-info"
    info.mkdir(parents=True)
    (folder / "mischief.py").write_text(MISCHIEF)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mischief\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[orbit.satellites]\nmischief = mischief:Mischief\nstream = mischief:Stream\ntyped = mischief:Typed\n"
        "broken = mischief:Missing\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return folder


@pytest.fixture
async def mesh(tmp_path: Path, package: Path) -> AsyncIterator[Mesh]:
    logs: list[LogRecord] = []
    models, files, root = Models(), Files(tmp_path / "blobs"), tmp_path / "scratch"
    pool = WorkerPool(
        scratch_root=root,
        size=2,
        models=models,
        files=files,
        on_log=lambda _, record: logs.append(record),
        redact=lambda text: text.replace("agent-secret", "***"),
    )
    await pool.start()
    yield Mesh(pool, models, files, logs, root)
    await pool.close()
    assert not root.exists()
    assert processes_of(root) == []
