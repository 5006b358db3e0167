"""What starts a run."""

from __future__ import annotations

import re
from typing import Annotated, Literal, TypeAlias

from pydantic import Field, field_validator

from orbit_core.spec.models.base import Model, SecretName, Text, refuse
from orbit_core.spec.models.naming import ClusterName

_WEBHOOK_PATH = re.compile(r"(?:/[A-Za-z0-9._~-]+)+", re.ASCII)


class CronTrigger(Model):
    """At each tick of a cron expression, never before the cluster was submitted; overlap is allowed.

    `catch_up`: which of the ticks that no coordinator saw are made up for.
    """

    kind: Literal["cron"] = "cron"
    cron: Annotated[Text, Field(min_length=1, max_length=200)]
    timezone: Annotated[Text, Field(min_length=1, max_length=64)] = "UTC"
    catch_up: Literal["latest", "all", "none"] = "latest"


class ApiCallTrigger(Model):
    """A call of the API; its body is the payload."""

    kind: Literal["api-call"] = "api-call"


class S3UploadTrigger(Model):
    """An object that appears in a bucket. `secrets`: the names that the trigger reads it with → secrets."""

    kind: Literal["s3-upload"] = "s3-upload"
    bucket: Annotated[Text, Field(min_length=1, max_length=255)]
    prefix: Annotated[Text, Field(max_length=1024)] = ""
    suffix: Annotated[Text, Field(max_length=1024)] = ""
    endpoint_url: Annotated[Text, Field(min_length=1, max_length=2048)] | None = None
    region: Annotated[Text, Field(min_length=1, max_length=64)] | None = None
    secrets: dict[str, SecretName] = Field(default_factory=dict)


class WebhookTrigger(Model):
    """A POST to the coordinator at `path`, signed with the secret of the name `secret`."""

    kind: Literal["webhook"] = "webhook"
    path: Annotated[Text, Field(max_length=255)]
    secret: SecretName | None = None

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


Trigger: TypeAlias = Annotated[
    CronTrigger | ApiCallTrigger | S3UploadTrigger | WebhookTrigger | ClusterFinishedTrigger,
    Field(discriminator="kind"),
]
