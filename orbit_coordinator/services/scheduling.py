"""SchedulingService: what work will cost, why it is where it is, what it has cost. All of it from one estimator."""

from __future__ import annotations

import asyncio
from typing import Any

from orbit_coordinator.compile import compile_workflow
from orbit_coordinator.costs import counted, lines, looked_back_on
from orbit_coordinator.services.access import Access
from orbit_coordinator.services.clusters import find_cluster
from orbit_core.errors import InvalidRequestError, NotFoundError
from orbit_core.pb.orbit.v1 import scheduling_pb2 as pb
from orbit_core.pb.orbit.v1 import scheduling_pb2_grpc
from orbit_core.sched._plan.pools import can_hold
from orbit_core.sched.explain import Elsewhere, explain
from orbit_core.sched.past_work import look_back
from orbit_core.sched.quote import Quote, ask
from orbit_core.sched.state import MeshState
from orbit_core.sched.workflow import Workflow
from orbit_core.spec.catalog import Catalog
from orbit_core.spec.diagnostics import invalid_spec
from orbit_core.spec.loader import load
from orbit_core.spec.models import SatelliteRef

#: Stands where a step's name does, in front of what is said of steps.
_BOUGHT = "(bought capacity)"
#: Quotes that are worked out at the same time: they compete with the leader for the interpreter.
_ANSWERS_AT_ONCE = 1


class SchedulingService(scheduling_pb2_grpc.SchedulingServiceServicer):
    """Reads the present term's state and plan; changes nothing."""

    def __init__(self, access: Access, catalog: Catalog) -> None:
        self._access = access
        self._catalog = catalog
        self._answering = asyncio.Semaphore(_ANSWERS_AT_ONCE)

    async def Quote(self, request: pb.QuoteRequest, context: Any) -> pb.QuoteResponse:
        term = self._access.leading()
        workflow = await self._workflow(request)
        # Copied here, where the state stands still; answered in a thread, where it may take its second or two.
        question = ask(term.state, workflow, term.leader.now_ms(), dict(request.objects))
        async with self._answering:
            found = await asyncio.to_thread(question.answer)
        return pb.QuoteResponse(
            cluster=workflow.identifier,
            quote=_quote_view(found.quote),
            others=[_quote_view(each) for each in found.others],
            shortest_sla_ms=found.shortest_sla_ms or 0,
            problems=_problems(term.state, workflow, self._catalog),
        )

    async def _workflow(self, request: pb.QuoteRequest) -> Workflow:
        if not request.content:
            if not request.cluster:
                raise InvalidRequestError("a quote needs a cluster file, or the identifier of a cluster")
            entry = find_cluster(self._access.leading().state.clusters, request.cluster)
            return (await self._access.resources.specs.get(entry.spec_hash)).workflow
        file = request.file_name or "cluster.yml"
        loaded = load(request.content, file=file, catalog=self._catalog, vault_names=None, mode="validate")
        if loaded.cluster is None:
            raise invalid_spec(loaded.diagnostics)
        return compile_workflow(loaded.cluster, self._catalog)

    async def Explain(self, request: pb.ExplainRequest, context: Any) -> pb.ExplainResponse:
        term = self._access.leading()
        run = term.state.runs.get(request.run_id)
        if run is None:
            raise NotFoundError(f"no run {request.run_id} goes on", remedy="`orbit status` tells how a run ended")
        found = explain(term.state, run, term.leader.plan, term.leader.now_ms(), request.invocation_id)
        satellites = {step.identifier: step.satellite for step in term.state.workflow(run).steps}
        bought = []
        if term.buying is not None and not request.invocation_id:
            bought = [pb.Explanation(step=_BOUGHT, reason=term.buying.note(run))]
        return pb.ExplainResponse(
            run_id=run.id,
            expected_late=run.expected_late,
            explanations=bought
            + [
                pb.Explanation(
                    step=each.step,
                    invocation_id=each.invocation_id,
                    agent_id=each.agent_id,
                    reason=each.reason + ("" if each.elsewhere else _install(satellites[each.step], self._catalog)),
                    latest_start_ms=each.latest_start_ms,
                    waiting=each.waiting,
                    elsewhere=[_elsewhere_view(other) for other in each.elsewhere],
                )
                for each in found
            ],
        )

    async def Cost(self, request: pb.CostRequest, context: Any) -> pb.CostResponse:
        term = self._access.leading()
        runs = [run async for run in counted(term.state, self._access.resources, request.by, request.since_ms)]
        # Copied here and answered in a thread, as a quote is.
        question = look_back(term.state, looked_back_on(runs), term.leader.now_ms())
        async with self._answering:
            least = await asyncio.to_thread(question.answer)
        ordered, total = lines(runs, request.by, question.jobs, least)
        return pb.CostResponse(lines=ordered, total=total)


def _problems(state: MeshState, workflow: Workflow, catalog: Catalog) -> list[str]:
    agents = [agent.facts for agent in state.agents.values()]
    problems: list[str] = []
    for step in workflow.steps:
        if not any(step.satellite in facts.satellites for facts in agents):
            problems.append(f"{step.identifier}: no agent has {step.satellite}{_install(step.satellite, catalog)}")
        elif not any(can_hold(facts, step) for facts in agents):
            problems.append(f"{step.identifier}: no agent has {step.satellite} and room for it")
    return problems


def _install(satellite: str, catalog: Catalog) -> str:
    """What would make an agent offer the satellite, to be said after that none does."""
    info = catalog.resolve(SatelliteRef.parse(satellite))
    return f"; install {info.install} on one" if info is not None and info.install else ""


def _quote_view(quote: Quote) -> pb.QuotedSla:
    return pb.QuotedSla(
        sla_ms=quote.sla_ms,
        feasible=quote.feasible,
        cost_usd=quote.cost_usd,
        p50_finish_ms=quote.p50_finish_ms,
        p95_finish_ms=quote.p95_finish_ms,
    )


def _elsewhere_view(other: Elsewhere) -> pb.Elsewhere:
    return pb.Elsewhere(
        agent_ids=other.agent_ids,
        price_usd_per_hour=other.price_usd_per_hour,
        cost_usd=other.cost_usd,
        duration_ms=other.duration_ms,
        reason=other.reason,
    )
