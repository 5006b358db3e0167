"""One step of a cluster, resolved: what it uses, what it needs, how it is tried."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, JsonValue, PlainSerializer, field_validator

from orbit_core.spec.expressions import Condition, lookups
from orbit_core.spec.graph import RUN, Graph
from orbit_core.spec.models.base import DurationMs, Model, Name, SecretName, Text, refuse
from orbit_core.spec.models.resources import Resources
from orbit_core.spec.models.retries import RetryPolicy
from orbit_core.spec.models.satellite_ref import SatelliteRefField
from orbit_core.spec.references import OUTPUT_WORDS, Reference, SecretReference, references_in


def _parse_condition(value: Any) -> Any:
    return Condition.parse(value) if isinstance(value, str) else value


def _condition_text(condition: Condition) -> str:
    return condition.text


ConditionField = Annotated[
    Condition, BeforeValidator(_parse_condition), PlainSerializer(_condition_text, return_type=str)
]


class Gather(Model):
    """A fan-in: one invocation for each object of `over`, once all lineages below it have ended. `true`: the defaults.

    Unless the step has an `input`, it is `{<need>: [objects]}`, in the order of the lineages.
    """

    over: Annotated[Text, Field(min_length=1)] = RUN
    """A step above all needs, or `run` for the whole run. Several needs: their nearest common step, unless said."""
    when: Literal["all-succeeded", "all-ended"] = "all-succeeded"
    """`all-succeeded` never fires when a lineage failed; `all-ended` leaves the failed ones out."""


class Step(Model):
    """A step. Inside a `Cluster` its `needs`, `gather` and `retries` are resolved: no default is left open.

    In a file, `secrets` stand in `config`.
    """

    uses: SatelliteRefField
    """The satellite: `satellite/<project>/<name>`, with `@<version>` where one is pinned."""
    identifier: Name
    """What other steps call this one by; unique in the cluster."""
    name: Text | None = None
    """What people call it by."""
    config: dict[str, JsonValue] = Field(default_factory=dict)
    """Checked against the satellite's own model. May hold `secrets`: what this step alone may read."""
    secrets: dict[str, SecretName] = Field(default_factory=dict)
    """The names that the satellite sees → the names of the secrets behind them."""
    input: dict[str, JsonValue] | None = None
    """Merged over the parent's object, top level only. Left out: that object as it is."""
    needs: tuple[Text, ...] = ()
    """The steps that come before; the one written before this, unless said. One: an invocation for each object."""
    gather: Gather | None = None
    """A fan-in: one invocation for many objects. Several needs are always gathered."""
    condition: ConditionField | None = Field(default=None, validation_alias="if", serialization_alias="if")
    """Where it is false, the step is skipped: its output is the parent's object."""
    retries: RetryPolicy = Field(default_factory=RetryPolicy)
    """As for the cluster, whose retries hold for what is left out here."""
    delay_ms: DurationMs = 0
    """How long to wait before the first attempt."""
    timeout_ms: Annotated[DurationMs, Field(gt=0)] | None = None
    """The longest that one attempt may take; what the satellite declares, unless said."""
    resources: Resources = Field(default_factory=Resources)
    """What one attempt takes; goes over what the satellite declares."""

    @field_validator("identifier")
    @classmethod
    def _not_reserved(cls, identifier: str) -> str:
        if identifier == RUN:
            raise refuse("`run` is taken: a gather says it for the whole run", "another identifier")
        if any(word in identifier.split(".")[1:] for word in OUTPUT_WORDS):
            raise refuse("a reference could not tell where this identifier ends", "no part `.output`")
        return identifier

    def references(self) -> tuple[Reference, ...]:
        """Every reference of its config, its input and its condition, in this order."""
        found = [at.reference for at in references_in(self.config)]
        found += [at.reference for at in references_in(self.input)]
        if self.condition:
            found += [lookup.reference for lookup in lookups(self.condition.expression)]
        return tuple(found)

    def secret_names(self) -> tuple[str, ...]:
        """Every secret that this step may read, each once: those it lists, then those its config names."""
        named = [ref.name for ref in self.references() if isinstance(ref, SecretReference)]
        return tuple(dict.fromkeys([*self.secrets.values(), *named]))


def resolve_steps(steps: tuple[Step, ...], retries: RetryPolicy) -> tuple[Step, ...]:
    """`steps` as one chain with nothing left open: needs, retries, and what each gather is over."""
    linked: list[Step] = []
    for step in steps:
        changes: dict[str, object] = {"retries": step.retries.over(retries)}
        if "needs" not in step.model_fields_set:
            changes["needs"] = (linked[-1].identifier,) if linked else ()
        linked.append(step.model_copy(update=changes))
    # A default of several needs rests on what the gathers above it are over. The graph works that out itself
    # for a step without a gather, so what is still open is left out of the steps that it is made from.
    graph = Graph([step.model_copy(update={"gather": None}) if _is_open(step) else step for step in linked])
    return tuple(step.model_copy(update={"gather": _resolved_gather(step, graph)}) for step in linked)


def _is_open(step: Step) -> bool:
    return step.gather is not None and "over" not in step.gather.model_fields_set and len(set(step.needs)) > 1


def _resolved_gather(step: Step, graph: Graph) -> Gather | None:
    several = len(set(step.needs)) > 1
    if step.gather is None and not several:
        return None
    gather = step.gather or Gather()
    over = graph.nearest_common(step.needs) if several else RUN
    return gather if "over" in gather.model_fields_set else gather.model_copy(update={"over": over})
