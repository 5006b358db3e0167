"""The preset cluster that batches of one model and window run as: list sections, list their pages, answer each page.

One cluster for each model and window, since both are what placement and deadlines go by; all else comes in the payload.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from orbit_core.errors import FieldViolation, InvalidRequestError
from orbit_core.ids import content_hash, derived_id
from orbit_core.limits import BATCH_WINDOW_MAX_MS, BATCH_WINDOW_MIN_MS
from orbit_core.spec.durations import format_duration_ms
from orbit_core.spec.models import VERSION

PROJECT: Final = "batch"
#: The steps: one invocation that lists the sections, one for each section that lists its pages, one for each page.
SECTIONS: Final = "sections"
PAGES: Final = "pages"
ANSWERS: Final = "answers"
MAX_TOKENS: Final = 1_024
MAX_TOKENS_MOST: Final = 1_000_000

_SLUG_CHARS: Final = 60


@dataclass(frozen=True, slots=True)
class BatchOptions:
    """What a batch is run with.

    `max_tokens`: of an answer whose request does not say. `any_model`: answer with `model` whatever model a line names.
    """

    model: str
    window_ms: int
    max_tokens: int = MAX_TOKENS
    any_model: bool = False

    def check(self) -> None:
        """Raises `InvalidRequestError` for what no batch can be run with."""
        if not BATCH_WINDOW_MIN_MS <= self.window_ms <= BATCH_WINDOW_MAX_MS:
            least, most = format_duration_ms(BATCH_WINDOW_MIN_MS), format_duration_ms(BATCH_WINDOW_MAX_MS)
            raise InvalidRequestError(
                f"a batch cannot have a window of {format_duration_ms(max(0, self.window_ms))}",
                violations=[FieldViolation("window", f"expected from {least} to {most}")],
            )
        if not 1 <= self.max_tokens <= MAX_TOKENS_MOST:
            raise InvalidRequestError(
                f"an answer cannot have {self.max_tokens} tokens",
                violations=[FieldViolation("max_tokens", f"expected from 1 to {MAX_TOKENS_MOST:,}")],
            )
        if not self.model:
            raise InvalidRequestError("a batch needs a model", remedy="`orbit models list` shows those there are")


def identifier_of(options: BatchOptions) -> str:
    """`batch/<model>-<window>`; a model whose name has to be changed for it keeps apart from others by a hash."""
    slug = re.sub(r"[^a-z0-9._-]+", "-", options.model.lower()).strip("._-")[:_SLUG_CHARS].strip("._-")
    if slug != options.model:
        slug = f"{slug or 'model'}-{content_hash(options.model.encode())[:8]}"
    return f"{PROJECT}/{slug}-{format_duration_ms(options.window_ms)}"


def is_batch(cluster: str) -> bool:
    """Whether a run of that cluster is a batch."""
    return cluster.startswith(f"{PROJECT}/")


def document(options: BatchOptions) -> bytes:
    """The cluster file."""
    cluster = {
        "identifier": identifier_of(options),
        "title": f"Batches of requests to {options.model}",
        "sla": format_duration_ms(options.window_ms),
        "trigger": {"api-call": True},
        "satellites": [
            {"uses": "satellite/orbit/batch-pages", "identifier": SECTIONS},
            {"uses": "satellite/orbit/batch-pages", "identifier": PAGES},
            {
                "uses": "satellite/orbit/batch-answers",
                "identifier": ANSWERS,
                "config": {
                    "model": options.model,
                    "max-tokens": "${{ trigger.max-tokens }}",
                    "any-model": "${{ trigger.any-model }}",
                },
            },
        ],
    }
    # JSON, which the format is too: a model's name that looks like a number stays a text.
    return json.dumps({"version": VERSION, "cluster": cluster}, ensure_ascii=False, indent=2).encode()


def payload(manifest_sha256: str, manifest_bytes: int, lines: int, options: BatchOptions) -> dict[str, Any]:
    """What the run is triggered with."""
    file = {
        "sha256": manifest_sha256,
        "size": manifest_bytes,
        "name": "manifest.jsonl",
        "media-type": "application/jsonl",
    }
    return {
        "manifest": {"$file": file},
        "lines": lines,
        "max-tokens": options.max_tokens,
        "any-model": options.any_model,
    }


def request_id(content: Mapping[str, Any]) -> str:
    """The same payload, that is the same file with the same options, is the same request: it makes one run."""
    return derived_id("batch", json.dumps(content, sort_keys=True, separators=(",", ":")))
