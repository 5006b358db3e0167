"""`MeshBar`: the first line of each screen: whether the mesh answers, who leads, what there is of it."""

from __future__ import annotations

from rich.text import Text
from textual.widgets import Static

from tui.app.model.mesh import MeshModel
from tui.cli.words import money, plural, span


class MeshBar(Static):
    def show(self, model: MeshModel, now_ms: int) -> None:
        text = Text("orbit  ", "bold")
        if model.silence is not None:
            waited = span(max(0, now_ms - model.silence.since_ms))
            text.append("○ ", "yellow").append(f"no answer for {waited}: {model.silence.reason}", "yellow")
        elif model.mesh is None:
            text.append("○ asking for the mesh …", "dim")
        else:
            self._standing(text, model)
        text.truncate(max(1, self.size.width - 2), overflow="ellipsis")
        self.update(text)

    @staticmethod
    def _standing(text: Text, model: MeshModel) -> None:
        assert model.mesh is not None
        there = sum(each.state != "lost" for each in model.agents or ())
        text.append("● ", "green").append(model.mesh.leader_id or "nobody", "bold").append(" leads")
        text.append(f", term {model.mesh.epoch}", "dim").append("  ·  ", "dim")
        text.append(f"{plural(there, 'agent')}, {money(model.price_usd_per_hour)} an hour").append("  ·  ", "dim")
        text.append(f"{plural(len(model.under_way), 'run')} under way")
