"""The command palette: what the screen can do at this moment, and nothing else: a key that is off is not offered."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from textual.command import DiscoveryHit, Hit, Hits, Provider


class ScreenCommands(Provider):
    """One command for each key that the screen and the app have and that would do something now."""

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
            if active.enabled and active.node in (self.screen, self.app) and binding.action != "command_palette":
                key = self.app.get_key_display(binding)
                help_text = f"{active.tooltip or binding.tooltip}  ({key})" if binding.tooltip else f"key {key}"
                yield binding.description, help_text, binding.action
