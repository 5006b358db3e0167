"""The first steps of a batch: the sections of a file, as its manifest lists them, and the pages of each section."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from pydantic import Field, field_validator

from orbit_core.batch.pages import Listed, read_listing
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
    manifest: dict[str, Any] = Field(description="The manifest of a batch file, or a section of it, a file.")

    @field_validator("manifest")
    @classmethod
    def _is_file(cls, value: dict[str, Any]) -> dict[str, Any]:
        if FileRef.from_json(value) is None:
            raise ValueError("this is not a file; `orbit batch submit` uploads it")
        return value


class BatchPages(Satellite[BatchPagesConfig, BatchPagesInput]):
    """Output, in the order of the file. For a manifest, one for each section: `section` (from 0), `first-line`,
    `lines`, `pages` (how many), and `manifest`, which lists them. For a section, one for each page: `page` (from 0, in
    the whole file), `first-line`, `lines`, and `file`."""

    name = "satellite/orbit/batch-pages"
    summary = "Lists the sections of a batch file, or the pages of a section: the first steps of `orbit batch`"
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
                for listed in read_listing(file):
                    yield _object(listed)
            except ValueError as error:
                raise PermanentError(f"the manifest cannot be read: {error}", code="invalid-manifest") from error


def _object(listed: Listed) -> JsonObject:
    name = f"{listed.kind}-{listed.number}.jsonl"
    file = FileRef(listed.sha256, listed.size_bytes, name, "application/jsonl").to_json()
    counts = {listed.kind: listed.number, "first-line": listed.first_line, "lines": listed.lines}
    if listed.kind == "section":
        return counts | {"pages": listed.pages, "manifest": file}
    return counts | {"file": file}
