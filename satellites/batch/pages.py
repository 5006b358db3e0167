"""The first step of a batch: the pages of a file, as its manifest lists them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from pydantic import Field, field_validator

from orbit_core.batch.pages import read_manifest
from satellites.contract import (
    Context,
    FileRef,
    JsonObject,
    PermanentError,
    Resources,
    Satellite,
    SatelliteConfig,
    SatelliteInput,
)


class BatchPagesConfig(SatelliteConfig):
    """Nothing to set."""


class BatchPagesInput(SatelliteInput):
    manifest: dict[str, Any] = Field(description="The manifest that `orbit batch submit` uploaded, a file.")

    @field_validator("manifest")
    @classmethod
    def _is_file(cls, value: dict[str, Any]) -> dict[str, Any]:
        if FileRef.from_json(value) is None:
            raise ValueError("this is not a file; `orbit batch submit` uploads it")
        return value


class BatchPages(Satellite[BatchPagesConfig, BatchPagesInput]):
    """Output, one for each page in the order of the file: `page` (from 0), `first-line`, `lines`, and `file`."""

    name = "satellite/orbit/batch-pages"
    summary = "Lists the pages of a batch file: the first step of `orbit batch`"
    Config = BatchPagesConfig
    Input = BatchPagesInput
    resources = Resources(cpu=0.25, memory_bytes=192 * 1024 * 1024)
    timeout_s = 900.0
    deterministic = True
    typical_s = 1.0

    async def run(
        self, config: BatchPagesConfig, input: BatchPagesInput, context: Context
    ) -> AsyncIterator[JsonObject]:
        ref = FileRef.from_json(input.manifest)
        assert ref is not None
        path = await context.files.path(ref)
        with path.open("rb") as file:
            try:
                for page in read_manifest(file):
                    name = f"page-{page.number}.jsonl"
                    yield {
                        "page": page.number,
                        "first-line": page.first_line,
                        "lines": page.lines,
                        "file": FileRef(page.sha256, page.size_bytes, name, "application/jsonl").to_json(),
                    }
            except ValueError as error:
                raise PermanentError(f"the manifest cannot be read: {error}", code="invalid-manifest") from error
