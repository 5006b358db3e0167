"""A cluster and the file around it."""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypeAlias

from pydantic import AfterValidator, Field, JsonValue, ValidationInfo, field_validator

from orbit_core.limits import RUN_SLA_MAX_MS, SPEC_MAX_STEPS, SPEC_MAX_TRIGGERS
from orbit_core.spec.models import document
from orbit_core.spec.models.base import DurationMs, Model, Number, SecretName, Text, Whole, refuse
from orbit_core.spec.models.naming import ClusterName
from orbit_core.spec.models.retries import RetryPolicy
from orbit_core.spec.models.step import Step, resolve_steps
from orbit_core.spec.models.triggers import Trigger

VERSION: Final = "0.0.1b"

Objective: TypeAlias = Literal["cost", "time", "availability"]


# Not as bounds of the fields: pydantic counts only the items that are valid, and would complain twice.
def _some_triggers(triggers: tuple[Trigger, ...]) -> tuple[Trigger, ...]:
    if not triggers:
        raise refuse("a cluster without a trigger never runs", "at least one trigger")
    if len(triggers) > SPEC_MAX_TRIGGERS:
        raise refuse("there are too many triggers", f"at most {SPEC_MAX_TRIGGERS}", found=str(len(triggers)))
    return triggers


def _some_steps(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    if not steps:
        raise refuse("there are no steps", "at least one step")
    return _not_too_many(steps)


def _not_too_many(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    if len(steps) > SPEC_MAX_STEPS:
        raise refuse("there are too many steps", f"at most {SPEC_MAX_STEPS}", found=str(len(steps)))
    return steps


class SecretDeclaration(Model):
    """A secret of a cluster: a literal `value` that is on its way into the vault, or a name in the vault.

    `reference` is the vault's name where it differs from `name`.
    """

    name: SecretName
    value: Text | None = Field(default=None, repr=False)
    reference: SecretName | None = None

    @property
    def vault_name(self) -> str:
        return self.reference or self.name


class Failure(Model):
    """Steps that run once for each lineage that failed."""

    from_step: Text = Field(validation_alias="from", serialization_alias="from")
    """The step at which, or after which, a lineage must have failed."""
    satellites: Annotated[tuple[Step, ...], AfterValidator(_some_steps)]
    """The steps, in order: a chain of their own."""


class Cluster(Model):
    """A workflow of satellites. Its steps are resolved when it is made: see `Step`."""

    identifier: ClusterName
    """`<project>/<name>`; the prefix `cluster/` may stand before it."""
    sla_ms: Annotated[DurationMs, Field(gt=0, le=RUN_SLA_MAX_MS)]
    """The longest that a run may take. A longer one is never dearer for the same work."""
    triggers: Annotated[tuple[Trigger, ...], AfterValidator(_some_triggers)] = Field(
        validation_alias="trigger", serialization_alias="trigger"
    )
    """What starts a run: one trigger, or a list of them."""
    title: Text | None = None
    """What people call it by."""
    description: Text | None = None
    """What it is for."""
    objective: Objective = "cost"
    """The cheapest that meets the SLA, the fastest within `budget`, or capacity that is least likely to be lost."""
    budget_usd: Annotated[Number, Field(gt=0)] | None = None
    """The most that one run may cost, in USD; a run that would pass it pauses and says so."""
    priority: Annotated[Whole, Field(ge=0, le=100)] = 50
    """Breaks the ties that deadlines leave open."""
    retries: RetryPolicy = Field(default_factory=RetryPolicy)
    """How often a step that failed is tried again: a number, or a mapping."""
    secrets: tuple[SecretDeclaration, ...] = ()
    """Names with values, which move into the vault, or without, which lie there already. A mapping, or a list."""
    # After `retries`: their validators rest on it.
    satellites: Annotated[tuple[Step, ...], AfterValidator(_some_steps)]
    """The steps, in order."""
    logs: Annotated[tuple[Step, ...], AfterValidator(_not_too_many)] = ()
    """`satellites:` that every log record of the cluster is forwarded to."""
    failure: Failure | None = None
    """`from:` and `satellites:`: what is done for each lineage that failed."""

    @field_validator("satellites", "logs")
    @classmethod
    def _resolve(cls, steps: tuple[Step, ...], info: ValidationInfo) -> tuple[Step, ...]:
        return resolve_steps(steps, info.data.get("retries") or RetryPolicy())

    @field_validator("failure")
    @classmethod
    def _resolve_failure(cls, failure: Failure | None, info: ValidationInfo) -> Failure | None:
        if failure is None:
            return None
        steps = resolve_steps(failure.satellites, info.data.get("retries") or RetryPolicy())
        return failure.model_copy(update={"satellites": steps})

    @property
    def project(self) -> str:
        return self.identifier.partition("/")[0]

    @property
    def name(self) -> str:
        return self.identifier.partition("/")[2]

    @property
    def full_name(self) -> str:
        """`cluster/<project>/<name>`."""
        return f"cluster/{self.identifier}"

    def all_steps(self) -> tuple[Step, ...]:
        """Every step: those of the run, of `failure` and of `logs`, in this order."""
        return (*self.satellites, *(self.failure.satellites if self.failure else ()), *self.logs)

    def step(self, identifier: str) -> Step | None:
        """The step of that identifier, in whichever block it stands."""
        return next((step for step in self.all_steps() if step.identifier == identifier), None)

    def to_document(self) -> dict[str, JsonValue]:
        """What stands under `cluster:`, as plain data that loads to the same cluster. Defaults are left out."""
        return document.cluster(self)

    def without_secret_values(self) -> tuple[Cluster, dict[str, str]]:
        """The cluster with each literal secret replaced by its name in the vault, and the values by name."""
        values = {secret.name: secret.value for secret in self.secrets if secret.value is not None}
        secrets = tuple(SecretDeclaration(name=s.name, reference=s.reference) for s in self.secrets)
        return self.model_copy(update={"secrets": secrets}), values


class ClusterFile(Model):
    """A whole cluster file."""

    version: Literal["0.0.1b"]
    """The version of the format."""
    cluster: Cluster
    """The one cluster of this file."""

    def to_document(self) -> dict[str, JsonValue]:
        """The whole file as plain data."""
        return {"version": self.version, "cluster": self.cluster.to_document()}
