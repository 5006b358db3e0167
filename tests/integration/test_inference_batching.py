"""Continuous batching over the tiny model: the same text as onnxruntime-genai gives, whatever shares the batch."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import onnxruntime_genai
import pytest

from orbit_agent.inference.api import EmbedRequest, GenerateRequest, GenerateResult, Message, Sampling
from orbit_agent.inference.backend import LoadSettings, Outcome
from orbit_agent.inference.batching import BatchingBackend
from orbit_agent.inference.decoder import DecoderSession
from orbit_agent.inference.errors import (
    InvalidGenerationError,
    NoRoomError,
    PromptTooLongError,
    UnsupportedSchemaError,
)
from orbit_agent.inference.folder import DecoderFolder, read_folder
from orbit_agent.inference.lookup import WidthCost
from orbit_agent.inference.text import TextCodec
from orbit_core.limits import MIB

TINY = Path(__file__).parents[1] / "data" / "tiny_llm"
SETTINGS = LoadSettings("CPUExecutionProvider", threads=1, cache_bytes=64 * MIB, max_slots=8)

COMPANY: dict[str, Any] = {
    "type": "object",
    "properties": {
        "company": {"type": "string", "minLength": 1, "maxLength": 8},
        "quarter": {"enum": ["Q1", "Q2", "Q3", "Q4"]},
        "revenue": {"type": "integer", "minimum": 0, "maximum": 999},
    },
    "required": ["company", "quarter", "revenue"],
    "additionalProperties": False,
}


def decoder_folder() -> DecoderFolder:
    folder = read_folder(TINY)
    assert isinstance(folder, DecoderFolder)
    return folder


def backend(**changes: Any) -> BatchingBackend:
    return BatchingBackend(decoder_folder(), replace(SETTINGS, **changes))


def run(engine: BatchingBackend, requests: Sequence[GenerateRequest]) -> list[GenerateResult]:
    """All results in order; the engine must be idle afterwards."""
    for key, request in enumerate(requests):
        engine.admit(key, engine.prepare(request))
    outcomes: dict[int, Outcome] = {}
    while engine.busy:
        outcomes.update(engine.step())
    results = [outcomes[key] for key in range(len(requests))]
    assert all(isinstance(result, GenerateResult) for result in results)
    return [result for result in results if isinstance(result, GenerateResult)]


def prompts(count: int, *, seed: int = 0, longest: int = 90) -> list[str]:
    codec, draw = TextCodec(TINY), np.random.default_rng(seed)
    return [codec.decode(draw.integers(3, 384, draw.integers(2, longest)).tolist()) for _ in range(count)]


def requests(count: int, *, seed: int = 0, longest: int = 90, new: int = 32, **options: Any) -> list[GenerateRequest]:
    return [
        GenerateRequest(str(place), "tiny", prompt=text, max_new_tokens=new, **options)
        for place, text in enumerate(prompts(count, seed=seed, longest=longest))
    ]


@cache
def peer() -> Any:
    return onnxruntime_genai.Model(str(TINY))


def greedy_by_genai(prompt: str, new: int) -> str:
    """What onnxruntime-genai's own generator makes of a prompt."""
    codec = TextCodec(TINY)
    ids = codec.tokenizer.encode(prompt).ids
    parameters = onnxruntime_genai.GeneratorParams(peer())
    parameters.set_search_options(max_length=len(ids) + new, do_sample=False)
    generator = onnxruntime_genai.Generator(peer(), parameters)
    generator.append_tokens(np.array(ids, np.int32))
    output: list[int] = []
    while not generator.is_done():
        generator.generate_next_token()
        output.append(int(generator.get_next_tokens()[0]))
    return codec.decode(output)


@pytest.fixture(scope="module")
def engine() -> Iterator[BatchingBackend]:
    """One engine for all tests that leave it idle: what is left in its slots must not matter to the next."""
    yield backend()


def test_greedy_text_is_that_of_genais_generator(engine: BatchingBackend) -> None:
    asked = requests(20)
    texts = [result.text for result in run(engine, asked)]
    assert texts == [greedy_by_genai(request.prompt or "", 32) for request in asked]


def test_a_request_alone_gives_the_same_text_as_in_a_crowd(engine: BatchingBackend) -> None:
    asked = requests(12, seed=1)
    together = [result.text for result in run(engine, asked)]
    assert [run(engine, [request])[0].text for request in asked] == together


