"""`SyncOrbitClient`: the methods of `OrbitClient` for programs without an event loop.

Thin on purpose: a loop in a thread of its own, and each method waits for the asynchronous one. Works inside a
notebook, whose own loop runs already. No behaviour of its own belongs here.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, TypeVar

from orbit_core.batch.cluster import MAX_TOKENS
from orbit_core.client._routing import OnWait, Patience
from orbit_core.client._sources import ClusterSource
from orbit_core.client.aio import OrbitClient
from orbit_core.client.batches import Batch, BatchAnswers, BatchFile, BatchSubmission
from orbit_core.client.models import Model, Pull
from orbit_core.client.scheduling import CostKey, CostLine, Explanation, Quotation
from orbit_core.client.types import (
    Agent,
    Cluster,
    ClusterVersion,
    Download,
    FileRef,
    Invocation,
    InvocationState,
    LogRecord,
    Mesh,
    Result,
    Run,
    RunPage,
    RunState,
    Secret,
    SlaState,
    Submission,
    Validation,
)
from orbit_core.limits import PAGE_DEFAULT

T = TypeVar("T")
_END: Any = object()


class SyncOrbitClient:
    """See `OrbitClient`: same arguments, same methods, same errors; streams are plain iterators."""

    def __init__(
        self,
        addresses: str | Sequence[str] | None = None,
        *,
        patience: Patience | None = None,
        on_wait: OnWait | None = None,
        ask_followers: bool = False,
    ) -> None:
        self._client = OrbitClient(addresses, patience=patience, on_wait=on_wait, ask_followers=ask_followers)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="orbit-client", daemon=True)
        self._thread.start()

    def __enter__(self) -> SyncOrbitClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def as_of_ms(self) -> int | None:
        """When the last answer was so, where it was not the leader's; else None."""
        return self._client.as_of_ms

    def close(self) -> None:
        """Close the channels and end the thread. Closing twice is not an error."""
        if self._loop.is_closed():
            return
        self._wait(self._client.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def validate(self, file: ClusterSource, *, file_name: str = "") -> Validation:
        return self._wait(self._client.validate(file, file_name=file_name))

    def submit(self, file: ClusterSource, *, file_name: str = "", request_id: str | None = None) -> Submission:
        return self._wait(self._client.submit(file, file_name=file_name, request_id=request_id))

    def clusters(self, project: str = "") -> tuple[Cluster, ...]:
        return self._wait(self._client.clusters(project))

    def cluster(self, identifier: str) -> Cluster:
        return self._wait(self._client.cluster(identifier))

    def enable(self, identifier: str) -> Cluster:
        return self._wait(self._client.enable(identifier))

    def disable(self, identifier: str) -> Cluster:
        return self._wait(self._client.disable(identifier))

    def delete_cluster(self, identifier: str) -> bool:
        return self._wait(self._client.delete_cluster(identifier))

    def versions(self, identifier: str) -> tuple[ClusterVersion, ...]:
        return self._wait(self._client.versions(identifier))

    def roll_back(self, identifier: str, spec_hash: str = "") -> Cluster:
        return self._wait(self._client.roll_back(identifier, spec_hash))

    def submit_batch(
        self,
        file: str | Path | BinaryIO,
        *,
        model: str,
        window_ms: int,
        max_tokens: int = MAX_TOKENS,
        any_model: bool = False,
        dry_run: bool = False,
        on_page: Callable[[BatchFile], None] | None = None,
    ) -> BatchSubmission:
        return self._wait(
            self._client.submit_batch(
                file,
                model=model,
                window_ms=window_ms,
                max_tokens=max_tokens,
                any_model=any_model,
                dry_run=dry_run,
                on_page=on_page,
            )
        )

    def batch(self, run_id: str) -> Batch:
        return self._wait(self._client.batch(run_id))

    def batch_results(self, run_id: str, output: BinaryIO, errors: BinaryIO | None = None) -> BatchAnswers:
        return self._wait(self._client.batch_results(run_id, output, errors))

    def trigger(self, cluster: str, payload: Mapping[str, Any] | None = None, *, request_id: str | None = None) -> Run:
        return self._wait(self._client.trigger(cluster, payload, request_id=request_id))

    def run(self, run_id: str) -> Run:
        return self._wait(self._client.run(run_id))

    def runs(
        self,
        cluster: str = "",
        *,
        states: Iterable[RunState] = (),
        limit: int = PAGE_DEFAULT,
        project: str = "",
        slas: Iterable[SlaState] = (),
        created_from_ms: int = 0,
        created_before_ms: int = 0,
    ) -> tuple[Run, ...]:
        return self._wait(
            self._client.runs(
                cluster,
                states=states,
                limit=limit,
                project=project,
                slas=slas,
                created_from_ms=created_from_ms,
                created_before_ms=created_before_ms,
            )
        )

    def runs_page(
        self,
        cluster: str = "",
        *,
        states: Iterable[RunState] = (),
        project: str = "",
        slas: Iterable[SlaState] = (),
        created_from_ms: int = 0,
        created_before_ms: int = 0,
        page_size: int = PAGE_DEFAULT,
        page_token: str = "",
    ) -> RunPage:
        return self._wait(
            self._client.runs_page(
                cluster,
                states=states,
                project=project,
                slas=slas,
                created_from_ms=created_from_ms,
                created_before_ms=created_before_ms,
                page_size=page_size,
                page_token=page_token,
            )
        )

    def watch(self, run_id: str) -> Iterator[Run]:
        return self._iterate(self._client.watch(run_id))

    def results(self, run_id: str, *, follow: bool = True, steps: Iterable[str] = ()) -> Iterator[Result]:
        return self._iterate(self._client.results(run_id, follow=follow, steps=steps))

    def file(self, run_id: str, file: FileRef | str, *, offset: int = 0) -> Iterator[bytes]:
        return self._iterate(self._client.file(run_id, file, offset=offset))

    def download(
        self,
        run_id: str,
        folder: str | Path,
        *,
        steps: Iterable[str] = (),
        follow: bool = False,
        overwrite: bool = False,
    ) -> Download:
        return self._wait(self._client.download(run_id, folder, steps=steps, follow=follow, overwrite=overwrite))

    def logs(
        self, run_id: str, *, follow: bool = False, step: str = "", invocation_id: str = ""
    ) -> Iterator[LogRecord]:
        return self._iterate(self._client.logs(run_id, follow=follow, step=step, invocation_id=invocation_id))

    def invocations(
        self, run_id: str, *, step: str = "", states: Iterable[InvocationState] = ()
    ) -> Iterator[Invocation]:
        return self._iterate(self._client.invocations(run_id, step=step, states=states))

    def cancel(self, run_id: str, *, reason: str = "") -> Run:
        return self._wait(self._client.cancel(run_id, reason=reason))

    def retry(self, run_id: str, *, request_id: str | None = None) -> Run:
        return self._wait(self._client.retry(run_id, request_id=request_id))

    def resume(self, run_id: str, *, budget_usd: float = 0.0) -> Run:
        return self._wait(self._client.resume(run_id, budget_usd=budget_usd))

    def delete_run(self, run_id: str) -> bool:
        return self._wait(self._client.delete_run(run_id))

    def agents(self, *, include_lost: bool = False) -> tuple[Agent, ...]:
        return self._wait(self._client.agents(include_lost=include_lost))

    def drain(self, agent_id: str) -> Agent:
        return self._wait(self._client.drain(agent_id))

    def mesh(self) -> Mesh:
        return self._wait(self._client.mesh())

    def set_secret(self, cluster: str, name: str, value: str) -> Secret:
        return self._wait(self._client.set_secret(cluster, name, value))

    def secrets(self, cluster: str = "") -> tuple[Secret, ...]:
        return self._wait(self._client.secrets(cluster))

    def delete_secret(self, cluster: str, name: str) -> bool:
        return self._wait(self._client.delete_secret(cluster, name))

    def rotate_key(self, project: str) -> str:
        return self._wait(self._client.rotate_key(project))

    def quote(
        self, file: ClusterSource | None = None, *, cluster: str = "", objects: Mapping[str, int] | None = None
    ) -> Quotation:
        return self._wait(self._client.quote(file, cluster=cluster, objects=objects))

    def explain(self, run_id: str, *, invocation_id: str = "") -> tuple[Explanation, ...]:
        return self._wait(self._client.explain(run_id, invocation_id=invocation_id))

    def cost(self, by: CostKey = "run", *, since_ms: int = 0) -> tuple[CostLine, ...]:
        return self._wait(self._client.cost(by, since_ms=since_ms))

    def add_model(self, name: str, source: str, *, labels: Mapping[str, str] | None = None) -> Model:
        return self._wait(self._client.add_model(name, source, labels=labels))

    def models(self) -> tuple[Model, ...]:
        return self._wait(self._client.models())

    def pull_model(self, name: str, *, agent_ids: Iterable[str] = (), labels: Mapping[str, str] | None = None) -> Pull:
        return self._wait(self._client.pull_model(name, agent_ids=agent_ids, labels=labels))

    def watch_pull(self, pull: Pull) -> Iterator[Model]:
        return self._iterate(self._client.watch_pull(pull))

    def remove_model(self, name: str, *, force: bool = False) -> bool:
        return self._wait(self._client.remove_model(name, force=force))

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:  # Ctrl-C in this thread: the call is not left running in the other
            future.cancel()
            raise

    def _iterate(self, stream: AsyncGenerator[T, None]) -> Iterator[T]:
        """A generator: whoever stops early closes the stream by closing it (leaving a `for` loop does)."""

        async def close() -> None:
            await stream.aclose()

        async def following() -> T:
            return await anext(stream, _END)

        try:
            while (item := self._wait(following())) is not _END:
                yield item
        finally:
            if not self._loop.is_closed():
                self._wait(close())
