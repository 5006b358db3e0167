"""From the document of a loaded cluster back to the objects that say it. `cluster` puts them together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from orbit_core.spec.build.plain import Secrets
from orbit_core.spec.build.step import Gather, Resources, Retry, Step
from orbit_core.spec.build.triggers import ApiCall, ClusterFinished, Cron, S3Upload, Trigger, Webhook

#: As `models.document` writes it.
Said = Mapping[str, Any]


def triggers_of(said: Said | Sequence[Said]) -> tuple[Trigger, ...]:
    return tuple(_trigger(each) for each in ([said] if isinstance(said, Mapping) else said))


def steps_of(said: Sequence[Said]) -> tuple[Step, ...]:
    return tuple(_step(each) for each in said)


def retries_of(said: Said | int | None) -> Retry | int | None:
    return Retry(**_fields(said)) if isinstance(said, Mapping) else said


def _trigger(said: Said) -> Trigger:
    match said:
        case {"cron": str(expression)}:
            return Cron(expression, said.get("timezone"), said.get("catch-up"))
        case {"s3-upload": {"bucket": _} as upload}:
            return S3Upload(**_fields(cast("Said", upload)))
        case {"webhook": {"path": _} as webhook}:
            return Webhook(**_fields(cast("Said", webhook)))
        case {"cluster-finished": str(other)}:
            return ClusterFinished(other)
        case _:
            return ApiCall()


def _step(said: Said) -> Step:
    config = dict(said.get("config", {}))
    readable: Secrets = config.pop("secrets", ())
    needs = said.get("needs")
    gather: Said | bool = said.get("gather", False)
    return Step(
        said["identifier"],
        said["uses"],
        config,
        name=said.get("name"),
        input=said.get("input"),
        needs=tuple(needs) if needs is not None else None,
        gather=Gather(**_fields(gather)) if isinstance(gather, Mapping) else gather,
        condition=said.get("if"),
        secrets=readable,
        retries=retries_of(said.get("retries")),
        delay=said.get("delay"),
        timeout=said.get("timeout"),
        resources=Resources(**_fields(said["resources"])) if "resources" in said else None,
    )


def _fields(said: Said) -> dict[str, Any]:
    return {key.replace("-", "_"): value for key, value in said.items()}
