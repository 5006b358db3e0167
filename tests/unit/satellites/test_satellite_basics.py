"""Satellites without an outside: trials and checks; and the kinds of value that configs share."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from satellites.contract import PermanentError, SatelliteError
from satellites.documents.validate_json import ValidateJson
from satellites.fields import AbsolutePath, Extensions, Seconds, has_extension
from satellites.http.call_webhook import CallWebhook
from satellites.storage.move_file import MoveFile
from satellites.trial.echo import Echo
from satellites.trial.fail import Fail
from satellites.trial.sleep import Sleep
from tests.unit.satellites.contexts import make_context, run


async def test_echo_gives_its_input_or_the_objects_of_its_config(tmp_path: Path) -> None:
    context = make_context(tmp_path)
    assert await run(Echo, {}, {"file-path": "a", "n": 1}, context) == [{"file-path": "a", "n": 1}]
    assert await run(Echo, {"objects": [{"a": 1}, {"b": 2}]}, {"n": 1}, context) == [{"a": 1}, {"b": 2}]
    assert await run(Echo, {"copies": 2}, {"n": 1}, context) == [{"n": 1, "index": 0}, {"n": 1, "index": 1}]
    assert await run(Echo, {"objects": []}, {"n": 1}, context) == []


async def test_sleep_gives_its_input(tmp_path: Path) -> None:
    assert await run(Sleep, {"seconds": 0}, {"n": 1}, make_context(tmp_path)) == [{"n": 1}]


async def test_fail_fails_as_told(tmp_path: Path) -> None:
    with pytest.raises(SatelliteError, match="failed on purpose") as caught:
        await run(Fail, {}, {}, make_context(tmp_path))
    assert not isinstance(caught.value, PermanentError)
    with pytest.raises(PermanentError, match="so there"):
        await run(Fail, {"permanent": True, "message": "so there"}, {}, make_context(tmp_path))
    with pytest.raises(SatelliteError):
        await run(Fail, {"attempts": 2}, {"n": 1}, make_context(tmp_path, attempt=2))
    assert await run(Fail, {"attempts": 2}, {"n": 1}, make_context(tmp_path, attempt=3)) == [{"n": 1}]


async def test_fail_with_odds_fails_that_share_and_the_same_ones_again(tmp_path: Path) -> None:
    async def failed(number: int, attempt: int) -> bool:
        context = make_context(tmp_path, invocation_id=f"inv-{number}", attempt=attempt)
        try:
            await run(Fail, {"odds": 0.3}, {}, context)
        except SatelliteError:
            return True
        return False

    first = [await failed(number, 1) for number in range(1_000)]
    assert 250 < sum(first) < 350
    assert [await failed(number, 1) for number in range(1_000)] == first
    assert [await failed(number, 2) for number in range(1_000)] != first


async def test_validate_json_lets_pass_what_fits(tmp_path: Path) -> None:
    context = make_context(tmp_path)
    given = {"company": "Acme", "net": 3}
    assert await run(ValidateJson, {"schema": '{"company": string, "net": number}'}, given, context) == [given]
    config = {"schema": '{"net": number}', "key": "text", "parse": True}
    (value,) = await run(ValidateJson, config, {"text": '{"net": 1}', "more": 2}, context)
    assert value == {"text": {"net": 1}, "more": 2}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"schema": '{"lines": [{"net": number}]}'}, r"\$\.lines\[1\]\.net: 'a lot' is not of type 'number'"),
        ({"schema": '{"company": string}'}, r"\$: 'company' is a required property"),
        ({"schema": '{"a": string}', "key": "missing"}, "no key 'missing'"),
        ({"schema": '{"a": string}', "key": "text", "parse": True}, "is not JSON"),
    ],
)
async def test_validate_json_names_each_place(tmp_path: Path, config: dict[str, object], message: str) -> None:
    given = {"lines": [{"net": 1}, {"net": "a lot"}], "text": "{"}
    with pytest.raises(PermanentError, match=message) as caught:
        await run(ValidateJson, config, given, make_context(tmp_path))
    assert caught.value.code == "invalid-json"


async def test_validate_json_says_how_many_more_there_are(tmp_path: Path) -> None:
    config = {"schema": {"type": "object", "properties": {"a": {"items": {"type": "string"}}}}}
    with pytest.raises(PermanentError, match=r"\$\.a\[19\]: .*; and 5 more$"):
        await run(ValidateJson, config, {"a": list(range(25))}, make_context(tmp_path))


def test_shared_kinds_of_value() -> None:
    extensions = TypeAdapter(Extensions)
    assert extensions.validate_python("PDF") == (".pdf",)
    assert extensions.validate_python([".pdf", "Txt"]) == (".pdf", ".txt")
    assert has_extension("A.PDF", (".pdf",)) and has_extension("a.tar.gz", (".gz",)) and has_extension("a", ())
    assert not has_extension("apdf", (".pdf",))
    assert TypeAdapter(Seconds).validate_python("1m30s") == 90
    assert TypeAdapter(Seconds).validate_python(2.5) == 2.5
    assert TypeAdapter(AbsolutePath).validate_python("/a/../b/") == "/b"
    for wrong in ("soon", 0, "3 fortnights"):
        with pytest.raises(ValidationError):
            TypeAdapter(Seconds).validate_python(wrong)
    with pytest.raises(ValidationError, match="absolute path"):
        TypeAdapter(AbsolutePath).validate_python("here")


def test_headers_and_bodies_may_be_lists_of_maps() -> None:
    config = CallWebhook.Config.model_validate(
        {
            "url": "http://x",
            "headers": [{"Authorization": "Bearer t"}, {"X-Count": 3, "X-Flag": True}],
            "body": [{"data": {"a": 1}, "file-path": "b"}, {"more": [1]}],
            "expected-status": 201,
            "method": "put",
        }
    )
    assert config.model_dump(include={"headers", "body", "expected_status", "method"}) == {
        "headers": {"Authorization": "Bearer t", "X-Count": "3", "X-Flag": "true"},
        "body": {"data": {"a": 1}, "file-path": "b", "more": [1]},
        "expected_status": (201,),
        "method": "PUT",
    }


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"headers": {"idempotency-key": "mine"}}, "set by Orbit"),
        ({"headers": {"X": "a\r\nY: b"}}, "line break"),
        ({"headers": {"X Y": "a"}}, "name of a header"),
        ({"headers": [{"A": "1"}, {"A": "2"}]}, "'A' stands in two"),
        ({"body": [{"a": 1}, {"a": 2}]}, "'a' stands in two"),
        ({"body": {"a": 1}, "json": [1]}, "not both"),
        ({"method": "BREW"}, "method"),
    ],
)
def test_webhook_configs_that_make_no_sense_are_refused(config: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        CallWebhook.Config.model_validate({"url": "http://x", **config})


def test_move_file_needs_buckets_and_absolute_paths() -> None:
    sides = {"origin-source": "s3", "origin-file-path": "a", "destination-source": "local"}
    with pytest.raises(ValidationError, match="origin-bucket"):
        MoveFile.Config.model_validate({**sides, "destination-file-path": "/b"})
    with pytest.raises(ValidationError, match="absolute"):
        MoveFile.Config.model_validate({**sides, "origin-bucket": "c", "destination-file-path": "b"})
