"""Times: cron expressions that can fire, time zones that exist, and an SLA that leaves room for each step."""

from __future__ import annotations

from orbit_core.spec import cron
from orbit_core.spec.checks.base import Checking
from orbit_core.spec.diagnostics import show
from orbit_core.spec.durations import format_duration_ms
from orbit_core.spec.models import ClusterFinishedTrigger, CronTrigger
from orbit_core.spec.text_error import TextError


def check_times(checking: Checking) -> None:
    """Report triggers that never fire and timeouts that the SLA does not leave room for."""
    for index, trigger in enumerate(checking.cluster.triggers):
        if isinstance(trigger, CronTrigger):
            _check_cron(checking, index, trigger)
        elif isinstance(trigger, ClusterFinishedTrigger) and trigger.cluster == checking.cluster.identifier:
            checking.reporter.at(
                checking.node("cluster", "trigger", index, "cluster"),
                "trigger-loop",
                "a cluster that starts when it has finished never stops",
                found=show(trigger.cluster),
                expected="another cluster",
            )
    if not checking.structure.is_incomplete("cluster", "sla"):
        _check_timeouts(checking)


def _check_cron(checking: Checking, index: int, trigger: CronTrigger) -> None:
    place = ("cluster", "trigger", index)
    node = checking.node(*place, "cron")
    try:
        expression = cron.parse_cron(trigger.cron)
    except TextError as error:
        checking.reporter.text_error(node, "bad-cron", error)
    else:
        if expression.never_fires:
            checking.reporter.at(
                node, "never-fires", "this cron expression never fires", found=show(trigger.cron),
                expected="a day that one of its months has",
            )  # fmt: skip
    try:
        cron.zone_of(trigger.timezone)
    except TextError as error:
        checking.reporter.at(
            checking.node(*place, "timezone"),
            "unknown-timezone",
            error.message,
            found=show(trigger.timezone),
            expected=error.expected,
            suggestion=checking.reporter.close_match(trigger.timezone, cron.timezones()),
        )


def _check_timeouts(checking: Checking) -> None:
    sla_ms = checking.cluster.sla_ms
    sla = format_duration_ms(sla_ms)
    for _, path, step in checking.steps():
        if step.timeout_ms is not None and step.timeout_ms > sla_ms:
            checking.reporter.at(
                checking.node(*path, "timeout"),
                "sla-below-timeout",
                "the SLA is below the timeout of this step",
                found=format_duration_ms(step.timeout_ms),
                expected=f"at most the SLA, {sla}",
            )
        elif step.timeout_ms is None and checking.catalog is not None:
            info = checking.catalog.resolve(step.uses)
            if info is not None and info.timeout_ms > sla_ms:
                checking.reporter.at(
                    checking.node(*path, "uses"),
                    "sla-below-timeout",
                    f"the SLA is below the timeout that {info.name} declares",
                    severity="warning",
                    found=format_duration_ms(info.timeout_ms),
                    expected=f"a `timeout` of this step, at most the SLA, {sla}",
                )
