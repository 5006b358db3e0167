"""What can be done with what is selected: one rule for keys, footer and command palette. Pure."""

from __future__ import annotations

from orbit_core.client import Agent, Run


def can_cancel(run: Run | None) -> bool:
    return run is not None and not run.ended


def can_retry(run: Run | None) -> bool:
    """A run that succeeded has nothing to do again; one that was cancelled has."""
    return run is not None and run.ended and run.state != "succeeded"


def can_drain(agent: Agent | None) -> bool:
    return agent is not None and agent.state in ("attached", "detached")
