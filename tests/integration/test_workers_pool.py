"""Worker processes, for real: satellites that behave, and satellites that do everything they should not."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import textwrap
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from orbit_agent.workers import Call, LogRecord, Outcome, WorkerPool
from orbit_core.errors import InvalidRequestError
from satellites.contract import (
    Embedded,
    FileRef,
    GenerateCall,
    Generated,
    JsonObject,
    Overflow,
    SatelliteError,
    Scored,
)

MIB = 1024 * 1024

#: A package of satellites as a user would bring it: a module and an entry point for each class.
MISCHIEF = """
import asyncio, ctypes, logging, os, signal, subprocess, sys, threading, time
from pathlib import Path
from pydantic import ConfigDict
from satellites.contract import (FileRef, GenerateCall, PermanentError, Satellite, SatelliteConfig, SatelliteError,
                                 SatelliteInput, Usage)


hoard = []


class Config(SatelliteConfig):
    model_config = ConfigDict(extra="allow")


class Input(SatelliteInput):
    model_config = ConfigDict(extra="allow")
    how: str = ""


class Mischief(Satellite):
    name = "satellite/test/mischief"
    Config = Config
    Input = Input

    async def run(self, config, input, context):
        return await getattr(self, "do_" + input.how)(config, input.model_extra, context)

    async def do_raise(self, config, given, context):
        raise ValueError(f"no luck with {context.secrets['TOKEN']}")

    async def do_permanent(self, config, given, context):
        raise PermanentError("never", code="never-ever")

    async def do_transient(self, config, given, context):
        raise SatelliteError("not now", code="busy")

    async def do_sys_exit(self, config, given, context):
        sys.exit(4)

    async def do_exit(self, config, given, context):
        print("last words", flush=True)
        os._exit(3)

    async def do_segfault(self, config, given, context):
        ctypes.string_at(0)

    async def do_hang(self, config, given, context):
        while True:
            time.sleep(0.01)

    async def do_eat(self, config, given, context):
        kept = []
        while True:
            kept.append(bytearray(8 * 1024 * 1024))
            time.sleep(0.02)

    async def do_hoard(self, config, given, context):
        hoard.append(bytearray(given["bytes"]))
        return [{"pid": os.getpid()}]

    async def do_gulp(self, config, given, context):
        bytearray(given["bytes"])

    async def do_flood(self, config, given, context):
        for number in range(given["lines"]):
            context.log.info("line %d", number)
        return []

    async def do_talk(self, config, given, context):
        print("to stdout", context.secrets["TOKEN"])
        print("x" * 20_000)
        print("no newline", end="")
        sys.stderr.write("to stderr\\n")
        logging.getLogger("some.library").warning("from a library")
        context.log.info("token is %s", context.secrets["TOKEN"])
        context.log.info("bad %d", "arguments")
        return []

    async def do_who(self, config, given, context):
        Path("mine.txt").write_text("x")
        return [{"pid": os.getpid(), "scratch": str(context.scratch), "cwd": os.getcwd(), "env": dict(os.environ),
                 "secrets": dict(context.secrets), "nice": os.nice(0), "stdin": sys.stdin.read()}]

    async def do_leave_process(self, config, given, context):
        child = subprocess.Popen(["sleep", "600"], start_new_session=True)
        return [{"pid": os.getpid(), "child": child.pid}]

    async def do_thread(self, config, given, context):
        asyncio.get_running_loop().run_in_executor(None, time.sleep, 600)
        return [{"pid": os.getpid()}]

    async def do_spawn_and_hang(self, config, given, context):
        child = subprocess.Popen(["sleep", "600"])
        Path(given["tell"]).write_text(f"{os.getpid()} {child.pid}")
        await asyncio.sleep(600)

    async def do_echo_secret(self, config, given, context):
        return [{"answer": f"Bearer {context.secrets['TOKEN']}", "count": 12345678, context.secrets["TOKEN"]: [1]}]

    async def do_not_a_list(self, config, given, context):
        return {"a": 1}

    async def do_nan(self, config, given, context):
        return [{"a": float("nan")}]

    async def do_deep(self, config, given, context):
        value = {}
        for _ in range(given["levels"]):
            value = {"a": value}
        return [value]

    async def do_huge(self, config, given, context):
        return [{"a": "x" * (65 * 1024 * 1024)}]

    async def do_generate(self, config, given, context):
        context.usage.append(Usage(10, 5))
        answer = await context.models.generate(GenerateCall(given["model"], [{"role": "user", "content": "hi"}],
                                                            json_schema={"b": 1, "a": 2}))
        context.usage.append(Usage(answer.input_tokens, answer.output_tokens))
        vectors = await context.models.embed("e", ["a", "b"])
        if given.get("die"):
            os._exit(1)
        scored = await context.models.score("c", [("a", None), ("q", "d")])
        return [{"text": answer.text, "vectors": vectors, "tokens": vectors.input_tokens, "scores": scored.scores,
                 "labels": scored.labels}]

    async def do_files(self, config, given, context):
        ref = FileRef.from_json(given["file"])
        path = await context.files.path(ref)
        copied = path.read_bytes()
        path.chmod(0o644)
        path.write_bytes(b"spoilt")
        made = await context.files.put(copied.upper(), name="upper.txt", media_type="text/plain")
        Path("relative.txt").write_text("by path")
        by_path = await context.files.put(Path("relative.txt"), name="relative.txt")
        return [made.to_json() | {"name": path.name}, by_path.to_json()]


