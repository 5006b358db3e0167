"""`Detail`: all that is known of one thing, as names and values to read and scroll; escape closes it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from orbit_core.client import Agent, Invocation
from tui.app.widgets.agents_table import gpus
from tui.app.widgets.cells import state
from tui.cli.words import ago, money, plural, size, span

Facts = Sequence[tuple[str, str | Text]]


class Detail(ModalScreen[None]):
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,enter,q", "close", "Close")]

    def __init__(self, title: str, facts: Facts) -> None:
        super().__init__()
        self._title = title
        self._facts = facts

    def compose(self) -> ComposeResult:
        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_column(style="bold", no_wrap=True)
        table.add_column(overflow="fold")
        for name, value in self._facts:
            if value:
                table.add_row(name, value)
        with VerticalScroll(id="dialog") as dialog:
            dialog.border_title = self._title
            dialog.border_subtitle = "escape closes"
            yield Static(table)

    def on_mount(self) -> None:
        self.query_one("#dialog").focus()

    def action_close(self) -> None:
        self.dismiss(None)


def of_agent(agent: Agent, now_ms: int) -> Detail:
    hardware = agent.hardware
    facts: list[tuple[str, str | Text]] = [
        ("state", Text.assemble(state(agent.state), f", seen {ago(agent.last_seen_ms, now_ms)}")),
        ("price", f"{money(agent.price_usd_per_hour)} an hour, {agent.price_kind}"),
        ("CPU", f"{hardware.cpu_milli / 1000:g} × {hardware.cpu_model or hardware.architecture}"),
        ("memory", f"{size(agent.used_memory_bytes)} of {size(hardware.memory_bytes)} promised to work"),
        ("disk", f"{size(hardware.disk_free_bytes)} free"),
        ("GPU", gpus(agent)),
        ("ONNX", ", ".join(hardware.providers)),
        ("load", f"{agent.cpu_load:.0%} of the CPU"),
        ("warm", ", ".join(agent.warm_models)),
        ("cached", ", ".join(agent.cached_models)),
        ("labels", ", ".join(f"{key}={value}" for key, value in sorted(agent.labels.items()))),
        ("address", agent.address),
        ("version", f"{agent.version}, started {ago(agent.started_ms, now_ms)}"),
    ]
    for each in agent.running:
        took = f" for {span(now_ms - each.started_ms)}" if each.started_ms else ""
        facts.append(("runs now", f"{each.step}{took}, attempt {each.attempt}, {each.run_id}"))
    facts.append(("satellites", ", ".join(agent.satellites)))
    return Detail(agent.agent_id, facts)


def of_failure(failed: Invocation) -> Detail:
    failure = failed.failure
    took = span(failed.ended_ms - failed.started_ms) if failed.ended_ms and failed.started_ms else ""
    return Detail(
        f"{failed.step} failed",
        [
            ("error", Text(failure.code, "red") if failure else ""),
            ("message", failure.message if failure else ""),
            ("tries", plural(failed.attempt, "attempt")),
            ("took", took),
            ("object", f"the {_ordinal(failed.index + 1)} of its parent's"),
            ("cost", money(failed.cost_usd)),
            ("agent", failed.agent_id),
            ("invocation", failed.invocation_id),
            ("parent", failed.parent_id),
            ("logs", f"orbit logs {failed.run_id} --invocation {failed.invocation_id}"),
        ],
    )


def _ordinal(number: int) -> str:
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"
