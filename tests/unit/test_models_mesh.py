"""The mesh's registrations on an agent: mirrored from the store, pinned once, kept by label, pulled, asked again."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from orbit_agent.inference.api import EmbedRequest, EmbedResult, GenerateRequest, GenerateResult, ScoreRequest
from orbit_agent.inference.errors import (
    CorruptModelError,
    InferenceError,
    MisplacedModelError,
    ModelCrashedError,
    ModelSourceError,
    PromptTooLongError,
    ProviderError,
    UnknownModelError,
)
from orbit_agent.models.agent_models import AgentModels, cached, warm
from orbit_agent.models.mesh import MeshModels, Pinner
from orbit_agent.models.pulls import Pulled, Pulls
from orbit_agent.models.resending import RESENDS_MAX, Resending
from orbit_agent.models.store import ModelStore
from orbit_agent.models.threads import apart
from orbit_core.errors import InvalidRequestError, ModelError
from orbit_core.pb.orbit.v1 import agents_pb2
from orbit_core.store.keys import Keys
from orbit_core.store.memory import MemoryStore
from orbit_core.store.models import Manifest, ModelFile, ModelRecord, check_source

KEYS = Keys()


def model_folder(path: Path, content: str = "weights") -> Path:
    path.mkdir(parents=True, exist_ok=True)
    (path / "genai_config.json").write_text("{}")
    (path / "model.onnx").write_text(content)
    return path


@dataclass
class Machine:
    """One agent's models over the mesh's store. `changed`: what it was told is no longer what it was."""

    models: ModelStore
    mesh: MeshModels
    changed: list[str] = field(default_factory=list)
    news: int = 0
    swept: int = 0
    task: asyncio.Task[None] | None = None

    async def stop(self) -> None:
        assert self.task is not None
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    def names(self) -> list[str]:
        return [stored.registration.name for stored in self.models.list()]

    def manifest(self, name: str) -> Manifest | None:
        return self.models.registration(name).manifest


@pytest.fixture
def etcd() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
async def machine(
    etcd: MemoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Callable[..., Awaitable[Machine]]]:
    """Starts agents' models, each with a cache of its own."""
    started: list[Machine] = []

    async def start(name: str = "a", **labels: str) -> Machine:
        packaged = tmp_path / "packaged"
        models = ModelStore(tmp_path / name, packaged_root=packaged, labels=labels, pin=Pinner(etcd, KEYS))
        sweep = models.sweep

        async def changed(name: str) -> None:
            agent.changed.append(name)

        def news() -> None:
            agent.news += 1

        def swept(**options: Any) -> None:
            sweep(**options)
            agent.swept += 1

        monkeypatch.setattr(models, "sweep", swept)
        agent = Machine(models, MeshModels(etcd, KEYS, models, changed, news))
        started.append(agent)
        agent.task = asyncio.create_task(agent.mesh.run())
        await agent.mesh.known.wait()
        return agent

    yield start
    for agent in started:
        await agent.stop()


async def register(etcd: MemoryStore, name: str, source: str, *, added_ms: int = 1, **labels: str) -> None:
    await etcd.put(KEYS.model(name), ModelRecord(name, source, labels, added_ms).encode())


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  the watch says it to nobody but the store
            await asyncio.sleep(0.005)


async def test_registrations_are_followed(etcd: MemoryStore, machine: Any, tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "source")
    await register(etcd, "early", f"folder:{folder}")
    agent = await machine()
    assert agent.names() == ["early"]
    await register(etcd, "late", f"folder:{folder}")
    await until(lambda: agent.names() == ["early", "late"])
    await etcd.delete(KEYS.model("early"))
    await until(lambda: agent.names() == ["late"])
    await until(lambda: agent.changed == ["early"])
    assert agent.news >= 3


async def test_a_registration_that_cannot_be_read_does_not_hide_the_others(etcd: MemoryStore, machine: Any) -> None:
    await etcd.put(KEYS.model("broken"), b"{")
    await register(etcd, "good", "hf:a/b")
    assert (await machine()).names() == ["good"]


