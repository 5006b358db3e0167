"""The model server of one agent: loads each model once, in a process of its own, and shares it among all requests.

It lives in the agent's event loop and does nothing there but pass requests on: hashing, copying and loading happen on
threads and in the models' processes. A process that ends costs the requests that it held (`ModelCrashedError`, to be
sent again); the next request starts another. Models that nobody uses make way for one that needs their memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Final

from orbit_agent.inference import providers
from orbit_agent.inference.api import (
    EmbedRequest,
    EmbedResult,
    GenerateRequest,
    GenerateResult,
    LoadedModel,
    ScoreRequest,
    ScoreResult,
)
from orbit_agent.inference.backend import BackendInfo, LoadSettings, Request, Result
from orbit_agent.inference.errors import InferenceError, ModelCrashedError, NoRoomError
from orbit_agent.inference.process import ModelProcess
from orbit_agent.models.store import ModelStore, StoredModel
from orbit_agent.models.threads import apart
from orbit_core.errors import InternalError
from orbit_core.limits import GIB, MIB
from orbit_core.store.models import Manifest

_log = logging.getLogger("orbit.inference")

#: What a model's process takes beside weights and cache: the interpreter, the runtime, room to compute in.
PROCESS_BYTES: Final = 192 * MIB
#: The part of the weights that a session holds twice, for a layout that suits the processor.
WEIGHTS_FACTOR: Final = 1.25
#: The share of all memory that one model's key-value cache may take, and the least that is worth a start.
CACHE_SHARE: Final = 0.25
CACHE_MIN_BYTES: Final = 32 * MIB


@dataclass(slots=True, eq=False)
class _Loaded:
    """A model with a process, which may have ended."""

    manifest: Manifest
    process: ModelProcess
    info: BackendInfo
    reserved_bytes: int
    resources: ExitStack
    users: int = 0
    last_used_s: float = field(default_factory=time.monotonic)


class ModelServer:
    """`start` it, ask it, `close` it. `memory_limit_bytes` is for all models together.

    `provider` names an execution provider; without it the best that works here is chosen.
    """

    def __init__(
        self,
        models: ModelStore,
        *,
        threads: int = 0,
        memory_limit_bytes: int,
        provider: str | None = None,
        max_slots: int = 64,
        lookup: bool = True,
    ) -> None:
        self._models = models
        self._threads = threads or max(1, (os.cpu_count() or 2) // 2)
        self._limit_bytes = memory_limit_bytes
        self._wanted_provider = provider
        self._provider = ""
        self._max_slots = max_slots
        self._lookup = lookup
        self._loaded: dict[str, _Loaded] = {}
        self._loading: dict[str, asyncio.Task[_Loaded]] = {}
        self._spare: asyncio.Task[ModelProcess] | None = None
        self._room = asyncio.Lock()

    async def start(self, found: providers.Providers | None = None) -> None:
        """Chooses what inference runs on, of what a probe has found. Raises `ProviderError` where there is nothing."""
        self._provider = providers.choose(found or await providers.probe(), self._wanted_provider)
        self._prepare_spare()

    async def close(self) -> None:
        """Ends every process. Requests that are still held fail with `ModelCrashedError`."""
        self._provider = ""
        for task in list(self._loading.values()):
            task.cancel()
        await asyncio.gather(*self._loading.values(), return_exceptions=True)
        for name in list(self._loaded):
            await self._unload(name)
        spare, self._spare = self._spare, None
        if spare is not None:
            with contextlib.suppress(InferenceError):
                await (await spare).close()

    async def generate(self, request: GenerateRequest) -> GenerateResult:
        """Makes a text. Raises an `InferenceError`; being cancelled frees the request's slot in the batch."""
        result = await self._ask(request)
        assert isinstance(result, GenerateResult)
        return result

    async def embed(self, request: EmbedRequest) -> EmbedResult:
        """Turns texts into vectors. Raises an `InferenceError`."""
        result = await self._ask(request)
        assert isinstance(result, EmbedResult)
        return result

    async def score(self, request: ScoreRequest) -> ScoreResult:
        """Classifies texts or ranks pairs of texts. Raises an `InferenceError`."""
        result = await self._ask(request)
        assert isinstance(result, ScoreResult)
        return result

    async def warm(self, model: str) -> None:
        """Loads a model ahead of its first request. Raises what a request would."""
        await self._get(model)

    async def standing_by(self) -> None:
        """Returns once a process stands by for the next load, which then waits for no start and no import."""
        if self._spare is not None:
            process = await asyncio.shield(self._spare)
            await process.standing_by()

    async def unload(self, model: str) -> None:
        """Ends a model's process, if it has one or is about to; what it holds fails with `ModelCrashedError`."""
        loading = self._loading.get(model)
        if loading is not None:
            await asyncio.wait([loading])
        await self._unload(model)

    def loaded(self, models: Sequence[StoredModel] | None = None) -> tuple[LoadedModel, ...]:
        """How each model is to be advertised; without `models` all that are registered, in the order of names."""
        return tuple(
            self._advertised(stored.registration.name, stored.registration.manifest, stored.cached)
            for stored in (self._models.list() if models is None else models)
        )

    def _advertised(self, name: str, manifest: Manifest | None, cached: bool) -> LoadedModel:
        loaded = self._loaded.get(name)
        known = manifest.hash if manifest is not None else ""
        if loaded is None or not loaded.process.alive:
            return LoadedModel(name, known, "", 0, "cached" if cached else "cold")
        return LoadedModel(
            name,
            loaded.manifest.hash,
            loaded.info.provider,
            loaded.process.memory_bytes(),
            "warm",
            loaded.info.task,
        )

    # ---- requests ----

    async def _ask(self, request: Request) -> Result:
        loaded = await self._get(request.model)
        if not loaded.process.alive:  # it made way for another model while this request waited for it
            loaded = await self._get(request.model)
        loaded.users += 1
        try:
            return await loaded.process.ask(request)
        finally:
            loaded.users -= 1
            loaded.last_used_s = time.monotonic()

    async def _get(self, name: str) -> _Loaded:
        """The model, loaded; all who ask while it is being loaded wait for the same load."""
        if not self._provider:
            raise InternalError("the model server was asked before its start or after its end")
        loaded = self._loaded.get(name)
        if loaded is not None and loaded.process.alive:
            return loaded
        task = self._loading.get(name)
        if task is None:
            task = asyncio.create_task(self._load(name), name=f"load {name}")
            self._loading[name] = task
            task.add_done_callback(lambda done: self._load_ended(name, done))
        try:
            # One caller's being cancelled must not take the model from the others.
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            caller = asyncio.current_task()
            if not task.cancelled() or (caller is not None and caller.cancelling()):
                raise
            raise ModelCrashedError(f"the model server was closed while it loaded {name}") from None

    def _load_ended(self, name: str, task: asyncio.Task[_Loaded]) -> None:
        self._loading.pop(name, None)
        if not task.cancelled():
            task.exception()  # every caller may have gone; those who wait get it all the same

    # ---- loading ----

    async def _load(self, name: str) -> _Loaded:
        started_s = time.monotonic()
        await self._unload(name)  # what a crash has left
        opened = await apart(self._models.open, name)
        with ExitStack() as held:
            held.enter_context(self._models.holding(opened.manifest))
            async with self._room:
                reserved, cache_bytes = await self._make_room(opened.manifest)
                process = await self._take_spare()
                try:
                    settings = LoadSettings(
                        self._provider, self._threads, cache_bytes, self._max_slots, lookup=self._lookup
                    )
                    info = await process.load(opened.folder, settings)
                except BaseException:
                    await process.close()
                    raise
                loaded = _Loaded(opened.manifest, process, info, reserved, held.pop_all())
                self._loaded[name] = loaded
        self._prepare_spare()
        _log.info(
            "loaded %s (%s) in %.2f s: %s on %s, %d threads, context of %d tokens",
            name,
            opened.manifest.hash[:12],
            time.monotonic() - started_s,
            info.engine,
            info.provider,
            self._threads,
            info.context_length,
        )
        return loaded

    async def _unload(self, name: str) -> None:
        loaded = self._loaded.pop(name, None)
        if loaded is not None:
            await loaded.process.close()
            await apart(loaded.resources.close)  # which may delete files

    async def _make_room(self, manifest: Manifest) -> tuple[int, int]:
        """Bytes to reserve for a model and those of its cache among them; idle models make way, oldest use first."""
        fixed = PROCESS_BYTES + int(manifest.size_bytes * WEIGHTS_FACTOR)
        while True:
            for name in [name for name, loaded in self._loaded.items() if not loaded.process.alive]:
                await self._unload(name)
            left = self._limit_bytes - sum(loaded.reserved_bytes for loaded in self._loaded.values())
            cache = min(int(self._limit_bytes * CACHE_SHARE), left - fixed)
            if cache >= CACHE_MIN_BYTES:
                return fixed + cache, cache
            idle = [(loaded.last_used_s, name) for name, loaded in self._loaded.items() if loaded.users == 0]
            if not idle:
                raise NoRoomError(
                    f"{manifest.name} needs {(fixed + CACHE_MIN_BYTES) / GIB:.2f} GiB of memory, "
                    f"{max(0, left) / GIB:.2f} GiB of {self._limit_bytes / GIB:.2f} GiB are left beside models in use",
                    remedy="wait for them, use a smaller model, or raise the agent's memory limit",
                )
            _log.info("unloading %s to make room for %s", min(idle)[1], manifest.name)
            await self._unload(min(idle)[1])

    async def _take_spare(self) -> ModelProcess:
        """A process that stands by, or a new one."""
        spare, self._spare = self._spare, None
        if spare is not None:
            with contextlib.suppress(InferenceError):
                process = await spare
                if process.alive:
                    return process
                await process.close()
        return await ModelProcess.start()

    def _prepare_spare(self) -> None:
        """Starts the process that the next load will use, so that it need not wait for imports."""
        if self._spare is None and self._provider:
            self._spare = asyncio.create_task(ModelProcess.start(), name="spare model process")
            self._spare.add_done_callback(lambda task: task.cancelled() or task.exception())
