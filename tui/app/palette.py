"""The command palette: what the screen can do at this moment, and nothing else; and the way to any run by its name."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, cast

from textual.command import DiscoveryHit, Hit, Hits, Provider

if TYPE_CHECKING:
    from tui.app.app import OrbitApp


class ScreenCommands(Provider):
    """One command for each key of the screen that would do something now. A key of the app's own has a tooltip."""

    async def discover(self) -> Hits:
        for name, help_text, action in self._commands():
            yield DiscoveryHit(name, partial(self._run, action), help=help_text)

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        for name, help_text, action in self._commands():
            score = matcher.match(name)
            if score > 0:
                yield Hit(score, matcher.highlight(name), partial(self._run, action), help=help_text)

    async def _run(self, action: str) -> None:
        await self.screen.run_action(action)

    def _commands(self) -> Iterator[tuple[str, str, str]]:
        for active in self.screen.active_bindings.values():
            binding = active.binding
            if active.enabled and active.node is self.screen and binding.tooltip:
                key = self.app.get_key_display(binding)
                yield binding.description, f"{binding.tooltip}  ({key})", binding.action


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
