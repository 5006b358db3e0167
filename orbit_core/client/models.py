"""Calls of ModelService as methods of the client, and the plain values that they give."""

from __future__ import annotations

import contextlib
import itertools
import uuid
from collections.abc import AsyncGenerator, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from orbit_core.client._routing import Router
from orbit_core.errors import NotFoundError
from orbit_core.pb.orbit.v1 import agents_pb2, models_pb2_grpc
from orbit_core.pb.orbit.v1 import models_pb2 as pb

ModelState = Literal["cold", "fetching", "cached", "warm", "unknown"]

_STATES: Final[Mapping[int, ModelState]] = {
    agents_pb2.MODEL_STATE_COLD: "cold",
    agents_pb2.MODEL_STATE_FETCHING: "fetching",
    agents_pb2.MODEL_STATE_CACHED: "cached",
    agents_pb2.MODEL_STATE_WARM: "warm",
}
LOOK_EVERY_S: Final = 0.5
#: Looks after which agents that have not ended a pull are asked for it again.
ASK_AGAIN_EVERY: Final = 20


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One file of a pinned model; `sha256` in hexadecimal."""

    path: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class ModelOnAgent:
    """A model as one agent has it. `barred`: the registration keeps it to agents with other labels.

    `pull_id` and `failure` are of the last pull that ended there; an empty `failure`: it succeeded.
    """

    agent_id: str
    state: ModelState
    size_bytes: int
    memory_bytes: int
    provider: str
    barred: bool
    pull_id: str
    failure: str


@dataclass(frozen=True, slots=True)
class Model:
    """A registered model. `revision`, `hash` and `files` are empty until an agent has fetched it and so pinned it."""

    name: str
    source: str
    revision: str
    hash: str
    size_bytes: int
    labels: dict[str, str]
    added_ms: int | None
    files: tuple[ModelFile, ...]
    agents: tuple[ModelOnAgent, ...]


@dataclass(frozen=True, slots=True)
class Pull:
    """Agents that were asked to fetch a model."""

    model: str
    pull_id: str
    agent_ids: tuple[str, ...]

    def unended(self, model: Model) -> tuple[str, ...]:
        """Those that are still at it. An agent that is gone is no longer waited for."""
        there = {each.agent_id: each for each in model.agents}
        return tuple(each for each in self.agent_ids if each in there and there[each].pull_id != self.pull_id)

    def failures(self, model: Model) -> dict[str, str]:
        """By agent: why it has not fetched the model."""
        there = {each.agent_id: each for each in model.agents}
        failed = {each: there[each].failure if each in there else "the agent is gone" for each in self.agent_ids}
        return {agent_id: failure for agent_id, failure in failed.items() if failure}


class ModelCalls:
    """Models added, listed, pulled, removed."""

    _router: Router

    async def add_model(self, name: str, source: str, *, labels: Mapping[str, str] | None = None) -> Model:
        """Make a model known to every agent, or take anew what its source holds now.

        `source`: `hf:owner/name@revision`, `s3://bucket/prefix`, or `folder:/path` on the agents' machines. Nothing is
        fetched yet: the first agent that fetches it pins it. `labels`: only agents with all of them hold it.
        """
        response = await self._router.unary(
            lambda channel: models_pb2_grpc.ModelServiceStub(channel).AddModel,
            pb.AddModelRequest(name=name, source=source, labels=dict(labels or {})),
        )
        return _model(response.model)

    async def models(self) -> tuple[Model, ...]:
        """In the order of their names, with how each agent has them; those that ship with Orbit among them."""
        response = await self._router.unary(
            lambda channel: models_pb2_grpc.ModelServiceStub(channel).ListModels, pb.ListModelsRequest()
        )
        return tuple(_model(each) for each in response.models)

    async def pull_model(
        self, name: str, *, agent_ids: Iterable[str] = (), labels: Mapping[str, str] | None = None
    ) -> Pull:
        """Ask agents to fetch a model now: these, those with all of `labels`, or all that may hold it.

        Returns at once; `watch_pull` tells how far they are.
        """
        pull_id = f"pull-{uuid.uuid4().hex}"
        return Pull(name, pull_id, await self._ask(name, pull_id, agent_ids, labels or {}))

    async def watch_pull(self, pull: Pull) -> AsyncGenerator[Model, None]:
        """The model now, then again and again; at the last all agents that were asked have ended."""
        for look in itertools.count(1):
            model = next((each for each in await self.models() if each.name == pull.model), None)
            if model is None:
                raise NotFoundError(f"the model {pull.model!r} was removed", remedy="`orbit models list` lists them")
            yield model
            unended = pull.unended(model)
            if not unended:
                return
            if look % ASK_AGAIN_EVERY == 0:
                # An agent that was started again has forgotten; a leader may have died before it passed the pull on.
                with contextlib.suppress(NotFoundError):  # it has gone since
                    await self._ask(pull.model, pull.pull_id, unended)
            await self._router.clock.sleep(LOOK_EVERY_S)

    async def _ask(
        self, name: str, pull_id: str, agent_ids: Iterable[str], labels: Mapping[str, str] | None = None
    ) -> tuple[str, ...]:
        """The agents that were asked. Each does the same pull once, however often it is asked."""
        response = await self._router.unary(
            lambda channel: models_pb2_grpc.ModelServiceStub(channel).PullModel,
            pb.PullModelRequest(name=name, agent_ids=list(agent_ids), labels=dict(labels or {}), pull_id=pull_id),
        )
        return tuple(response.agent_ids)

    async def remove_model(self, name: str, *, force: bool = False) -> bool:
        """Whether there was one. `force`: also where runs that go on use it."""
        response = await self._router.unary(
            lambda channel: models_pb2_grpc.ModelServiceStub(channel).RemoveModel,
            pb.RemoveModelRequest(name=name, force=force),
        )
        return response.removed


def _model(message: pb.Model) -> Model:
    return Model(
        name=message.name,
        source=message.source,
        revision=message.revision,
        hash=message.hash,
        size_bytes=message.size_bytes,
        labels=dict(message.labels),
        added_ms=message.added_ms or None,
        files=tuple(ModelFile(each.path, each.size_bytes, each.sha256) for each in message.files),
        agents=tuple(_on_agent(each) for each in message.agents),
    )


def _on_agent(message: pb.ModelOnAgent) -> ModelOnAgent:
    model = message.model
    return ModelOnAgent(
        agent_id=message.agent_id,
        state=_STATES.get(model.state, "unknown"),
        size_bytes=model.size_bytes,
        memory_bytes=model.memory_bytes,
        provider=model.provider,
        barred=model.barred,
        pull_id=model.pull_id,
        failure=model.failure,
    )
