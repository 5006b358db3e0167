"""`orbit models` against a coordinator with canned models: what is asked, printed, and ended with; and its exports."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest

from orbit_core.client.models import ModelOnAgent, Pull, _model
from orbit_core.errors import InvalidRequestError
from orbit_core.pb.orbit.v1 import agents_pb2, models_pb2, models_pb2_grpc
from tui.cli.main import run
from tui.cli.sources import full_source, is_name
from tui.export import environment, exporting, inside
from tui.export.environment import ExportError

WARM, COLD = agents_pb2.MODEL_STATE_WARM, agents_pb2.MODEL_STATE_COLD


def on_agent(agent_id: str, **fields: Any) -> models_pb2.ModelOnAgent:
    return models_pb2.ModelOnAgent(agent_id=agent_id, model=agents_pb2.AgentModel(**fields))


class FakeModels(models_pb2_grpc.ModelServiceServicer):
    """Each pull ends at the second look, if it was asked for often enough. `failing`: agents that cannot."""

    def __init__(self) -> None:
        self.models: dict[str, models_pb2.Model] = {}
        self.pulled: list[models_pb2.PullModelRequest] = []
        self.removed: list[models_pb2.RemoveModelRequest] = []
        self.failing: dict[str, str] = {}
        self.ends_at_ask = 1
        self._looks = 0

    def AddModel(self, request: Any, context: Any) -> models_pb2.AddModelResponse:
        model = models_pb2.Model(name=request.name, source=request.source, labels=request.labels)
        self.models[request.name] = model
        return models_pb2.AddModelResponse(model=model)

    def ListModels(self, request: Any, context: Any) -> models_pb2.ListModelsResponse:
        self._looks += 1
        if len(self.pulled) >= self.ends_at_ask and self._looks > 1:
            for each in self.models[self.pulled[-1].name].agents:
                each.model.pull_id = self.pulled[-1].pull_id
                each.model.failure = self.failing.get(each.agent_id, "")
        return models_pb2.ListModelsResponse(models=self.models.values())

    def PullModel(self, request: Any, context: Any) -> models_pb2.PullModelResponse:
        self.pulled.append(request)
        return models_pb2.PullModelResponse(agent_ids=["a", "b"])

    def RemoveModel(self, request: Any, context: Any) -> models_pb2.RemoveModelResponse:
        self.removed.append(request)
        return models_pb2.RemoveModelResponse(removed=self.models.pop(request.name, None) is not None)


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeModels]:
    service = FakeModels()
    server = grpc.server(ThreadPoolExecutor(4), options=(("grpc.so_reuseport", 0),))
    models_pb2_grpc.add_ModelServiceServicer_to_server(service, server)
    monkeypatch.setenv("ORBIT_ADDRESS", f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}")
    server.start()
    yield service
    server.stop(None).wait()


@pytest.fixture
def orbit(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def call(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = run(["models", *arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def held() -> models_pb2.Model:
    return models_pb2.Model(
        name="tiny",
        source="hf:acme/tiny@main",
        revision="c0ffee" * 6,
        hash="ab" * 32,
        size_bytes=3 << 20,
        labels={"gpu": "yes"},
        files=[models_pb2.ModelFile(path="model.onnx", size_bytes=3 << 20, sha256="cd" * 32)],
        agents=[
            on_agent("a", state=WARM, memory_bytes=1 << 20, provider="CPUExecutionProvider"),
            on_agent("b", state=COLD, barred=True),
            on_agent("c", state=COLD, failure="no room", pull_id="p0"),
        ],
    )


def test_add_takes_sources_as_people_write_them(models: FakeModels, orbit: Any, tmp_path: Path) -> None:
    code, out, _ = orbit("add", "tiny", "acme/tiny", "--revision", "v1", "--label", "gpu=yes", "--label", "site=home")
    assert (code, "orbit models pull tiny" in out) == (0, True)
    assert models.models["tiny"].source == "hf:acme/tiny@v1"
    assert dict(models.models["tiny"].labels) == {"gpu": "yes", "site": "home"}
    assert orbit("add", "mine", str(tmp_path))[0] == 0
    assert models.models["mine"].source == f"folder:{tmp_path}"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["Tiny", "acme/tiny"], "no name for a model"),
        (["tiny", "nothing"], "no source of models"),
        (["tiny", "hf:acme"], "no source of models"),
        (["tiny", "s3://bucket", "--revision", "v1"], "--revision is for a Hugging Face repository"),
        (["tiny", "acme/tiny", "--label", "gpu"], "KEY=VALUE"),
    ],
)
def test_what_cannot_be_added_is_2(models: FakeModels, orbit: Any, arguments: list[str], said: str) -> None:
    code, _, err = orbit("add", *arguments)
    assert (code, said in err) == (2, True), err
    assert models.models == {}


def test_list_says_where_models_are(models: FakeModels, orbit: Any) -> None:
    assert "orbit models add" in orbit("list")[1]
    models.models["tiny"] = held()
    _, out, _ = orbit("list")
    row = next(line for line in out.splitlines() if line.startswith("tiny"))
    for word in ("3 MiB", "hf:acme/tiny@main", "c0ffeec0ffee", "gpu=yes", "warm a", "cold 1", "c: no room"):
        assert word in row, row
    [model] = json.loads(orbit("list", "--json")[1])
    assert model["files"] == [{"path": "model.onnx", "size_bytes": 3 << 20, "sha256": "cd" * 32}]
    assert [(each["agent_id"], each["state"], each["barred"]) for each in model["agents"]] == [
        ("a", "warm", False),
        ("b", "cold", True),
        ("c", "cold", False),
    ]
    assert orbit("list", "-o", "name")[1] == "tiny\n"


def test_pull_waits_for_every_agent_that_was_asked(models: FakeModels, orbit: Any) -> None:
    models.models["tiny"] = held()
    code, out, err = orbit("pull", "tiny", "--agent", "a", "--agent", "b")
    assert code == 0
    assert "is on a, b" in out and "waiting for a, b" in err
    assert list(models.pulled[0].agent_ids) == ["a", "b"] and models.pulled[0].pull_id
    assert orbit("pull", "tiny", "--label", "gpu=yes", "--no-wait")[0] == 0
    assert dict(models.pulled[1].labels) == {"gpu": "yes"}
    assert models.pulled[1].pull_id != models.pulled[0].pull_id
    assert orbit("pull", "tiny", "--label", "gpu=yes", "--agent", "a")[0] == 2


def test_an_agent_that_has_forgotten_a_pull_is_asked_again(
    models: FakeModels, orbit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was started again meanwhile, or a leader died before it had passed the pull on."""
    monkeypatch.setattr("orbit_core.client.models.ASK_AGAIN_EVERY", 2)
    monkeypatch.setattr("orbit_core.client.models.LOOK_EVERY_S", 0.01)
    models.models["tiny"] = held()
    models.ends_at_ask = 3
    assert orbit("pull", "tiny")[0] == 0
    first, *again = models.pulled
    assert [list(each.agent_ids) for each in again] == [["a", "b"]] * 2
    assert {each.pull_id for each in again} == {first.pull_id}


