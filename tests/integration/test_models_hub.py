"""Models of a Hugging Face repository, fetched by the real `huggingface_hub` from a stand-in on loopback."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.model_hub import REPOSITORY, Hub, serve

ROOT = Path(__file__).parents[2]
TINY = ROOT / "tests" / "data" / "tiny_llm"

#: Argument: a folder, then what to do, in order. In a process of its own: the hub's address is read at the import.
SCRIPT = """
import sys
from pathlib import Path
from orbit_agent.models.store import ModelStore
from orbit_core.errors import OrbitError

store = ModelStore(Path(sys.argv[1]), packaged_root=Path(sys.argv[1]) / "none")
for what in sys.argv[2:]:
    try:
        if what.startswith("hf:"):
            store.add("tiny", what)
            continue
        manifest = store.pull("tiny")
        print(manifest.revision, len(manifest.files))
    except OrbitError as error:
        print(type(error).__name__, error)
"""


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serve() as hub:
        yield hub


async def fetch(hub: Hub, store: Path, *steps: str) -> list[str]:
    return await run(hub, SCRIPT, store, *steps)


async def run(hub: Hub, script: str, store: Path, *steps: str) -> list[str]:
    """What the script printed."""
    environment = {
        **os.environ,
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(store / "hf"),
        "HF_HUB_DISABLE_XET": "1",
        "PYTHONPATH": str(ROOT),
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", script, str(store), *steps), env=environment, stdout=asyncio.subprocess.PIPE
    )
    said, _ = await process.communicate()
    assert process.returncode == 0
    return said.decode().splitlines()


def tiny() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in TINY.iterdir()} | {"model.safetensors": b"not for us"}


async def test_a_branch_is_pinned_and_fetched_again_at_its_commit(hub: Hub, tmp_path: Path) -> None:
    first = hub.push(tiny())
    said = await fetch(hub, tmp_path, f"hf:{REPOSITORY}@main", "pull")
    assert said == [f"{first} {len(tiny()) - 1}"], "weights for other runtimes stay where they are"
    second = hub.push(tiny() | {"model.onnx": b"retrained"})
    assert second != first
    again = await fetch(hub, tmp_path, "pull", f"hf:{REPOSITORY}@main", "pull", f"hf:{REPOSITORY}@{first}", "pull")
    assert [line.split()[0] for line in again] == [first, second, first], "until it is added anew"
    resolved = [path for path in hub.asked if "/resolve/" in path]
    assert resolved and not [path for path in resolved if "/resolve/main/" in path]


#: What an export fetches before it is made: config.json for the task, then the checkpoint.
EXPORT = """
import sys
from orbit_core.errors import OrbitError
from tui.export import exporting, inside

for model in sys.argv[2:]:
    try:
        print(exporting._task_of(model, ""), *sorted(path.name for path in inside.checkpoint(model, "").iterdir()))
    except (OrbitError, inside.Refused) as error:
        print(type(error).__name__, error)
"""


async def test_an_export_fetches_what_it_needs(hub: Hub, tmp_path: Path) -> None:
    config = b'{"architectures": ["LlamaForCausalLM"]}'
    hub.push({"config.json": config, "model.safetensors": b"weights", "model.onnx": b"no", "flax_model.msgpack": b"no"})
    said = await run(hub, EXPORT, tmp_path, REPOSITORY, "acme/other")
    assert said[0] == "text-generation config.json model.safetensors"
    assert said[1].startswith("ExportError the repository acme/other cannot be read") and "HF_TOKEN" in said[1]


async def test_what_the_hub_lacks_is_a_source_error(hub: Hub, tmp_path: Path) -> None:
    hub.push({"model.safetensors": b"x"})
    said = await fetch(
        *(hub, tmp_path, f"hf:{REPOSITORY}@main", "pull", f"hf:{REPOSITORY}@gone", "pull", "hf:acme/other", "pull")
    )
    assert [line.split()[0] for line in said] == ["ModelSourceError"] * 3
    assert "holds no model" in said[0] and "orbit models export" in said[0]
    assert "acme/tiny cannot be listed" in said[1] and "acme/other cannot be listed" in said[2]


async def test_a_hub_that_cannot_be_reached_is_told_from_one_that_refuses(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and nobody listens
        nowhere = Hub(url=f"http://127.0.0.1:{taken.getsockname()[1]}")
        [said] = await fetch(nowhere, tmp_path, f"hf:{REPOSITORY}", "pull")
    assert said.startswith(f"ModelSourceError Hugging Face repository {REPOSITORY} cannot be listed: {nowhere.url} ")
    assert "cannot be reached from this agent" in said and "HF_ENDPOINT" in said
