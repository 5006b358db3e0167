"""The models of one agent, put together: store, server, the mesh's registrations, pulls, and what is told of them.

Only wiring and lifetimes live here; each part decides for itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from orbit_agent.inference.api import (
    EmbedRequest,
    EmbedResult,
    GenerateRequest,
    GenerateResult,
    Inference,
    LoadedModel,
    ScoreRequest,
    ScoreResult,
)
from orbit_agent.inference.errors import ProviderError
from orbit_agent.inference.providers import Providers, installed_wheels, probe
from orbit_agent.inference.server import ModelServer
from orbit_agent.models.mesh import MeshModels, Pinner
from orbit_agent.models.pulls import Pulled, Pulls
from orbit_agent.models.resending import Resending
from orbit_agent.models.store import CACHE_LIMIT_BYTES, ModelStore, StoredModel
from orbit_core.pb.orbit.v1 import agents_pb2
from orbit_core.store.api import Store
from orbit_core.store.keys import Keys

_log = logging.getLogger(__name__)

_STATES = {
    "cold": agents_pb2.MODEL_STATE_COLD,
    "cached": agents_pb2.MODEL_STATE_CACHED,
    "warm": agents_pb2.MODEL_STATE_WARM,
}


class AgentModels:
    """`create`, then `start`, then `run` beside the agent's other parts, then `close`."""

    def __init__(
        self, store: ModelStore, server: ModelServer, mesh: tuple[Store, Keys], found: Providers | None
    ) -> None:
        self._store = store
        self._server = server
        self._found = found
        self._news = asyncio.Event()
        self._mesh = MeshModels(*mesh, store, server.unload, self._news.set)
        self._pulls = Pulls(store, self._mesh.look, self._news.set)

    @classmethod
    async def create(
        cls,
        root: Path,
        mesh: tuple[Store, Keys],
        *,
        labels: Mapping[str, str],
        threads: int,
        memory_limit_bytes: int,
        cache_limit_bytes: int = CACHE_LIMIT_BYTES,
    ) -> AgentModels:
        """Finds out what inference can run on. Raises `ProviderError` where it is set up in a way that cannot work."""
        store = ModelStore(root, cache_limit_bytes=cache_limit_bytes, labels=labels, pin=Pinner(*mesh))
        server = ModelServer(store, threads=threads, memory_limit_bytes=memory_limit_bytes)
        found = await probe() if installed_wheels() else None
        return cls(store, server, mesh, found)

    @property
    def providers(self) -> Sequence[str]:
        """The execution providers that work here; none where no runtime is installed."""
        return self._found.usable if self._found else ()

    @property
    def inference(self) -> Inference:
        """What satellites ask."""
        return Resending(self._server, self._mesh.look) if self._found is not None else _NoRuntime()

    async def start(self) -> None:
        """Makes the server ready. An agent without a runtime does without: it offers no satellite that needs one."""
        if self._found is not None:
            await self._server.start(self._found)
        else:
            _log.warning("%s", _no_runtime())

    async def run(self) -> None:
        """Follows the mesh's registrations until cancelled."""
        await self._mesh.run()

    async def registered(self) -> None:
        """Returns once the mesh's registrations are known here."""
        await self._mesh.known.wait()

    async def news(self, within_s: float) -> None:
        """Returns when a registration has changed or a pull has ended, at the latest after so many seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._news.wait()
        self._news.clear()

    def pull(self, command: agents_pb2.PullModelCommand) -> None:
        """Fetches a model in the background."""
        self._pulls.ask(command.name, command.pull_id)

    async def close(self) -> None:
        """Ends the models' processes."""
        await self._pulls.close()
        await self._server.close()

    async def report(self) -> list[agents_pb2.AgentModel]:
        """Every model that is known here, in the order of names."""
        ended = self._pulls.ended()  # before the store is looked at: what a pull has done is then seen with its end
        stored = await asyncio.to_thread(self._store.list)
        return [
            self._model(each, loaded, ended.get(each.registration.name, Pulled("")))
            for each, loaded in zip(stored, self._server.loaded(stored), strict=True)
        ]

    def _model(self, stored: StoredModel, loaded: LoadedModel, pulled: Pulled) -> agents_pb2.AgentModel:
        state = _STATES[loaded.state]
        if state == agents_pb2.MODEL_STATE_COLD:
            if stored.fetching:
                state = agents_pb2.MODEL_STATE_FETCHING
            elif stored.shipped:
                state = agents_pb2.MODEL_STATE_CACHED
        manifest = stored.registration.manifest
        here = state in (agents_pb2.MODEL_STATE_CACHED, agents_pb2.MODEL_STATE_WARM)
        return agents_pb2.AgentModel(
            name=stored.registration.name,
            state=state,
            size_bytes=manifest.size_bytes if manifest is not None and here else 0,
            memory_bytes=loaded.memory_bytes,
            provider=loaded.provider,
            barred=stored.barred,
            pull_id=pulled.pull_id,
            failure=pulled.failure,
        )


class _NoRuntime:
    """What is asked of an agent that cannot run any model."""

    async def generate(self, request: GenerateRequest) -> GenerateResult:
        raise _no_runtime()

    async def embed(self, request: EmbedRequest) -> EmbedResult:
        raise _no_runtime()

    async def score(self, request: ScoreRequest) -> ScoreResult:
        raise _no_runtime()


def _no_runtime() -> ProviderError:
    return ProviderError(
        "no runtime for models is installed on this agent", remedy="install orbit-mesh[cpu] or orbit-mesh[gpu] there"
    )


def warm(models: Sequence[agents_pb2.AgentModel]) -> list[str]:
    """The names of those that are loaded."""
    return [model.name for model in models if model.state == agents_pb2.MODEL_STATE_WARM]


def cached(models: Sequence[agents_pb2.AgentModel]) -> list[str]:
    """The names of those that need no fetch; the loaded ones among them."""
    here = (agents_pb2.MODEL_STATE_CACHED, agents_pb2.MODEL_STATE_WARM)
    return [model.name for model in models if model.state in here]