def test_a_pull_that_fails_somewhere_is_1_and_says_where(models: FakeModels, orbit: Any) -> None:
    models.models["tiny"] = held()
    models.failing = {"b": "there is no room"}
    code, out, err = orbit("pull", "tiny")
    assert (code, "is on a" in out, "b: there is no room" in err) == (1, True, True)


def test_remove(models: FakeModels, orbit: Any) -> None:
    models.models["tiny"] = held()
    assert orbit("remove", "tiny", "--force", "--yes")[1] == "tiny is removed\n"
    assert models.removed[0].force
    assert orbit("remove", "tiny", "-y")[1] == "tiny was not there\n"
    assert not models.removed[1].force


def test_an_agent_that_is_gone_is_not_waited_for() -> None:
    model = _model(held())
    pull = Pull("tiny", "p1", ("a", "gone"))
    assert pull.unended(model) == ("a",)
    assert pull.failures(model) == {"gone": "the agent is gone"}
    assert isinstance(model.agents[0], ModelOnAgent)


def test_names_and_sources_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "orbit-demo").mkdir()
    assert is_name("orbit-demo") and not is_name("acme/tiny") and not is_name("./orbit-demo")
    monkeypatch.chdir(tmp_path)
    assert not is_name("orbit-demo"), "a folder of that name is meant"
    assert full_source("orbit-demo") == f"folder:{tmp_path / 'orbit-demo'}"
    assert full_source("./missing") == f"folder:{tmp_path / 'missing'}", "it is the agents that have to have it"
    with pytest.raises(InvalidRequestError):
        full_source("hf:a/b@v1", "v2")


# Exports: with a Python that stands in for the exporter's, since the real ones take gigabytes.


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A model of transformers', as far as an export looks at it before it is made."""
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"architectures": ["LlamaForCausalLM"]}))
    return folder


def exporter(tmp_path: Path, script: str) -> Path:
    """A program that is run as the exporter's Python: it reads the request and does what `script` says."""
    program = tmp_path / "python"
    preamble = "import json, sys, pathlib; request = json.load(sys.stdin); out = pathlib.Path(request['out'])"
    program.write_text(f"#!{sys.executable}\n{preamble}\n{script}\n")
    program.chmod(0o755)
    return program


