"""`AgentsTable`: the machines of the mesh, one a row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text

from orbit_core.client import Agent
from tui.app.model.columns import Column, cut_middle
from tui.app.widgets.cells import state
from tui.app.widgets.fitted_table import Cell, FittedTable
from tui.cli.words import money, size


class AgentsTable(FittedTable):
    COLUMNS: ClassVar[tuple[Column, ...]] = (
        Column("agent", "AGENT", 10, 28, 1),
        Column("state", "STATE", 8, 8, 2),
        Column("price", "$/HOUR", 9, 9, 3, right=True),
        Column("kind", "KIND", 9, 9, 4),
        Column("cpu", "CPU", 9, 9, 5, right=True),
        Column("load", "LOAD", 4, 4, 6, right=True),
        Column("memory", "MEMORY", 16, 16, 8, right=True),
        Column("gpu", "GPU", 6, 20, 7),
        Column("now", "RUNS NOW", 13, 60, 0),
        Column("warm", "WARM", 8, 24, 9),
    )

    def show(self, agents: Sequence[Agent]) -> None:
        self.show_rows({each.agent_id: _row(each) for each in agents})


def _row(agent: Agent) -> dict[str, Cell]:
    there = agent.state != "lost"
    hardware = agent.hardware
    return {
        "agent": lambda width: Text(cut_middle(agent.agent_id, width), "" if there else "dim"),
        "state": state(agent.state),
        "price": money(agent.price_usd_per_hour),
        "kind": Text(agent.price_kind, "yellow" if agent.price_kind == "spot" else ""),
        "cpu": f"{agent.used_cpu_milli / 1000:g}/{hardware.cpu_milli / 1000:g}" if there else "",
        "load": _load(agent.cpu_load) if there else "",
        "memory": _memory(agent) if there else "",
        "gpu": gpus(agent),
        "now": _now(agent),
        "warm": Text(", ".join(agent.warm_models), "dim"),
    }


def _load(load: float) -> Text:
    return Text(f"{load:.0%}", "red" if load > 0.95 else "yellow" if load > 0.75 else "")


def _memory(agent: Agent) -> str:
    used, all_of_it = size(agent.used_memory_bytes), size(agent.hardware.memory_bytes)
    if used.split()[-1] == all_of_it.split()[-1]:
        used = used.split()[0]
    return f"{used}/{all_of_it}"


def gpus(agent: Agent) -> str:
    """`2×H100`; a dash where there is none."""
    found = Counter(gpu.model for gpu in agent.hardware.gpus)
    return ", ".join(f"{count}×{model}" if count > 1 else model for model, count in found.items()) or "–"


def _now(agent: Agent) -> Text:
    """What it runs by step, the most first."""
    if not agent.running:
        return Text("idle" if agent.state == "attached" else "–", "dim")
    steps = Counter(each.step for each in agent.running)
    return Text(", ".join(f"{step} ×{count}" if count > 1 else step for step, count in steps.most_common()), "cyan")
