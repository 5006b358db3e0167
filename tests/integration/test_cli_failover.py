"""Commands that wait while the leader changes: a pause, not an error, and nothing twice."""

from __future__ import annotations

import asyncio
import json
import os
import sys

import pytest

from orbit_core.client import OrbitClient
from tui.mesh import AgentPlan, LocalMesh

pytestmark = pytest.mark.e2e

OBJECTS = 24
CLUSTER = f"""
version: 0.0.1b
cluster:
  identifier: test/naps
  sla: 10m
  trigger: {{api-call: true}}
  satellites:
    - uses: satellite/orbit/echo
      identifier: objects
      config: {{copies: {OBJECTS}, objects: [{{a: 1}}]}}
    - uses: satellite/orbit/sleep
      identifier: nap
      timeout: 1m
      config: {{seconds: 1}}
""".encode()


async def command(mesh: LocalMesh, *arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tui.cli.main", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "ORBIT_ADDRESS": ",".join(mesh.addresses)},
    )


async def test_watching_and_following_through_a_change_of_leader() -> None:
    async with (
        asyncio.timeout(240),
        LocalMesh([AgentPlan(slots=3), AgentPlan(slots=3)], coordinators=2) as mesh,
        OrbitClient(mesh.addresses) as client,
    ):
        await client.submit(CLUSTER)
        run = await client.trigger("test/naps")
        watching = await command(mesh, "status", "-w", run.run_id, "--json")
        following = await command(mesh, "results", "-f", run.run_id, "--json")
        assert following.stdout is not None
        first = [await following.stdout.readline() for _ in range(4)]
        assert (await client.run(run.run_id)).state == "running"
        await mesh.kill_coordinator()
        rest, said_following = await following.communicate()
        out, said_watching = await watching.communicate()
    assert (following.returncode, watching.returncode) == (0, 0), (said_following, said_watching)
    results = [json.loads(line) for line in (*first, *rest.splitlines())]
    assert sorted(each["value"]["index"] for each in results) == list(range(OBJECTS))
    ended = json.loads(out)
    assert (ended["state"], ended["lineages_succeeded"]) == ("succeeded", OBJECTS)
