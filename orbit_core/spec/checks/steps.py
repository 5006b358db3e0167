"""The graph of each block: identifiers, needs, cycles, gathers, and where failures begin."""

from __future__ import annotations

from collections.abc import Sequence

from orbit_core.spec.checks.base import Block, Checking
from orbit_core.spec.diagnostics import any_of, show
from orbit_core.spec.graph import RUN
from orbit_core.spec.models import Step
from orbit_core.spec.nodes import Path, format_path

_NAMED_MAX = 12


def check_steps(checking: Checking) -> None:
    """Report what is wrong with how steps hang together."""
    _check_identifiers(checking)
    for block, path, step in checking.steps():
        _check_needs(checking, block, path, step)
        if block.trusted and not block.graph.cycles:
            _check_gather(checking, block, path, step)
    for block in checking.blocks:
        _check_cycles(checking, block)
    _check_failure_from(checking)


def _check_identifiers(checking: Checking) -> None:
    first: dict[str, Path] = {}
    for _, path, step in checking.steps():
        where = (*path, "identifier")
        if step.identifier not in first:
            first[step.identifier] = where
            continue
        other = checking.node(*first[step.identifier])
        line = f" on line {other.at.line}" if other.at else ""
        checking.reporter.at(
            checking.node(*where),
            "duplicate-identifier",
            "an identifier is unique in the cluster",
            found=f"{show(step.identifier)}, which is taken by {format_path(other.path)}{line}",
        )


def _check_needs(checking: Checking, block: Block, path: Path, step: Step) -> None:
    if checking.structure.is_incomplete(*path, "needs"):
        return
    seen: set[str] = set()
    for index, need in enumerate(step.needs):
        if need in seen:
            node = checking.node(*path, "needs", index)
            checking.reporter.at(node, "duplicate-need", f"{show(need)} is needed twice")
        elif need not in block.graph and checking.is_complete:
            other = checking.block_of(need)
            checking.reporter.at(
                checking.node(*path, "needs", index),
                "unknown-step",
                "a step needs steps of its own block" if other else "there is no such step",
                found=f"{show(need)}, a step of `{other.name}`" if other else show(need),
                expected=_one_of_steps(block, step.identifier),
                suggestion=checking.reporter.close_match(need, _others(block, step.identifier)),
            )
        seen.add(need)


def _one_of_steps(block: Block, but: str) -> str:
    return named(_others(block, but)) or "no needs: there is no other step"


def _others(block: Block, but: str) -> list[str]:
    return [step.identifier for step in block.steps if step.identifier != but]


def named(names: Sequence[str]) -> str:
    """A few of `names` as an expectation."""
    different = list(dict.fromkeys(names))
    return any_of(different if len(different) <= _NAMED_MAX else [*different[:_NAMED_MAX], "…"])


def _check_cycles(checking: Checking, block: Block) -> None:
    places = {step.identifier: index for index, step in reversed(list(enumerate(block.steps)))}
    for cycle in block.graph.cycles:
        index = places[cycle[0]]
        checking.reporter.at(
            checking.node(*block.path, index, "needs"),
            "cycle",
            "a step that needs itself never begins" if len(cycle) == 1 else "these steps wait for each other",
            path=(*checking.node(*block.path, index).path, "needs"),
            found=" → ".join([*cycle, cycle[0]]),
            expected="needs without a circle",
        )


def _check_gather(checking: Checking, block: Block, path: Path, step: Step) -> None:
    if step.gather is None:
        return
    node = checking.node(*path, "gather")
    if not step.needs:
        checking.reporter.at(
            node, "gather-without-need", "there is nothing to gather: the step has no needs", on_key=True
        )
        return
    if block.name == "logs":
        checking.reporter.at(
            node, "bad-gather", "log records come in batches, each on its own: there is nothing to gather", on_key=True
        )
        return
    over = step.gather.over
    common = block.graph.common([need for need in step.needs if need in block.graph])
    if len(step.needs) == 1:
        common = common[:-1]  # below the step that it needs alone there is nothing to wait for
    if over == RUN or over in common or any(need not in block.graph for need in step.needs):
        return
    known = over in block.graph
    checking.reporter.at(
        checking.node(*path, "gather", "over"),
        "bad-gather",
        "this step does not stand above all needs" if known else "there is no such step",
        found=show(over),
        expected=named([*common, RUN]),
        suggestion=checking.reporter.close_match(over, [*common, RUN]),
    )


def _check_failure_from(checking: Checking) -> None:
    failure = checking.cluster.failure
    if failure is None or checking.structure.is_incomplete("cluster", "failure", "from"):
        return
    if failure.from_step in checking.main.graph or not checking.is_complete:
        return
    names = [step.identifier for step in checking.main.steps]
    checking.reporter.at(
        checking.node("cluster", "failure", "from"),
        "unknown-step",
        "there is no such step in `satellites`",
        found=show(failure.from_step),
        expected=named(names),
        suggestion=checking.reporter.close_match(failure.from_step, names),
    )
