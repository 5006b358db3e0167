"""The satellites over encoders, with a real model server over tiny models."""

from __future__ import annotations

import base64
import struct
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from orbit_agent.inference.server import ModelServer
from orbit_agent.models.store import ModelStore
from orbit_agent.models_for_workers import ServedModels
from orbit_core.limits import GIB
from orbit_core.spec.models import SatelliteRef
from satellites.catalog import InstalledCatalog
from satellites.contract import Context, PermanentError
from satellites.language.classify import Classify
from satellites.language.embed import Embed
from satellites.language.rerank import Rerank
from satellites.language.texts import CALL_MAX_TEXTS
from tests.integration.tiny_reranker import write_reranker
from tests.unit.satellites.contexts import make_context, run

DATA = Path(__file__).parents[1] / "data"
LONG = "revenue " * 200


@pytest.fixture
async def context(tmp_path: Path) -> AsyncIterator[Context]:
    store = ModelStore(tmp_path / "store", packaged_root=tmp_path / "packaged")
    store.add("embedder", f"folder:{DATA / 'tiny_embedder'}")
    store.add("classifier", f"folder:{DATA / 'tiny_classifier'}")
    store.add("reranker", f"folder:{write_reranker(tmp_path / 'reranker', DATA / 'tiny_embedder')}")
    server = ModelServer(store, threads=1, memory_limit_bytes=2 * GIB)
    await server.start()
    yield make_context(tmp_path / "scratch", models=ServedModels(server))
    await server.close()


async def test_a_text_becomes_a_vector_of_length_one_and_its_tokens_are_counted(context: Context) -> None:
    (value,) = await run(Embed, {"model": "embedder"}, {"text": "revenue of the quarter"}, context)
    assert sorted(value) == ["dimensions", "model", "vector"]
    assert (len(value["vector"]), value["dimensions"], value["model"]) == (32, 32, "embedder")
    assert np.linalg.norm(value["vector"]) == pytest.approx(1.0, abs=1e-5)
    (usage,) = context.usage
    assert usage.input_tokens > 3
    assert usage.output_tokens == 0


async def test_many_texts_are_answered_in_their_order(context: Context) -> None:
    texts = [f"text {number}" for number in range(CALL_MAX_TEXTS + 5)]
    (value,) = await run(Embed, {"model": "embedder"}, {"texts": texts}, context)
    (alone,) = await run(Embed, {"model": "embedder"}, {"text": texts[-1]}, context)
    assert len(value["vectors"]) == len(texts)
    np.testing.assert_allclose(value["vectors"][-1], alone["vector"], rtol=1e-4, atol=1e-5)
    assert len(context.usage) == 3


async def test_vectors_travel_as_base64_and_unscaled_where_asked(context: Context) -> None:
    given = {"text": "revenue"}
    (plain,) = await run(Embed, {"model": "embedder", "normalize": False}, given, context)
    (coded,) = await run(Embed, {"model": "embedder", "normalize": False, "encoding": "base64"}, given, context)
    assert struct.unpack("<32f", base64.b64decode(coded["vector"])) == pytest.approx(plain["vector"])
    assert np.linalg.norm(plain["vector"]) != pytest.approx(1.0, abs=1e-2)


async def test_no_texts_are_no_vectors(context: Context) -> None:
    assert await run(Embed, {"model": "embedder"}, {"texts": []}, context) == [
        {"vectors": [], "model": "embedder", "dimensions": 0}
    ]


async def test_a_text_that_is_too_long_is_cut_and_says_so_or_fails_where_asked(context: Context) -> None:
    (value,) = await run(Embed, {"model": "embedder"}, {"text": LONG}, context)
    assert value["truncated"] is True
    with pytest.raises(PermanentError) as caught:
        await run(Embed, {"model": "embedder", "context-overflow": "error"}, {"text": LONG}, context)
    assert caught.value.code == "prompt-too-long"


async def test_a_text_is_sorted_into_a_class(context: Context) -> None:
    (value,) = await run(Classify, {"model": "classifier", "threshold": 0.0}, {"text": "good news"}, context)
    assert sorted(value["scores"]) == ["buy", "hold", "sell"]
    assert sum(value["scores"].values()) == pytest.approx(1.0, abs=1e-5)
    assert value["label"] == next(iter(value["scores"])) == max(value["scores"], key=value["scores"].get)
    assert value["score"] == value["scores"][value["label"]]
    assert value["labels"] == list(value["scores"])
    (top,) = await run(Classify, {"model": "classifier", "top": 1, "threshold": 1.0}, {"text": "good news"}, context)
    assert list(top["scores"]) == [value["label"]]
    assert top["labels"] == []


async def test_several_texts_give_several_classes(context: Context) -> None:
    (value,) = await run(Classify, {"model": "classifier"}, {"texts": ["good news", "bad", LONG]}, context)
    assert len(value["results"]) == 3
    assert value["truncated"] is True


async def test_documents_are_put_in_order(context: Context) -> None:
    documents = ["revenue", {"text": "profit and loss of the quarter", "id": 7}, "a b c", 12]
    (value,) = await run(Rerank, {"model": "reranker"}, {"query": "revenue?", "documents": documents}, context)
    results = value["results"]
    assert sorted(each["index"] for each in results) == [0, 1, 2, 3]
    assert [each["score"] for each in results] == sorted((each["score"] for each in results), reverse=True)
    assert len({each["score"] for each in results}) > 1, "a score that tells nothing apart proves nothing"
    shown = {each["index"]: each["document"] for each in results}
    assert shown == {0: "revenue", 1: {"text": "profit and loss of the quarter", "id": 7}, 2: "a b c", 3: "12"}

    middle = results[1]["score"]
    config = {"model": "reranker", "min-score": middle, "top": 1}
    (best,) = await run(Rerank, config, {"query": "revenue?", "documents": documents}, context)
    assert best["results"] == results[:1]


@pytest.mark.parametrize(
    ("satellite", "model", "given", "code"),
    [
        (Classify, "reranker", {"text": "a"}, "wrong-model"),
        (Rerank, "classifier", {"query": "a", "documents": ["b"]}, "wrong-model"),
        (Classify, "embedder", {"text": "a"}, "invalid-generation"),
        (Embed, "classifier", {"text": "a"}, "invalid-generation"),
        (Embed, "nobody", {"text": "a"}, "unknown-model"),
        (Rerank, "reranker", {"query": "a", "documents": [{"body": "b"}]}, "no-text"),
    ],
)
async def test_the_wrong_model_or_document_fails_permanently(
    context: Context, satellite: type[Embed], model: str, given: dict[str, object], code: str
) -> None:
    with pytest.raises(PermanentError) as caught:
        await run(satellite, {"model": model}, given, context)
    assert caught.value.code == code


@pytest.mark.parametrize("given", [{}, {"text": "a", "texts": ["b"]}, {"texts": "a"}, {"text": None}])
def test_an_input_has_one_text_or_several(given: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Embed.Input.model_validate(given)


@pytest.mark.parametrize("name", ["embed", "classify", "rerank"])
def test_placement_knows_the_model(name: str) -> None:
    info = InstalledCatalog().resolve(SatelliteRef("orbit", name))
    assert info is not None and info.model_of is not None
    assert info.model_of({"model": "m", "context-overflow": "${{ trigger.x }}"}) == "m"
