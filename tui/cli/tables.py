"""Tables of what the client gives: one function for each kind of thing. Nothing is fetched here."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from orbit_core.client import Agent, Cluster, ClusterVersion, Result, Run, Secret
from orbit_core.client.context import Context
from tui.cli.words import ago, money, plural, size, span

STATE_STYLES = {
    "running": "cyan",
    "paused": "yellow",
    "succeeded": "green",
    "partially-succeeded": "yellow",
    "failed": "red",
    "cancelled": "dim",
    "attached": "green",
    "draining": "yellow",
    "detached": "yellow",
    "lost": "red",
    "met": "green",
    "missed": "red",
}

#: Enough of a version's hash to tell it from others, and to name it by.
HASH_CHARS = 12


def word(state: str) -> Text:
    return Text(state, STATE_STYLES.get(state, ""))


def _table(*columns: str, right: Sequence[str] = ()) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", no_wrap=True, overflow="ellipsis")
    return table


def _or_nothing(table: Table, nothing: str) -> RenderableType:
    return table if table.row_count else Text(nothing, "dim")


def clusters(now_ms: int) -> Callable[[Sequence[Cluster]], RenderableType]:
    def render(found: Sequence[Cluster]) -> RenderableType:
        table = _table("CLUSTER", "SLA", "TRIGGER", "NEXT RUN", "STEPS", "SUBMITTED", right=["STEPS"])
        for each in found:
            table.add_row(
                each.identifier if each.enabled else f"{each.identifier} (disabled)",
                span(each.sla_ms),
                ", ".join(each.triggers),
                ago(each.next_run_ms, now_ms),
                str(len(each.steps)),
                ago(each.submitted_ms, now_ms),
            )
        return _or_nothing(table, "no clusters: `orbit submit FILE` stores one")

    return render


def cluster(now_ms: int) -> Callable[[Cluster], RenderableType]:
    def render(found: Cluster) -> RenderableType:
        return Group(clusters(now_ms)([found]), Text(), Text(found.document.rstrip()))

    return render


def sla(run: Run, now_ms: int) -> Text:
    """How the run stands against its deadline: time left while it runs, met or missed after."""
    if run.ended:
        return word(run.sla)
    left_ms = run.deadline_ms - now_ms
    if left_ms < 0:
        return Text(f"missed by {span(left_ms)}", "red")
    if run.expected_late:
        return Text(f"{span(left_ms)} left, too little", "red")
    return Text(f"{span(left_ms)} left", "yellow" if left_ms < 0.1 * (run.deadline_ms - run.created_ms) else "")


def lineages(run: Run) -> str:
    if run.lineages_failed:
        return f"{run.lineages_succeeded} ok, {run.lineages_failed} failed"
    return f"{run.lineages_succeeded} ok"


def runs(now_ms: int) -> Callable[[Sequence[Run]], RenderableType]:
    def render(found: Sequence[Run]) -> RenderableType:
        table = _table("RUN", "CLUSTER", "STATE", "SLA", "LINEAGES", "COST", "TOOK", "STARTED", right=["COST", "TOOK"])
        for each in found:
            table.add_row(
                each.run_id,
                each.cluster,
                word(each.state),
                sla(each, now_ms),
                lineages(each),
                money(each.cost_usd),
                span((each.ended_ms or now_ms) - each.created_ms),
                ago(each.created_ms, now_ms),
            )
        return _or_nothing(table, "no runs: `orbit trigger CLUSTER` starts one")

    return render


def versions(now_ms: int) -> Callable[[Sequence[ClusterVersion]], RenderableType]:
    def render(found: Sequence[ClusterVersion]) -> RenderableType:
        table = _table("VERSION", "SUBMITTED", "")
        for each in found:
            current = Text("current", "green") if each.current else Text()
            table.add_row(each.spec_hash[:HASH_CHARS], ago(each.submitted_ms, now_ms), current)
        return table

    return render


def contexts(found: Sequence[Context]) -> RenderableType:
    table = _table("CONTEXT", "COORDINATORS", "")
    for each in found:
        table.add_row(each.name, ", ".join(each.addresses), Text("current", "green") if each.current else Text())
    return _or_nothing(table, "no contexts: `orbit up` makes one, `orbit context set NAME HOST:PORT` another")


def agents(found: Sequence[Agent]) -> RenderableType:
    table = _table("AGENT", "STATE", "$/HOUR", "KIND", "CPU", "MEMORY", "GPU", "RUNNING", "WARM", right=["$/HOUR"])
    for each in found:
        hardware = each.hardware
        busy = ", ".join(sorted({one.step for one in each.running}))
        table.add_row(
            each.agent_id,
            word(each.state),
            money(each.price_usd_per_hour),
            each.price_kind,
            f"{each.used_cpu_milli / 1000:g}/{hardware.cpu_milli / 1000:g}",
            f"{size(each.used_memory_bytes)}/{size(hardware.memory_bytes)}",
            ", ".join(gpu.model for gpu in hardware.gpus) or "none",
            f"{len(each.running)} ({busy})" if busy else "0",
            ", ".join(each.warm_models),
        )
    return _or_nothing(table, "no agents are attached: `orbit up --agents N` starts some")


def secrets(found: Sequence[Secret]) -> RenderableType:
    table = _table("CLUSTER", "NAME", "VERSION", right=["VERSION"])
    for each in found:
        table.add_row(each.cluster, each.name, str(each.version))
    return _or_nothing(table, "no secrets: `orbit secrets set CLUSTER NAME` stores one")


def results(found: Sequence[Result]) -> RenderableType:
    table = _table("#", "STEP", "RESULT", "AGENT", "TRIES", "COST", right=["#", "TRIES", "COST"])
    table.columns[2].overflow, table.columns[2].no_wrap = "fold", False
    for number, each in enumerate(found, start=1):
        shown = (
            Text(f"{each.failure.code}: {each.failure.message}", "red")
            if each.failure
            else Text(json.dumps(each.value, ensure_ascii=False))
        )
        step = each.step if each.section == "main" else f"{each.step} ({each.section})"
        table.add_row(str(number), step, shown, each.agent_id, str(each.attempts), money(each.cost_usd))
    return _or_nothing(table, "no results")


def facts() -> Table:
    """A table of names and what is to be said of each."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="bold", min_width=8)
    table.add_column()
    return table


