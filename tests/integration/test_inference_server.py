"""The model server with real processes over the tiny models: sharing, crashes, cancellation, memory, bad models."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from orbit_agent.inference import process as process_module
from orbit_agent.inference import server as server_module
from orbit_agent.inference.api import EmbedRequest, GenerateRequest, Message, ScoreRequest
from orbit_agent.inference.backend import LoadSettings
from orbit_agent.inference.errors import (
    CorruptModelError,
    InferenceError,
    InvalidGenerationError,
    ModelCrashedError,
    NoRoomError,
    ProviderError,
    UnknownModelError,
    UnsupportedModelError,
    UnsupportedSchemaError,
)
from orbit_agent.inference.process import ModelProcess
from orbit_agent.inference.providers import CPU
from orbit_agent.inference.server import ModelServer
from orbit_agent.models.store import ModelStore
from orbit_core.errors import InternalError
from orbit_core.limits import GIB, MIB

DATA = Path(__file__).parents[1] / "data"
LONG = GenerateRequest("long", "tiny", prompt="revenue of the quarter", max_new_tokens=450)
SHORT = GenerateRequest("short", "tiny", messages=(Message("user", "Hello"),), max_new_tokens=8)


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    store = ModelStore(tmp_path / "store", packaged_root=tmp_path / "packaged")
    store.add("tiny", f"folder:{DATA / 'tiny_llm'}")
    store.add("embedder", f"folder:{DATA / 'tiny_embedder'}")
    store.add("classifier", f"folder:{DATA / 'tiny_classifier'}")
    return store


@pytest.fixture
async def server(store: ModelStore) -> AsyncIterator[ModelServer]:
    server = ModelServer(store, threads=1, memory_limit_bytes=2 * GIB)
    await server.start()
    yield server
    await server.close()


def process_of(server: ModelServer, name: str) -> ModelProcess:
    return server._loaded[name].process


async def in_flight(process: ModelProcess, count: int) -> None:
    """Waits until the process holds `count` requests."""
    async with asyncio.timeout(30):
        while process.in_flight != count:  # noqa: ASYNC110  the process says it to nobody but who asks
            await asyncio.sleep(0.005)


async def test_one_loaded_model_is_shared_by_all_requests(server: ModelServer) -> None:
    results = await asyncio.gather(*(server.generate(replace(SHORT, id=str(n))) for n in range(40)))
    assert len({result.text for result in results}) == 1
    assert len(server._loaded) == 1
    assert results[0].output_tokens == 8


async def test_states_are_advertised(server: ModelServer, store: ModelStore) -> None:
    assert [(m.name, m.state, m.memory_bytes) for m in server.loaded()] == [
        ("classifier", "cold", 0),
        ("embedder", "cold", 0),
        ("tiny", "cold", 0),
    ]
    pulled = store.pull("tiny")
    assert {m.name: m.state for m in server.loaded()}["tiny"] == "cached"
    await server.warm("tiny")
    tiny = {m.name: m for m in server.loaded()}["tiny"]
    assert (tiny.state, tiny.hash, tiny.provider, tiny.task) == ("warm", pulled.hash, CPU, "generate")
    assert tiny.memory_bytes > 10 * MIB
    await server.unload("tiny")
    assert {m.name: m.state for m in server.loaded()}["tiny"] == "cached"


async def test_a_second_load_starts_no_second_process(server: ModelServer) -> None:
    await asyncio.gather(*(server.warm("tiny") for _ in range(5)))
    pid = process_of(server, "tiny").pid
    await server.warm("tiny")
    assert process_of(server, "tiny").pid == pid


async def test_a_load_takes_the_process_that_stands_by(server: ModelServer) -> None:
    await server.standing_by()
    assert server._spare is not None
    ready = (await server._spare).pid
    await server.warm("tiny")
    assert process_of(server, "tiny").pid == ready
    await server.standing_by()
    assert (await server._spare).pid != ready


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what a process has mapped")
async def test_a_process_that_stands_by_has_done_what_needs_no_model() -> None:
    process = await ModelProcess.start()
    try:
        await process.standing_by()
        mapped = {Path(each.path).name.split(".")[0] for each in psutil.Process(process.pid).memory_maps()}
        assert {"onnxruntime_pybind11_state", "tokenizers", "_lib"} <= mapped, mapped
    finally:
        await process.close()


async def test_encoders_are_served_beside_decoders(server: ModelServer) -> None:
    embedded, scored, generated = await asyncio.gather(
        server.embed(EmbedRequest("1", "embedder", ("one", "two"))),
        server.score(ScoreRequest("2", "classifier", (("good news", None),))),
        server.generate(SHORT),
    )
    assert [len(vector) for vector in embedded.vectors] == [32, 32]
    assert scored.labels == ("buy", "hold", "sell")
    assert generated.output_tokens == 8
    with pytest.raises(InvalidGenerationError, match="there to embed"):
        await server.generate(replace(SHORT, model="embedder"))


async def test_a_killed_process_fails_what_it_held_and_the_next_request_works(server: ModelServer) -> None:
    await server.warm("tiny")
    process = process_of(server, "tiny")
    held = [asyncio.create_task(server.generate(replace(LONG, id=str(n)))) for n in range(5)]
    await in_flight(process, 5)
    os.kill(process.pid, signal.SIGKILL)
    outcomes = await asyncio.gather(*held, return_exceptions=True)
    assert all(isinstance(outcome, ModelCrashedError) and outcome.retryable for outcome in outcomes)
    assert "SIGKILL" in str(outcomes[0])
    assert (await server.generate(SHORT)).output_tokens == 8
    assert process_of(server, "tiny").pid != process.pid


async def test_a_crash_of_one_model_does_not_touch_another(server: ModelServer) -> None:
    await asyncio.gather(server.warm("tiny"), server.warm("embedder"))
    os.kill(process_of(server, "embedder").pid, signal.SIGKILL)
    assert (await server.generate(SHORT)).output_tokens == 8


async def test_cancelling_a_request_frees_the_engine(store: ModelStore) -> None:
    server = ModelServer(store, threads=1, memory_limit_bytes=2 * GIB, max_slots=1)
    await server.start()
    try:
        await server.warm("tiny")
        process = process_of(server, "tiny")
        # Minutes of work for one slot: the short text comes in time only if all of it was dropped.
        held = [asyncio.create_task(server.generate(replace(LONG, id=str(n)))) for n in range(5_000)]
        await in_flight(process, 5_000)
        for task in held:
            task.cancel()
        await asyncio.wait(held)
        assert process.in_flight == 0
        async with asyncio.timeout(30):
            await server.generate(SHORT)
    finally:
        await server.close()


async def test_a_caller_that_is_cancelled_during_a_load_takes_it_from_nobody(server: ModelServer) -> None:
    first = asyncio.create_task(server.warm("tiny"))
    second = asyncio.create_task(server.generate(SHORT))
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).output_tokens == 8


async def test_bad_requests_fail_alone(server: ModelServer) -> None:
    good = [asyncio.create_task(server.generate(replace(SHORT, id=str(n)))) for n in range(5)]
    with pytest.raises(UnknownModelError):
        await server.generate(replace(SHORT, model="nothing"))
    with pytest.raises(UnsupportedSchemaError, match="cannot be held"):
        await server.generate(replace(SHORT, json_schema={"not": {}}))
    with pytest.raises(InferenceError, match="temperature is -1"):
        await server.generate(replace(SHORT, sampling=replace(SHORT.sampling, temperature=-1.0)))
    with pytest.raises(InvalidGenerationError, match="cannot be sent"):
        await server.generate(replace(SHORT, json_schema={"const": {1, 2}}))
    assert [result.output_tokens for result in await asyncio.gather(*good)] == [8] * 5


async def test_a_damaged_model_is_refused_and_the_server_goes_on(server: ModelServer, store: ModelStore) -> None:
    data = store.open("tiny").folder / "model.onnx.data"
    content = bytearray(data.read_bytes())
    content[500] ^= 255
    data.write_bytes(content)
    with pytest.raises(CorruptModelError, match=r"model\.onnx\.data"):
        await server.generate(SHORT)
    assert (await server.embed(EmbedRequest("1", "embedder", ("x",)))).vectors
    store.pull("tiny")
    assert (await server.generate(SHORT)).output_tokens == 8


async def test_a_graph_that_cannot_be_loaded_is_an_error(
    server: ModelServer, store: ModelStore, tmp_path: Path
) -> None:
    shutil.copytree(DATA / "tiny_llm", tmp_path / "broken")
    (tmp_path / "broken" / "model.onnx").write_bytes(b"\xff\xff not a graph")
    store.add("broken", f"folder:{tmp_path / 'broken'}")
    with pytest.raises(UnsupportedModelError, match="cannot be"):
        await server.warm("broken")
    assert (await server.generate(SHORT)).output_tokens == 8


async def test_a_process_that_cannot_start_says_why(
    server: ModelServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "broken-code" / "orbit_agent"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise SystemExit('this installation is broken')")
    monkeypatch.setattr(process_module, "child_environment", lambda: {"PYTHONPATH": str(broken.parent)})
    process = await ModelProcess.start()
    try:
        with pytest.raises(ModelCrashedError, match="this installation is broken"):
            await process.load(DATA / "tiny_llm", LoadSettings(CPU, 1, 64 * MIB))
        with pytest.raises(ModelCrashedError, match="exited with status 1"):
            await process.ask(SHORT)
    finally:
        await process.close()


async def test_an_idle_model_makes_way_for_another(store: ModelStore) -> None:
    room_for_one = server_module.PROCESS_BYTES + server_module.CACHE_MIN_BYTES + 64 * MIB
    server = ModelServer(store, threads=1, memory_limit_bytes=room_for_one)
    await server.start()
    try:
        await server.warm("embedder")
        await server.warm("tiny")
        assert {m.name for m in server.loaded() if m.state == "warm"} == {"tiny"}
        held = asyncio.create_task(server.generate(LONG))
        await in_flight(process_of(server, "tiny"), 1)
        with pytest.raises(NoRoomError, match="beside models in use") as caught:
            await server.warm("embedder")
        assert caught.value.retryable
        assert (await held).output_tokens > 0
    finally:
        await server.close()


async def test_a_model_that_never_fits_is_refused(store: ModelStore) -> None:
    server = ModelServer(store, threads=1, memory_limit_bytes=64 * MIB)
    await server.start()
    try:
        with pytest.raises(NoRoomError, match="of memory"):
            await server.warm("tiny")
    finally:
        await server.close()


async def test_closing_ends_every_process_and_fails_what_was_held(store: ModelStore) -> None:
    server = ModelServer(store, threads=1, memory_limit_bytes=2 * GIB)
    await server.start()
    await server.warm("tiny")
    process = process_of(server, "tiny")
    held = asyncio.create_task(server.generate(LONG))
    await in_flight(process, 1)
    before = {child.pid for child in psutil.Process().children()}
    assert process.pid in before
    await server.close()
    with pytest.raises(ModelCrashedError):
        await held
    assert not before & {child.pid for child in psutil.Process().children()}
    with pytest.raises(InternalError, match="before its start or after its end"):
        await server.generate(SHORT)


async def test_closing_during_a_load_is_an_error_and_no_cancellation(store: ModelStore) -> None:
    server = ModelServer(store, threads=1, memory_limit_bytes=2 * GIB)
    await server.start()
    waiting = asyncio.create_task(server.generate(SHORT))
    await asyncio.sleep(0)
    await server.close()
    with pytest.raises(ModelCrashedError, match="was closed"):
        await waiting


async def test_a_provider_that_does_not_work_here_is_refused_at_the_start(store: ModelStore) -> None:
    server = ModelServer(store, threads=1, memory_limit_bytes=GIB, provider="NoSuchExecutionProvider")
    with pytest.raises(ProviderError, match="NoSuchExecutionProvider does not work here"):
        await server.start()
    await server.close()


async def test_what_was_chosen_is_logged(store: ModelStore, caplog: pytest.LogCaptureFixture) -> None:
    server = ModelServer(store, threads=1, memory_limit_bytes=GIB)
    with caplog.at_level(logging.INFO, "orbit.inference"):
        await server.start()
        try:
            await server.warm("tiny")
        finally:
            await server.close()
    assert f"inference runs on {CPU}" in caplog.text
    assert f"batching on {CPU}" in caplog.text


async def test_the_agents_loop_imports_no_runtime_and_goes_on_during_a_load(store: ModelStore, tmp_path: Path) -> None:
    """In an agent of its own: what this test process has imported says nothing."""
    program = """
import asyncio, json, sys
from pathlib import Path
from orbit_agent.inference.api import GenerateRequest
from orbit_agent.inference.server import ModelServer
from orbit_agent.models.store import ModelStore

async def main(root):
    server = ModelServer(ModelStore(Path(root)), threads=1, memory_limit_bytes=1 << 30)
    await server.start()
    beats = 0
    task = asyncio.create_task(server.generate(GenerateRequest("1", "tiny", prompt="x", max_new_tokens=300)))
    while not task.done():
        await asyncio.sleep(0)
        beats += 1
    await task
    await server.close()
    heavy = [name for name in ("onnxruntime", "onnxruntime_genai", "llguidance", "tokenizers") if name in sys.modules]
    print(json.dumps({"beats": beats, "heavy": heavy}))

asyncio.run(main(sys.argv[1]))
"""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        program,
        str(tmp_path / "store"),
        stdout=asyncio.subprocess.PIPE,
        cwd=DATA.parents[1],
    )
    output, _ = await process.communicate()
    assert process.returncode == 0
    answer = json.loads(output)
    assert answer["heavy"] == []
    assert answer["beats"] > 100
