"""What starts a run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from pydantic import JsonValue

from orbit_core.spec.build.plain import Secrets, secrets
from orbit_core.spec.build.references import Ref


@dataclass(frozen=True, slots=True)
class Cron:
    """At each tick of a cron expression: five fields as in crontab(5), or `@daily` and its like."""

    expression: str
    timezone: str | None = None
    catch_up: Literal["latest", "all", "none"] | None = None

    def document(self) -> dict[str, JsonValue]:
        return {"cron": self.expression, **_said({"timezone": self.timezone, "catch-up": self.catch_up})}


@dataclass(frozen=True, slots=True)
class ApiCall:
    """A call of the API, such as `client.trigger`; its body is the payload."""

    def document(self) -> dict[str, JsonValue]:
        return {"api-call": True}


@dataclass(frozen=True, slots=True)
class S3Upload:
    """An object that appears in a bucket; the payload names it. `secrets`: what the bucket is read with."""

    bucket: str
    prefix: str | None = None
    suffix: str | None = None
    endpoint_url: str | None = None
    region: str | None = None
    secrets: Secrets = field(default=(), repr=False)

    def document(self) -> dict[str, JsonValue]:
        said = _said(
            {"prefix": self.prefix, "suffix": self.suffix, "endpoint-url": self.endpoint_url, "region": self.region}
        )
        readable = secrets(self.secrets)
        return {"s3-upload": {"bucket": self.bucket, **said, **({"secrets": readable} if readable else {})}}


@dataclass(frozen=True, slots=True)
class Webhook:
    """A POST to the coordinator at `path`; its body is the payload. `secret` signs it, by reference or by name."""

    path: str
    secret: Ref | str | None = None

    def document(self) -> dict[str, JsonValue]:
        return {"webhook": {"path": self.path, **_said({"secret": str(self.secret) if self.secret else None})}}


@dataclass(frozen=True, slots=True)
class ClusterFinished:
    """A run of another cluster that ended: `<project>/<name>`."""

    cluster: str

    def document(self) -> dict[str, JsonValue]:
        return {"cluster-finished": self.cluster}


Trigger: TypeAlias = Cron | ApiCall | S3Upload | Webhook | ClusterFinished


def _said(values: dict[str, str | None]) -> dict[str, JsonValue]:
    return {key: value for key, value in values.items() if value is not None}
