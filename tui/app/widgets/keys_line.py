"""`KeysLine`: the last line of each screen: the keys that would do something now."""

from __future__ import annotations

from textual.widgets import Footer


class KeysLine(Footer):
    """Textual's footer draws at the first change of keys that it hears of; this one also when it comes to be."""

    def __init__(self) -> None:
        super().__init__(show_command_palette=True)

    def on_mount(self) -> None:
        self.call_after_refresh(self.bindings_changed, self.screen)
