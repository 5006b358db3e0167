"""ModelService: models are registered, listed with how each agent has them, pulled and removed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orbit_coordinator.models import ModelRegistry
from orbit_coordinator.services.access import Access
from orbit_coordinator.term import Term
from orbit_core.errors import InvalidRequestError, NotFoundError, PreconditionError
from orbit_core.pb.orbit.v1 import agents_pb2, models_pb2, models_pb2_grpc
from orbit_core.store.models import ModelRecord, check_name, check_source


class ModelService(models_pb2_grpc.ModelServiceServicer):
    """What is registered lies in etcd; how agents have it is what their streams last said."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._registry = ModelRegistry(access.resources.store, access.resources.keys)

    async def AddModel(self, request: models_pb2.AddModelRequest, context: Any) -> models_pb2.AddModelResponse:
        term = self._access.leading()
        check_name(request.name)
        check_source(request.source)
        record = ModelRecord(request.name, request.source, dict(request.labels), term.leader.now_ms())
        await self._registry.put(record, term.leadership)
        return models_pb2.AddModelResponse(model=_view(record, {}))

    async def ListModels(self, request: models_pb2.ListModelsRequest, context: Any) -> models_pb2.ListModelsResponse:
        term = self._access.leading()
        records = await self._registry.all()
        on_agents = _on_agents(term)
        for name in on_agents:  # those that ship with Orbit
            records.setdefault(name, ModelRecord(name, ""))
        views = [
            _view(records[name], _unheard(term, records[name]) | on_agents.get(name, {})) for name in sorted(records)
        ]
        return models_pb2.ListModelsResponse(models=views)

    async def PullModel(self, request: models_pb2.PullModelRequest, context: Any) -> models_pb2.PullModelResponse:
        term = self._access.leading()
        if not request.pull_id:
            raise InvalidRequestError("a pull needs an id, so that its end can be told")
        record = (await self._registry.all()).get(request.name)
        on_agents = _on_agents(term).get(request.name, {})
        if record is None and not on_agents:
            raise NotFoundError(f"there is no model {request.name!r}", remedy="`orbit models add` registers one")
        asked = [
            agent_id
            for agent_id in _chosen(term, request, record or ModelRecord(request.name, ""))
            if term.streams.pull_model(agent_id, request.name, request.pull_id)
        ]
        return models_pb2.PullModelResponse(agent_ids=asked)

    async def RemoveModel(self, request: models_pb2.RemoveModelRequest, context: Any) -> models_pb2.RemoveModelResponse:
        term = self._access.leading()
        check_name(request.name)
        using = [
            run.id
            for run in term.state.runs.values()
            if not run.ended and any(step.model == request.name for step in term.state.workflow(run).steps)
        ]
        if using and not request.force:
            raise PreconditionError(
                f"{len(using)} runs that go on use the model {request.name}, {using[0]} among them",
                remedy="wait for them or cancel them; with force, what is left of their work with it fails",
            )
        removed = await self._registry.remove(request.name, term.leadership)
        return models_pb2.RemoveModelResponse(removed=removed)


async def known_models(access: Access) -> frozenset[str] | None:
    """The models that a cluster file may name; None where no agent is attached here to say which ship with it."""
    term = access.term
    if term is None or not term.streams.streams:
        return None
    records = await ModelRegistry(access.resources.store, access.resources.keys).all()
    return frozenset({*records, *_on_agents(term)})


def _on_agents(term: Term) -> dict[str, dict[str, agents_pb2.AgentModel]]:
    """By model, then by agent, in the order of agents."""
    found: dict[str, dict[str, agents_pb2.AgentModel]] = {}
    for agent_id, stream in sorted(term.streams.streams.items()):
        for model in stream.advertisement.models:
            found.setdefault(model.name, {})[agent_id] = model
    return found


def _unheard(term: Term, record: ModelRecord) -> dict[str, agents_pb2.AgentModel]:
    """A model on every attached agent: one that has not spoken of it yet is there all the same."""
    return {
        agent_id: agents_pb2.AgentModel(
            name=record.name,
            state=agents_pb2.MODEL_STATE_COLD,
            barred=not record.admits(dict(stream.advertisement.labels)),
        )
        for agent_id, stream in sorted(term.streams.streams.items())
    }


def _chosen(term: Term, request: models_pb2.PullModelRequest, record: ModelRecord) -> list[str]:
    """The agents that a pull is for. Raises `PreconditionError` where there is none, or one that may not hold it."""
    labels = {agent_id: dict(each.advertisement.labels) for agent_id, each in sorted(term.streams.streams.items())}
    for agent_id in request.agent_ids:
        if agent_id not in labels:
            raise NotFoundError(f"no agent {agent_id!r} is attached", remedy="`orbit agents` lists those there are")
        if not record.admits(labels[agent_id]):
            raise PreconditionError(
                f"{record.name} is kept to agents labelled {_text(record.labels)}, and {agent_id} is not",
                remedy="register it without labels, or pull it elsewhere",
            )
    wanted = request.agent_ids or [
        agent_id
        for agent_id, own in labels.items()
        if record.admits(own) and all(own.get(key) == value for key, value in request.labels.items())
    ]
    if not wanted:
        raise PreconditionError(
            f"no agent is attached that may hold {record.name} and was asked for",
            remedy="`orbit agents` lists agents, `orbit models list` says where a model is kept to",
        )
    return list(wanted)


def _text(labels: Mapping[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in sorted(labels.items()))


def _view(record: ModelRecord, on_agents: Mapping[str, agents_pb2.AgentModel]) -> models_pb2.Model:
    manifest = record.manifest
    files = manifest.files if manifest else ()
    here_bytes = max((each.size_bytes for each in on_agents.values()), default=0)
    return models_pb2.Model(
        name=record.name,
        source=record.source or f"package:{record.name}",
        revision=manifest.revision if manifest else "",
        hash=manifest.hash if manifest else "",
        files=[models_pb2.ModelFile(path=f.path, size_bytes=f.size_bytes, sha256=f.sha256) for f in files],
        size_bytes=manifest.size_bytes if manifest else here_bytes,
        labels=record.labels,
        added_ms=record.added_ms,
        agents=[models_pb2.ModelOnAgent(agent_id=agent_id, model=model) for agent_id, model in on_agents.items()],
    )
