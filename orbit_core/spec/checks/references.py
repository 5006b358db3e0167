"""Each `${{ }}` and each `if`: whether what it names can be there when the step runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from orbit_core.spec.checks.base import Block, Checking
from orbit_core.spec.checks.steps import named
from orbit_core.spec.diagnostics import show
from orbit_core.spec.expressions import lookups
from orbit_core.spec.models import Step
from orbit_core.spec.nodes import Node, Path
from orbit_core.spec.references import (
    FailureReference,
    OutputReference,
    OutputsReference,
    Reference,
    SecretReference,
    occurrences,
    texts_in,
)
from orbit_core.spec.text_error import TextError

Place: TypeAlias = Literal["config", "input", "if"]


@dataclass(frozen=True, slots=True)
class Use:
    """A reference in a step: the text that it stands in, and where in that text."""

    block: Block
    step: Step
    place: Place
    node: Node
    offset: int
    reference: Reference | TextError


def uses(checking: Checking) -> Iterator[Use]:
    """Every reference of the cluster, also those that do not read."""
    for block, path, step in checking.steps():
        yield from _uses_in(checking, block, path, step, "config")
        yield from _uses_in(checking, block, path, step, "input")
        if step.condition:
            node = checking.node(*path, "if")
            for lookup in lookups(step.condition.expression):
                yield Use(block, step, "if", node, lookup.offset, lookup.reference)


def _uses_in(
    checking: Checking, block: Block, path: Path, step: Step, place: Literal["config", "input"]
) -> Iterator[Use]:
    value = step.config if place == "config" else step.input
    for inside, text in texts_in(value):
        node = checking.node(*path, place, *inside)
        for found in occurrences(text):
            yield Use(block, step, place, node, found.start, found.reference)


def check_references(checking: Checking) -> None:
    """Report references that do not read, stand where they may not, or name what cannot be there."""
    for _, path, _ in checking.steps():
        for place in ("config", "input"):
            _check_keys(checking, checking.node(*path).get(place))
    for use in uses(checking):
        match use.reference:
            case TextError() as error:
                checking.reporter.text_error(use.node, "bad-reference", error, show_found=False)
            case SecretReference() if use.place != "config":
                _report(
                    checking, use, "misplaced-reference",
                    f"a secret may not stand in `{use.place}`", "secrets in `config` only",
                )  # fmt: skip
            case FailureReference() if use.block.name != "failure":
                _report(
                    checking, use, "misplaced-reference",
                    "there is no failure to refer to here", "failure.* inside `failure:` only",
                )  # fmt: skip
            case OutputReference() | OutputsReference():
                _check_output(checking, use, use.reference)
            case _:
                pass


def _check_keys(checking: Checking, node: Node | None) -> None:
    """A key is never resolved, and whoever writes a reference there expects that it is."""
    if node is None:
        return
    for key, below in (node.mapping or {}).items():
        if "${{" in key:
            checking.reporter.at(
                below, "reference-in-key", "a key stays as it is written: references are resolved in values",
                severity="warning", on_key=True,
            )  # fmt: skip
        _check_keys(checking, below)
    for below in node.items or ():
        _check_keys(checking, below)


def _report(
    checking: Checking,
    use: Use,
    code: str,
    message: str,
    expected: str | None = None,
    suggestion: str | None = None,
    severity: Literal["error", "warning"] = "error",
) -> None:
    checking.reporter.at(
        use.node,
        code,
        message,
        severity=severity,
        offset=use.offset,
        found=show(str(use.reference)),
        expected=expected,
        suggestion=suggestion,
    )


def _check_output(checking: Checking, use: Use, reference: OutputReference | OutputsReference) -> None:
    target = checking.block_of(reference.step)
    if target is None:
        if checking.is_complete:
            reachable = _reachable(checking, use)
            close = checking.reporter.close_match(
                reference.step, [step.identifier for step in checking.cluster.all_steps()]
            )
            _report(
                checking, use, "unknown-step", f"there is no step {show(reference.step)}",
                named(reachable) or "no step: none stands above this one", close,
            )  # fmt: skip
        return
    if use.block.name == "failure" and isinstance(reference, OutputReference) and reference.is_error:
        return  # the lineage's error, whichever step is named
    if not target.trusted or target.graph.cycles:
        return
    if target is use.block:
        _check_inside(checking, use, reference, use.block)
    elif use.block.name == "failure" and target.name == "satellites":
        _check_before_failure(checking, use, reference)
    else:
        _report(
            checking, use, "not-an-ancestor",
            f"{show(reference.step)} stands in `{target.name}`, whose objects this step does not see",
            named(_reachable(checking, use)) or "no step: none stands above this one",
        )  # fmt: skip


def _check_inside(checking: Checking, use: Use, reference: OutputReference | OutputsReference, block: Block) -> None:
    own, step = use.step.identifier, reference.step
    if step not in block.graph.ancestors(own):
        message = (
            "a step does not see what it returns itself"
            if step == own
            else f"{show(step)} is not an ancestor of {show(own)}"
        )
        expected = named(_reachable(checking, use)) or "no step: none stands above this one"
        _report(checking, use, "not-an-ancestor", message, expected)
        return
    is_gathered = step not in block.graph.spine(own)
    _check_number(checking, use, reference, is_gathered)


def _check_number(
    checking: Checking, use: Use, reference: OutputReference | OutputsReference, is_gathered: bool
) -> None:
    if is_gathered and isinstance(reference, OutputReference):
        _report(
            checking, use, "gathered",
            f"{show(reference.step)} has been gathered: here it has a list of objects, not one",
            f"satellites.{reference.step}.outputs",
        )  # fmt: skip
    elif not is_gathered and isinstance(reference, OutputsReference):
        _report(
            checking, use, "not-gathered",
            f"{show(reference.step)} has not been gathered: here it has one object, not a list",
            f"satellites.{reference.step}.output",
        )  # fmt: skip


def _check_before_failure(checking: Checking, use: Use, reference: OutputReference | OutputsReference) -> None:
    """A lineage may have failed at `from` itself: only what stands above that has surely returned."""
    failure, graph = checking.cluster.failure, checking.main.graph
    if failure is None or failure.from_step not in graph:
        return
    start, step = failure.from_step, reference.step
    if step not in graph.ancestors(start):
        _report(
            checking, use, "not-an-ancestor",
            f"{show(step)} may not have returned: it is not an ancestor of {show(start)}, where failures begin"
            if step != start
            else f"{show(step)} may not have returned: failures begin there",
            named(_reachable(checking, use)) or "no step: none stands above `failure.from`",
        )  # fmt: skip
        return
    is_gathered = step not in graph.spine(start)
    _check_number(checking, use, reference, is_gathered)
    if is_gathered or isinstance(reference, OutputsReference):
        return
    without = next((below for below in graph.descendants(start) if step not in graph.spine(below)), None)
    if without is not None:
        _report(
            checking, use, "gathered",
            f"a lineage that fails at {show(without)} has no single object of {show(step)}: it has been gathered",
            severity="warning",
        )  # fmt: skip


def _reachable(checking: Checking, use: Use) -> list[str]:
    """The steps that the step of `use` may refer to, as the references to them begin."""
    graph, own = use.block.graph, use.step.identifier
    failure = checking.cluster.failure
    seen: list[str] = []
    if use.block.name == "failure" and failure and failure.from_step in checking.main.graph:
        seen += _with_word(checking.main.graph.spine(failure.from_step), "output")
        seen += _with_word(checking.main.graph.gathered(failure.from_step), "outputs")
    seen += _with_word(graph.spine(own), "output")
    seen += _with_word(graph.gathered(own), "outputs")
    return seen


def _with_word(steps: tuple[str, ...], word: str) -> list[str]:
    return [f"satellites.{step}.{word}" for step in steps]