class Stream(Satellite):
    name = "satellite/test/stream"
    Config = Config
    Input = Input

    async def run(self, config, input, context):
        for number in range(input.model_extra["count"]):
            print("giving", number) if number < 3 else None
            yield {"number": number, "padding": "x" * input.model_extra.get("padding", 0)}
            context.log.info("given %d", number) if number % 1000 == 0 else None


class Typed(Satellite):
    name = "satellite/test/typed"
    required_secrets = ("TOKEN",)

    class Config(SatelliteConfig):
        max_tokens: int
        nested: dict[str, int] = {}

    class Input(SatelliteInput):
        file_path: str

    async def run(self, config, input, context):
        return [{"tokens": config.max_tokens, "path": input.file_path}]
"""


class Models:
    """The agent's side of model calls."""

    def __init__(self) -> None:
        self.calls: list[GenerateCall] = []

    async def generate(self, call: GenerateCall) -> Generated:
        self.calls.append(call)
        if call.model == "busy":
            raise SatelliteError("too busy", code="model-busy")
        if call.model == "wrong":
            raise InvalidRequestError("no such schema")
        if call.model == "stuck":
            await asyncio.Event().wait()
        return Generated("hello", "stop", 7, 3)

    async def embed(
        self, model: str, texts: Sequence[str], *, normalize: bool = True, context_overflow: Overflow = "truncate"
    ) -> Embedded:
        return Embedded([[float(len(text)), 0.5] for text in texts], input_tokens=4)

    async def score(
        self, model: str, pairs: Sequence[tuple[str, str | None]], *, context_overflow: Overflow = "truncate"
    ) -> Scored:
        return Scored([[0.25 if second is None else 0.75] for _, second in pairs], ("yes",), 6)


