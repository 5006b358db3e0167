"""What a run would cost, told: for `orbit quote` and `orbit submit --quote`."""

from __future__ import annotations

from rich.table import Table

from orbit_core.client.scheduling import Quotation
from tui.cli.output import emit
from tui.cli.session import Session
from tui.cli.words import money, span


async def tell_quotation(session: Session, content: bytes) -> None:
    """Asks the mesh what a run of that file would come to, and tells it. Stores nothing."""
    async with session.client() as client:
        found = await client.quote(content)
    for problem in found.problems:
        session.note(problem, "yellow")
    emit(session, found, table=_quotation, name=lambda each: each.cluster)


def plain_table(*columns: str) -> Table:
    """A table without lines."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column)
    return table


def _quotation(found: Quotation) -> Table:
    table = plain_table("SLA", "KEPT", "COST", "ENDS (MIDDLE)", "ENDS (95 %)")
    slas = {each.sla_ms: each for each in (*found.others, found.quote)}
    for each in (slas[sla] for sla in sorted(slas)):
        name = span(each.sla_ms) + (" (asked)" if each.sla_ms == found.quote.sla_ms else "")
        kept = "yes" if each.feasible else "no"
        table.add_row(name, kept, money(each.cost_usd), span(each.p50_finish_ms), span(each.p95_finish_ms))
    return table