def test_an_export_is_there_whole(orbit: Any, checkpoint: Path, tmp_path: Path) -> None:
    makes = "[(out / n).write_text(json.dumps(request)) for n in ('model.onnx', 'tokenizer.json')]"
    python = exporter(tmp_path, makes)
    out = tmp_path / "made"
    code, said, err = orbit(
        *("export", str(checkpoint), str(out), "--python", str(python), "--precision", "fp32", "--device", "cuda")
    )
    assert code == 0, err
    assert f"{out}: text-generation" in said and f"orbit models add NAME folder:{out}" in err
    request = json.loads((out / "model.onnx").read_text())
    assert (request["model"], request["precision"], request["device"]) == (str(checkpoint), "fp32", "cuda")
    code, _, err = orbit("export", str(checkpoint), str(out), "--python", str(python))
    assert (code, "is there already" in err) == (6, True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint", "made", "python"]


@pytest.mark.parametrize(
    ("script", "said", "remedy"),
    [
        ("print('noise', file=sys.stderr); sys.exit('X lacks torch')", "X lacks torch", "leave --python"),
        ("sys.exit('the repository a/b cannot be fetched: 404')", "cannot be fetched: 404", "HF_TOKEN"),
        ("sys.exit('the builder refused the model: Mamba')", "refused the model: Mamba", "--task"),
        ("(out / 'model.onnx').touch()", "has no tokenizer.json", "fast tokenizer"),
    ],
)
def test_an_export_that_fails_leaves_nothing_and_says_why(
    orbit: Any, checkpoint: Path, tmp_path: Path, script: str, said: str, remedy: str
) -> None:
    python = exporter(tmp_path, script)
    code, _, err = orbit("export", str(checkpoint), str(tmp_path / "made"), "--python", str(python))
    assert (code, said in err, remedy in err) == (6, True, True), err
    assert "Traceback" not in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint", "python"]


def test_each_kind_of_model_has_its_exporter(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without `--python` the environment's own variable names one, and which is asked for tells the exporter."""
    python = exporter(tmp_path, "[(out / n).touch() for n in ('model.onnx', 'tokenizer.json')]")
    for kind in (environment.GENAI, environment.OPTIMUM):
        monkeypatch.setenv(kind.variable, f"/nowhere/{kind.name}")
    for architecture, task, kind in (
        ("Qwen2ForCausalLM", "text-generation", environment.GENAI),
        ("BertForSequenceClassification", "text-classification", environment.OPTIMUM),
        ("BertModel", "feature-extraction", environment.OPTIMUM),
        ("RobertaForMaskedLM", "feature-extraction", environment.OPTIMUM),
    ):
        (checkpoint / "config.json").write_text(json.dumps({"architectures": [architecture]}))
        wanted = exporting.Export(str(checkpoint), tmp_path / "made" / architecture)
        with pytest.raises(ExportError, match=f"/nowhere/{kind.name}"):
            exporting.export(wanted, python=None, note=print)
        monkeypatch.setenv(kind.variable, str(python))
        assert exporting.export(wanted, python=None, note=print).task == task
        monkeypatch.setenv(kind.variable, f"/nowhere/{kind.name}")


@pytest.mark.parametrize("config", [None, "{", '{"architectures": ["WhisperForSpeech"]}', "{}"])
def test_a_task_that_cannot_be_told_is_to_be_named(orbit: Any, tmp_path: Path, config: str | None) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    if config is not None:
        (folder / "config.json").write_text(config)
    code, _, err = orbit("export", str(folder), str(tmp_path / "made"))
    assert (code, "--task" in err) == (6, True)


def test_an_environment_that_cannot_be_made_says_what_pip_said(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(environment.GENAI.variable, raising=False)
    monkeypatch.setattr(environment, "root", lambda: tmp_path / "cache")
    wanted = exporting.Export(str(checkpoint), tmp_path / "made")
    asked: list[list[str]] = []

    def refuse(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        asked.append(command)
        return subprocess.CompletedProcess(command, 1, "", "noise\nERROR: No matching distribution found for torch")

    monkeypatch.setattr(environment.subprocess, "run", refuse)
    with pytest.raises(ExportError, match="No matching distribution") as caught:
        exporting.export(wanted, python=None, note=print)
    assert "ORBIT_EXPORT_PYTHON" in str(caught.value)
    monkeypatch.setattr(environment, "ROOM_BYTES", 1 << 60)
    with pytest.raises(ExportError, match="GiB left"):
        exporting.export(wanted, python=None, note=print)


def test_an_environment_is_made_once_from_its_pinned_ranges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "root", lambda: tmp_path / "cache")
    asked: list[list[str]] = []

    def accept(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        asked.append(command)
        if "venv" in command:
            Path(command[-1]).mkdir(parents=True)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(environment.subprocess, "run", accept)
    notes: list[str] = []
    python = environment.python_of(environment.OPTIMUM, notes.append)
    assert python == environment.folder_of(environment.OPTIMUM) / "bin" / "python"
    assert asked[1][-2:] == list(environment.OPTIMUM.requirements) and len(notes) == 1
    assert environment.python_of(environment.OPTIMUM, notes.append) == python
    assert len(asked) == 2 and len(notes) == 1


def test_the_exporter_s_program_needs_nothing_of_orbit(checkpoint: Path, tmp_path: Path) -> None:
    """Run as an exporter's Python runs it: in isolation, where what it needs is not installed."""
    request = {"model": str(checkpoint), "out": str(tmp_path), "task": "feature-extraction", "revision": ""}
    done = subprocess.run(
        [sys.executable, "-I", "-S", inside.__file__], input=json.dumps(request), capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1].endswith("lacks optimum")
