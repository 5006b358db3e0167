"""What became of each document, read from invocations and results, compared with the right answers. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orbit_core.client import Invocation, Result
from tui.demo.job import EXTRACT_STEP, LIST_STEP
from tui.demo.reports import FIELD_NAMES, Report


@dataclass(frozen=True, slots=True)
class Document:
    """One file's way through the cluster.

    `right` counts fields that are exactly as in the report, of `FIELD_NAMES`. `agent`: where it was read, or failed.
    """

    name: str
    fields: Mapping[str, Any] | None
    right: int
    error: str
    agent: str
    work_ms: int
    cost_usd: float
    attempts: int


def documents(
    invocations: Sequence[Invocation], results: Iterable[Result], reports: Mapping[str, Report]
) -> list[Document]:
    """One for each object that the listing gave, in its order."""
    listed: dict[int, str] = {}
    extracted: dict[str, Mapping[str, Any]] = {}
    for result in results:
        if result.failure is None and result.step == LIST_STEP:
            listed[result.index] = result.value["file-name"]
        elif result.failure is None and result.step == EXTRACT_STEP:
            extracted[result.invocation_id] = result.value
    ways = _ways(invocations)
    return [
        _document(name, ways.get(index, []), extracted, reports.get(name)) for index, name in sorted(listed.items())
    ]


def _ways(invocations: Sequence[Invocation]) -> dict[int, list[Invocation]]:
    """The invocations of each listed object, by its index: all that stem from the listing through it."""
    by_id = {each.invocation_id: each for each in invocations}
    ways: dict[int, list[Invocation]] = {}
    for each in invocations:
        first = each
        while (parent := by_id.get(first.parent_id)) is not None and parent.step != LIST_STEP:
            first = parent
        if parent is not None:
            ways.setdefault(first.index, []).append(each)
    return ways


def _document(
    name: str, way: Sequence[Invocation], extracted: Mapping[str, Mapping[str, Any]], report: Report | None
) -> Document:
    fields = next((extracted[each.invocation_id] for each in way if each.invocation_id in extracted), None)
    wanted = report.fields() if report else {}
    right = sum(fields is not None and field in wanted and fields.get(field) == wanted[field] for field in FIELD_NAMES)
    failed = next((each for each in way if each.state == "failed" and each.section == "main"), None)
    return Document(
        name=name,
        fields=fields,
        right=right,
        error=f"{failed.step}: {failed.failure.message}" if failed and failed.failure else "",
        agent=next((each.agent_id for each in way if each is failed or each.invocation_id in extracted), ""),
        work_ms=sum(each.usage.duration_ms for each in way),
        cost_usd=sum(each.cost_usd for each in way),
        attempts=sum(each.attempt for each in way),
    )
