"""The two steps of a batch: a manifest becomes pages, a page of requests becomes files of answers and errors."""

from __future__ import annotations

import asyncio
import base64
import json
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from orbit_core.batch.lines import Entry, LineError, encode_entry
from orbit_core.batch.pages import Sections, pages_of
from satellites.batch.answers import BatchAnswers
from satellites.batch.pages import BatchPages
from satellites.contract import (
    Context,
    Embedded,
    GenerateCall,
    Generated,
    JsonObject,
    Overflow,
    PermanentError,
    SatelliteError,
    Scored,
)
from tests.unit.satellites.contexts import FolderFiles, make_context, run


class Model:
    """Answers with what it was asked. A question of "kill" ends its process and takes along whatever is beside it."""

    def __init__(self, failing: dict[str, SatelliteError] | None = None) -> None:
        self.calls: list[GenerateCall] = []
        self.beside = 0
        self.most_beside = 0
        self._failing = failing or {}
        self._crashes = 0

    async def generate(self, call: GenerateCall) -> Generated:
        self.calls.append(call)
        question = call.messages[-1]["content"]
        crashes_before = self._crashes
        self.beside += 1
        self.most_beside = max(self.most_beside, self.beside)
        try:
            await asyncio.sleep(0)
            self._crashes += question == "kill"
            await asyncio.sleep(0)
        finally:
            self.beside -= 1
        if self._crashes > crashes_before:
            raise SatelliteError("the model's process ended", code="model-crashed")
        if question in self._failing:
            raise self._failing[question]
        return Generated(f"you said {question}", "length" if question == "long" else "stop", 3, 2)

    async def embed(
        self, model: str, texts: Sequence[str], *, normalize: bool = True, context_overflow: Overflow = "truncate"
    ) -> Embedded:
        assert context_overflow == "error"
        return Embedded([[float(len(text)), 0.5] for text in texts], input_tokens=len(texts))

    async def score(
        self, model: str, pairs: Sequence[tuple[str, str | None]], *, context_overflow: Overflow = "truncate"
    ) -> Scored:
        raise AssertionError("nothing here scores")


def chat(line: int, question: str, **body: Any) -> Entry:
    messages = [{"role": "user", "content": question}]
    return Entry(line=line, custom_id=f"r{line}", url="/v1/chat/completions", body={"messages": messages} | body)


async def answer(
    tmp_path: Path, entries: Sequence[Entry], model: Model | None = None, **config: Any
) -> tuple[JsonObject, list[Any], list[Any], Context]:
    context = make_context(tmp_path, models=model or Model())
    files = context.files
    assert isinstance(files, FolderFiles)
    ref = await files.put(b"".join(map(encode_entry, entries)), name="page-0.jsonl")
    given = {"page": 4, "file": ref.to_json(), "lines": len(entries), "first-line": 1}
    (value,) = await run(BatchAnswers, {"model": "tiny"} | config, given, context)

    def lines(key: str) -> list[Any]:
        return [json.loads(line) for line in files.read(value[key]).splitlines()] if value[key] else []

    return value, lines("output"), lines("errors"), context


async def test_answers_come_in_the_order_of_the_page_and_their_tokens_are_counted(tmp_path: Path) -> None:
    value, output, errors, context = await answer(tmp_path, [chat(number, f"q{number}") for number in range(1, 101)])
    assert (value["page"], value["lines"], value["succeeded"], value["failed"]) == (4, 100, 100, 0)
    assert [each["custom_id"] for each in output] == [f"r{number}" for number in range(1, 101)]
    assert (errors, value["errors"]) == ([], None)
    assert sum(usage.input_tokens for usage in context.usage) == 300
    assert sum(usage.output_tokens for usage in context.usage) == 200


