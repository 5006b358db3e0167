"""Machines are bought for what does not fit, kept through a change of leader, replaced when lost, and given back.

The capacity file is the one of docs/capacity.md, hurried: what it buys are agents, as processes on this machine.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tui.mesh.local import AgentPlan

pytestmark = pytest.mark.e2e

PAGE = (Path(__file__).parents[2] / "docs" / "capacity.md").read_text()
ONE_SMALL_AGENT = (AgentPlan(id="there", price_usd_per_hour=0.05, cpus=1, memory="1GiB"),)
CLUSTER = """
version: 0.0.1b
cluster:
  identifier: test/{name}
  sla: {sla}
  trigger: {{api-call: true}}
  satellites:
    - {{uses: satellite/orbit/echo, identifier: many, config: {{objects: [{{a: 1}}], copies: {copies}}}}}
    - uses: satellite/orbit/sleep
      identifier: work
      config: {{seconds: 3}}
      resources: {{cpu: 1}}
"""


class Market:
    """What the commands of the capacity file have left on this machine."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "capacity.yml"
        self.folder = folder / "bought"
        self.data = folder / "mesh"
        self.started = folder / "started"
        self.started.touch()
        (example,) = re.findall(r"```yaml\n(name: local\n.*?)```", PAGE, re.DOTALL)
        hurried = example.replace("tick: 5s", "tick: 1s\nretry: 5s\ndrain: 5s").replace("restart: 10s", "restart: 5s")
        larger = hurried.replace("most: 2", "most: 1").replace("cpus: 1", "cpus: 4").replace("--cpus 1", "--cpus 4")
        count = f'  echo "$ORBIT_KIND" >> {self.started}\n'
        counted = larger.replace("  setsid python", f"{count}  setsid {sys.executable}")
        assert larger.count("cpus: 4") == larger.count("--cpus 4") == larger.count("most: 1") == 1
        assert counted.count("tick: 1s") == counted.count(sys.executable) == counted.count("restart: 5s") == 1
        self.file.write_text(counted)

    @property
    def kinds(self) -> list[str]:
        """The market of each machine that was started, in order."""
        return self.started.read_text().split()

    @property
    def machines(self) -> dict[str, int]:
        """Those that have not been stopped, with their processes."""
        found: dict[str, int] = {}
        for path in self.folder.glob("*.pid"):
            with contextlib.suppress(FileNotFoundError, ValueError):  # stopped, or being started, just now
                found[path.stem] = int(path.read_text())
        return found


@pytest.fixture
def market(tmp_path: Path) -> Iterator[Market]:
    made = Market(tmp_path)
    yield made
    for process in made.machines.values():
        if psutil.pid_exists(process):
            os.kill(process, signal.SIGKILL)


async def started_run(client, name: str, *, sla: str, copies: int):
    await client.submit(CLUSTER.format(name=name, sla=sla, copies=copies).encode())
    return await client.trigger(f"test/{name}")


async def ended(client, run_id: str):
    run = None
    async for seen in client.watch(run_id):
        run = seen
    return run, {result.agent_id async for result in client.results(run_id)}


async def test_what_does_not_fit_is_done_on_a_machine_that_is_bought(start_mesh, connect, eventually, market):
    client = connect(await start_mesh(ONE_SMALL_AGENT, data=market.data, capacity=market.file))
    run = await started_run(client, "short", sla="35s", copies=14)
    await eventually(lambda: market.machines, what="a machine")
    first, *_ = await client.explain(run.run_id)
    assert first.step == "(bought capacity)"
    assert re.search(r"^(nothing|spot in here).*: \d+ s of its work do not fit", first.reason)
    run, agents = await ended(client, run.run_id)
    assert (run.state, run.sla) == ("succeeded", "met"), "42 seconds of work do not fit into 35 on one core"
    assert "there" in agents
    assert any(agent.startswith("orbit-local-") for agent in agents)
    assert market.kinds[0] == "spot"
    await eventually(lambda: not market.machines, what="the machine given back")
    assert {agent.agent_id for agent in await client.agents() if agent.state == "attached"} == {"there"}


async def test_a_new_leader_keeps_what_is_held_and_a_lost_machine_is_replaced(start_mesh, connect, eventually, market):
    mesh = await start_mesh(ONE_SMALL_AGENT, data=market.data, coordinators=2, capacity=market.file)
    client = connect(mesh)
    run = await started_run(client, "long", sla="75s", copies=44)

    async def joined() -> set[str]:
        attached = {agent.agent_id for agent in await client.agents() if agent.state == "attached"}
        return {name for name in attached if name.startswith("orbit-local-")}

    async def back() -> bool:
        return held <= await joined()

    held = await eventually(joined, what="a machine that joined")
    bought = len(market.kinds)
    await mesh.kill_coordinator()
    await eventually(back, what="its agent found the new leader")
    assert len(market.kinds) == bought, "the new leader bought what was held already"
    os.kill(market.machines[min(held)], signal.SIGKILL)
    await eventually(lambda: len(market.kinds) > bought, seconds=60, what="another machine")
    run, agents = await ended(client, run.run_id)
    assert (run.state, run.sla) == ("succeeded", "met")
    assert any(agent.startswith("orbit-local-") for agent in agents - held)
    await eventually(lambda: not market.machines, what="the machines given back")
