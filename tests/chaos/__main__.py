"""`python -m tests.chaos --minutes 3`: real processes on loopback, killed and stopped at random, and a checker.

Three etcd, two coordinators, six agents; runs with fan-out, retries, a webhook that counts, and fan-in, submitted all
the time; words between coordinators and agents said twice (a proxy), agents, coordinators and members of etcd cut off,
also in one direction (network namespaces, where the machine allows). At the end every accepted run must have ended as
it should, every result must be there once, and the webhook must have been called for each invocation. Prints JSON; the
exit status is 1 where something was lost or doubled.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from orbit_core.client import OrbitClient, Patience
from orbit_core.errors import OrbitError
from orbit_core.store.embedded import EmbeddedEtcd, EtcdBinary, find_binary
from tests.chaos.mesh import ProxiedMesh, ScatteredEtcd, agent, coordinator, member
from tests.chaos.namespaces import Network, why_not
from tests.chaos.webhook import Webhook
from tui.mesh.local import AgentPlan

CLUSTER = "chaos/work"
FAN_OUT = 20
#: A run is many + FAN_OUT flaky + FAN_OUT calls + one fan-in.
INVOCATIONS_PER_RUN = 2 + 2 * FAN_OUT
_PAUSE_S = 8.0
_ENDS_WITHIN_S = 240.0
_IN_FLIGHT = 6


def _file(url: str) -> bytes:
    return f"""
version: 0.0.1b
cluster:
  identifier: {CLUSTER}
  sla: 1h
  trigger: {{api-call: true}}
  retries: {{max-retries: 8, delay: 100ms}}
  satellites:
    - {{uses: satellite/orbit/echo, identifier: many, config: {{objects: [{{a: 1}}], copies: {FAN_OUT}}}}}
    - {{uses: satellite/orbit/fail, identifier: flaky, if: "satellites.many.output.index < 2", config: {{attempts: 1}}}}
    - {{uses: satellite/exospherehost/call-webhook, identifier: call, config: {{url: "{url}", method: POST}},
        input: {{n: "${{{{ satellites.many.output.index }}}}"}}}}
    - {{uses: satellite/orbit/echo, identifier: all, gather: {{over: run, when: all-ended}}}}
