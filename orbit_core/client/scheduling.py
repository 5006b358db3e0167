"""What a client is told of scheduling: quotes, explanations, costs; and the calls that ask for them.

`SchedulingCalls` is a part of `OrbitClient`: one call a method, as there. Nothing is decided here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from orbit_core.client._routing import Router
from orbit_core.client._sources import ClusterSource, content_of, problems_of
from orbit_core.pb.orbit.v1 import scheduling_pb2 as pb
from orbit_core.pb.orbit.v1 import scheduling_pb2_grpc

CostKey = Literal["run", "satellite", "model", "project", "day"]


@dataclass(frozen=True, slots=True)
class QuotedSla:
    """A run with one SLA. Finish times are milliseconds from its start."""

    sla_ms: int
    feasible: bool
    cost_usd: float
    p50_finish_ms: int
    p95_finish_ms: int


@dataclass(frozen=True, slots=True)
class Quotation:
    """`others`: from the shortest SLA that can be kept (0: none) to a day; a longer one is never dearer."""

    cluster: str
    quote: QuotedSla
    others: tuple[QuotedSla, ...]
    shortest_sla_ms: int
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A kind of agents, and what one attempt would be there."""

    agent_ids: tuple[str, ...]
    price_usd_per_hour: float
    cost_usd: float
    duration_ms: int
    reason: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a step's work, or one invocation, is where it is or waits."""

    step: str
    invocation_id: str
    agent_id: str
    reason: str
    latest_start_ms: int
    waiting: int
    elsewhere: tuple[Elsewhere, ...]


@dataclass(frozen=True, slots=True)
class CostLine:
    """What one run, satellite, model, project or day has cost.

    `least_usd`: the least that those of its runs could have cost, within their deadlines, that can be looked back on
    (they have ended, and the agents and prices of their time are remembered); `lost_usd`: what they cost beyond it.
    """

    key: str
    runs: int
    cost_usd: float
    input_tokens: int
    output_tokens: int
    duration_ms: int
    tokens_per_usd: float
    runs_looked_back_on: int = 0
    least_usd: float = 0.0
    lost_usd: float = 0.0


class SchedulingCalls:
    """Quote, explain, cost. `file`: a path, the bytes of a cluster file, or a cluster made of Python objects."""

    _router: Router

    async def quote(
        self, file: ClusterSource | None = None, *, cluster: str = "", objects: Mapping[str, int] | None = None
    ) -> Quotation:
        """What one run would come to now. Raises `InvalidSpecError` for a file that is not valid.

        `objects`: how many each invocation of a step will return, by step, where you know; else it is estimated.
        """
        content = content_of(file)[0] if file is not None else b""
        with problems_of(file or b""):
            response = await self._router.unary(
                lambda channel: scheduling_pb2_grpc.SchedulingServiceStub(channel).Quote,
                pb.QuoteRequest(content=content, cluster=cluster, objects=dict(objects or {})),
            )
        others = tuple(_quoted(each) for each in response.others)
        problems = tuple(response.problems)
        return Quotation(response.cluster, _quoted(response.quote), others, response.shortest_sla_ms, problems)

    async def explain(self, run_id: str, *, invocation_id: str = "") -> tuple[Explanation, ...]:
        """Why the work of a run that goes on is where it is, or waits."""
        response = await self._router.unary(
            lambda channel: scheduling_pb2_grpc.SchedulingServiceStub(channel).Explain,
            pb.ExplainRequest(run_id=run_id, invocation_id=invocation_id),
        )
        return tuple(_explanation(each) for each in response.explanations)

    async def cost(self, by: CostKey = "run", *, since_ms: int = 0) -> tuple[CostLine, ...]:
        """What runs have cost, the dearest first, and the total as the last line."""
        request = pb.CostRequest(by=f"COST_BY_{by.upper()}", since_ms=since_ms)
        response = await self._router.unary(
            lambda channel: scheduling_pb2_grpc.SchedulingServiceStub(channel).Cost, request
        )
        return tuple(_cost_line(each) for each in (*response.lines, response.total))


def _quoted(message: pb.QuotedSla) -> QuotedSla:
    return QuotedSla(message.sla_ms, message.feasible, message.cost_usd, message.p50_finish_ms, message.p95_finish_ms)


def _explanation(message: pb.Explanation) -> Explanation:
    elsewhere = tuple(
        Elsewhere(tuple(each.agent_ids), each.price_usd_per_hour, each.cost_usd, each.duration_ms, each.reason)
        for each in message.elsewhere
    )
    return Explanation(
        message.step,
        message.invocation_id,
        message.agent_id,
        message.reason,
        message.latest_start_ms,
        message.waiting,
        elsewhere,
    )


def _cost_line(message: pb.CostLine) -> CostLine:
    return CostLine(
        message.key,
        message.runs,
        message.cost_usd,
        message.input_tokens,
        message.output_tokens,
        message.duration_ms,
        message.tokens_per_usd,
        message.runs_looked_back_on,
        message.least_usd,
        message.lost_usd,
    )
