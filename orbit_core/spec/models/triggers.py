"""What starts a run."""

from __future__ import annotations

import re
from typing import Annotated, Literal, TypeAlias

from pydantic import Field, field_validator

from orbit_core.spec.models.base import Model, SecretName, Text, refuse
from orbit_core.spec.models.naming import ClusterName

_WEBHOOK_PATH = re.compile(r"(?:/[A-Za-z0-9._~-]+)+", re.ASCII)


class CronTrigger(Model):
    """At each tick of a cron expression, never before the cluster was submitted; runs may overlap."""

    kind: Literal["cron"] = "cron"
    cron: Annotated[Text, Field(min_length=1, max_length=200)]
    """Five fields as in crontab(5), or `@daily` and its like."""
    timezone: Annotated[Text, Field(min_length=1, max_length=64)] = "UTC"
    """An IANA name. A local time that the clock repeats fires once, one that it skips at the next valid time."""
    catch_up: Literal["latest", "all", "none"] = "latest"
    """Which of the ticks that no coordinator was there for are made up for."""


class ApiCallTrigger(Model):
    """A call of the API; its body is the payload."""

    kind: Literal["api-call"] = "api-call"


class S3UploadTrigger(Model):
    """An object that appears in a bucket; the payload names it."""

    kind: Literal["s3-upload"] = "s3-upload"
    bucket: Annotated[Text, Field(min_length=1, max_length=255)]
    """The bucket that is watched."""
    prefix: Annotated[Text, Field(max_length=1024)] = ""
    """Only objects whose key begins so."""
    suffix: Annotated[Text, Field(max_length=1024)] = ""
    """Only objects whose key ends so."""
    endpoint_url: Annotated[Text, Field(min_length=1, max_length=2048)] | None = None
    """Where the bucket is, if not at AWS."""
    region: Annotated[Text, Field(min_length=1, max_length=64)] | None = None
    """The bucket's region."""
    secrets: dict[str, SecretName] = Field(default_factory=dict)
    """What the bucket is read with, as in a step's `config`."""


class WebhookTrigger(Model):
    """A POST to the coordinator; its body is the payload."""

    kind: Literal["webhook"] = "webhook"
    path: Annotated[Text, Field(max_length=255)]
    """Where it is posted to: `/reports/new`."""
    secret: SecretName | None = None
    """The secret that signs it, by name or as `${{ secrets.NAME }}`; without one, anyone may start a run."""

    @field_validator("path")
    @classmethod
    def _absolute(cls, path: str) -> str:
        if not _WEBHOOK_PATH.fullmatch(path):
            raise refuse("this is not a webhook's path", "a path like /reports/new")
        return path


class ClusterFinishedTrigger(Model):
    """A run of another cluster that ended."""

    kind: Literal["cluster-finished"] = "cluster-finished"
    cluster: ClusterName
    """The other cluster, `<project>/<name>`."""


Trigger: TypeAlias = Annotated[
    CronTrigger | ApiCallTrigger | S3UploadTrigger | WebhookTrigger | ClusterFinishedTrigger,
    Field(discriminator="kind"),
]
