"""`MeshScreen`: what the app's screens share: the first line, drawing the model anew, and the deeds on runs and agents.

A screen says what is selected (`selected_run`, `selected_agent`) and draws itself (`show_model`); what may be done
with the selection is `model.offers`' to say, for keys, footer and command palette alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, cast

from textual import work
from textual.binding import Binding, BindingType
from textual.screen import Screen

from orbit_core.client import Agent, Run
from orbit_core.errors import OrbitError
from tui.app.model import offers
from tui.app.model.mesh import Notice
from tui.app.screens.confirm import Confirm
from tui.app.widgets.mesh_bar import MeshBar

if TYPE_CHECKING:
    from tui.app.app import OrbitApp


class MeshScreen(Screen[None]):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("c", "cancel_run", "Cancel run", tooltip="End the run now: attempts are stopped"),
        Binding("r", "retry_run", "Retry run", tooltip="A new run that keeps what succeeded"),
        Binding("d", "drain_agent", "Drain agent", tooltip="Let the agent take no more work"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._offered: dict[str, tuple[str, bool]] = {}
        self._is_composed = False

    @property
    def orbit(self) -> OrbitApp:
        return cast("OrbitApp", self.app)

    @property
    def can_draw(self) -> bool:
        """Its widgets are there already, and still."""
        return self._is_composed and self.is_attached

    @property
    def selected_run(self) -> Run | None:
        return None

    @property
    def selected_agent(self) -> Agent | None:
        return None

    def show_model(self) -> None:
        """Draw what is known now."""
        self.query_one(MeshBar).show(self.orbit.model, self.orbit.now_ms())
        self._offer()

    def _offer(self) -> None:
        """The footer is made anew only when it says something else: it would flicker with every countdown."""
        offered = {key: (active.binding.description, active.enabled) for key, active in self.active_bindings.items()}
        if offered != self._offered:
            self._offered = offered
            self.refresh_bindings()

    def on_mount(self) -> None:
        self._is_composed = True
        self.show_model()

    def on_screen_resume(self) -> None:
        if self.can_draw:
            self.show_model()

    def on_descendant_focus(self) -> None:
        self._offer()

    def on_data_table_row_highlighted(self) -> None:
        self._offer()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        match action:
            case "cancel_run":
                return offers.can_cancel(self.selected_run)
            case "retry_run":
                return offers.can_retry(self.selected_run)
            case "drain_agent":
                return offers.can_drain(self.selected_agent)
        return super().check_action(action, parameters)

    @work
    async def action_cancel_run(self) -> None:
        run = self.selected_run
        if run is None or not await self.app.push_screen_wait(
            Confirm(
                f"Cancel {run.run_id}?",
                f"{run.cluster}: its attempts are stopped and failure steps do not run. What has ended stays.",
                "Cancel it",
            )
        ):
            return
        try:
            ended = await self.orbit.client.cancel(run.run_id, reason="cancelled from orbit tui")
        except OrbitError as error:
            self.orbit.tell_error(f"{run.run_id} was not cancelled", error)
            return
        self.orbit.tell_run(ended)

    @work
    async def action_retry_run(self) -> None:
        run = self.selected_run
        if run is None:
            return
        try:
            again = await self.orbit.client.retry(run.run_id)
        except OrbitError as error:
            self.orbit.tell_error(f"{run.run_id} was not retried", error)
            return
        self.orbit.tell_run(again)
        self.orbit.tell(Notice("information", f"{again.run_id} retries {run.run_id}"))
        self.orbit.open_run(again.run_id)

    @work
    async def action_drain_agent(self) -> None:
        agent = self.selected_agent
        if agent is None or not await self.app.push_screen_wait(
            Confirm(
                f"Drain {agent.agent_id}?",
                "It takes no more work, finishes what fits and hands back the rest. It cannot be undone from here.",
                "Drain it",
            )
        ):
            return
        try:
            await self.orbit.client.drain(agent.agent_id)
        except OrbitError as error:
            self.orbit.tell_error(f"{agent.agent_id} was not drained", error)
            return
        self.orbit.tell(Notice("information", f"{agent.agent_id} takes no more work"))