async def test_a_line_of_output_is_what_openai_writes(tmp_path: Path) -> None:
    _, (stopped, cut), _, _ = await answer(tmp_path, [chat(1, "hi"), chat(2, "long")])
    assert sorted(stopped) == ["custom_id", "error", "id", "response"]
    assert stopped["error"] is None
    assert stopped["id"].startswith("batch_req")
    assert stopped["response"]["status_code"] == 200
    body = stopped["response"]["body"]
    assert body["id"].startswith("chatcmpl")
    assert body["created"] > 1_700_000_000
    assert (body["object"], body["model"]) == ("chat.completion", "tiny")
    [choice] = body["choices"]
    assert choice["message"] == {"role": "assistant", "content": "you said hi", "refusal": None}
    assert (choice["index"], choice["finish_reason"]) == (0, "stop")
    assert body["usage"] == {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    assert cut["response"]["body"]["choices"][0]["finish_reason"] == "length"
    assert cut["id"] != stopped["id"]


async def test_what_a_request_says_reaches_the_model(tmp_path: Path) -> None:
    model = Model()
    entries = [
        chat(1, "a", max_tokens=7, temperature=0.5, seed=3, stop=["x"], model="tiny"),
        chat(2, "b", response_format={"type": "json_object"}),
    ]
    await answer(tmp_path, entries, model, **{"max-tokens": 99})
    first, second = sorted(model.calls, key=lambda call: call.messages[0]["content"])
    assert (first.model, first.max_new_tokens, first.temperature, first.seed, first.stop) == ("tiny", 7, 0.5, 3, ("x",))
    assert (second.max_new_tokens, second.temperature, second.json_schema) == (99, 1.0, {"type": "object"})


async def test_embeddings_are_answered_as_numbers_or_base64(tmp_path: Path) -> None:
    def embeddings(line: int, **body: Any) -> Entry:
        return Entry(line=line, custom_id=f"e{line}", url="/v1/embeddings", body=body)

    entries = [embeddings(1, input=["a", "bcd"]), embeddings(2, input="xy", encoding_format="base64")]
    _, (numbers, coded), _, context = await answer(tmp_path, entries)
    body = numbers["response"]["body"]
    assert [(each["index"], each["embedding"]) for each in body["data"]] == [(0, [1.0, 0.5]), (1, [3.0, 0.5])]
    assert (body["object"], body["usage"]) == ("list", {"prompt_tokens": 2, "total_tokens": 2})
    packed = coded["response"]["body"]["data"][0]["embedding"]
    assert struct.unpack("<2f", base64.b64decode(packed)) == (2.0, 0.5)
    assert sum(usage.input_tokens for usage in context.usage) == 3


async def test_bad_lines_stand_in_the_error_file_in_their_order(tmp_path: Path) -> None:
    broken = LineError(code="invalid_json_line", message="not JSON", param=None, status=None)
    model = Model({"too long": PermanentError("9 tokens too many", code="prompt-too-long")})
    entries = [
        Entry(line=1, custom_id=None, error=broken),
        chat(2, "fine"),
        chat(3, "other", model="gpt-4o"),
        chat(4, "too long"),
        chat(5, "n", n=2),
    ]
    value, output, errors, _ = await answer(tmp_path, entries, model)
    assert (value["succeeded"], value["failed"], len(output)) == (1, 4, 1)
    first, *others = errors
    assert (first["response"], first["custom_id"]) == (None, None)
    assert first["error"] == {"code": "invalid_json_line", "message": "not JSON", "param": None, "line": 1}
    assert [each["custom_id"] for each in others] == ["r3", "r4", "r5"]
    told = [(each["response"]["status_code"], each["response"]["body"]["error"]["code"]) for each in others]
    assert told == [(404, "model_not_found"), (400, "context_length_exceeded"), (400, "unsupported_parameter")]
    inside = others[1]["response"]["body"]["error"]
    assert (inside["type"], inside["param"]) == ("invalid_request_error", "messages")
    assert [each["error"] for each in others] == [None, None, None]


async def test_any_model_may_be_answered_by_this_one(tmp_path: Path) -> None:
    value, output, _, _ = await answer(tmp_path, [chat(1, "a", model="gpt-4o")], **{"any-model": True})
    assert value["failed"] == 0
    assert output[0]["response"]["body"]["model"] == "tiny"


async def test_a_request_that_kills_the_model_costs_itself_only(tmp_path: Path) -> None:
    model = Model()
    entries = [chat(number, "kill" if number == 20 else f"q{number}") for number in range(1, 41)]
    value, output, errors, _ = await answer(tmp_path, entries, model, concurrency=8)
    assert (value["succeeded"], value["failed"]) == (39, 1)
    assert len(output) == 39
    (killer,) = errors
    assert killer["custom_id"] == "r20"
    assert killer["response"]["status_code"] == 500
    assert killer["response"]["body"]["error"]["code"] == "model_crashed"
    assert killer["response"]["body"]["error"]["type"] == "server_error"
    assert model.most_beside == 8


async def test_a_model_that_does_not_stay_alive_fails_the_page_for_another_attempt(tmp_path: Path) -> None:
    entries = [chat(number, "kill" if number % 4 == 0 else f"q{number}") for number in range(1, 21)]
    with pytest.raises(SatelliteError) as caught:
        await answer(tmp_path, entries, Model())
    assert caught.value.code == "model-crashed"
    assert not isinstance(caught.value, PermanentError)


@pytest.mark.parametrize(
    ("code", "kind"),
    [("unknown-model", PermanentError), ("no-room", SatelliteError), ("corrupt-model", PermanentError)],
)
async def test_without_a_model_the_page_fails_as_a_whole(tmp_path: Path, code: str, kind: type[SatelliteError]) -> None:
    model = Model({"a": kind("no", code=code), "b": kind("no", code=code)})
    with pytest.raises(SatelliteError) as caught:
        await answer(tmp_path, [chat(1, "a"), chat(2, "b")], model)
    assert caught.value.code == code
    assert type(caught.value) is kind


async def test_a_page_that_cannot_be_read_fails_permanently(tmp_path: Path) -> None:
    context = make_context(tmp_path, models=Model())
    ref = await context.files.put(b"{no page\n", name="page")
    with pytest.raises(PermanentError) as caught:
        await run(BatchAnswers, {"model": "tiny"}, {"page": 0, "file": ref.to_json()}, context)
    assert caught.value.code == "invalid-page"


async def test_a_manifest_becomes_sections_and_a_section_its_pages(tmp_path: Path) -> None:
    gathered = Sections()
    pages = list(pages_of(chat(number, "q") for number in range(1, 101)))
    for page in pages:
        assert gathered.add(page) is None
    section = gathered.end()
    assert section is not None
    context = make_context(tmp_path)
    await context.files.put(section.content, name="section")
    ref = await context.files.put(gathered.manifest, name="manifest")
    [listed] = await run(BatchPages, {}, {"manifest": ref.to_json(), "lines": 100}, context)
    assert (listed["section"], listed["first-line"], listed["lines"], listed["pages"]) == (0, 1, 100, len(pages))

    found = await run(BatchPages, {}, listed, context)
    assert [(each["page"], each["first-line"], each["lines"]) for each in found] == [
        (page.number, page.first_line, page.lines) for page in pages
    ]
    assert found[3]["file"]["$file"]["sha256"] == pages[3].sha256

    broken = await context.files.put(b"{}\n", name="manifest")
    with pytest.raises(PermanentError) as caught:
        await run(BatchPages, {}, {"manifest": broken.to_json()}, context)
    assert caught.value.code == "invalid-manifest"


async def test_a_text_to_embed_that_is_too_long_names_its_field(tmp_path: Path) -> None:
    class Short(Model):
        async def embed(self, model: str, texts: Sequence[str], **options: Any) -> Embedded:
            raise PermanentError("too long", code="prompt-too-long")

    entry = Entry(line=1, custom_id="e", url="/v1/embeddings", body={"input": "x"})
    _, _, [error], _ = await answer(tmp_path, [entry], Short())
    told = error["response"]["body"]["error"]
    assert (told["code"], told["param"]) == ("context_length_exceeded", "input")
