"""`Overview`: the first screen: agents above, runs below."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import DataTable, Static

from orbit_core.client import Agent, Run
from tui.app.model.mesh import MeshModel
from tui.app.screens.detail import of_agent
from tui.app.screens.mesh_screen import MeshScreen
from tui.app.widgets.agents_table import AgentsTable
from tui.app.widgets.fitted_table import FittedTable
from tui.app.widgets.keys_line import KeysLine
from tui.app.widgets.mesh_bar import MeshBar
from tui.app.widgets.runs_table import RunsTable
from tui.cli.words import plural

_NO_AGENTS = "No agents are attached.  orbit up --agents 2  starts a mesh with two."
_NO_RUNS = "No runs yet.  orbit submit FILE  stores a cluster,  orbit trigger CLUSTER  starts a run of it."
_NOBODY = "No coordinator answers yet.  orbit up  starts a mesh here;  --address  names another."


class Overview(MeshScreen):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f", "filter_runs", "Under way/all", tooltip="Show all runs, or those that have not ended"),
        Binding("tab", "other_pane", "Other pane", priority=True, tooltip="From runs to agents and back"),
        Binding("1", "focus_pane('agents')", "Agents", show=False, tooltip="Go to the agents"),
        Binding("2", "focus_pane('runs')", "Runs", show=False, tooltip="Go to the runs"),
        Binding("q", "app.quit", "Quit", tooltip="Leave; what runs goes on"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._under_way_only = False

    def compose(self) -> ComposeResult:
        yield MeshBar(id="mesh")
        yield AgentsTable(id="agents")
        yield Static(id="no-agents", classes="nothing", markup=False)
        yield RunsTable(id="runs")
        yield Static(id="no-runs", classes="nothing", markup=False)
        yield KeysLine()

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one(RunsTable).focus()

    @property
    def selected_run(self) -> Run | None:
        table = self.query_one(RunsTable)
        return self.orbit.model.run(table.selected) if table.has_focus else None

    @property
    def selected_agent(self) -> Agent | None:
        table = self.query_one(AgentsTable)
        return self.orbit.model.agent(table.selected) if table.has_focus else None

    def show_model(self) -> None:
        model = self.orbit.model
        agents, runs = self.query_one(AgentsTable), self.query_one(RunsTable)
        shown = model.under_way if self._under_way_only else model.runs or ()
        agents.show(model.agents or ())
        runs.show(shown, self.orbit.now_ms())
        agents.border_title = "agents"
        agents.border_subtitle = plural(len(model.agents or ()), "agent")
        runs.border_title = "runs under way" if self._under_way_only else "runs"
        runs.border_subtitle = plural(len(shown), "run")
        self._say_nothing(agents, "#no-agents", not model.agents, _NO_AGENTS if model.agents is not None else "")
        self._say_nothing(runs, "#no-runs", not shown, self._no_runs(model))
        super().show_model()

    def _no_runs(self, model: MeshModel) -> str:
        if model.runs is None:
            return f"{_NOBODY}\n{model.silence.reason}" if model.silence else ""
        return "No run is under way.  f  shows those that have ended." if model.runs else _NO_RUNS

    def _say_nothing(self, table: FittedTable, place: str, empty: bool, text: str) -> None:
        """An empty table gives its place to a word about what to do next; it keeps the focus."""
        nothing = self.query_one(place, Static)
        table.set_class(empty, "empty")
        nothing.display = empty
        nothing.update(text)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "filter_runs":
            return bool(self.orbit.model.runs)
        return super().check_action(action, parameters)

    @on(DataTable.RowSelected, "#runs")
    def _open_run(self, event: DataTable.RowSelected) -> None:
        self.orbit.open_run(str(event.row_key.value))

    @on(DataTable.RowSelected, "#agents")
    def _open_agent(self, event: DataTable.RowSelected) -> None:
        agent = self.orbit.model.agent(str(event.row_key.value))
        if agent is not None:
            self.app.push_screen(of_agent(agent, self.orbit.now_ms()))

    def action_filter_runs(self) -> None:
        self._under_way_only = not self._under_way_only
        self.show_model()

    def action_other_pane(self) -> None:
        self.action_focus_pane("runs" if self.query_one(AgentsTable).has_focus else "agents")

    def action_focus_pane(self, pane: str) -> None:
        self.set_focus(self.query_one(f"#{pane}"))  # at once: the next key is meant for it