async def test_who_fetches_first_pins_for_all(etcd: MemoryStore, machine: Any, tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "source")
    await register(etcd, "m", f"folder:{folder}")
    first, second = await machine("a"), await machine("b")
    manifest = await asyncio.to_thread(first.models.pull, "m")
    stored = await etcd.get(KEYS.model("m"))
    assert stored is not None and ModelRecord.decode("m", stored.value).manifest == manifest
    await until(lambda: second.manifest("m") == manifest)
    assert not second.models.cached("m"), "pinned is not fetched"
    (folder / "model.onnx").write_text("others")
    with pytest.raises(CorruptModelError, match="no longer holds what m was pinned to"):
        await asyncio.to_thread(second.models.open, "m")
    (folder / "model.onnx").write_text("weights")
    assert (await asyncio.to_thread(second.models.open, "m")).manifest.hash == manifest.hash
    assert first.changed == second.changed == [], "being pinned changes nothing"


async def test_two_that_fetch_different_files_at_once_agree_on_one(
    etcd: MemoryStore, machine: Any, tmp_path: Path
) -> None:
    """The second has not heard of the first one's pin when it is done: it must not use what it has."""
    folder = model_folder(tmp_path / "source")
    await register(etcd, "m", f"folder:{folder}")
    agent = await machine()
    unpinned = agent.models.registration("m")
    manifest = await asyncio.to_thread(agent.models.pull, "m")
    pin = Pinner(etcd, KEYS)
    await asyncio.to_thread(pin, unpinned, manifest)  # the same files: well and good
    other = replace(manifest, files=(ModelFile("model.onnx", 1, "ab"),))
    with pytest.raises(ModelSourceError, match="another agent has pinned m"):
        await asyncio.to_thread(pin, unpinned, other)
    with pytest.raises(ModelSourceError, match="changed while it was fetched"):
        await asyncio.to_thread(pin, replace(unpinned, added_ms=7), manifest)
    await etcd.delete(KEYS.model("m"))
    with pytest.raises(ModelSourceError, match="changed while it was fetched"):
        await asyncio.to_thread(pin, unpinned, manifest)


async def test_a_model_added_anew_is_fetched_anew(etcd: MemoryStore, machine: Any, tmp_path: Path) -> None:
    await register(etcd, "m", f"folder:{model_folder(tmp_path / 'one')}")
    agent = await machine()
    before = await asyncio.to_thread(agent.models.pull, "m")
    with agent.models.holding(before):
        await register(etcd, "m", f"folder:{model_folder(tmp_path / 'two', 'better')}", added_ms=2)
        await until(lambda: agent.changed == ["m"])
        assert agent.manifest("m") is None and not agent.models.cached("m")
    after = await asyncio.to_thread(agent.models.open, "m")
    assert after.manifest.hash != before.hash


async def test_labels_keep_a_model_to_some_agents(etcd: MemoryStore, machine: Any, tmp_path: Path) -> None:
    await register(etcd, "m", f"folder:{model_folder(tmp_path / 'source')}", gpu="yes", site="home")
    allowed, refused = await machine("a", gpu="yes", site="home", more="1"), await machine("b", gpu="yes")
    await asyncio.to_thread(allowed.models.open, "m")
    assert [stored.barred for stored in allowed.models.list() + refused.models.list()] == [False, True]
    with pytest.raises(MisplacedModelError, match="kept to agents labelled gpu=yes, site=home") as caught:
        await asyncio.to_thread(refused.models.open, "m")
    assert caught.value.retryable


async def test_files_of_a_removed_model_go_unless_they_are_in_use(
    etcd: MemoryStore, machine: Any, tmp_path: Path
) -> None:
    agent = await machine()
    folders: dict[str, Path] = {}
    for name in ("used", "idle"):
        await register(etcd, name, f"folder:{model_folder(tmp_path / name, name)}")
        await until(lambda name=name: name in agent.names())
        folders[name] = (await asyncio.to_thread(agent.models.open, name)).folder
    used = agent.manifest("used")
    with agent.models.holding(used):
        for name in folders:
            await etcd.delete(KEYS.model(name))
        await until(lambda: not folders["idle"].exists())
        await until(lambda: agent.changed == ["used", "idle"])
        assert folders["used"].exists()
        await until(lambda: agent.swept >= 3)
    assert not folders["used"].exists(), "nobody is left who would free it later"


