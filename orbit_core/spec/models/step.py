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
    """One invocation for each object of `over` (a step, or `run`), once all lineages below it have ended.

    `all-succeeded` never fires when one failed; `all-ended` leaves the failed out.
    """

    over: Annotated[Text, Field(min_length=1)] = RUN
    when: Literal["all-succeeded", "all-ended"] = "all-succeeded"


class Step(Model):
    """A step. Inside a `Cluster` its `needs`, `gather` and `retries` are resolved: no default is left open.

    `secrets`: the names that the satellite sees → the names of the secrets behind them.
    `input` is merged over the parent's object, top level only; None is that object itself.
    """

    uses: SatelliteRefField
    identifier: Name
    name: Text | None = None
    config: dict[str, JsonValue] = Field(default_factory=dict)
    secrets: dict[str, SecretName] = Field(default_factory=dict)
    input: dict[str, JsonValue] | None = None
    needs: tuple[Text, ...] = ()
    gather: Gather | None = None
    condition: ConditionField | None = Field(default=None, validation_alias="if", serialization_alias="if")
    retries: RetryPolicy = Field(default_factory=RetryPolicy)
    delay_ms: DurationMs = 0
    timeout_ms: Annotated[DurationMs, Field(gt=0)] | None = None
    resources: Resources = Field(default_factory=Resources)

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