class Files:
    """A blob store in a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir()

    async def put(self, source: bytes | Path, *, name: str, media_type: str = "application/octet-stream") -> FileRef:
        data = source if isinstance(source, bytes) else await asyncio.to_thread(source.read_bytes)
        (self.root / name).write_bytes(data)
        return FileRef("0" * 64, len(data), name, media_type)

    async def path(self, ref: FileRef) -> Path:
        return self.root / ref.name


class Mesh:
    """A pool, and all that came out of it."""

    def __init__(self, pool: WorkerPool, models: Models, files: Files, logs: list[LogRecord], root: Path) -> None:
        self.pool = pool
        self.models = models
        self.files = files
        self.logs = logs
        self.root = root
        self.objects: list[JsonObject] = []

    async def take(self, value: JsonObject) -> None:
        self.objects.append(value)

    async def run(self, call: Call) -> Outcome:
        return await self.pool.run(call, self.take)

    def said(self) -> str:
        return "\n".join(record.message for record in self.logs)


def call(how: str = "", *, satellite: str = "satellite/test/mischief", **given: object) -> Call:
    return Call(
        run_id="run-1",
        cluster="acme/demo",
        step="a-step",
        invocation_id="inv-1",
        attempt=1,
        satellite=satellite,
        config={},
        input={"how": how, **given},
        secrets={"TOKEN": "hunter2-hunter2"},
        timeout_s=60.0,
        memory_bytes=512 * MIB,
        cpu=1.0,
        allow_private_addresses=False,
        pool_key="acme/demo",
    )


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "package"
    info = folder / "mischief-1.0.dist-info"
    info.mkdir(parents=True)
    (folder / "mischief.py").write_text(MISCHIEF)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mischief\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[orbit.satellites]\nmischief = mischief:Mischief\nstream = mischief:Stream\ntyped = mischief:Typed\n"
        "broken = mischief:Missing\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return folder


@pytest.fixture
async def mesh(tmp_path: Path, package: Path) -> AsyncIterator[Mesh]:
    logs: list[LogRecord] = []
    models, files, root = Models(), Files(tmp_path / "blobs"), tmp_path / "scratch"
    pool = WorkerPool(
        scratch_root=root,
        size=2,
        models=models,
        files=files,
        on_log=lambda _, record: logs.append(record),
        redact=lambda text: text.replace("agent-secret", "***"),
    )
    await pool.start()
    yield Mesh(pool, models, files, logs, root)
    await pool.close()
    assert not root.exists()
    assert processes_of(root) == []


def processes_of(root: Path) -> list[int]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("ORBIT_SCRATCH_ROOT") == str(root) and process.status() != "zombie":
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


async def eventually(condition: Callable[[], bool], *, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not come true in time"
        await asyncio.sleep(0.02)


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == "zombie"
    except psutil.NoSuchProcess:
        return True


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


async def test_an_attempt_that_hangs_is_killed_and_its_stack_is_in_the_log(mesh: Mesh) -> None:
    outcome = await mesh.run(replace(call("hang"), timeout_s=0.5))
    assert (outcome.status, outcome.code, outcome.retryable) == ("failed", "timeout", True)
    assert "0.5 s" in outcome.message
    assert "in do_hang" in mesh.said()
    assert (await mesh.run(call(satellite="satellite/orbit/echo"))).status == "succeeded"


async def test_a_process_that_exits_costs_one_attempt(mesh: Mesh) -> None:
    outcome = await mesh.run(call("exit"))
    assert (outcome.code, outcome.retryable) == ("worker-exited", True)
    assert "status 3" in outcome.message
    assert "last words" in mesh.said()

    outcome = await mesh.run(call("segfault"))
    assert (outcome.code, outcome.retryable) == ("worker-exited", True)
    assert "SIGSEGV" in outcome.message
    assert "Segmentation fault" in mesh.said()

    assert (await mesh.run(call(satellite="satellite/orbit/echo"))).status == "succeeded"


async def test_an_attempt_that_eats_memory_is_stopped_at_its_limit(mesh: Mesh) -> None:
    outcome = await mesh.run(replace(call("eat"), memory_bytes=192 * MIB))
    assert (outcome.code, outcome.retryable) == ("memory-limit", False)
    assert "192 MiB" in outcome.message
    assert 192 * MIB < outcome.peak_memory_bytes < 512 * MIB


async def test_what_earlier_attempts_left_in_a_process_is_not_held_against_an_input(mesh: Mesh) -> None:
    roomy = replace(call("hoard", bytes=200 * MIB), memory_bytes=512 * MIB)
    await mesh.run(roomy)
    outcome = await mesh.run(replace(call("eat"), memory_bytes=512 * MIB))
    assert (outcome.code, outcome.retryable) == ("memory-limit", True)

    await mesh.run(roomy)
    await mesh.run(replace(call("who"), memory_bytes=512 * MIB))
    await mesh.run(replace(call("who"), memory_bytes=256 * MIB))
    _, hoarder, roomier, smaller = (value["pid"] for value in mesh.objects)
    assert hoarder == roomier != smaller


async def test_one_allocation_far_above_the_limit_fails_inside_the_process(mesh: Mesh) -> None:
    outcome = await mesh.run(replace(call("gulp", bytes=4096 * MIB), memory_bytes=128 * MIB))
    assert (outcome.code, outcome.retryable) == ("memory-limit", False)
    assert outcome.peak_memory_bytes < 1024 * MIB


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


async def test_processes_are_used_again_for_the_same_key_only(mesh: Mesh) -> None:
    for key in ("a", "a", "b"):
        assert (await mesh.run(replace(call("who"), pool_key=key))).status == "succeeded"
    first, second, third = (value["pid"] for value in mesh.objects)
    assert first == second != third


async def test_a_process_is_given_up_after_so_many_attempts(tmp_path: Path, package: Path) -> None:
    pool = WorkerPool(
        scratch_root=tmp_path / "few", size=1, models=Models(), files=Files(tmp_path / "blobs"),
        on_log=lambda *_: None, attempts_max=2, idle_s=0.3,
    )  # fmt: skip
    await pool.start()
    try:
        pids: list[int] = []

        async def take(value: JsonObject) -> None:
            pids.append(value["pid"])

        for _ in range(3):
            await pool.run(call("who"), take)
        assert pids[0] == pids[1] != pids[2]
        await eventually(lambda: gone(pids[2]))  # idle for too long
    finally:
        await pool.close()


async def test_what_a_satellite_leaves_running_ends_with_its_attempt(mesh: Mesh) -> None:
    assert (await mesh.run(call("leave_process"))).status == "succeeded"
    (value,) = mesh.objects
    await eventually(lambda: gone(value["child"]) and gone(value["pid"]))

    assert (await mesh.run(call("thread"))).status == "succeeded"
    await eventually(lambda: gone(mesh.objects[-1]["pid"]))


async def test_a_cancelled_attempt_is_killed_with_all_it_started(mesh: Mesh, tmp_path: Path) -> None:
    told = tmp_path / "told"
    running = asyncio.create_task(mesh.run(call("spawn_and_hang", tell=str(told))))
    await eventually(lambda: told.exists() and len(told.read_text().split()) == 2)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    for pid in map(int, told.read_text().split()):
        await eventually(lambda pid=pid: gone(pid))
    assert list(mesh.root.glob("attempt-*")) == []


async def test_what_on_object_raises_comes_out_and_the_process_is_not_used_again(mesh: Mesh) -> None:
    async def refuse(value: JsonObject) -> None:
        raise OSError("the outbox is full")

    with pytest.raises(OSError, match="outbox"):
        await mesh.pool.run(call(satellite="satellite/test/stream", count=10), refuse)
    assert (await mesh.run(call(satellite="satellite/orbit/echo"))).status == "succeeded"


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


async def test_more_calls_than_processes_wait_their_turn(mesh: Mesh) -> None:
    sleeping = replace(call(satellite="satellite/orbit/sleep"), config={"seconds": 0.05})
    outcomes = await asyncio.gather(*(mesh.run(sleeping) for _ in range(8)))
    assert [outcome.status for outcome in outcomes] == ["succeeded"] * 8
    assert len(mesh.pool._idle) <= 2


@pytest.mark.parametrize("turns", [0, 1, 2, 3, 5, 8, 13])
async def test_closing_while_processes_start_leaves_none(tmp_path: Path, package: Path, turns: int) -> None:
    root = tmp_path / "scratch"
    pool = WorkerPool(
        scratch_root=root, size=2, models=Models(), files=Files(tmp_path / "blobs"), on_log=lambda *_: None
    )
    await pool.start()
    for _ in range(turns):
        await asyncio.sleep(0)
    await pool.close()
    assert processes_of(root) == []


async def test_closing_the_pool_ends_what_runs(mesh: Mesh) -> None:
    running = asyncio.create_task(mesh.run(replace(call(satellite="satellite/orbit/sleep"), config={"seconds": 600})))
    await eventually(lambda: bool(mesh.pool._busy) and next(iter(mesh.pool._busy)).serving is not None)
    await mesh.pool.close()
    assert (await running).code == "worker-exited"
    assert (await mesh.run(call())).code == "worker-start-failed"


async def test_a_worker_that_cannot_start_says_why(mesh: Mesh, package: Path) -> None:
    pool = mesh.pool
    await eventually(lambda: len(pool._spares) == 2)
    (package / "satellites.py").write_text("raise RuntimeError('broken installation')")
    (package / "orbit_agent.py").write_text("raise RuntimeError('broken installation')")
    for spare in pool._spares:
        await spare.close()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("orbit_agent.__file__", str(package / "orbit_agent" / "__init__.py"))
        outcome = await mesh.run(call())
    assert (outcome.code, outcome.retryable) == ("worker-start-failed", True)
    assert "broken installation" in outcome.message


AGENT = textwrap.dedent(
    """
    import asyncio, sys
    from pathlib import Path
    sys.path.insert(0, {repository!r})
    from orbit_agent.workers import Call, WorkerPool

    async def main():
        pool = WorkerPool(scratch_root=Path({root!r}), size=2, models=None, files=None, on_log=lambda *_: None)
        await pool.start()
        call = Call("run", "c", "s", "inv", 1, "satellite/test/mischief", {{}},
                    {{"how": "spawn_and_hang", "tell": {told!r}}}, {{"TOKEN": "x"}}, 600.0, 2**29, 1.0, False, "k")
        await pool.run(call, None)

    asyncio.run(main())
    """
)


async def test_workers_do_not_outlive_an_agent_that_is_killed(tmp_path: Path, package: Path) -> None:
    root, told = tmp_path / "scratch", tmp_path / "told"
    repository = str(Path(__file__).parents[2])
    program = AGENT.format(repository=repository, root=str(root), told=str(told))
    agent = await asyncio.create_subprocess_exec(sys.executable, "-c", program)
    try:
        await eventually(lambda: told.exists() and len(told.read_text().split()) == 2)
        worker, stray = map(int, told.read_text().split())
        os.kill(agent.pid, signal.SIGKILL)
        await eventually(lambda: gone(worker))
        # One that was just starting notices as soon as it can.
        await eventually(lambda: [pid for pid in processes_of(root) if pid != stray] == [])
    finally:
        with contextlib.suppress(ProcessLookupError):
            agent.kill()
        await agent.wait()

    # What the satellite itself had started goes when the agent comes back.
    pool = WorkerPool(
        scratch_root=root, size=1, models=Models(), files=Files(tmp_path / "blobs"), on_log=lambda *_: None
    )
    assert root.exists()
    await pool.start()
    await eventually(lambda: gone(stray))
    await pool.close()
