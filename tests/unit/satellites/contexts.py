"""What a satellite is handed in tests: a real `Context` over a folder, and models that answer from a list."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from satellites.contract import (
    Context,
    Embedded,
    FileRef,
    GenerateCall,
    Generated,
    JsonObject,
    Models,
    Overflow,
    Satellite,
    Scored,
)


class FolderFiles:
    """A blob store in a folder."""

    def __init__(self, root: Path) -> None:
        self._root = root
        root.mkdir(parents=True, exist_ok=True)

    async def put(self, source: bytes | Path, *, name: str, media_type: str = "application/octet-stream") -> FileRef:
        data = source if isinstance(source, bytes) else await asyncio.to_thread(source.read_bytes)
        digest = hashlib.sha256(data).hexdigest()
        (self._root / digest).write_bytes(data)
        return FileRef(digest, len(data), name, media_type)

    async def path(self, ref: FileRef) -> Path:
        return self._root / ref.sha256

    def read(self, value: JsonObject) -> bytes:
        ref = FileRef.from_json(value)
        assert ref is not None
        return (self._root / ref.sha256).read_bytes()


class ScriptedModels:
    """Gives its answers in turn and keeps the questions."""

    def __init__(self, *answers: Generated | str) -> None:
        self._answers = [Generated(a, "stop", 100, 10) if isinstance(a, str) else a for a in answers]
        self.calls: list[GenerateCall] = []

    async def generate(self, call: GenerateCall) -> Generated:
        self.calls.append(call)
        return self._answers.pop(0)

    async def embed(
        self, model: str, texts: Sequence[str], *, normalize: bool = True, context_overflow: Overflow = "truncate"
    ) -> Embedded:
        raise AssertionError("nothing here embeds")

    async def score(
        self, model: str, pairs: Sequence[tuple[str, str | None]], *, context_overflow: Overflow = "truncate"
    ) -> Scored:
        raise AssertionError("nothing here scores")


def make_context(
    scratch: Path,
    *,
    secrets: Mapping[str, str] | None = None,
    models: Models | None = None,
    allow_private_addresses: bool = True,
    attempt: int = 1,
    invocation_id: str = "inv-1",
) -> Context:
    return Context(
        run_id="run-1",
        cluster="acme/reports",
        step="a-step",
        invocation_id=invocation_id,
        attempt=attempt,
        secrets=secrets or {},
        scratch=scratch,
        deadline_ms=0,
        files=FolderFiles(scratch / "blobs"),
        models=models or ScriptedModels(),
        log=logging.getLogger("orbit.step.a-step"),
        allow_private_addresses=allow_private_addresses,
    )


async def run(
    satellite: type[Satellite[Any, Any]], config: JsonObject, given: JsonObject, context: Context
) -> list[JsonObject]:
    """All objects that the satellite gives; config and input are checked as a worker checks them."""
    result = satellite().run(satellite.Config.model_validate(config), satellite.Input.model_validate(given), context)
    if isinstance(result, AsyncIterator):
        return [value async for value in result]
    return list(await result)
