"""Secrets: whether each one that is named is declared, or lies in the vault."""

from __future__ import annotations

from collections.abc import Iterator

from orbit_core.spec.checks.base import Checking
from orbit_core.spec.checks.references import uses
from orbit_core.spec.diagnostics import Severity
from orbit_core.spec.nodes import Node
from orbit_core.spec.references import SecretReference
from orbit_core.spec.structure import STAND_IN


def check_secrets(checking: Checking) -> None:
    """Report secrets that nobody has: a warning while validating, an error when a cluster is submitted."""
    if checking.structure.is_incomplete("cluster", "secrets"):
        return
    _check_declared(checking)
    _check_webhooks(checking)
    declared = {secret.name for secret in checking.cluster.secrets}
    in_vault = set(checking.vault_names or ())
    known = sorted(declared | in_vault)
    told: set[str] = set()
    for name, node, offset in _named(checking):
        if name in declared or name in in_vault or name in told:
            continue
        told.add(name)
        checking.reporter.at(
            node,
            "undeclared-secret",
            f"the secret {name} is not declared{_and_vault(checking)}",
            severity=_severity(checking),
            offset=offset,
            expected=f"{name} in `cluster.secrets`, or `{_command(checking, name)}`",
            suggestion=checking.reporter.close_match(name, known),
        )


def _check_declared(checking: Checking) -> None:
    """A declaration without a value stands for a secret of the vault."""
    if checking.vault_names is None and checking.mode == "validate":
        return
    in_vault = set(checking.vault_names or ())
    for index, secret in enumerate(checking.cluster.secrets):
        if secret.value is None and secret.vault_name not in in_vault:
            checking.reporter.at(
                checking.node("cluster", "secrets", index),
                "missing-secret",
                f"the vault has no secret {secret.vault_name}",
                severity=_severity(checking),
                on_key=True,
                expected=f"a value here, or `{_command(checking, secret.vault_name)}`",
                suggestion=checking.reporter.close_match(secret.vault_name, sorted(in_vault)),
            )


def _check_webhooks(checking: Checking) -> None:
    for index, trigger in enumerate(checking.cluster.triggers):
        place = ("cluster", "trigger", index)
        if trigger.kind == "webhook" and trigger.secret is None:
            if checking.structure.is_incomplete(*place, "secret"):
                continue
            checking.reporter.at(
                checking.node(*place),
                "open-webhook",
                "whoever can reach this webhook can start runs",
                severity="warning",
                on_key=True,
                expected="a `secret` that signs what is posted",
            )


def _command(checking: Checking, name: str) -> str:
    """What fills the vault; a cluster without a valid identifier is called CLUSTER."""
    identifier = checking.cluster.identifier
    return f"orbit secrets set {'CLUSTER' if identifier.startswith(STAND_IN) else identifier} {name}"


def _severity(checking: Checking) -> Severity:
    return "error" if checking.mode == "submit" else "warning"


def _and_vault(checking: Checking) -> str:
    known = checking.vault_names is not None or checking.mode == "submit"
    return ", and the vault does not have it" if known else ""


def _named(checking: Checking) -> Iterator[tuple[str, Node, int]]:
    """Every secret that a trigger or a step names, and where."""
    for index, trigger in enumerate(checking.cluster.triggers):
        place = ("cluster", "trigger", index)
        if trigger.kind == "webhook" and trigger.secret is not None:
            yield trigger.secret, checking.node(*place, "secret"), 0
        elif trigger.kind == "s3-upload":
            for name, secret in trigger.secrets.items():
                yield secret, checking.node(*place, "secrets", name), 0
    for _, path, step in checking.steps():
        for name, secret in step.secrets.items():
            yield secret, checking.node(*path, "secrets", name), 0
    for use in uses(checking):
        if isinstance(use.reference, SecretReference) and use.place == "config":
            yield use.reference.name, use.node, use.offset
