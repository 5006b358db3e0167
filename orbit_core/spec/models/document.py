"""The models back as the plain mappings of a cluster file, with nothing in them that is the default anyway.

Reading is the loader's; only writing lives here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pydantic import JsonValue

from orbit_core.spec.durations import format_duration_ms
from orbit_core.spec.graph import RUN, Graph
from orbit_core.spec.models.base import Model, key_of
from orbit_core.spec.models.retries import RetryPolicy
from orbit_core.spec.models.triggers import ClusterFinishedTrigger, CronTrigger, Trigger
from orbit_core.spec.quantities import format_bytes

if TYPE_CHECKING:
    from orbit_core.spec.models.cluster import Cluster
    from orbit_core.spec.models.step import Gather, Step


def cluster(of: Cluster) -> dict[str, JsonValue]:
    """What stands under `cluster:`."""
    written: dict[str, JsonValue] = {"identifier": of.identifier}
    for name in ("title", "description"):
        if (text := getattr(of, name)) is not None:
            written[name] = text
    written["sla"] = format_duration_ms(of.sla_ms)
    triggers = [_trigger(trigger) for trigger in of.triggers]
    written["trigger"] = triggers[0] if len(triggers) == 1 else [*triggers]
    written.update(_changed(of, ("objective", "budget_usd", "priority")))
    retries = _retries(of.retries, RetryPolicy())
    if retries is not None:
        written["retries"] = retries
    if of.secrets:
        written["secrets"] = {
            secret.name: _secret(secret.reference) if secret.reference else secret.value for secret in of.secrets
        }
    written["satellites"] = _steps(of.satellites, of.retries)
    if of.logs:
        written["logs"] = {"satellites": _steps(of.logs, of.retries)}
    if of.failure:
        written["failure"] = {
            "from": of.failure.from_step,
            "satellites": _steps(of.failure.satellites, of.retries),
        }
    return written


def _steps(steps: Sequence[Step], retries: RetryPolicy) -> list[JsonValue]:
    graph = Graph(steps)
    written: list[JsonValue] = []
    before: tuple[str, ...] = ()
    for step in steps:
        written.append(_step(step, before, graph, retries))
        before = (step.identifier,)
    return written


def _step(step: Step, before: tuple[str, ...], graph: Graph, retries: RetryPolicy) -> dict[str, JsonValue]:
    written: dict[str, JsonValue] = {"uses": str(step.uses), "identifier": step.identifier}
    if step.name is not None:
        written["name"] = step.name
    if step.needs != before:
        written["needs"] = [*step.needs]
    if step.gather is not None:
        gather = _gather(step.gather, step.needs, graph)
        if gather is not None:
            written["gather"] = gather
    if step.condition is not None:
        written["if"] = step.condition.text
    if step.config or step.secrets:
        written["config"] = {**step.config, **_secrets(step.secrets)}
    if step.input is not None:
        written["input"] = step.input
    own = _retries(step.retries, retries)
    if own is not None:
        written["retries"] = own
    written.update(_changed(step, ("delay_ms", "timeout_ms")))
    resources = _changed(step.resources, tuple(type(step.resources).model_fields))
    if resources:
        written["resources"] = resources
    return written


def _gather(gather: Gather, needs: tuple[str, ...], graph: Graph) -> JsonValue | None:
    several = len(set(needs)) > 1
    written: dict[str, JsonValue] = {}
    if gather.over != (graph.nearest_common(needs) if several else RUN):
        written["over"] = gather.over
    written.update(_changed(gather, ("when",)))
    if written:
        return written
    return None if several else True


def _retries(policy: RetryPolicy, base: RetryPolicy) -> JsonValue | None:
    different = _written(
        policy,
        [name for name in RetryPolicy.model_fields if getattr(policy, name) != getattr(base, name)],
    )
    if list(different) == ["max-retries"]:
        return different["max-retries"]
    return different or None


def _trigger(trigger: Trigger) -> dict[str, JsonValue]:
    if isinstance(trigger, CronTrigger):
        return {"cron": trigger.cron, **_changed(trigger, ("timezone", "catch_up"))}
    if isinstance(trigger, ClusterFinishedTrigger):
        return {trigger.kind: trigger.cluster}
    fields = [name for name in type(trigger).model_fields if name not in ("kind", "secrets", "secret")]
    inside = _written(trigger, [name for name in fields if getattr(trigger, name) not in (None, "")])
    if trigger.kind == "s3-upload":
        inside.update(_secrets(trigger.secrets))
    elif trigger.kind == "webhook" and trigger.secret is not None:
        inside["secret"] = _secret(trigger.secret)
    return {trigger.kind: inside or True}


def _secret(name: str) -> str:
    return f"${{{{ secrets.{name} }}}}"


def _secrets(secrets: dict[str, str]) -> dict[str, JsonValue]:
    return {"secrets": {name: _secret(secret) for name, secret in secrets.items()}} if secrets else {}


def _changed(model: Model, names: Sequence[str]) -> dict[str, JsonValue]:
    fields = type(model).model_fields
    return _written(model, [name for name in names if getattr(model, name) != fields[name].default])


def _written(model: Model, names: Sequence[str]) -> dict[str, JsonValue]:
    written: dict[str, JsonValue] = {}
    for name in names:
        value: Any = getattr(model, name)
        if name.endswith("_ms"):
            value = format_duration_ms(value)
        elif name.endswith("_bytes"):
            value = format_bytes(value)
        written[key_of(name)] = value
    return written