def summary(run: Run, now_ms: int) -> RenderableType:
    """A run in a few lines: how it ended, what it cost, what it used."""
    table = facts()
    table.add_row("run", f"{run.run_id} of {run.cluster} ({run.trigger})")
    table.add_row("state", Text.assemble(word(run.state), f": {lineages(run)}"))
    if run.reason:
        table.add_row("reason", run.reason)
    used_ms = (run.ended_ms or now_ms) - run.created_ms
    table.add_row(
        "SLA", Text.assemble(sla(run, now_ms), f", {span(used_ms)} of {span(run.deadline_ms - run.created_ms)}")
    )
    limit = f" of at most {money(run.budget_usd)}" if run.budget_usd else ""
    table.add_row("cost", f"{money(run.cost_usd)}{limit}")
    if run.usage.input_tokens or run.usage.output_tokens:
        tokens = f"{run.usage.input_tokens:,} in, {run.usage.output_tokens:,} out"
        if run.cost_usd:
            total = run.usage.input_tokens + run.usage.output_tokens
            tokens += f" ({total / run.cost_usd:,.0f} a dollar)"
        table.add_row("tokens", tokens)
    attempts = plural(run.attempts, "attempt")
    table.add_row("work", f"{attempts}, {run.attempts_lost} lost with their agent or handed back")
    if run.retry_of:
        table.add_row("retry of", f"{run.retry_of}, {plural(run.reused, 'result')} taken over")
    return table
