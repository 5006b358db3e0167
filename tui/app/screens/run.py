"""`RunScreen`: one run: its graph and fan-out, what failed, what it logs."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import DataTable, Static, TabbedContent, TabPane

from orbit_core.client import Run
from tui.app.model.messages import LogsSeen, PageMessage, RunChanged
from tui.app.model.page import RunPage
from tui.app.screens.detail import of_failure
from tui.app.screens.mesh_screen import MeshScreen
from tui.app.widgets.failures_table import FailuresTable
from tui.app.widgets.keys_line import KeysLine
from tui.app.widgets.log_view import LogView
from tui.app.widgets.mesh_bar import MeshBar
from tui.app.widgets.run_head import RunHead
from tui.app.widgets.steps_table import StepsTable


class RunScreen(MeshScreen):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", "Back", tooltip="To all runs"),
        Binding("1", "focus_pane('steps')", "Steps", tooltip="Go to the steps"),
        Binding("2", "focus_pane('failures')", "Failures", tooltip="Go to what failed"),
        Binding("3", "focus_pane('logs')", "Logs", tooltip="Go to the logs"),
        Binding("q", "app.quit", "Quit", show=False, tooltip="Leave; what runs goes on"),
    ]

    def __init__(self, run_id: str) -> None:
        super().__init__()
        self.page = RunPage(run_id)

    def compose(self) -> ComposeResult:
        yield MeshBar(id="mesh")
        yield RunHead(id="head")
        yield StepsTable(id="steps")
        with TabbedContent(id="below", initial="failures-pane"):
            with TabPane("Failures", id="failures-pane"):
                yield FailuresTable(id="failures")
                yield Static(id="no-failures", classes="nothing", markup=False)
            with TabPane("Logs", id="logs-pane"):
                yield LogView(id="logs")
                yield Static(id="no-logs", classes="nothing", markup=False)
        yield KeysLine()

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one(StepsTable).focus()
        self.run_worker(self.orbit.feed.follow_run(self.page.run_id, self.hear), group="page")

    @property
    def selected_run(self) -> Run | None:
        return self.page.run

    def hear(self, message: PageMessage) -> None:
        if not self.can_draw:
            return
        self.page.apply(message)
        match message:
            case RunChanged(run):
                self.orbit.hear(RunChanged(run))
            case LogsSeen(records):
                self.query_one(LogView).add(filter(self.page.shows, records))
            case _:
                pass
        self.orbit.changed = True

    def show_model(self) -> None:
        page = self.page
        cluster = f" of {page.run.cluster}" if page.run else ""
        head, steps = self.query_one(RunHead), self.query_one(StepsTable)
        head.border_title = f"{page.run_id}{cluster}"
        head.show(page, self.orbit.now_ms())
        steps.show(page.steps, page.step)
        steps.border_title = "steps"
        steps.border_subtitle = f"below: only {page.step}" if page.step else ""
        self._show_failures()
        self._show_logs()
        super().show_model()

    def _show_failures(self) -> None:
        page, table = self.page, self.query_one(FailuresTable)
        shown = page.shown_failures
        table.show(shown)
        table.display = bool(shown)
        nothing = self.query_one("#no-failures", Static)
        nothing.display = not shown
        nothing.update(_no_failures(page))
        count = f"{len(shown)}{'+' if page.more_failures else ''}"
        self.query_one(TabbedContent).get_tab("failures-pane").label = f"Failures {count}" if shown else "Failures"

    def _show_logs(self) -> None:
        """The lines are there already: whether there are any, or why there are none."""
        page, nothing = self.page, self.query_one("#no-logs", Static)
        empty = not any(map(page.shows, page.logs))
        nothing.display = empty or bool(page.logs_refused)
        self.query_one(LogView).display = not empty
        nothing.update(page.logs_refused or f"Nothing{_of_step(page)} has been logged{_so_far(page)}.")

    @on(DataTable.RowSelected, "#failures")
    def _open_failure(self, event: DataTable.RowSelected) -> None:
        failed = self.page.failure(str(event.row_key.value))
        if failed is not None:
            self.app.push_screen(of_failure(failed))

    @on(DataTable.RowSelected, "#steps")
    def _look_at_step(self, event: DataTable.RowSelected) -> None:
        self.page.look_at(str(event.row_key.value).partition("/")[2])
        self._write_logs()
        self.show_model()

    def on_resize(self) -> None:
        if self.can_draw:
            self._write_logs()  # lines are broken as they are written

    def _write_logs(self) -> None:
        logs = self.query_one(LogView)
        logs.clear()
        logs.add(filter(self.page.shows, self.page.logs))

    def action_focus_pane(self, pane: str) -> None:
        if pane != "steps":
            self.query_one(TabbedContent).active = f"{pane}-pane"
        self.set_focus(self.query_one(f"#{pane}"))  # at once: the next key is meant for it

    def action_back(self) -> None:
        self.app.pop_screen()


def _no_failures(page: RunPage) -> str:
    return "" if page.failures is None else f"No lineage{_of_step(page)} has failed{_so_far(page)}."


def _of_step(page: RunPage) -> str:
    return f" of {page.step}" if page.step else ""


def _so_far(page: RunPage) -> str:
    return "" if page.run is not None and page.run.ended else " so far"
