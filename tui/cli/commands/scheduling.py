"""`orbit quote`, `orbit explain`, `orbit cost`: what work will cost, why it is where it is, what it has cost."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import click
from rich.table import Table

from orbit_core.client.scheduling import CostKey, CostLine, Explanation
from tui.cli.commands.files import read
from tui.cli.output import emit
from tui.cli.quoting import plain_table, tell_quotation
from tui.cli.session import Session, mesh_command, newest_run, output_options
from tui.cli.words import money


@click.command()
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@output_options("table", "json", "yaml")
@mesh_command
async def quote(session: Session, file: Path) -> None:
    """What a run of a cluster file would cost and when it would end, also with other SLAs. Stores nothing."""
    content, _ = read(file)
    await tell_quotation(session, content)


@click.command()
@click.argument("run_id", required=False, metavar="[RUN]")
@click.option("--invocation", default="", help="One invocation only.")
@output_options("table", "json", "yaml")
@mesh_command
async def explain(session: Session, run_id: str | None, invocation: str) -> None:
    """Why a run's work is where it is, why it waits, what it would cost elsewhere. Without RUN: the newest."""
    async with session.client() as client:
        found = await client.explain(await newest_run(client, run_id), invocation_id=invocation)
    emit(session, list(found), table=_explanations, name=lambda each: each.invocation_id)


@click.command()
@click.option("--by", type=click.Choice(["run", "satellite", "model", "project", "day"]), default="run")
@output_options("table", "json", "yaml")
@mesh_command
async def cost(session: Session, by: str) -> None:
    """What runs have cost, by run, satellite, model, project or day; tokens for a dollar.

    LOST is what they cost beyond the least that was possible: had all durations, prices and agents been known
    beforehand, within the same deadlines. Of runs that have ended, and of agents of the last two weeks.
    """
    async with session.client() as client:
        found = await client.cost(cast(CostKey, by))
    emit(session, list(found), table=_costs, name=lambda each: each.key)


def _explanations(found: list[Explanation]) -> Table:
    table = plain_table("STEP", "WAITING", "WHY", "ELSEWHERE")
    table.columns[2].overflow = "fold"
    for each in found:
        others = "; ".join(f"{', '.join(o.agent_ids)} {money(o.cost_usd)} ({o.reason})" for o in each.elsewhere)
        table.add_row(each.step, str(each.waiting), each.reason, others)
    return table


def _costs(found: list[CostLine]) -> Table:
    table = plain_table("WHAT", "RUNS", "COST", "LOST", "TOKENS", "TOKENS A DOLLAR")
    for each in found:
        tokens = each.input_tokens + each.output_tokens
        spent = (money(each.cost_usd), _lost(each))
        table.add_row(each.key, str(each.runs), *spent, f"{tokens:,}", f"{each.tokens_per_usd:,.0f}")
    return table


def _lost(line: CostLine) -> str:
    """Nothing where no run can be looked back on; in per cent of what those that can be have cost."""
    if not line.runs_looked_back_on:
        return "-"
    cost_usd = line.least_usd + line.lost_usd
    lost_usd = line.lost_usd if abs(line.lost_usd) > 1e-9 else 0.0
    share = f" ({lost_usd / cost_usd:.0%})" if cost_usd > 0 else ""
    return f"{'-' if lost_usd < 0 else ''}{money(abs(lost_usd))}{share}"
