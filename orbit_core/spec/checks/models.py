"""Models that steps ask for against those that the mesh knows. A warning: one may be registered before it is needed."""

from __future__ import annotations

from orbit_core.spec.checks.base import Checking
from orbit_core.spec.diagnostics import show


def check_models(checking: Checking) -> None:
    """Report models that nobody has registered; nothing where it is not known which there are."""
    if checking.models is None or checking.catalog is None:
        return
    known = sorted(checking.models)
    for _, path, step in checking.steps():
        info = checking.catalog.resolve(step.uses)
        if info is None or info.model_of is None or checking.structure.is_incomplete(*path, "config"):
            continue
        model = info.model_of(step.config)
        if model is None or model in checking.models:
            continue
        named = "model" in step.config
        checking.reporter.at(
            checking.node(*path, "config", "model") if named else checking.node(*path, "uses"),
            "unknown-model",
            f"no model {show(model)} is registered: `orbit models add {model} SOURCE` does it, else this step fails",
            severity="warning",
            suggestion=checking.reporter.close_match(model, known) if named else None,
        )
