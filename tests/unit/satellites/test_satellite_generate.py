"""The language model satellite: what it asks, what it makes of the answers, and what it counts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from satellites import registry
from satellites.contract import GenerateCall, Generated, PermanentError, SatelliteError
from satellites.language.generate import Generate
from tests.unit.satellites.contexts import ScriptedModels, make_context, run

SHORT_FORM = """
{
    "company": string,
    "net-income": number,
    "quarter"?: "Q1" | "Q2",
}
"""
GOOD = '{"company": "Acme", "net-income": 3.5}'


async def test_text_comes_back_as_text_and_its_tokens_are_counted(tmp_path: Path) -> None:
    models = ScriptedModels("hello there")
    context = make_context(tmp_path, models=models)
    config = {"model": "tiny", "temperature": 0.5, "max-tokens": 64, "top-p": 0.9, "seed": 3, "stop": "END"}
    assert await run(Generate, config, {"prompt": "hi\n"}, context) == [{"text": "hello there"}]
    (call,) = models.calls
    assert (call.model, call.temperature, call.max_new_tokens, call.top_p, call.seed) == ("tiny", 0.5, 64, 0.9, 3)
    assert call.stop == ("END",)
    assert call.json_schema is None
    assert list(call.messages) == [{"role": "user", "content": "hi"}]
    assert [(usage.input_tokens, usage.output_tokens) for usage in context.usage] == [(100, 10)]


async def test_text_that_was_cut_off_says_so(tmp_path: Path) -> None:
    models = ScriptedModels(Generated("hel", "length", 1, 2))
    assert await run(Generate, {"model": "tiny"}, {"prompt": "hi"}, make_context(tmp_path, models=models)) == [
        {"text": "hel", "truncated": True}
    ]


async def test_json_is_held_to_the_schema_in_its_order_and_comes_back_as_the_object(tmp_path: Path) -> None:
    models = ScriptedModels(GOOD)
    config = {"model": "tiny", "output-format": "json", "output-schema": SHORT_FORM}
    (value,) = await run(Generate, config, {"prompt": "hi"}, make_context(tmp_path, models=models))
    assert value == {"company": "Acme", "net-income": 3.5}
    schema = models.calls[0].json_schema
    assert schema is not None
    assert list(schema["properties"]) == ["company", "net-income", "quarter"]
    assert schema["required"] == ["company", "net-income"]


async def test_an_answer_that_is_no_object_stands_under_value(tmp_path: Path) -> None:
    models = ScriptedModels("[1, 2]")
    config = {"model": "tiny", "output-schema": {"type": "array", "items": {"type": "integer"}}}
    assert await run(Generate, config, {"prompt": "hi"}, make_context(tmp_path, models=models)) == [{"value": [1, 2]}]


async def test_a_wrong_answer_is_asked_again_with_what_is_wrong(tmp_path: Path) -> None:
    models = ScriptedModels('{"company": 1, "net-income": "much"}', GOOD)
    context = make_context(tmp_path, models=models)
    config = {"model": "tiny", "output-schema": SHORT_FORM, "system": "You read reports."}
    (value,) = await run(Generate, config, {"prompt": "hi"}, context)
    assert value["company"] == "Acme"
    roles = [message["role"] for message in models.calls[1].messages]
    assert roles == ["system", "user", "assistant", "user"]
    objection = models.calls[1].messages[-1]["content"]
    assert "$.company: 1 is not of type 'string'" in objection
    assert "$.net-income: 'much' is not of type 'number'" in objection
    assert sum(usage.input_tokens for usage in context.usage) == 200


@pytest.mark.parametrize(("temperature", "seed", "permanent"), [(0.0, None, True), (0.7, None, False), (0.7, 1, True)])
async def test_an_answer_that_stays_wrong_fails_and_is_tried_again_only_if_chance_may_help(
    tmp_path: Path, temperature: float, seed: int | None, permanent: bool
) -> None:
    models = ScriptedModels("{}", "no json", '{"company": NaN, "net-income": 1}')
    context = make_context(tmp_path, models=models)
    config = {
        "model": "tiny", "output-schema": SHORT_FORM, "max-reprompts": 2, "temperature": temperature, "seed": seed,
    }  # fmt: skip
    with pytest.raises(SatelliteError, match="after 3 tries: not JSON: NaN") as caught:
        await run(Generate, config, {"prompt": "hi"}, context)
    assert caught.value.code == "invalid-output"
    assert isinstance(caught.value, PermanentError) is permanent
    assert len(context.usage) == 3


async def test_json_that_was_cut_off_is_not_asked_again(tmp_path: Path) -> None:
    models = ScriptedModels(Generated('{"company": "Ac', "length", 5, 7))
    context = make_context(tmp_path, models=models)
    with pytest.raises(PermanentError, match=r"max-tokens \(1024\)") as caught:
        await run(Generate, {"model": "tiny", "output-format": "json"}, {"prompt": "hi"}, context)
    assert caught.value.code == "truncated"
    assert [(usage.input_tokens, usage.output_tokens) for usage in context.usage] == [(5, 7)]


async def test_what_a_model_cannot_do_is_asked_of_a_larger_one_and_all_tokens_count(tmp_path: Path) -> None:
    models = ScriptedModels("{}", "no json", '{"company": 1}', GOOD)
    context = make_context(tmp_path, models=models)
    config = {"model": "tiny", "output-schema": SHORT_FORM, "max-reprompts": 1, "escalate-to": "large"}
    (value,) = await run(Generate, config, {"prompt": "hi"}, context)
    assert value["company"] == "Acme"
    assert [call.model for call in models.calls] == ["tiny", "tiny", "large", "large"]
    assert models.calls[2].messages == models.calls[0].messages, "it begins anew"
    assert len(models.calls[3].messages) == 3
    assert sum(usage.input_tokens for usage in context.usage) == 400
    assert sum(usage.output_tokens for usage in context.usage) == 40


async def test_an_answer_that_was_cut_off_is_asked_of_a_larger_model_too(tmp_path: Path) -> None:
    models = ScriptedModels(Generated('{"company": "Ac', "length", 5, 7), GOOD)
    context = make_context(tmp_path, models=models)
    config = {"model": "tiny", "output-schema": SHORT_FORM, "escalate-to": "large"}
    assert (await run(Generate, config, {"prompt": "hi"}, context))[0]["company"] == "Acme"
    assert [(usage.input_tokens, usage.output_tokens) for usage in context.usage] == [(5, 7), (100, 10)]


async def test_where_the_larger_model_fails_too_its_error_stands(tmp_path: Path) -> None:
    models = ScriptedModels("{}", "{}")
    context = make_context(tmp_path, models=models)
    config = {"model": "tiny", "output-schema": SHORT_FORM, "max-reprompts": 0, "escalate-to": "large"}
    with pytest.raises(PermanentError, match="answer of large does not fit") as caught:
        await run(Generate, config, {"prompt": "hi"}, context)
    assert caught.value.code == "invalid-output"
    assert len(context.usage) == 2


async def test_only_a_wrong_answer_is_escalated(tmp_path: Path) -> None:
    class Gone(ScriptedModels):
        async def generate(self, call: GenerateCall) -> Generated:
            self.calls.append(call)
            raise SatelliteError("the model's process ended", code="model-crashed")

    models = Gone()
    config = {"model": "tiny", "output-schema": SHORT_FORM, "escalate-to": "large"}
    with pytest.raises(SatelliteError, match="process ended"):
        await run(Generate, config, {"prompt": "hi"}, make_context(tmp_path, models=models))
    assert len(models.calls) == 1


async def test_what_is_to_be_quoted_is_asked_of_the_model(tmp_path: Path) -> None:
    models = ScriptedModels(GOOD)
    config = {"model": "tiny", "output-schema": SHORT_FORM, "verbatim": "company"}
    await run(Generate, config, {"prompt": "hi"}, make_context(tmp_path, models=models))
    assert models.calls[0].verbatim == ("company",)


async def test_messages_go_through_and_the_schema_is_shown_where_asked(tmp_path: Path) -> None:
    models = ScriptedModels(GOOD)
    config = {"model": "tiny", "output-schema": SHORT_FORM, "schema-in-prompt": True, "system": "Be exact."}
    messages = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "c"},
    ]
    await run(Generate, config, {"messages": messages}, make_context(tmp_path, models=models))
    system, *rest = models.calls[0].messages
    assert rest == messages
    assert system["content"].startswith("Be exact.\n")
    assert json.loads(system["content"].splitlines()[-1])["required"] == ["company", "net-income"]


async def test_a_preset_asks_its_model_unless_the_config_names_another(tmp_path: Path) -> None:
    preset = registry.get("satellite/exospherehost/deepseek-r1-distrill-llama-70b")
    models = ScriptedModels("a", "b")
    context = make_context(tmp_path, models=models)
    await run(preset, {}, {"prompt": "hi"}, context)
    await run(preset, {"model": "tiny"}, {"prompt": "hi"}, context)
    assert [call.model for call in models.calls] == ["deepseek-r1-distill-llama-70b", "tiny"]


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({}, "model"),
        ({"model": "m", "output-format": "text", "output-schema": SHORT_FORM}, "output-format: json"),
        ({"model": "m", "output-schema": SHORT_FORM, "verbatim": "net-income"}, "'net-income', which is not a text"),
        ({"model": "m", "verbatim": ["company"]}, "`verbatim` needs a schema of an object"),
        ({"model": "m", "output-format": "json", "stop": "x"}, "stop"),
        ({"model": "m", "output-schema": '{"a": strin}'}, "output-schema"),
        ({"model": "m", "temperature": 3}, "temperature"),
        ({"model": "m", "max-token": 3}, "max-token"),
        ({"model": "m", "escalate-to": "n"}, "escalate-to"),
        ({"model": "m", "output-format": "json", "escalate-to": "m"}, "escalate-to"),
    ],
)
def test_a_config_that_makes_no_sense_is_refused(config: dict[str, object], field: str) -> None:
    with pytest.raises(ValidationError, match=field):
        Generate.Config.model_validate(config)


@pytest.mark.parametrize(
    "given", [{}, {"prompt": "a", "messages": [{"role": "user", "content": "b"}]}, {"messages": []}]
)
def test_an_input_has_a_prompt_or_messages(given: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Generate.Input.model_validate(given)