@pytest.mark.parametrize("chunk", [1, 7, 33])
def test_chunked_prompts_give_the_same_text_as_whole_ones(chunk: int) -> None:
    asked = requests(6, seed=2, longest=200)
    whole = [result.text for result in run(backend(prefill_chunk_tokens=4096), asked)]
    assert [result.text for result in run(backend(prefill_chunk_tokens=chunk), asked)] == whole


def test_prompts_are_admitted_while_others_are_decoded(engine: BatchingBackend) -> None:
    first, *others = requests(5, seed=3, new=40)
    engine.admit(0, engine.prepare(first))
    for _ in range(5):
        engine.step()
    late = run(engine, others)
    assert [r.text for r in late] == [greedy_by_genai(r.prompt or "", 40) for r in others]


def test_a_prompt_that_begins_like_an_earlier_one_gives_the_same_text() -> None:
    instructions = "Extract the fields of the report below and answer in JSON. " * 3
    asked = [
        GenerateRequest(str(place), "tiny", prompt=instructions + tail, max_new_tokens=24)
        for place, tail in enumerate(prompts(10, seed=4, longest=30))
    ]
    engine = backend()
    runs: list[int] = []
    original = DecoderSession.first

    def counting(session: DecoderSession, slot: int, texts: Sequence[Sequence[int]]) -> Any:
        runs.append(len(texts))
        return original(session, slot, texts)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DecoderSession, "first", counting)
        texts = [result.text for result in run(engine, asked)]
    assert runs == [1]  # one prompt was computed from its start, the others went on from a copy
    assert texts == [greedy_by_genai(request.prompt or "", 24) for request in asked]


