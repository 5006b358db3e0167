"""What a cluster file means, as an interpreter that a person can check by eye: the judge of the live code.

One thread, no mesh, no retries, no time. Steps are gone through in order; each one's invocations are listed from what
the steps before it returned; each is called once, in lineage order. A failure here is final. Nothing of scheduling,
of assignments or of the agent is used: only the file as plain data, with `needs` and `gather` written out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

#: What a satellite does: step, config, input → its objects. Raises `Failed`.
Behave = Callable[[str, dict[str, Any], dict[str, Any]], list[dict[str, Any]]]

#: Which invocation this is: the steps and object numbers that led to it, its own last.
Lineage = tuple[tuple[str, int], ...]

_REFERENCE = re.compile(r"\$\{\{ ([^}]*) \}\}")
UNRESOLVED = "(a reference without a value)"


class Failed(Exception):
    """A satellite failed for good; the message is the lineage's error."""


@dataclass
class Invocation:
    """One call of one step on one object. `above` is the invocation whose object `index` this is for."""

    step: str
    above: Invocation | None
    index: int
    taken: dict[str, Any]
    cause: Invocation | None = None
    scope: dict[str, Any] = field(default_factory=dict)
    status: str = ""
    config: dict[str, Any] | None = None
    input: dict[str, Any] | None = None
    outputs: list[dict[str, Any]] = field(default_factory=list)
    error: str = ""
    goes_on: bool = False

    @property
    def lineage(self) -> Lineage:
        return (*(self.above.lineage if self.above else ()), (self.step, self.index))

    def line(self) -> Iterator[tuple[Invocation, int]]:
        """The invocations above, nearest first, each with the number of its object on this lineage."""
        current = self
        while current.above is not None:
            yield current.above, current.index
            current = current.above

    def stands_below(self, anchor: Invocation | None, index: int) -> bool:
        return anchor is None or any(each is anchor and number == index for each, number in self.line())