async def test_files_of_a_model_removed_while_the_agent_was_away_go(
    etcd: MemoryStore, machine: Any, tmp_path: Path
) -> None:
    await register(etcd, "m", f"folder:{model_folder(tmp_path / 'source')}")
    before = await machine()
    folder = (await asyncio.to_thread(before.models.open, "m")).folder
    await machine()
    assert folder.exists(), "the mesh still names it"
    await before.stop()
    await etcd.delete(KEYS.model("m"))
    await machine()
    assert not folder.exists()


async def test_a_picture_older_than_its_own_pin_takes_nothing_from_an_agent(
    etcd: MemoryStore, machine: Any, tmp_path: Path
) -> None:
    await register(etcd, "m", f"folder:{model_folder(tmp_path / 'source')}")
    agent = await machine()
    unpinned = agent.models.registration("m")
    folder = (await asyncio.to_thread(agent.models.open, "m")).folder
    assert agent.models.mirror({"m": unpinned}) == ()
    agent.models.sweep()
    assert folder.exists() and agent.manifest("m") is not None
    assert len(agent.models.mirror({"m": replace(unpinned, added_ms=2)})) == 1, "another registration is not pinned"


async def test_a_pull_is_done_once_and_tells_how_it_ended(etcd: MemoryStore, machine: Any, tmp_path: Path) -> None:
    agent = await machine()
    news: list[None] = []
    pulls = Pulls(agent.models, agent.mesh.look, lambda: news.append(None))
    assert pulls.ended() == {}
    await register(etcd, "m", f"folder:{model_folder(tmp_path / 'source')}")
    pulls.ask("m", "p1")  # the watch may not have brought the registration yet
    pulls.ask("m", "p1")
    await until(lambda: pulls.ended().get("m") == Pulled("p1"))
    assert agent.models.cached("m") and len(news) == 1
    (agent.models.open("m").folder / "model.onnx").write_text("damage")
    pulls.ask("m", "p2")
    await until(lambda: pulls.ended().get("m") == Pulled("p2"))
    assert (agent.models.open("m").folder / "model.onnx").read_text() == "weights", "what is damaged is fetched again"
    pulls.ask("nobody", "p3")
    await until(lambda: "nobody" in pulls.ended())
    assert "there is no model 'nobody'" in pulls.ended()["nobody"].failure
    await pulls.close()


class Scripted:
    """A server that raises what it was told to, and then answers."""

    def __init__(self, *errors: InferenceError) -> None:
        self.errors = list(errors)
        self.asked = 0

    async def generate(self, request: GenerateRequest) -> GenerateResult:
        self.asked += 1
        if self.errors:
            raise self.errors.pop(0)
        return GenerateResult(request.id, "stop", 1, 1)

    async def embed(self, request: EmbedRequest) -> EmbedResult:
        raise NotImplementedError

    async def score(self, request: ScoreRequest) -> Any:
        raise NotImplementedError


REQUEST = GenerateRequest("r", "m", prompt="hi")


async def known(name: str) -> bool:
    return name == "m"


async def unknown(name: str) -> bool:
    return False


async def test_what_a_dead_process_held_is_asked_again_but_not_for_ever() -> None:
    server = Scripted(*[ModelCrashedError()] * RESENDS_MAX)
    assert (await Resending(server, unknown).generate(REQUEST)).text == "r"
    assert server.asked == RESENDS_MAX + 1
    server = Scripted(*[ModelCrashedError()] * (RESENDS_MAX + 1))
    with pytest.raises(ModelCrashedError):
        await Resending(server, unknown).generate(REQUEST)
    assert server.errors == []


