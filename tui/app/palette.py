"""The command palette: what the screen can do at this moment, and nothing else; and the way to any run by its name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, cast

from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.dom import DOMNode

if TYPE_CHECKING:
    from tui.app.app import OrbitApp


class ScreenCommands(Provider):
    """One command for each key of the screen that would do something now. A key of the app's own has a tooltip."""

    async def discover(self) -> Hits:
        for name, help_text, run in self._commands():
            yield DiscoveryHit(name, run, help=help_text)

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        for name, help_text, run in self._commands():
            score = matcher.match(name)
            if score > 0:
                yield Hit(score, matcher.highlight(name), run, help=help_text)

    def _commands(self) -> Iterator[tuple[str, str, Callable[[], Awaitable[None]]]]:
        for active in self.screen.active_bindings.values():
            binding = active.binding
            if active.enabled and active.node is not self.app and binding.tooltip:
                help_text = f"{binding.tooltip}  ({self.app.get_key_display(binding)})"
                yield binding.description, help_text, partial(self._run, active.node, binding.action)

    async def _run(self, node: DOMNode, action: str) -> None:
        await self.app.run_action(action, default_namespace=node)


class RunCommands(Provider):
    """Any run that is known, by its cluster or its identifier."""

    async def search(self, query: str) -> Hits:
        orbit = cast("OrbitApp", self.app)
        matcher = self.matcher(query)
        for run in orbit.model.runs or ():
            name = f"{run.cluster} {run.run_id}"
            score = matcher.match(name)
            if score > 0:
                open_run = partial(orbit.open_run, run.run_id)
                yield Hit(score, matcher.highlight(name), open_run, help=f"Open this run: {run.state}")