def guess(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    """So many tokens are guessed from now on, whatever that costs."""
    monkeypatch.setattr(WidthCost, "best_widths", lambda cost, rates: [width] * len(rates))


def test_guesses_do_not_change_the_text(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = requests(4, seed=5, new=100)
    guess(monkeypatch, 0)
    plain = [run(backend(), [request])[0].text for request in asked]
    guess(monkeypatch, 8)
    guided = [replace(request, json_schema=COMPANY) for request in asked]
    assert [run(backend(), [request])[0].text for request in asked] == plain
    wide = [run(backend(), [request])[0].text for request in guided]
    guess(monkeypatch, 0)
    assert [run(backend(), [request])[0].text for request in guided] == wide


@pytest.fixture
def runs_together(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Has even this small model run several tokens of several sequences at a time; how many sequences, run by run."""
    monkeypatch.setattr("orbit_agent.inference.decoder._WAITS_FOR_BYTES", 0)
    runs: list[int] = []
    original = DecoderSession.together

    def counting(session: DecoderSession, tokens: Sequence[Sequence[int]], *rest: Any) -> Any:
        logits = original(session, tokens, *rest)
        if logits is not None:
            runs.append(len(tokens))
        return logits

    monkeypatch.setattr(DecoderSession, "together", counting)
    return runs


def test_guesses_for_several_do_not_change_their_texts(
    monkeypatch: pytest.MonkeyPatch, runs_together: list[int]
) -> None:
    """Of different lengths, so that some go while others stay, and others come: each time in other places."""
    asked = [replace(r, max_new_tokens=20 + 30 * (n % 4)) for n, r in enumerate(requests(14, seed=5))]
    asked[3:6] = [replace(request, json_schema=COMPANY, max_new_tokens=120) for request in asked[3:6]]
    guess(monkeypatch, 0)
    plain = [run(backend(), [request])[0] for request in asked]
    guess(monkeypatch, 8)
    runs_together.clear()
    assert run(backend(max_slots=5), asked) == plain
    assert {3, 4, 5} <= set(runs_together)
    assert run(backend(max_slots=5, lookup=False), asked) == plain, "what a schema forces is run in the same way"


def test_texts_are_the_same_where_they_fit_into_one_cache_only_now_and_then(
    monkeypatch: pytest.MonkeyPatch, runs_together: list[int]
) -> None:
    asked = requests(6, seed=15, longest=60, new=200)
    guess(monkeypatch, 0)
    plain = [run(backend(), [request])[0] for request in asked]
    guess(monkeypatch, 4)
    monkeypatch.setattr("orbit_agent.inference.together._MOST_POSITIONS", 320)
    monkeypatch.setattr("orbit_agent.inference.together._GROWTH", 64)
    runs_together.clear()
    assert run(backend(max_slots=3), asked) == plain
    assert len(runs_together) > 10


def test_memory_for_running_together_makes_way_for_a_sequence(
    monkeypatch: pytest.MonkeyPatch, runs_together: list[int]
) -> None:
    folder = decoder_folder()
    room = folder.key_value_bytes_per_token(4) * 900  # for the three of them, not for what they run in beside it
    guess(monkeypatch, 4)
    asked = [*requests(2, seed=16, longest=40, new=30), *requests(1, seed=18, longest=40, new=400)]
    engine = backend(cache_bytes=room)
    for key, request in enumerate(asked[:2]):
        engine.admit(key, engine.prepare(request))
    while not runs_together:
        assert engine.step() == []
    engine.admit(2, engine.prepare(asked[2]))
    outcomes: dict[int, Outcome] = {}
    while engine.busy:
        outcomes.update(engine.step())
    assert [outcomes[key].text for key in range(3)] == [
        greedy_by_genai(r.prompt or "", r.max_new_tokens) for r in asked
    ]


def test_sampling_with_a_seed_does_not_depend_on_the_company(engine: BatchingBackend) -> None:
    asked = requests(6, seed=6, sampling=Sampling(temperature=1.0, top_p=0.95, top_k=50, seed=11))
    together = [result.text for result in run(engine, asked)]
    assert [run(engine, [request])[0].text for request in asked] == together
    other = [replace(r, sampling=Sampling(temperature=1.0, top_p=0.95, top_k=50, seed=12)) for r in asked]
    assert [result.text for result in run(engine, other)] != together


def test_guided_outputs_are_valid_in_a_mixed_batch(engine: BatchingBackend) -> None:
    free = requests(10, seed=7)
    held = requests(30, seed=8, new=120, json_schema=COMPANY, sampling=Sampling(temperature=1.0, seed=3))
    results = run(engine, [*free, *held])
    assert [r.text for r in results[:10]] == [greedy_by_genai(r.prompt or "", 32) for r in free]
    for result in results[10:]:
        assert result.finish == "stop"
        value = json.loads(result.text)
        jsonschema.validate(value, COMPANY)
        assert list(value) == ["company", "quarter", "revenue"]


def test_what_is_quoted_is_taken_from_the_prompt_of_each_request(engine: BatchingBackend) -> None:
    """The model is untrained: without the prompt's words in the grammar it would write noise."""
    texts = ["Corvin Rail\nCorp. of Bern", "Ltd & Söhne", "a b c d e f g"]
    asked = [
        GenerateRequest(str(n), "tiny", prompt=text, json_schema=COMPANY, verbatim=("company",), max_new_tokens=120)
        for n, text in enumerate(texts)
    ]
    for text, result in zip(texts, run(engine, asked), strict=True):
        value = json.loads(result.text)
        jsonschema.validate(value, COMPANY)
        assert value["company"] and value["company"] in text.replace("\n", " ")
    with pytest.raises(UnsupportedSchemaError, match="revenue"):
        engine.prepare(replace(asked[0], verbatim=("revenue",)))


def test_steps_in_which_no_sequence_draws(engine: BatchingBackend) -> None:
    asked = [replace(request, json_schema=COMPANY) for request in requests(1, seed=17, new=120) * 5]
    results = run(engine, asked)
    assert len({result.text for result in results}) == 1
    assert run(engine, asked[:1]) == results[:1]


def test_a_schema_without_choice_is_answered_without_the_model(engine: BatchingBackend) -> None:
    (result,) = run(engine, [GenerateRequest("1", "tiny", prompt="x", json_schema={"const": {"a": 1}})])
    assert (json.loads(result.text), result.finish) == ({"a": 1}, "stop")


def test_a_guided_text_that_is_cut_says_so(engine: BatchingBackend) -> None:
    (result,) = run(engine, requests(1, new=4, json_schema=COMPANY))
    assert (result.finish, result.output_tokens) == ("length", 4)


def test_tokens_are_counted(engine: BatchingBackend) -> None:
    (request,) = requests(1, seed=9, new=17)
    (result,) = run(engine, [request])
    assert result.input_tokens == len(TextCodec(TINY).tokenizer.encode(request.prompt or "").ids)
    assert (result.output_tokens, result.finish, result.truncated) == (17, "length", False)


def test_a_stop_string_ends_the_text_before_it(engine: BatchingBackend) -> None:
    (request,) = requests(1, seed=10, new=60)
    (whole,) = run(engine, [request])
    stop = whole.text[20:24]
    (result,) = run(engine, [replace(request, stop=("never", stop))])
    assert result.finish == "stop"
    assert result.text == whole.text[: whole.text.index(stop)]
    assert result.output_tokens < whole.output_tokens


def test_a_cancelled_request_frees_its_slot() -> None:
    engine = backend(max_slots=1)
    long, short = requests(2, seed=11, new=300)[0], requests(2, seed=12, new=5)[1]
    engine.admit(1, engine.prepare(long))
    engine.admit(2, engine.prepare(short))
    for _ in range(3):
        assert engine.step() == []
    engine.cancel(1)
    outcomes: dict[int, Outcome] = {}
    steps = 0
    while engine.busy:
        outcomes.update(engine.step())
        steps += 1
    assert set(outcomes) == {2}
    assert steps < 20
    assert outcomes[2] == run(backend(), [short])[0]


@pytest.mark.parametrize("steps", [0, 1, 2])
def test_cancelling_while_a_prompt_waits_or_is_taken_in(steps: int) -> None:
    engine = backend(max_slots=2, prefill_chunk_tokens=16)
    asked = requests(4, seed=13, longest=120)
    for key, request in enumerate(asked):
        engine.admit(key, engine.prepare(request))
    for _ in range(steps):
        engine.step()
    engine.cancel(0)
    engine.cancel(3)
    engine.cancel(99)  # ended long ago
    outcomes: dict[int, Outcome] = {}
    while engine.busy:
        outcomes.update(engine.step())
    assert set(outcomes) == {1, 2}
    assert [outcomes[1], outcomes[2]] == run(backend(), asked[1:3])


def test_slots_grow_to_the_whole_context() -> None:
    engine = backend()
    engine._slots.length = 64
    engine._slots._allocate()
    long = GenerateRequest("long", "tiny", prompt="revenue of the quarter " * 12, max_new_tokens=300)
    asked = [*requests(3, seed=14, longest=20, new=20), long, *requests(2, seed=15, longest=60, new=150)]
    assert [r.text for r in run(engine, asked)] == [
        greedy_by_genai(request.prompt or "", request.max_new_tokens) for request in asked
    ]
    assert engine._slots.length == 512


def test_little_memory_means_fewer_at_once_and_not_an_error() -> None:
    token = decoder_folder().key_value_bytes_per_token(4)
    engine = backend(cache_bytes=300 * token)
    asked = requests(10, seed=16, new=60)
    assert [r.text for r in run(engine, asked)] == [greedy_by_genai(r.prompt or "", 60) for r in asked]


def test_free_slots_give_up_what_they_hold_for_a_request_that_needs_the_room() -> None:
    token = decoder_folder().key_value_bytes_per_token(4)
    engine = backend(cache_bytes=700 * token)
    run(engine, requests(8, seed=18, longest=40, new=30))
    held = sum(engine._slots.high_water)
    assert held > 350
    waiting = requests(1, seed=19, longest=40, new=60)[0]
    large = GenerateRequest("large", "tiny", prompt="revenue of the quarter " * 8, max_new_tokens=350)
    results = run(engine, [waiting, large])
    assert [r.text for r in results] == [greedy_by_genai(r.prompt or "", r.max_new_tokens) for r in (waiting, large)]
    assert sum(engine._slots.high_water) <= 700


def test_what_memory_cannot_hold_is_refused() -> None:
    token = decoder_folder().key_value_bytes_per_token(4)
    with pytest.raises(NoRoomError, match="holds 300"):
        backend(cache_bytes=300 * token).prepare(GenerateRequest("1", "tiny", prompt="x", max_new_tokens=400))
    with pytest.raises(NoRoomError, match="cache of 10 tokens"):
        backend(cache_bytes=10 * token)


def test_bad_requests_are_refused_one_by_one(engine: BatchingBackend) -> None:
    good = requests(1)[0]
    with pytest.raises(PromptTooLongError):
        engine.prepare(replace(good, prompt="word " * 600))
    with pytest.raises(UnsupportedSchemaError):
        engine.prepare(replace(good, json_schema={"not": {}}))
    with pytest.raises(InvalidGenerationError, match="max_new_tokens"):
        engine.prepare(replace(good, max_new_tokens=0))
    with pytest.raises(InvalidGenerationError, match="stop string"):
        engine.prepare(replace(good, stop=("",)))
    with pytest.raises(InvalidGenerationError, match="cannot embed"):
        engine.prepare(EmbedRequest("1", "tiny", ("text",)))
    assert run(engine, [good])[0].text == greedy_by_genai(good.prompt or "", 32)


def test_messages_go_through_the_chat_template(engine: BatchingBackend) -> None:
    (chat,) = run(engine, [GenerateRequest("1", "tiny", messages=(Message("user", "Hi"),), max_new_tokens=16)])
    raw = "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    (same,) = run(engine, [GenerateRequest("1", "tiny", prompt=raw, max_new_tokens=16)])
    assert chat == same