class Reference:
    """Interprets one run of `cluster` (what stands under `cluster:`, every `needs` and `gather.over` said)."""

    def __init__(self, cluster: dict[str, Any], payload: dict[str, Any], behave: Behave) -> None:
        self._cluster = cluster
        self._payload = payload
        self._behave = behave
        self.invocations: list[Invocation] = []

    def run(self) -> str:
        """The state that the run ends in."""
        main = self._block(self._cluster["satellites"], payload=self._payload, cause=None)
        failure = self._cluster.get("failure")
        if failure is not None:
            handled = {failure["from"], *_below(self._cluster["satellites"], failure["from"])}
            for failed in [each for each in main if each.status == "failed" and each.step in handled]:
                self._block(failure["satellites"], payload=failed.taken, cause=failed)
        failures = sum(each.status == "failed" for each in main)
        successes = sum(each.status != "failed" and not each.goes_on for each in main)
        if not failures:
            return "succeeded"
        return "partially-succeeded" if successes else "failed"

    def _block(
        self, steps: list[dict[str, Any]], payload: dict[str, Any], cause: Invocation | None
    ) -> list[Invocation]:
        """All invocations of one block: of the run, or of `failure` for one lineage that failed."""
        done: list[Invocation] = []
        for step in steps:
            found = list(self._invocations(steps, step, done, payload, cause))
            for invocation in found:
                self._call(step, invocation)
            done += found
        self.invocations += done
        return done

    def _invocations(
        self,
        steps: list[dict[str, Any]],
        step: dict[str, Any],
        done: list[Invocation],
        payload: dict[str, Any],
        cause: Invocation | None,
    ) -> Iterator[Invocation]:
        name, needs = step["identifier"], step["needs"]
        if "gather" in step:
            yield from self._gather(steps, step, done, cause)
        elif not needs:
            # A failure step begins where the lineage broke off, and sees what that lineage saw.
            yield Invocation(name, cause, 0, payload, cause, dict(cause.scope) if cause else {})
        else:
            for above in done:
                if above.step == needs[0]:
                    for index, taken in enumerate(above.outputs):
                        above.goes_on = True
                        yield Invocation(name, above, index, taken, None, _seen_below(above, index))

    def _gather(
        self, steps: list[dict[str, Any]], step: dict[str, Any], done: list[Invocation], cause: Invocation | None
    ) -> Iterator[Invocation]:
        over, needs = step["gather"]["over"], step["needs"]
        anchors: list[tuple[Invocation | None, int]] = [(cause, 0)]
        if over != "run":
            anchors = [(each, index) for each in done if each.step == over for index in range(len(each.outputs))]
        waited = [name for name in _above(steps, step) if over == "run" or over in _above(steps, _named(steps, name))]
        for anchor, index in anchors:
            below = [each for each in done if each.step in waited and each.stands_below(anchor, index)]
            if step["gather"]["when"] == "all-succeeded" and any(each.status == "failed" for each in below):
                continue
            lists = {name: [taken for each in below if each.step == name for taken in each.outputs] for name in waited}
            scope: dict[str, Any] = {}
            if anchor is not None:
                scope = dict(anchor.scope) if anchor is cause else _seen_below(anchor, index)
            if over in needs:
                assert anchor is not None
                lists[over] = [anchor.outputs[index]]
            for each in below:
                each.goes_on = each.goes_on or (each.step in needs and bool(each.outputs))
            scope |= {f"satellites.{name}.outputs": lists[name] for name in waited}
            taken = {need: lists[need] for need in needs}
            yield Invocation(step["identifier"], anchor, index, taken, cause if over == "run" else None, scope)

    def _call(self, step: dict[str, Any], invocation: Invocation) -> None:
        scope = {"trigger": self._payload, **invocation.scope}
        failed = _cause(invocation)
        if failed is not None:
            scope |= {"failure.error": failed.error, "failure.satellite": failed.step}
        invocation.scope = {key: value for key, value in scope.items() if not key.startswith("failure.")}
        try:
            if "if" in step and not _holds(step["if"], scope):
                invocation.status, invocation.outputs = "skipped", [invocation.taken]
                return
            config, given = _filled(step.get("config", {}), scope), _filled(step.get("input", {}), scope)
            invocation.config, invocation.input = config, invocation.taken | given
            invocation.outputs = self._behave(step["identifier"], invocation.config, invocation.input)
            invocation.status = "succeeded"
        except KeyError:
            invocation.status, invocation.error = "failed", UNRESOLVED
        except Failed as error:
            invocation.status, invocation.error = "failed", str(error)


def _cause(invocation: Invocation) -> Invocation | None:
    lines = [invocation, *(each for each, _ in invocation.line())]
    return next((each.cause for each in lines if each.cause is not None), None)


def _seen_below(above: Invocation, index: int) -> dict[str, Any]:
    return above.scope | {f"satellites.{above.step}.output": above.outputs[index]}


def _named(steps: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(step for step in steps if step["identifier"] == name)


def _above(steps: list[dict[str, Any]], step: dict[str, Any]) -> list[str]:
    """Every step that leads to this one, in the order of the file."""
    found = set(step["needs"])
    for need in step["needs"]:
        found |= set(_above(steps, _named(steps, need)))
    return [each["identifier"] for each in steps if each["identifier"] in found]


def _below(steps: list[dict[str, Any]], name: str) -> list[str]:
    return [each["identifier"] for each in steps if name in _above(steps, each)]


def _value(reference: str, scope: dict[str, Any]) -> Any:
    """`satellites.a.output.n` and its like; KeyError where there is none."""
    if reference in scope:
        return scope[reference]
    base, _, key = reference.rpartition(".")
    return scope[base][key]


def _holds(condition: str, scope: dict[str, Any]) -> bool:
    """`<reference> == <number>` or `!=`: all that the random clusters say."""
    reference, operator, number = condition.split(" ")
    equal = _value(reference, scope) == json.loads(number)
    return equal if operator == "==" else not equal


def _filled(values: dict[str, Any], scope: dict[str, Any]) -> dict[str, Any]:
    """Each value is one reference alone, which keeps its type, or a text with references in it."""
    filled: dict[str, Any] = {}
    for key, text in values.items():
        alone = _REFERENCE.fullmatch(text)
        if alone:
            filled[key] = _value(alone[1], scope)
        else:
            filled[key] = _REFERENCE.sub(lambda match: _text(_value(match[1], scope)), text)
    return filled


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
