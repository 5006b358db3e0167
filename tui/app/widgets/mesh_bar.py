"""`MeshBar`: the first line of each screen: whether the mesh answers, who leads, what there is of it."""

from __future__ import annotations

from rich.text import Text
from textual.widgets import Static

from orbit_core.client import Mesh
from tui.app.model.mesh import MeshModel
from tui.cli.words import money, plural, span


class MeshBar(Static):
    def show(self, model: MeshModel, now_ms: int) -> None:
        room = self.app.size.width - 2
        if model.silence is not None:
            waited = span(max(0, now_ms - model.silence.since_ms))
            text = Text.assemble("○ ", f"no answer for {waited}: {model.silence.reason}", style="yellow")
        elif model.mesh is None:
            text = Text("○ asking for the mesh …", "dim")
        else:
            text = _standing(model, model.mesh, brief=False)
            if _TITLE.cell_len + text.cell_len > room:
                text = _standing(model, model.mesh, brief=True)
        line = Text.assemble(_TITLE, text)
        line.truncate(max(1, room), overflow="ellipsis")
        self.update(line)


_TITLE = Text("orbit  ", "bold")


def _standing(model: MeshModel, mesh: Mesh, *, brief: bool) -> Text:
    there = sum(each.state != "lost" for each in model.agents or ())
    text = Text.assemble(("● ", "green"), (mesh.leader_id or "nobody", "bold"), " leads")
    text.append("" if brief else f", term {mesh.epoch}", "dim").append("  ·  ", "dim")
    text.append(f"{plural(there, 'agent')}, {money(model.price_usd_per_hour)} an hour").append("  ·  ", "dim")
    return text.append(f"{plural(len(model.under_way), 'run')} under way")
