"""What an accelerator of this machine answers is what the CPU answers. Skipped, but for the CPU, where there is none.

On a machine with a GPU (`pip install 'orbit-mesh[gpu]'`) this is the first thing to run: it goes the way that an agent
goes, from the probe to the model's process.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from orbit_agent.inference import providers
from orbit_agent.inference.api import EmbedRequest, GenerateRequest, Sampling, ScoreRequest
from orbit_agent.inference.providers import CPU
from orbit_agent.inference.server import ModelServer
from orbit_agent.models.store import ModelStore
from orbit_core.limits import GIB

DATA = Path(__file__).parents[1] / "data"
TEXTS = ("revenue", "the revenue of the third quarter", "a b c d e f g h", "what nobody has said before " * 8)
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"year": {"type": "integer", "minimum": 2000, "maximum": 2030}, "ok": {"type": "boolean"}},
    "required": ["year", "ok"],
    "additionalProperties": False,
}


@pytest.fixture(params=["the CPU", "the best accelerator"])
async def provider(request: pytest.FixtureRequest) -> str:
    usable = (await providers.probe()).usable
    if request.param == "the CPU":
        return CPU
    best = providers.choose(providers.Providers({}, usable, usable))
    if best == CPU:
        pytest.skip("no accelerator works here")
    return best


async def server_on(provider: str, folder: Path) -> ModelServer:
    store = ModelStore(folder)
    for name in ("tiny_llm", "tiny_embedder", "tiny_classifier"):
        store.add(name, f"folder:{DATA / name}")
    server = ModelServer(store, threads=1, memory_limit_bytes=4 * GIB, provider=provider)
    await server.start()
    return server


@pytest.fixture
async def servers(provider: str, tmp_path: Path) -> AsyncGenerator[tuple[ModelServer, ModelServer]]:
    """One on that provider, and one on the CPU."""
    both = [await server_on(each, tmp_path / str(place)) for place, each in enumerate((provider, CPU))]
    try:
        yield both[0], both[1]
    finally:
        for server in both:
            await server.close()


async def test_vectors_are_alike(servers: tuple[ModelServer, ModelServer]) -> None:
    there, here = [(await server.embed(EmbedRequest("1", "tiny_embedder", TEXTS))).vectors for server in servers]
    np.testing.assert_allclose(np.array(there), np.array(here), atol=5e-3)


async def test_scores_are_alike(servers: tuple[ModelServer, ModelServer]) -> None:
    asked = ScoreRequest("1", "tiny_classifier", tuple((text, None) for text in TEXTS))
    there, here = [(await server.score(asked)).scores for server in servers]
    np.testing.assert_allclose(np.array(there), np.array(here), atol=5e-3)


async def generated(server: ModelServer, requests: Sequence[GenerateRequest]) -> list[str]:
    return [result.text for result in await asyncio.gather(*map(server.generate, requests))]


async def test_first_words_are_the_same(servers: tuple[ModelServer, ModelServer]) -> None:
    """A few tokens of many texts: roundings differ, and a text that has turned elsewhere does not come back."""
    asked = [GenerateRequest(str(n), "tiny_llm", prompt=f"report {n} " * n, max_new_tokens=4) for n in range(1, 25)]
    there, here = [await generated(server, asked) for server in servers]
    assert sum(a == b for a, b in zip(there, here, strict=True)) >= 20


async def test_answers_are_held_to_their_schemas_there(servers: tuple[ModelServer, ModelServer]) -> None:
    asked = [
        GenerateRequest(str(n), "tiny_llm", prompt="x", json_schema=SCHEMA, max_new_tokens=80, sampling=Sampling(1.0))
        for n in range(20)
    ]
    for text in await generated(servers[0], asked):
        jsonschema.validate(json.loads(text), SCHEMA)


async def test_it_is_advertised_what_a_model_really_runs_on(
    servers: tuple[ModelServer, ModelServer], provider: str
) -> None:
    for name in ("tiny_llm", "tiny_embedder", "tiny_classifier"):
        await servers[0].warm(name)
    assert {model.name: model.provider for model in servers[0].loaded() if model.state == "warm"} == {
        "tiny_llm": provider,
        "tiny_embedder": provider,
        "tiny_classifier": provider,
    }
