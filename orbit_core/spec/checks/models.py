"""Models that steps ask for against those that the mesh knows. A warning: one may be registered before it is needed."""

from __future__ import annotations

from typing import Final

from orbit_core.spec.checks.base import Checking
from orbit_core.spec.diagnostics import show
from orbit_core.spec.models import Step
from orbit_core.spec.references import holds_reference

#: Keys of a config that name a model beside the one that a step loads at once.
_OTHERS: Final = ("escalate-to",)


def check_models(checking: Checking) -> None:
    """Report models that nobody has registered; nothing where it is not known which there are."""
    if checking.models is None or checking.catalog is None:
        return
    known = sorted(checking.models)
    for _, path, step in checking.steps():
        info = checking.catalog.resolve(step.uses)
        if info is None or info.model_of is None or checking.structure.is_incomplete(*path, "config"):
            continue
        for key, model in _asked(info.model_of(step.config), step).items():
            if model in checking.models:
                continue
            named = key in step.config
            command = f"`orbit models add {model} SOURCE`"
            checking.reporter.at(
                checking.node(*path, "config", key) if named else checking.node(*path, "uses"),
                "unknown-model",
                f"no model {show(model)} is registered: {command} does it, else this step fails",
                severity="warning",
                suggestion=checking.reporter.close_match(model, known) if named else None,
            )


def _asked(model: str | None, step: Step) -> dict[str, str]:
    """The models that a step names, by the key of its config that does; what references fill in is not known yet."""
    found = {"model": model} if model is not None else {}
    for other in _OTHERS:
        value = step.config.get(other)
        if isinstance(value, str) and not holds_reference(value):
            found[other] = value
    return found