""".encode()


@dataclass
class Findings:
    """What the checker saw."""

    etcd: str = ""
    runs: int = 0
    invocations: int = 0
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    repeated_calls: int = 0
    #: Words that the proxies said twice.
    repeated_words: Counter[str] = field(default_factory=Counter)
    no_namespaces: str = ""
    faults: Counter[str] = field(default_factory=Counter)
    elections_s: list[float] = field(default_factory=list)
    longest_stall_s: float = 0.0

    @property
    def ok(self) -> bool:
        return not (self.lost or self.doubled or self.wrong) and self.runs > 0

    def as_json(self) -> dict[str, Any]:
        ordered = sorted(self.elections_s)
        return {
            "etcd": self.etcd,
            "runs": self.runs,
            "invocations": self.invocations,
            "lost": len(self.lost),
            "double_committed": len(self.doubled),
            "wrong": len(self.wrong),
            "details": (self.lost + self.doubled + self.wrong)[:10],
            "calls_repeated_with_the_same_key": self.repeated_calls,
            "words_said_twice": dict(sorted(self.repeated_words.items())),
            "network_namespaces": self.no_namespaces or "yes",
            "faults": dict(sorted(self.faults.items())),
            "re_elections": len(ordered),
            "re_election_p50_s": round(_quantile(ordered, 0.5), 2),
            "re_election_p99_s": round(_quantile(ordered, 0.99), 2),
            "longest_stall_s": round(self.longest_stall_s, 2),
        }


def _quantile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


class Chaos:
    """One run of the laboratory's heaviest part."""

    def __init__(
        self,
        mesh: ProxiedMesh,
        network: Network | None,
        etcd: EmbeddedEtcd,
        members: int,
        webhook: Webhook,
        rng: random.Random,
        only: Sequence[str] = (),
    ) -> None:
        self.findings = Findings(etcd=f"{members} × {etcd.version}", repeated_words=mesh.repeated)
        self._mesh = mesh
        self._network = network
        self._etcd = etcd
        self._members = members
        self._webhook = webhook
        self._rng = rng
        self._only = only
        self._client = OrbitClient(mesh.addresses, patience=Patience(total_s=120, attempt_s=10))
        self._accepted: list[str] = []
        self._over = asyncio.Event()

    async def run(self, seconds: float) -> Findings:
        await self._client.submit(_file(self._webhook.url))
        self._webhook.waiting, self._webhook.last_s = True, time.monotonic()
        users = [asyncio.create_task(self._user(number)) for number in range(_IN_FLIGHT)]
        watcher = asyncio.create_task(self._watch_elections())
        try:
            until_s = time.monotonic() + seconds
            while time.monotonic() < until_s:
                await asyncio.sleep(self._rng.uniform(1.0, 4.0))
                await self._strike()
            await self._mend()
            self._over.set()
            async with asyncio.timeout(_ENDS_WITHIN_S):
                await asyncio.gather(*users)
            self._webhook.waiting = False
            await self._check()
        except TimeoutError:
            self.findings.lost.append(f"not all runs had ended {_ENDS_WITHIN_S:g} s after the last fault")
        finally:
            for task in [*users, watcher]:
                task.cancel()
            await asyncio.gather(*users, watcher, return_exceptions=True)
            await self._client.close()
        self.findings.longest_stall_s = self._webhook.longest_gap_s
        return self.findings

    async def _user(self, number: int) -> None:
        """Starts a run, waits for its end, and again."""
        turn = 0
        while not self._over.is_set():
            run = await self._client.trigger(CLUSTER, {}, request_id=f"user-{number}-{turn}")
            self._accepted.append(run.run_id)
            turn += 1
            async for seen in self._client.watch(run.run_id):
                run = seen
            if run.state != "succeeded":
                self.findings.wrong.append(f"{run.run_id} is {run.state}: {run.reason}")

    async def _watch_elections(self) -> None:
        """How long nobody answered as the leader, each time that the epoch changed."""
        epoch, answered_s = 0, time.monotonic()
        async with OrbitClient(self._mesh.addresses, patience=Patience(total_s=0.5, attempt_s=0.5)) as client:
            while True:
                with suppress(OrbitError):
                    await client.agents()  # only a leader answers
                    seen = await client.mesh()
                    now_s = time.monotonic()
                    if epoch and seen.epoch > epoch:
                        self.findings.elections_s.append(now_s - answered_s)
                    epoch, answered_s = max(epoch, seen.epoch), now_s
                await asyncio.sleep(0.1)

    # Faults.

    async def _strike(self) -> None:
        kinds = ["kill-leader", "kill-agent", "kill-agent", "stop-leader", "stop-agent"]
        if self._members > 1:
            kinds += ["kill-etcd-member", "stop-etcd-member"]
        if self._network is not None:
            kinds += ["cut-agent", "cut-coordinator"] + ["cut-etcd-member"] * (self._members > 1)
        kind = self._rng.choice([each for each in kinds if not self._only or each in self._only])
        how, _, whom = kind.partition("-")
        if how == "cut":
            await self._cut(whom)
            return
        self.findings.faults[kind] += 1
        if kind == "kill-leader":
            await self._kill_leader()
        elif kind == "kill-agent":
            index = self._rng.randrange(len(self._mesh.agents))
            await self._mesh.kill_agent(index)
            await asyncio.sleep(self._rng.uniform(0, 3))
            await self._mesh.start_agent(index)
        elif kind == "kill-etcd-member":
            index = self._rng.randrange(self._members)
            await self._etcd.stop_member(index, kill=True)
            await asyncio.sleep(self._rng.uniform(0, 3))
            await self._etcd.start_member(index)
        elif kind == "stop-etcd-member":
            await self._stop(self._rng.choice(self._etcd.pids))
        elif kind == "stop-agent":
            await self._stop(self._rng.choice(self._mesh.agents).pid)
        else:
            await self._stop(self._mesh.coordinators[await self._leader()].pid)

    async def _cut(self, whom: str) -> None:
        """Nothing reaches it and nothing leaves it, or only one of the two."""
        network = self._network
        assert network is not None
        machines = {
            "agent": [agent(index) for index in range(len(self._mesh.agents))],
            "coordinator": [coordinator(await self._leader())] * 2 + [coordinator(0)],
            "etcd-member": [member(index) for index in range(self._members)],
        }
        machine, seconds = self._rng.choice(machines[whom]), self._rng.uniform(1, 20)
        how = self._rng.choice(["", "-inwards", "-outwards"])
        self.findings.faults[f"cut-{whom}{how}"] += 1
        if how:
            await network.cut_one_way(machine, seconds, to_it=how == "-inwards")
        else:
            await network.cut(machine, seconds)

    async def _leader(self) -> int:
        seen = await self._client.mesh()
        known = self._mesh.addresses
        return known.index(seen.leader_address) if seen.leader_address in known else 0

    async def _kill_leader(self) -> None:
        index = await self._leader()
        await self._mesh.kill_coordinator(index)
        await asyncio.sleep(self._rng.uniform(0, 4))
        await self._mesh.start_coordinator(index)

    async def _stop(self, pid: int) -> None:
        os.kill(pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(_PAUSE_S)
        finally:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    async def _mend(self) -> None:
        """Everything runs again."""
        for index, child in enumerate(self._mesh.coordinators):
            if not child.running:
                await self._mesh.start_coordinator(index)
        for index, child in enumerate(self._mesh.agents):
            if not child.running:
                await self._mesh.start_agent(index)

    # What clients and the outside saw.

    async def _check(self) -> None:
        found = self.findings
        called: set[str] = set()
        for run_id in self._accepted:
            run = await self._client.run(run_id)
            results = [each async for each in self._client.results(run_id, steps=["call", "all"])]
            seen = Counter(each.invocation_id for each in results)
            calls = {each.invocation_id for each in results if each.step == "call"}
            called |= calls
            found.runs += 1
            found.invocations += sum(step.succeeded + step.skipped for step in run.steps)
            found.doubled += [f"{run_id} has {count} results of {each}" for each, count in seen.items() if count > 1]
            if len(calls) != FAN_OUT or not run.ended_ms:
                found.lost.append(f"{run_id} ({run.state}) has {len(calls)} results of {FAN_OUT}")
        found.lost += [f"the webhook never heard of {each}" for each in sorted(called - set(self._webhook.keys))]
        found.repeated_calls = sum(count - 1 for count in self._webhook.keys.values())


async def chaos(
    seconds: float,
    *,
    agents: int,
    coordinators: int,
    members: int,
    binary: EtcdBinary,
    data: Path,
    seed: int,
    only: Sequence[str] = (),
) -> Findings:
    """Starts everything, lets it suffer for `seconds`, and says what came of it. `only`: faults of these kinds."""
    reason = why_not()
    machines = [*map(agent, range(agents)), *map(coordinator, range(coordinators)), *map(member, range(members))]
    network = None if reason else Network(machines)
    webhook: Webhook | None = None
    try:
        if network is not None:
            network.open()
        webhook = Webhook(network.host if network else "127.0.0.1")
        async with ScatteredEtcd(data / "etcd", network, binary=binary, member_count=members) as etcd:
            plans = [AgentPlan(id=agent(n), cpus=1, memory="1GiB", slots=4) for n in range(agents)]
            mesh = ProxiedMesh(
                plans,
                network,
                random.Random(seed),
                coordinators=coordinators,
                data=data / "mesh",
                etcd=etcd.endpoints,
                allow_private_addresses=True,
            )
            async with mesh:
                found = await Chaos(mesh, network, etcd, members, webhook, random.Random(seed), only).run(seconds)
                found.no_namespaces = reason or ""
                return found
    finally:
        if webhook is not None:
            webhook.close()
        if network is not None:
            network.close()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--agents", type=int, default=6)
    parser.add_argument("--coordinators", type=int, default=2)
    parser.add_argument("--members", type=int, default=3, help="of etcd")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, metavar="DIR", help="where logs and data stay; nowhere unless said")
    parser.add_argument("--only", type=lambda text: text.split(","), default=(), metavar="kill-leader,cut-agent")
    options = parser.parse_args(arguments)
    binary = find_binary()
    if binary.may_lose_writes:
        print(
            f"etcd {binary.version_text} at {binary.path} can lose acknowledged writes when it is killed: install"
            " Debian's etcd-server, or another 3.4.x or 3.5.3 and later",
            file=sys.stderr,
        )
        return 2
    with nullcontext(options.keep) if options.keep else TemporaryDirectory(prefix="orbit-chaos-") as data:
        findings = asyncio.run(
            chaos(
                options.minutes * 60,
                agents=options.agents,
                coordinators=options.coordinators,
                members=options.members,
                binary=binary,
                data=Path(data),
                seed=options.seed,
                only=options.only,
            )
        )
    print(json.dumps(findings.as_json(), indent=2))
    return 0 if findings.ok else 1


if __name__ == "__main__":
    sys.exit(main())
