"""`RunHead`: what a run is, how it stands against its SLA, what it has cost."""

from __future__ import annotations

from rich.text import Text
from textual.widgets import Static

from orbit_core.client import Run
from tui.app.model.page import RunPage
from tui.app.widgets.cells import percent_done, sla, state
from tui.cli.words import money, plural, span


class RunHead(Static):
    def show(self, page: RunPage, now_ms: int) -> None:
        if page.run is None:
            self.update(Text(page.refused or f"asking for {page.run_id} …", "red" if page.refused else "dim"))
            return
        lines = [_standing(page.run, now_ms), _work(page.run)]
        if page.run.usage.input_tokens or page.run.usage.output_tokens:
            lines.append(_tokens(page.run))
        if page.refused:
            lines.append(Text(f"not up to date: {page.refused}", "yellow"))
        elif page.run.reason:
            lines.append(Text(page.run.reason, "yellow"))
        elif page.run.retry_of:
            lines.append(Text(f"retry of {page.run.retry_of}: {plural(page.run.reused, 'result')} taken over", "dim"))
        self.update(Text("\n").join(lines))


def _standing(run: Run, now_ms: int) -> Text:
    took_ms = (run.ended_ms or now_ms) - run.created_ms
    allowed_ms = run.deadline_ms - run.created_ms
    text = Text.assemble(state(run.state), f" {percent_done(run)}%", ("  ·  ", "dim"))
    text.append("SLA ").append(sla(run, now_ms))
    if run.expected_late and not run.ended and now_ms < run.deadline_ms:
        text.append(", will be late", "bold red")
    else:
        text.append(f" ({span(took_ms)} of {span(allowed_ms)})", "dim")
    text.append("  ·  ", "dim").append(money(run.cost_usd), "bold").append("" if run.ended else " so far")
    return text.append(f", at most {money(run.budget_usd)}" if run.budget_usd else "", "dim")


def _work(run: Run) -> Text:
    text = Text(f"{plural(run.lineages_succeeded, 'lineage')} ended well")
    if run.lineages_failed:
        text.append(", ").append(f"{run.lineages_failed} failed", "red")
    text.append("  ·  ", "dim").append(plural(run.attempts, "attempt"))
    if run.attempts_lost:
        text.append(f", {run.attempts_lost} lost or handed back")
    return text


def _tokens(run: Run) -> Text:
    tokens = run.usage.input_tokens + run.usage.output_tokens
    text = Text(f"{tokens:,} tokens")
    return text.append(f", {tokens / run.cost_usd:,.0f} a dollar") if run.cost_usd else text
