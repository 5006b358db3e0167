"""The mesh as the app knows it: agents, runs, who leads, whether anybody answers.

`MeshModel.apply` is the only thing that changes it, and what it returns is what a person is told in passing. How
anything is asked for is the feed's business, how it looks the widgets'.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

from orbit_core.client import Agent, Mesh, Run
from tui.app.model.messages import AgentsListed, Answered, MeshMessage, RunChanged, RunsListed, Silent
from tui.cli.words import plural

#: Agents in the order of what a person wants to see first.
_AGENT_ORDER: Final = {"attached": 0, "draining": 1, "detached": 2, "lost": 3}


@dataclass(frozen=True, slots=True)
class Notice:
    """Something worth a word in passing; never a reason to stop."""

    severity: Literal["information", "warning", "error"]
    text: str


@dataclass(slots=True)
class MeshModel:
    """`agents` and `runs` are None until they have been heard of once."""

    mesh: Mesh | None = None
    silence: Silent | None = None
    _agents: dict[str, Agent] | None = None
    _runs: dict[str, Run] | None = None
    #: Told of before the runs were listed.
    _early: dict[str, Run] = field(default_factory=dict)

    @property
    def agents(self) -> tuple[Agent, ...] | None:
        """Those that work first, lost ones last, else by name."""
        if self._agents is None:
            return None
        return tuple(sorted(self._agents.values(), key=lambda each: (_AGENT_ORDER.get(each.state, 9), each.agent_id)))

    @property
    def runs(self) -> tuple[Run, ...] | None:
        """The newest first."""
        if self._runs is None:
            return None
        return tuple(sorted(self._runs.values(), key=lambda each: (-each.created_ms, each.run_id)))

    def agent(self, agent_id: str) -> Agent | None:
        return (self._agents or {}).get(agent_id)

    def run(self, run_id: str) -> Run | None:
        return (self._runs or self._early).get(run_id)

    @property
    def price_usd_per_hour(self) -> float:
        """What the agents that are there cost together."""
        return sum(each.price_usd_per_hour for each in (self._agents or {}).values() if each.state != "lost")

    @property
    def under_way(self) -> tuple[Run, ...]:
        return tuple(each for each in self.runs or () if not each.ended)

    def apply(self, message: MeshMessage) -> tuple[Notice, ...]:
        match message:
            case Answered(mesh):
                return self._answered(mesh)
            case Silent():
                return self._silent(message)
            case AgentsListed(agents):
                return self._agents_listed(agents)
            case RunsListed(runs):
                return self._runs_listed(runs)
            case RunChanged(run):
                return self._run_changed(run)

    def _answered(self, mesh: Mesh) -> tuple[Notice, ...]:
        notices: list[Notice] = []
        if self.silence is not None and self.mesh is not None:
            notices.append(Notice("information", "the mesh answers again"))
        if self.mesh is not None and mesh.leader_id and mesh.epoch > self.mesh.epoch:
            notices.append(Notice("information", f"{mesh.leader_id} leads now, in term {mesh.epoch}"))
        self.silence = None
        self.mesh = mesh
        return tuple(notices)

    def _silent(self, silence: Silent) -> tuple[Notice, ...]:
        if self.silence is not None:  # the same silence goes on: it began when it began
            self.silence = Silent(self.silence.since_ms, silence.reason)
            return ()
        self.silence = silence
        if self.mesh is None:
            return ()  # nothing is lost that was never there: the empty screen says what to do
        return (
            Notice("warning", f"the mesh does not answer ({silence.reason}): what runs goes on, and so does asking"),
        )

    def _agents_listed(self, agents: tuple[Agent, ...]) -> tuple[Notice, ...]:
        before = self._agents or {}
        self._agents = {each.agent_id: each for each in agents}
        return tuple(
            Notice(
                "warning", f"{each.agent_id} is lost; its {plural(len(known.running), 'attempt')} will run elsewhere"
            )
            for each in agents
            if each.state == "lost" and (known := before.get(each.agent_id)) is not None and known.state != "lost"
        )

    def _runs_listed(self, runs: tuple[Run, ...]) -> tuple[Notice, ...]:
        before = self._early if self._runs is None else self._runs
        self._early = {}
        # A list may have been on its way while a watch said more: what has ended stays so.
        self._runs = {each.run_id: _newer(before.get(each.run_id), each) for each in runs}
        return tuple(notice for run in self._runs.values() for notice in _ended(before.get(run.run_id), run))

    def _run_changed(self, run: Run) -> tuple[Notice, ...]:
        known = self._early if self._runs is None else self._runs
        before = known.get(run.run_id)
        known[run.run_id] = _newer(before, run)
        return _ended(before, known[run.run_id])


def _newer(known: Run | None, told: Run) -> Run:
    return known if known is not None and known.ended and not told.ended else told


def _ended(before: Run | None, run: Run) -> tuple[Notice, ...]:
    """A word when a run that was seen under way has ended."""
    if before is None or before.ended or not run.ended:
        return ()
    late = ", after its deadline" if run.sla == "missed" else ""
    severity = "information" if run.state in ("succeeded", "cancelled") and not late else "warning"
    return (Notice(severity, f"{run.cluster} {run.state}{late} ({run.run_id})"),)
