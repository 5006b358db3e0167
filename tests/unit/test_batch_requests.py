"""Bodies of requests in OpenAI's format: what they become, and what of them is not served."""

from __future__ import annotations

from typing import Any

import pytest

from orbit_core.batch.requests import Chat, Embeddings, RequestError, parse

HI = {"messages": [{"role": "user", "content": "hi"}]}


def chat(**body: Any) -> Chat:
    found = parse("/v1/chat/completions", HI | body)
    assert isinstance(found, Chat)
    return found


def test_a_request_that_says_little_gets_openais_defaults() -> None:
    assert chat() == Chat(None, ({"role": "user", "content": "hi"},), None, 1.0, 1.0, None, (), None)


def test_settings_are_taken_over() -> None:
    found = chat(model="m", max_tokens=5, temperature=0, top_p=0.5, seed=7, stop="END", n=1, stream=False, user="u")
    assert (found.model, found.max_tokens, found.temperature, found.top_p) == ("m", 5, 0.0, 0.5)
    assert (found.seed, found.stop) == (7, ("END",))
    assert chat(max_tokens=5, max_completion_tokens=9).max_tokens == 9
    assert chat(temperature=None, stop=None, tools=None, tool_choice="none", logit_bias={}).stop == ()


def test_messages_in_parts_are_joined_and_developers_speak_as_the_system() -> None:
    found = chat(
        messages=[
            {"role": "developer", "content": "be brief"},
            {"role": "user", "name": "x", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        ]
    )
    assert found.messages == ({"role": "system", "content": "be brief"}, {"role": "user", "content": "ab"})


def test_an_answer_is_held_to_a_schema_in_its_order() -> None:
    schema = {"type": "object", "properties": {"z": {"type": "string"}, "a": {"type": "integer"}}}
    found = chat(
        response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": schema, "strict": True}}
    )
    assert found.json_schema == schema
    assert found.json_schema is not None and list(found.json_schema["properties"]) == ["z", "a"]
    assert chat(response_format={"type": "json_object"}).json_schema == {"type": "object"}
    assert chat(response_format={"type": "text"}).json_schema is None


def test_embeddings_take_one_text_or_several() -> None:
    assert parse("/v1/embeddings", {"input": "a", "model": "m"}) == Embeddings("m", ("a",), False)
    assert parse("/v1/embeddings", {"input": ["a", "b"], "encoding_format": "base64"}) == Embeddings(
        None, ("a", "b"), True
    )


@pytest.mark.parametrize(
    ("url", "body", "code", "param"),
    [
        ("/v1/images", {}, "invalid_url", "url"),
        ("/v1/chat/completions", {}, "missing_required_parameter", "messages"),
        ("/v1/chat/completions", {"messages": [{"content": "x"}]}, "missing_required_parameter", "messages.0.role"),
        ("/v1/chat/completions", {"messages": [{"role": "tool", "content": "x"}]}, "invalid_value", "messages.0.role"),
        (
            "/v1/chat/completions",
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
            "invalid_value",
            "messages.0.content",
        ),
        ("/v1/chat/completions", HI | {"temperature": 3}, "invalid_value", "temperature"),
        ("/v1/chat/completions", HI | {"max_tokens": 0}, "invalid_value", "max_tokens"),
        ("/v1/chat/completions", HI | {"stop": ["a"] * 5}, "invalid_value", "stop"),
        ("/v1/chat/completions", HI | {"n": 2}, "unsupported_parameter", "n"),
        ("/v1/chat/completions", HI | {"stream": True}, "unsupported_parameter", "stream"),
        ("/v1/chat/completions", HI | {"tools": [{}]}, "unsupported_parameter", "tools"),
        ("/v1/chat/completions", HI | {"logit_bias": {"1": 2}}, "unsupported_parameter", "logit_bias"),
        ("/v1/chat/completions", HI | {"frequency_penalty": 0.5}, "unsupported_parameter", "frequency_penalty"),
        (
            "/v1/chat/completions",
            HI | {"response_format": {"type": "json_schema"}},
            "missing_required_parameter",
            "response_format.json_schema",
        ),
        (
            "/v1/chat/completions",
            HI | {"response_format": {"type": "json_object"}, "stop": "x"},
            "unsupported_parameter",
            "stop",
        ),
        ("/v1/embeddings", {}, "missing_required_parameter", "input"),
        ("/v1/embeddings", {"input": []}, "invalid_value", "input"),
        ("/v1/embeddings", {"input": ""}, "invalid_value", "input.0"),
        ("/v1/embeddings", {"input": [1, 2]}, "invalid_value", "input.0"),
        ("/v1/embeddings", {"input": "a", "dimensions": 8}, "unsupported_parameter", "dimensions"),
    ],
)
def test_what_cannot_be_served_says_which_field(url: str, body: dict[str, Any], code: str, param: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse(url, body)
    assert (caught.value.code, caught.value.status) == (code, 400)
    assert caught.value.param is not None
    # A message in parts names the part that is wrong.
    assert caught.value.param == param or caught.value.param.startswith(f"{param}.")
    assert str(caught.value)
