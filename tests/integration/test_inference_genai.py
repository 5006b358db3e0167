"""`onnxruntime_genai.Engine` as a backend: the same answers as continuous batching, by another road."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from orbit_agent.inference import genai_engine
from orbit_agent.inference.api import EmbedRequest, GenerateRequest, GenerateResult, Sampling
from orbit_agent.inference.backend import Backend, LoadSettings, Outcome, open_backend
from orbit_agent.inference.batching import BatchingBackend
from orbit_agent.inference.errors import InvalidGenerationError, UnsupportedModelError, UnsupportedSchemaError
from orbit_agent.inference.folder import DecoderFolder, read_folder
from orbit_agent.inference.genai_engine import GenaiEngineBackend
from orbit_agent.inference.providers import CPU, CUDA
from orbit_core.limits import MIB

TINY = Path(__file__).parents[1] / "data" / "tiny_llm"
SETTINGS = LoadSettings(CPU, threads=1, cache_bytes=64 * MIB, max_slots=8)

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"year": {"type": "integer", "minimum": 2000, "maximum": 2030}, "ok": {"type": "boolean"}},
    "required": ["year", "ok"],
    "additionalProperties": False,
}


def folder() -> DecoderFolder:
    described = read_folder(TINY)
    assert isinstance(described, DecoderFolder)
    return described


@pytest.fixture(scope="module")
def engine() -> GenaiEngineBackend:
    return GenaiEngineBackend(folder(), SETTINGS)


def run(engine: Backend, requests: Sequence[GenerateRequest]) -> list[Outcome]:
    for key, request in enumerate(requests):
        engine.admit(key, engine.prepare(request))
    outcomes: dict[int, Outcome] = {}
    while engine.busy:
        outcomes.update(engine.step())
    return [outcomes[key] for key in range(len(requests))]


def test_answers_are_those_of_continuous_batching(engine: GenaiEngineBackend) -> None:
    asked = [GenerateRequest(str(n), "tiny", prompt=f"report {n} " * n, max_new_tokens=10 + n) for n in range(1, 12)]
    asked.append(GenerateRequest("s", "tiny", prompt="x", json_schema=SCHEMA, max_new_tokens=60))
    assert run(engine, asked) == run(BatchingBackend(folder(), SETTINGS), asked)


def test_it_says_what_it_runs_on(engine: GenaiEngineBackend) -> None:
    assert (engine.info.engine, engine.info.provider, engine.info.slots) == ("genai-engine", CPU, 8)


def test_guided_samples_are_valid(engine: GenaiEngineBackend) -> None:
    asked = [
        GenerateRequest(str(n), "tiny", prompt="x", json_schema=SCHEMA, max_new_tokens=60, sampling=Sampling(1.0))
        for n in range(10)
    ]
    for result in run(engine, asked):
        assert isinstance(result, GenerateResult)
        jsonschema.validate(json.loads(result.text), SCHEMA)


def test_what_is_quoted_is_taken_from_the_prompt(engine: GenaiEngineBackend) -> None:
    schema = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
    asked = [
        GenerateRequest(text, "tiny", prompt=text, json_schema=schema, verbatim=("name",), max_new_tokens=80)
        for text in ("Corvin Rail Corp.", "Ltd & Co")
    ]
    for request, result in zip(asked, run(engine, asked), strict=True):
        assert isinstance(result, GenerateResult)
        name = json.loads(result.text)["name"]
        assert name and name in request.id


def test_a_stop_string_ends_the_text_before_it(engine: GenaiEngineBackend) -> None:
    request = GenerateRequest("1", "tiny", prompt="quarterly", max_new_tokens=60)
    (whole,) = run(engine, [request])
    assert isinstance(whole, GenerateResult)
    stop = whole.text[10:13]
    (result,) = run(engine, [GenerateRequest("1", "tiny", prompt="quarterly", max_new_tokens=60, stop=(stop,))])
    assert isinstance(result, GenerateResult)
    assert (result.text, result.finish) == (whole.text[: whole.text.index(stop)], "stop")


@pytest.mark.parametrize("steps", [0, 3])
def test_a_cancelled_request_goes_and_the_others_stay(engine: GenaiEngineBackend, steps: int) -> None:
    engine.admit(1, engine.prepare(GenerateRequest("1", "tiny", prompt="long", max_new_tokens=400)))
    engine.admit(2, engine.prepare(GenerateRequest("2", "tiny", prompt="short", max_new_tokens=20)))
    for _ in range(steps):
        assert engine.step() == []
    engine.cancel(1)
    outcomes: dict[int, Outcome] = {}
    count = 0
    while engine.busy:
        outcomes.update(engine.step())
        count += 1
    assert set(outcomes) == {2}
    assert count < 40


def test_bad_requests_are_refused_one_by_one(engine: GenaiEngineBackend) -> None:
    with pytest.raises(UnsupportedSchemaError):
        engine.prepare(GenerateRequest("1", "tiny", prompt="x", json_schema={"not": {}}))
    with pytest.raises(InvalidGenerationError, match="know no seed"):
        engine.prepare(GenerateRequest("1", "tiny", prompt="x", sampling=Sampling(1.0, seed=1)))
    with pytest.raises(InvalidGenerationError, match="cannot embed"):
        engine.prepare(EmbedRequest("1", "tiny", ("x",)))


def test_another_provider_than_genai_knows_is_refused() -> None:
    with pytest.raises(UnsupportedModelError, match="does not run on MIGraphX"):
        GenaiEngineBackend(folder(), LoadSettings("MIGraphXExecutionProvider", 1, MIB))


def test_a_graph_that_batching_cannot_run_falls_back_to_it(tmp_path: Path) -> None:
    for path in TINY.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    config = json.loads((tmp_path / "genai_config.json").read_text())
    config["search"]["past_present_share_buffer"] = False
    (tmp_path / "genai_config.json").write_text(json.dumps(config))
    assert open_backend(TINY, SETTINGS).info.engine == "batching"
    assert open_backend(tmp_path, SETTINGS).info.engine == "genai-engine"


def test_cuda_where_there_is_none_is_an_error_that_says_so() -> None:
    with pytest.raises(UnsupportedModelError, match="cannot load tiny_llm"):
        open_backend(TINY, LoadSettings(CUDA, threads=1, cache_bytes=64 * MIB))


def test_a_paged_model_is_batched_as_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a machine with CUDA is asked for: that provider, and continuous batches of as many as there are slots."""
    asked: list[Any] = []

    class Config:
        def __init__(self, path: str) -> None:
            asked.append(path)

        def clear_providers(self) -> None:
            asked.append("clear")

        def append_provider(self, name: str) -> None:
            asked.append(name)

        def overlay(self, text: str) -> None:
            asked.append(json.loads(text))

    monkeypatch.setattr(genai_engine.genai, "Config", Config)
    paged = replace(folder(), paged=True)
    genai_engine._config(paged, LoadSettings(CUDA, threads=3, cache_bytes=0, max_slots=48))
    assert asked == [
        str(TINY),
        "clear",
        "cuda",
        {
            "model": {"decoder": {"session_options": {"intra_op_num_threads": 3}}},
            "engine": {"dynamic_batching": {"max_batch_size": 48}},
        },
    ]