async def test_an_unknown_model_is_looked_up_once() -> None:
    assert (await Resending(Scripted(UnknownModelError()), known).generate(REQUEST)).text == "r"
    for look, errors in ((unknown, 1), (known, 2)):
        server = Scripted(*[UnknownModelError()] * errors)
        with pytest.raises(UnknownModelError):
            await Resending(server, look).generate(REQUEST)
        assert server.errors == []


async def test_other_errors_are_not_asked_again() -> None:
    server = Scripted(PromptTooLongError())
    with pytest.raises(PromptTooLongError):
        await Resending(server, known).generate(REQUEST)
    assert server.asked == 1


def test_records_survive_their_storage() -> None:
    manifest = Manifest("m", "hf:a/b@main", "c0ffee", (ModelFile("model.onnx", 3, "ab" * 32),))
    record = ModelRecord("m", "hf:a/b@main", {"gpu": "yes"}, 12, manifest)
    assert ModelRecord.decode("m", record.encode()) == record
    assert ModelRecord.decode("m", replace(record, manifest=None).encode()).manifest is None
    for data in (b"", b"[]", b'{"source": "x"}', record.encode().replace(b"model.onnx", b"../../up")):
        with pytest.raises(ModelError):
            ModelRecord.decode("m", data)


@pytest.mark.parametrize(
    "source", ["folder:/m", "s3://bucket", "s3://bucket/a/b", "hf:a/b", "hf:a/b/cpu@main", "hf:a/b@0", "package:demo"]
)
def test_sources_that_the_mesh_takes(source: str) -> None:
    check_source(source)


@pytest.mark.parametrize("source", ["", "a/b", "hf:a", "hf:a/b@", "hf:a/b@c@d", "s3:/b", "package:../x", "http://x/y"])
def test_sources_that_it_refuses(source: str) -> None:
    with pytest.raises(InvalidRequestError, match="names no source"):
        check_source(source)


async def test_an_agent_without_a_runtime_does_without(
    etcd: MemoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orbit_agent.models.agent_models.installed_wheels", dict)
    models = await AgentModels.create(tmp_path, (etcd, KEYS), labels={}, threads=1, memory_limit_bytes=1 << 30)
    await models.start()
    assert models.providers == ()
    with pytest.raises(ProviderError, match="no runtime for models"):
        await models.inference.generate(REQUEST)
    await models.close()


async def test_what_an_agent_tells_of_its_models(etcd: MemoryStore, tmp_path: Path) -> None:
    await register(etcd, "kept", "folder:/nowhere", gpu="yes")
    await register(etcd, "mine", f"folder:{model_folder(tmp_path / 'source')}")
    models = await AgentModels.create(
        tmp_path / "models", (etcd, KEYS), labels={}, threads=1, memory_limit_bytes=1 << 30
    )
    running = asyncio.create_task(models.run())
    await models.registered()
    models.pull(agents_pb2.PullModelCommand(name="mine", pull_id="p1"))
    async with asyncio.timeout(10):
        while not (said := {each.name: each for each in await models.report()})["mine"].pull_id:
            await models.news(within_s=10)
    assert (said["kept"].state, said["kept"].barred) == (agents_pb2.MODEL_STATE_COLD, True)
    assert (said["mine"].state, said["mine"].failure) == (agents_pb2.MODEL_STATE_CACHED, "")
    assert said["mine"].size_bytes == sum(path.stat().st_size for path in (tmp_path / "source").iterdir())
    assert said["orbit-demo"].state == agents_pb2.MODEL_STATE_CACHED, "it ships: nothing need be fetched"
    assert (cached(list(said.values())), warm(list(said.values()))) == (["mine", "orbit-demo"], [])
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await models.close()


async def test_long_work_takes_no_thread_of_the_loop_and_tells_how_it_ended() -> None:
    go_on = threading.Event()
    held = [asyncio.create_task(apart(go_on.wait, 10)) for _ in range(40)]
    async with asyncio.timeout(10):
        assert await asyncio.to_thread(lambda: "free") == "free"
    held[0].cancel()  # whoever gives up waiting leaves the others be
    go_on.set()
    assert await asyncio.gather(*held[1:]) == [True] * 39
    with pytest.raises(ZeroDivisionError):
        await apart(divmod, 1, 0)
