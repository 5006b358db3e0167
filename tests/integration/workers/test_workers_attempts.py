"""One attempt in a worker process: what it is given, and what comes out of it, whatever the satellite does."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from satellites.contract import (
    FileRef,
    JsonObject,
)
from tests.integration.workers.mischief import MIB, Mesh, call, eventually


async def test_a_satellite_runs_and_its_objects_come_back(mesh: Mesh) -> None:
    outcome = await mesh.run(call(satellite="satellite/orbit/echo", file="a.pdf", n=3))
    assert outcome.status == "succeeded"
    assert (outcome.code, outcome.message, outcome.retryable) == ("", "", False)
    assert mesh.objects == [{"how": "", "file": "a.pdf", "n": 3}]
    assert 10 * MIB < outcome.peak_memory_bytes < 512 * MIB


async def test_thousands_of_objects_arrive_in_order_and_slowly_taken_ones_hold_the_satellite_back(mesh: Mesh) -> None:
    await mesh.run(call(satellite="satellite/test/stream", count=5_000))
    assert [value["number"] for value in mesh.objects] == list(range(5_000))

    mesh.logs.clear()
    begun = asyncio.Event()
    go_on = asyncio.Event()

    async def hold(value: JsonObject) -> None:
        begun.set()
        await go_on.wait()

    # 40 MB of objects: far more than the window and the socket hold.
    running = asyncio.create_task(
        mesh.pool.run(call(satellite="satellite/test/stream", count=4_000, padding=10_000), hold)
    )
    await begun.wait()
    worker = next(iter(mesh.pool._busy))
    await eventually(lambda: psutil.Process(worker.process.pid).status() == "sleeping")
    assert not running.done()
    assert "given 1000" not in mesh.said()
    go_on.set()
    assert (await running).status == "succeeded"
    assert "given 3000" in mesh.said()


async def test_an_error_is_retryable_and_names_its_type_and_the_log_has_the_traceback(mesh: Mesh) -> None:
    outcome = await mesh.run(call("raise"))
    assert (outcome.status, outcome.code, outcome.retryable) == ("failed", "exception", True)
    assert outcome.message == "ValueError: no luck with [redacted]"
    assert "in do_raise" in mesh.said()
    assert "hunter2" not in mesh.said()


@pytest.mark.parametrize(
    ("how", "code", "message", "retryable"),
    [
        ("permanent", "never-ever", "never", False),
        ("transient", "busy", "not now", True),
        ("sys_exit", "exception", "SystemExit: 4", True),
        ("not_a_list", "invalid-result", "the satellite gave a dict; a list of objects is expected", False),
        ("nan", "invalid-result", "JSON cannot hold", False),
        ("huge", "invalid-result", "put the data into a file", False),
    ],
)
async def test_failures_carry_code_message_and_whether_to_retry(
    mesh: Mesh, how: str, code: str, message: str, retryable: bool
) -> None:
    outcome = await mesh.run(call(how))
    assert (outcome.status, outcome.code, outcome.retryable) == ("failed", code, retryable)
    assert message in outcome.message
    assert mesh.objects == []


async def test_objects_that_nest_too_deep_are_refused_at_any_depth(mesh: Mesh) -> None:
    codes = set()
    for levels in (100, 900, 950, 960, 970, 980, 990, 1_000, 5_000):
        outcome = await mesh.run(call("deep", levels=levels))
        codes.add((outcome.code, outcome.retryable))
    assert codes == {("", False), ("invalid-result", False)}


async def test_a_call_that_json_cannot_hold_is_refused_before_it_is_sent(mesh: Mesh) -> None:
    outcome = await mesh.run(call("who", number=float("nan")))
    assert (outcome.code, outcome.retryable) == ("invalid-input", False)


async def test_config_and_input_that_do_not_fit_name_every_field(mesh: Mesh) -> None:
    typed = call(satellite="satellite/test/typed")
    wrong = replace(
        typed, config={"max-tokens": "many", "temprature": 1, "secrets": {"TOKEN": "x"}, "nested": {"a": []}}
    )
    outcome = await mesh.run(wrong)
    assert (outcome.code, outcome.retryable) == ("invalid-config", False)
    for field in ("config.max-tokens: ", "config.temprature: ", "config.nested.a: "):
        assert field in outcome.message
    assert "many" not in outcome.message

    outcome = await mesh.run(replace(typed, config={"max-tokens": 3}))
    assert (outcome.code, outcome.retryable) == ("invalid-input", False)
    assert "input.file-path: " in outcome.message

    outcome = await mesh.run(replace(typed, secrets={}))
    assert (outcome.code, outcome.retryable) == ("missing-secret", False)
    assert "TOKEN" in outcome.message

    fine = replace(typed, config={"max-tokens": 3, "secrets": {"TOKEN": "x"}}, input={"file-path": "a", "more": 1})
    assert (await mesh.run(fine)).status == "succeeded"
    assert mesh.objects == [{"tokens": 3, "path": "a"}]


async def test_an_unknown_satellite_may_be_known_to_another_agent(mesh: Mesh) -> None:
    outcome = await mesh.run(call(satellite="satellite/orbit/ecko"))
    assert (outcome.code, outcome.retryable) == ("unknown-satellite", True)
    assert "satellite/orbit/echo" in outcome.message


async def test_a_flood_of_logs_is_cut_off_and_counted(mesh: Mesh) -> None:
    outcome = await mesh.run(call("flood", lines=25_000))
    assert outcome.status == "succeeded"
    assert len(mesh.logs) == 10_001
    assert mesh.logs[-1].message == "15000 more log records were dropped"


async def test_everything_said_becomes_log_records_without_secrets(mesh: Mesh) -> None:
    await mesh.run(call("talk"))
    by_source = {
        source: [record for record in mesh.logs if record.source == source]
        for source in {record.source for record in mesh.logs}
    }
    out = [record.message for record in by_source["stdout"]]
    assert out[0] == "to stdout [redacted]"
    assert set("".join(out[1:-1])) == {"x"} and max(map(len, out)) <= 8_000
    assert out[-1] == "no newline"
    assert [(record.level, record.message) for record in by_source["stderr"]] == [("warning", "to stderr")]
    assert by_source["some.library"][0].level == "warning"
    step = [record.message for record in by_source["orbit.step.a-step"]]
    assert step[0] == "token is [redacted]"
    assert "do not fit" in step[1]
    assert "hunter2" not in mesh.said()


async def test_the_agents_own_redaction_comes_on_top(mesh: Mesh) -> None:
    await mesh.run(call(satellite="satellite/orbit/fail", how="x"))
    outcome = await mesh.run(replace(call(satellite="satellite/orbit/fail"), config={"message": "an agent-secret"}))
    assert outcome.message == "an ***"


async def test_secrets_are_taken_out_of_results_and_nothing_else_is(mesh: Mesh) -> None:
    secret = replace(call("echo_secret"), sensitive_values=("12345678",))
    await mesh.run(secret)
    assert mesh.objects == [{"answer": "Bearer [redacted]", "count": 12345678, "[redacted]": [1]}]


async def test_each_attempt_sees_its_own_scratch_and_secrets_and_little_of_the_environment(
    mesh: Mesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "inherited")
    pool = mesh.pool
    pool._spares, spares = [], pool._spares
    try:
        await mesh.run(replace(call("who"), pool_key="other"))
    finally:
        pool._spares += spares
    (seen,) = mesh.objects
    assert seen["cwd"] == seen["scratch"]
    assert "inherited" not in seen["env"].values()
    assert Path(seen["env"]["HOME"]).parent == mesh.root
    assert seen["nice"] >= 10
    assert seen["stdin"] == ""
    assert list(mesh.root.glob("attempt-*")) == []


async def test_model_calls_are_served_by_the_agent_and_tokens_count_even_in_failure(mesh: Mesh) -> None:
    outcome = await mesh.run(call("generate", model="tiny"))
    (value,) = mesh.objects
    assert value == {
        "text": "hello",
        "vectors": [[1.0, 0.5], [1.0, 0.5]],
        "tokens": 4,
        "scores": [[0.25], [0.75]],
        "labels": ["yes"],
    }
    assert (outcome.input_tokens, outcome.output_tokens) == (17, 8)
    assert list(mesh.models.calls[0].json_schema or {}) == ["b", "a"]

    outcome = await mesh.run(call("generate", model="tiny", die=True))
    assert (outcome.code, outcome.input_tokens, outcome.output_tokens) == ("worker-exited", 17, 8)

    outcome = await mesh.run(call("generate", model="busy"))
    assert (outcome.code, outcome.message, outcome.retryable) == ("model-busy", "too busy", True)

    outcome = await mesh.run(call("generate", model="wrong"))
    assert (outcome.code, outcome.retryable) == ("invalid-request", False)

    outcome = await mesh.run(replace(call("generate", model="stuck"), timeout_s=0.5))
    assert outcome.code == "timeout"


async def test_files_come_as_copies_and_go_to_the_store(mesh: Mesh) -> None:
    (mesh.files.root / "a.txt").write_bytes(b"text")
    ref = FileRef("0" * 64, 4, "a.txt", "text/plain")
    outcome = await mesh.run(call("files", file=ref.to_json()))
    assert outcome.status == "succeeded", outcome.message
    assert mesh.objects[0]["name"] == "a.txt"
    assert mesh.objects[0]["$file"]["media-type"] == "text/plain"
    assert (mesh.files.root / "upper.txt").read_bytes() == b"TEXT"
    assert (mesh.files.root / "relative.txt").read_bytes() == b"by path"
    assert (mesh.files.root / "a.txt").read_bytes() == b"text"
