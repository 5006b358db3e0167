"""What the demonstration shows at its end. Nothing is fetched here."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from orbit_core.client import Run
from tui.cli.tables import facts, summary
from tui.cli.words import money, plural, span
from tui.demo.outcome import Document
from tui.demo.outside import State
from tui.demo.reports import FIELD_NAMES


def closing(run: Run, found: Sequence[Document], outside: State, left_in_bucket: Sequence[str]) -> RenderableType:
    """The table of documents, the run's summary, and what the outside world has to say."""
    return Group(_documents(found), Text(), summary(run, run.ended_ms or 0), _outside(found, outside, left_in_bucket))


def _documents(found: Sequence[Document]) -> RenderableType:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0), expand=True)
    table.add_column("DOCUMENT", no_wrap=True, overflow="ellipsis", max_width=26)
    table.add_column("FIELDS", no_wrap=True, overflow="ellipsis", ratio=1)  # whatever width the others leave
    table.add_column("RIGHT", justify="right", no_wrap=True)
    table.add_column("AGENT", no_wrap=True)
    table.add_column("SECONDS", justify="right", no_wrap=True)
    table.add_column("COST", justify="right", no_wrap=True)
    for each in found:
        table.add_row(
            each.name,
            Text(each.error, "red") if each.error else _fields(each),
            "" if each.error else f"{each.right}/{len(FIELD_NAMES)}",
            each.agent,
            f"{each.work_ms / 1000:.1f}",
            money(each.cost_usd),
        )
    return table


def _fields(document: Document) -> str:
    fields = document.fields or {}
    return (
        f"{fields.get('company')}, {fields.get('quarter')} {fields.get('year')}:"
        f" revenue {fields.get('revenue')}, net {fields.get('net-income')}"
    )


def _outside(found: Sequence[Document], outside: State, left_in_bucket: Sequence[str]) -> Table:
    table = facts()
    read = [each for each in found if each.fields is not None]
    right, fields = sum(each.right for each in read), len(read) * len(FIELD_NAMES)
    if fields:
        table.add_row("answers", f"{right} of {fields} fields exactly as in the reports ({right / fields:.0%})")
    keys = {delivery.key for delivery in outside.reports}
    table.add_row("webhook", f"{plural(len(outside.reports), 'delivery', 'deliveries')} of {len(keys)} results")
    for alert in outside.alerts:
        table.add_row("pager", Text(alert.body["payload"]["summary"]))
    table.add_row("bucket", Text(f"holds {', '.join(left_in_bucket)}" if left_in_bucket else "empty"))
    return table


def took(text: str, milliseconds: float) -> Text:
    """One thing done, and how long it took."""
    return Text.assemble(("✓ ", "green"), text, (f"  {span(milliseconds)}", "dim"))
