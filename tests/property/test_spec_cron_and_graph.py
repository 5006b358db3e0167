"""Cron against another implementation, and the graph against what lineages turn out to hold when they are run."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from croniter import croniter
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from orbit_core.spec.cron import next_after, parse_cron
from orbit_core.spec.graph import RUN, Graph
from orbit_core.spec.models import Gather, Step
from orbit_core.spec.models.retries import RetryPolicy
from orbit_core.spec.models.step import resolve_steps

# Cron


def _field(lowest: int, highest: int) -> st.SearchStrategy[str]:
    number = st.integers(lowest, highest)
    # croniter takes `2-2` for the whole year: its ranges have two ends.
    ends = st.lists(number, min_size=2, max_size=2, unique=True)
    span = ends.map(lambda pair: f"{min(pair)}-{max(pair)}")
    part = st.one_of(
        number.map(str),
        span,
        st.tuples(span, st.integers(1, 9)).map(lambda pair: f"{pair[0]}/{pair[1]}"),
    )
    return st.one_of(
        st.just("*"),
        st.integers(1, 20).map(lambda step: f"*/{step}"),
        st.lists(part, min_size=1, max_size=3).map(",".join),
    )


@st.composite
def expressions(draw: st.DrawFn) -> str:
    """Without `*/n` in a day field beside another restricted one: there, implementations differ."""
    days, weekdays = draw(_field(1, 31)), draw(_field(0, 6))
    if days.startswith("*/") or weekdays.startswith("*/"):
        days, weekdays = (days, "*") if draw(st.booleans()) else ("*", weekdays)
    return f"{draw(_field(0, 59))} {draw(_field(0, 23))} {days} {draw(_field(1, 12))} {weekdays}"


instants_ms = st.integers(946_684_800_000, 2_524_608_000_000)  # the years 2000 to 2050


@settings(max_examples=50)  # croniter is slow where ticks are rare
@given(expressions(), instants_ms)
def test_in_utc_it_agrees_with_croniter(expression: str, after_ms: int) -> None:
    assume(not parse_cron(expression).never_fires)
    after = datetime.fromtimestamp(after_ms / 1000, UTC)
    other = croniter(expression, after).get_next(datetime)
    assert next_after(expression, "UTC", after_ms) == round(other.timestamp() * 1000)


zones = st.sampled_from(
    ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "Africa/Casablanca"]
)


@given(expressions(), zones, instants_ms)
def test_a_tick_reads_as_its_expression_on_the_wall_unless_the_clock_skipped_it(
    expression: str, timezone: str, after_ms: int
) -> None:
    cron = parse_cron(expression)
    tick_ms = next_after(expression, timezone, after_ms)
    if tick_ms is None:
        assert cron.never_fires
        return
    assert tick_ms > after_ms
    local = datetime.fromtimestamp(tick_ms / 1000, ZoneInfo(timezone))
    reads = (
        local.minute in cron.minutes
        and local.hour in cron.hours
        and local.month in cron.months
        and cron.allows(local.date())
    )
    a_minute_before = datetime.fromtimestamp(tick_ms / 1000 - 60, ZoneInfo(timezone))
    assert reads or a_minute_before.utcoffset() != local.utcoffset()
    assert local.fold == 0, "the second pass of a repeated time fires nothing"


# The graph


@st.composite
def resolved_blocks(draw: st.DrawFn) -> tuple[Step, ...]:
    steps: list[Step] = []
    for index in range(draw(st.integers(1, 7))):
        above = [step.identifier for step in steps]
        fields: dict[str, Any] = {"uses": "satellite/acme/any", "identifier": f"s{index}"}
        if above and draw(st.booleans()):
            fields["needs"] = draw(st.lists(st.sampled_from(above), unique=True, max_size=3))
        if fields.get("needs", above[-1:]) and draw(st.booleans()):
            fields["gather"] = draw(st.sampled_from([{}, {"over": RUN}, *({"over": name} for name in above)]))
        steps.append(Step.model_validate(fields))
    resolved = resolve_steps(tuple(steps), RetryPolicy())
    graph = Graph(resolved)
    for step in resolved:  # a gather over something that does not stand above all needs is refused by the checks
        assume(step.gather is None or step.gather.over in (RUN, *graph.common(step.needs)))
    return resolved


def run(steps: tuple[Step, ...]) -> dict[str, list[dict[str, int]]]:
    """Every step returns two objects: for each object, the objects (by step) of the lineage that led to it."""
    objects: dict[str, list[dict[str, int]]] = {}
    for step in steps:
        if step.gather is not None:
            parents = _gathered(step, step.gather, objects)
        elif step.needs:
            parents = [{**lineage, step.needs[0]: index} for index, lineage in enumerate(objects[step.needs[0]])]
        else:
            parents = [{}]
        objects[step.identifier] = [lineage for lineage in parents for _ in range(2)]
    return objects


def _gathered(step: Step, gather: Gather, objects: dict[str, list[dict[str, int]]]) -> list[dict[str, int]]:
    if gather.over == RUN:
        return [{}]
    return [{**lineage, gather.over: index} for index, lineage in enumerate(objects[gather.over])]


@given(resolved_blocks())
def test_the_spine_is_what_every_lineage_holds(steps: tuple[Step, ...]) -> None:
    graph = Graph(steps)
    for name, lineages in run(steps).items():
        assert lineages
        for lineage in lineages:
            assert tuple(lineage) == graph.spine(name)
        assert set(graph.spine(name)) | set(graph.gathered(name)) == graph.ancestors(name)


@given(resolved_blocks())
def test_a_default_gather_is_over_the_nearest_step_that_all_needs_hold(steps: tuple[Step, ...]) -> None:
    graph = Graph(steps)
    for step in steps:
        if step.gather is None:
            assert len(set(step.needs)) <= 1
            continue
        held = [set(graph.spine(need)) | {need} for need in step.needs]
        shared = [name for name in graph.order if all(name in names for names in held)]
        assert graph.nearest_common(step.needs) == (shared[-1] if shared else RUN)
