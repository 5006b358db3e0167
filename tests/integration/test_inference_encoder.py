"""Encoders: texts of many requests in shared runs, each answered as if it had been alone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from tokenizers import Tokenizer

from orbit_agent.inference.api import EmbedRequest, EmbedResult, GenerateRequest, ScoreRequest, ScoreResult
from orbit_agent.inference.backend import Backend, LoadSettings, Outcome, Request, open_backend
from orbit_agent.inference.encoder import EncoderBackend, pool
from orbit_agent.inference.errors import InvalidGenerationError, PromptTooLongError
from orbit_agent.inference.providers import CPU

DATA = Path(__file__).parents[1] / "data"
SETTINGS = LoadSettings(CPU, threads=1, cache_bytes=0)
TEXTS = ("revenue", "the revenue of the third quarter", "a b c d e f g h", "revenue")


@pytest.fixture(scope="module")
def embedder() -> Backend:
    return open_backend(DATA / "tiny_embedder", SETTINGS)


def run(engine: Backend, requests: Sequence[Request]) -> list[Outcome]:
    for key, request in enumerate(requests):
        engine.admit(key, engine.prepare(request))
    outcomes: dict[int, Outcome] = {}
    while engine.busy:
        outcomes.update(engine.step())
    return [outcomes[key] for key in range(len(requests))]


def vectors(outcome: Outcome) -> Any:
    assert isinstance(outcome, EmbedResult)
    return np.array(outcome.vectors)


def test_vectors_are_the_normalised_mean_of_the_states(embedder: Backend) -> None:
    (outcome,) = run(embedder, [EmbedRequest("1", "m", TEXTS)])
    session = onnxruntime.InferenceSession(str(DATA / "tiny_embedder" / "model.onnx"), providers=[CPU])
    tokenizer = Tokenizer.from_file(str(DATA / "tiny_embedder" / "tokenizer.json"))
    for text, vector in zip(TEXTS, vectors(outcome), strict=True):
        ids = np.array([tokenizer.encode(text).ids])
        feed = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        mean = np.asarray(session.run(None, feed)[0])[0].mean(axis=0)
        np.testing.assert_allclose(vector, mean / np.linalg.norm(mean), rtol=1e-4, atol=1e-5)


def test_requests_share_runs(embedder: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    original = EncoderBackend._run

    def counting(backend: EncoderBackend, encodings: Any) -> Any:
        sizes.append(len(encodings))
        return original(backend, encodings)

    monkeypatch.setattr(EncoderBackend, "_run", counting)
    outcomes = run(embedder, [EmbedRequest(str(n), "m", (f"text {n}", "revenue")) for n in range(20)])
    assert sizes == [40]
    assert len({vectors(outcome)[1].tobytes() for outcome in outcomes}) == 1


def test_many_texts_take_several_runs_and_stay_in_order(embedder: Backend) -> None:
    texts = tuple("word " * (n % 30 + 1) for n in range(300))
    (outcome,) = run(embedder, [EmbedRequest("1", "m", texts)])
    alone = [vectors(run(embedder, [EmbedRequest("1", "m", (text,))])[0])[0] for text in texts[:31]]
    np.testing.assert_allclose(vectors(outcome)[:31], alone, rtol=1e-4, atol=1e-5)
    assert len(vectors(outcome)) == 300


def test_lengths_are_left_where_asked(embedder: Backend) -> None:
    (plain,) = run(embedder, [EmbedRequest("1", "m", TEXTS, normalize=False)])
    (unit,) = run(embedder, [EmbedRequest("1", "m", TEXTS)])
    lengths = np.linalg.norm(vectors(plain), axis=1, keepdims=True)
    assert abs(lengths - 1).max() > 0.1
    np.testing.assert_allclose(vectors(plain) / lengths, vectors(unit), rtol=1e-5)


def test_no_texts_give_no_vectors(embedder: Backend) -> None:
    assert run(embedder, [EmbedRequest("1", "m", ())]) == [EmbedResult((), 0)]


def test_a_long_text_is_cut_or_refused(embedder: Backend) -> None:
    long = "revenue " * 100
    (outcome,) = run(embedder, [EmbedRequest("1", "m", (long, "short"))])
    assert isinstance(outcome, EmbedResult)
    assert outcome.truncated
    with pytest.raises(PromptTooLongError, match="64"):
        embedder.prepare(EmbedRequest("1", "m", (long,), context_overflow="error"))


def test_tokens_are_counted_without_padding(embedder: Backend) -> None:
    tokenizer = Tokenizer.from_file(str(DATA / "tiny_embedder" / "tokenizer.json"))
    (outcome,) = run(embedder, [EmbedRequest("1", "m", TEXTS)])
    assert isinstance(outcome, EmbedResult)
    assert outcome.input_tokens == sum(len(tokenizer.encode(text)) for text in TEXTS)


def test_a_cancelled_request_is_forgotten(embedder: Backend) -> None:
    embedder.admit(1, embedder.prepare(EmbedRequest("1", "m", TEXTS)))
    embedder.admit(2, embedder.prepare(EmbedRequest("2", "m", TEXTS)))
    embedder.cancel(1)
    assert [key for key, _ in embedder.step()] == [2]
    assert not embedder.busy


def test_a_classifier_gives_probabilities() -> None:
    engine = open_backend(DATA / "tiny_classifier", SETTINGS)
    (outcome,) = run(engine, [ScoreRequest("1", "m", (("good news", None), ("bad", "news")))])
    assert isinstance(outcome, ScoreResult)
    assert outcome.labels == ("buy", "hold", "sell")
    assert [sum(row) for row in outcome.scores] == pytest.approx([1.0, 1.0], abs=1e-5)
    assert outcome.scores[0] != outcome.scores[1]


def test_labels_that_exclude_nothing_are_scored_one_by_one(tmp_path: Path) -> None:
    shutil.copytree(DATA / "tiny_classifier", tmp_path / "m")
    config = json.loads((tmp_path / "m" / "config.json").read_text())
    config["problem_type"] = "multi_label_classification"
    (tmp_path / "m" / "config.json").write_text(json.dumps(config))
    (outcome,) = run(open_backend(tmp_path / "m", SETTINGS), [ScoreRequest("1", "m", (("news", None),))])
    assert isinstance(outcome, ScoreResult)
    assert sum(outcome.scores[0]) == pytest.approx(1.5, abs=0.2)  # untrained: about a half for each


def test_another_task_is_refused(embedder: Backend) -> None:
    with pytest.raises(InvalidGenerationError, match="there to embed"):
        embedder.prepare(ScoreRequest("1", "m", (("a", None),)))
    with pytest.raises(InvalidGenerationError, match="cannot generate text"):
        embedder.prepare(GenerateRequest("1", "m", prompt="x"))


@pytest.mark.parametrize("pooling, expected", [("mean", 2.0), ("cls", 1.0), ("last", 3.0), ("max", 3.0)])
def test_pooling_ignores_padding(pooling: Any, expected: float) -> None:
    states = np.array([[[1.0], [3.0], [99.0]]], np.float32)
    assert pool(states, np.array([[1, 1, 0]]), pooling).item() == expected
