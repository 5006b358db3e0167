"""The command palette: what the screen can do at this moment, and nothing else; and the way to any run by its name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, TypeAlias, cast

from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.dom import DOMNode

if TYPE_CHECKING:
    from tui.app.app import OrbitApp

#: Name, help, and what it does.
Command: TypeAlias = tuple[str, str, Callable[[], Awaitable[None] | None]]


class OrbitCommands(Provider):
    """One provider for everything: Textual asks several in an order of its own."""

    async def discover(self) -> Hits:
        for name, help_text, run in self._commands():
            yield DiscoveryHit(name, run, help=help_text)

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        for name, help_text, run in (*self._commands(), *self._runs()):
            score = matcher.match(name)
            if score > 0:
                yield Hit(score, matcher.highlight(name), run, help=help_text)

    def _commands(self) -> Iterator[Command]:
        """One for each key that would do something now (a key of the app's own has a tooltip), and the app's looks."""
        for active in self.screen.active_bindings.values():
            binding = active.binding
            if active.enabled and active.node is not self.app and binding.tooltip:
                help_text = f"{binding.tooltip}  ({self.app.get_key_display(binding)})"
                yield binding.description, help_text, partial(self._run, active.node, binding.action)
        if self.screen.query("HelpPanel"):
            yield "Hide keys", "Hide the list of keys", self.app.action_hide_help_panel
        else:
            yield "Keys", "List every key of this screen beside it", self.app.action_show_help_panel
        yield "Theme", "Colours: dark, light and others", self.app.action_change_theme

    def _runs(self) -> Iterator[Command]:
        orbit = cast("OrbitApp", self.app)
        for run in orbit.model.runs or ():
            yield f"{run.cluster} {run.run_id}", f"Open this run: {run.state}", partial(orbit.open_run, run.run_id)

    async def _run(self, node: DOMNode, action: str) -> None:
        await self.app.run_action(action, default_namespace=node)
