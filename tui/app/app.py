"""`OrbitApp`: holds the model, the feed and the screens together. What they know and draw is theirs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import ClassVar, Final

from textual.app import App
from textual.binding import Binding, BindingType
from textual.command import Provider

from orbit_core.client import Run
from orbit_core.errors import OrbitError
from tui.app.feed import Feed, MeshClient
from tui.app.model.mesh import MeshModel, Notice
from tui.app.model.messages import MeshMessage, RunChanged
from tui.app.palette import OrbitCommands
from tui.app.screens.mesh_screen import MeshScreen
from tui.app.screens.overview import Overview
from tui.app.screens.run import RunScreen

#: What has changed is drawn at most this often; countdowns move once a second.
_DRAW_S: Final = 0.2
_COUNTDOWN_S: Final = 1.0


class OrbitApp(App[None]):
    """`run_id`: begin at this run's page."""

    TITLE = "orbit"
    #: How long a notice is seen.
    NOTICE_S: ClassVar[Mapping[str, float]] = {"information": 4.0, "warning": 8.0, "error": 12.0}
    CSS_PATH = Path(__file__).with_name("orbit.tcss")
    COMMANDS: ClassVar[set[type[Provider] | Callable[[], type[Provider]]]] = {OrbitCommands}
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+c", "quit", "Quit", show=False, priority=True, system=True),
    ]

    def __init__(self, client: MeshClient, feed: Feed, *, run_id: str = "", now_ms: Callable[[], int]) -> None:
        super().__init__()
        self.client = client
        self.feed = feed
        self.now_ms = now_ms
        self.model = MeshModel()
        self.changed = False
        self._run_id = run_id

    def on_mount(self) -> None:
        self.push_screen(Overview())
        if self._run_id:
            self.open_run(self._run_id)
        self.set_interval(_DRAW_S, self._draw_changes)
        self.set_interval(_COUNTDOWN_S, self._draw)
        self.run_worker(self.feed.follow_mesh(self.hear), group="mesh")

    def hear(self, message: MeshMessage) -> None:
        for notice in self.model.apply(message):
            self.tell(notice)
        self.changed = True

    def tell_run(self, run: Run) -> None:
        """A run as a call gave it, before the watch says so."""
        self.hear(RunChanged(run))
        self._draw()

    def tell_error(self, what: str, error: OrbitError) -> None:
        self.tell(Notice("error", f"{what}: {error}"))

    def open_run(self, run_id: str) -> None:
        """The run's page in place of another one, above the overview."""
        if isinstance(self.screen, RunScreen):
            self.switch_screen(RunScreen(run_id))
        else:
            self.push_screen(RunScreen(run_id))

    def tell(self, notice: Notice) -> None:
        """A word in passing."""
        self.notify(notice.text, severity=notice.severity, timeout=self.NOTICE_S[notice.severity], markup=False)

    def _draw_changes(self) -> None:
        if self.changed:
            self._draw()

    def _draw(self) -> None:
        if self.is_running and isinstance(self.screen, MeshScreen) and self.screen.can_draw:
            self.changed = False
            self.screen.show_model()
