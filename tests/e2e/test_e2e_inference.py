"""Models over a mesh: registered, pinned, pulled; one process shared by runs; its death; bad input on its item only."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import boto3
import psutil
import pytest
from moto.server import ThreadedMotoServer

from orbit_core.client import OrbitClient, Run
from orbit_core.errors import InvalidSpecError, NotFoundError, PreconditionError
from tests.integration.model_hub import REPOSITORY, Hub, serve
from tui.mesh.local import AgentPlan, LocalMesh

pytestmark = pytest.mark.e2e

TINY = Path(__file__).parents[1] / "data" / "tiny_llm"
AGENTS = (
    AgentPlan(id="kept", cpus=2, memory="2GiB", labels={"models": "yes"}),
    AgentPlan(id="other", cpus=2, memory="2GiB", price_usd_per_hour=0.05),
)

CLUSTER = """
version: 0.0.1b
cluster:
  identifier: test/{name}
  sla: 10m
  trigger: {{api-call: true}}
  retries: 0
  satellites:
    - {{uses: satellite/orbit/echo, identifier: many, config: {{objects: {objects}}}}}
    - uses: satellite/orbit/generate
      identifier: answer
      config: {config}
      input: {{prompt: "${{{{ satellites.many.output.prompt }}}}"}}
"""


class S3:
    """An S3 endpoint, its client, and what an agent's environment says of it."""

    def __init__(self, endpoint: str) -> None:
        self.environment = {
            "AWS_ENDPOINT_URL_S3": endpoint,
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        self.client: Any = boto3.client(
            "s3",
            endpoint_url=endpoint,
            aws_access_key_id="key",
            aws_secret_access_key="secret",
            region_name="us-east-1",
        )


def documents(count: int) -> list[dict[str, str]]:
    return [{"prompt": f"revenue of quarter {number}"} for number in range(count)]


def cluster(name: str, config: str, asked: Sequence[Mapping[str, str]] = ({"prompt": "hello"},)) -> bytes:
    """A file whose step asks a model once for each of `asked`. Nothing is tried again."""
    return CLUSTER.format(name=name, config=config, objects=json.dumps(list(asked))).encode()


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serve() as hub:
        yield hub


@pytest.fixture
def bucket() -> Iterator[S3]:
    """The tiny model below a prefix of a bucket, among other objects."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    s3 = S3(f"http://{host}:{port}")
    s3.client.create_bucket(Bucket="models")
    for path in TINY.iterdir():
        s3.client.put_object(Bucket="models", Key=f"llm/tiny/{path.name}", Body=path.read_bytes())
    for other in ("llm/tiny-2/model.onnx", "llm/tiny/model.safetensors"):
        s3.client.put_object(Bucket="models", Key=other, Body=b"not for us")
    yield s3
    s3.client.close()
    server.stop()


@pytest.fixture
async def mesh(start_mesh: Callable[..., Any], hub: Hub, bucket: S3, tmp_path: Path) -> AsyncIterator[LocalMesh]:
    environment = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_DISABLE_XET": "1"}
    yield await start_mesh(AGENTS, environment=environment | bucket.environment)


async def finish(client: OrbitClient, run: Run) -> Run:
    async for seen in client.watch(run.run_id):
        run = seen
    return run


async def answers(client: OrbitClient, run: Run) -> list[Any]:
    """The results in the order of the documents."""
    found = {each.invocation_id: each async for each in client.results(run.run_id)}
    assert len(found) == run.lineages_succeeded + run.lineages_failed, "each document ends once"
    invocations = [each async for each in client.invocations(run.run_id, step="answer")]
    return [found[each.invocation_id] for each in sorted(invocations, key=lambda each: each.index)]


def loads(mesh: LocalMesh, agent: str, model: str) -> int:
    """How often an agent has loaded a model."""
    return (mesh.log_dir / f"{agent}.log").read_text().count(f"loaded {model} (")


def model_process(mesh: LocalMesh, agent: str) -> psutil.Process:
    """The agent's process that has a model and works: the one that stands by burns no time."""
    child = next(each for each in mesh.agents if each.name == agent)
    processes = [
        each
        for each in psutil.Process(child.pid).children(recursive=True)
        if "orbit_agent.inference.child" in each.cmdline()
    ]
    return max(processes, key=lambda each: each.cpu_times().user)


async def test_models_over_a_mesh(
    mesh: LocalMesh, connect: Callable[[LocalMesh], OrbitClient], hub: Hub, bucket: S3, tmp_path: Path, eventually: Any
) -> None:
    """One mesh, many stories: each is checked on its own below."""
    client = connect(mesh)
    await submission_says_what_will_not_work(client)
    folder = tmp_path / "source"
    shutil.copytree(TINY, folder)
    await a_model_is_pulled_where_it_is_kept(mesh, client, folder)
    expected = await two_runs_share_one_loaded_model(mesh, client)
    shutil.rmtree(folder)  # from here on it can only come from the cache
    await a_killed_model_process_loses_nothing(mesh, client, expected, eventually)
    await bad_items_fail_alone(client, tmp_path)
    await a_model_that_babbles_is_cut_off(client)
    await a_damaged_file_is_found_and_fetched_again(mesh, client)
    await a_repository_is_pinned_for_every_agent(mesh, client, hub)
    await a_bucket_serves_every_agent_the_same(client, bucket, expected)
    await a_removed_model_is_gone_everywhere(mesh, client, eventually)


async def submission_says_what_will_not_work(client: OrbitClient) -> None:
    submitted = await client.submit(cluster("early", "{model: tiny}"))
    [warning] = [each for each in submitted.diagnostics if each.code == "unknown-model"]
    assert (warning.severity, warning.path) == ("warning", "cluster.satellites[1].config.model")
    assert "`orbit models add tiny SOURCE`" in warning.message
    unsupported = "{model: orbit-demo, output-schema: {type: array, items: {type: string}, uniqueItems: true}}"
    with pytest.raises(InvalidSpecError) as refused:
        await client.submit(cluster("early", unsupported))
    assert "uniqueItems" in "\n".join(each.description for each in refused.value.violations)
    ships = await client.submit(cluster("early", "{model: orbit-demo}"))
    assert not [each for each in ships.diagnostics if each.code == "unknown-model"]


async def a_model_is_pulled_where_it_is_kept(mesh: LocalMesh, client: OrbitClient, folder: Path) -> None:
    with pytest.raises(NotFoundError, match="orbit models add"):
        await client.pull_model("tiny")
    added = await client.add_model("tiny", f"folder:{folder}", labels={"models": "yes"})
    assert (added.hash, added.labels) == ("", {"models": "yes"})
    with pytest.raises(PreconditionError, match="kept to agents labelled models=yes"):
        await client.pull_model("tiny", agent_ids=["other"])
    pull = await client.pull_model("tiny")
    assert pull.agent_ids == ("kept",)
    watched = [model async for model in client.watch_pull(pull)]
    assert pull.failures(watched[-1]) == {}
    assert {file.path for file in watched[-1].files} == {path.name for path in TINY.iterdir()}
    assert all(len(file.sha256) == 64 for file in watched[-1].files)
    on = {each.agent_id: each for each in watched[-1].agents}
    assert (on["kept"].state, on["kept"].size_bytes, on["kept"].barred) == ("cached", watched[-1].size_bytes, False)
    assert (on["other"].state, on["other"].barred) == ("cold", True)
    assert {agent.agent_id: agent.cached_models for agent in await client.agents()} == {
        "kept": ("orbit-demo", "tiny"),
        "other": ("orbit-demo",),
    }


async def two_runs_share_one_loaded_model(mesh: LocalMesh, client: OrbitClient) -> list[str]:
    await client.submit(cluster("share", "{model: tiny, max-tokens: 400}", documents(24)))
    runs = [await client.trigger("test/share"), await client.trigger("test/share")]
    ended = [await finish(client, run) for run in runs]
    assert [(run.state, run.lineages_succeeded) for run in ended] == [("succeeded", 24)] * 2
    found = [await answers(client, run) for run in ended]
    assert {each.agent_id for run in found for each in run} == {"kept"}, "though the other agent is cheaper"
    first, second = ([each.value["text"] for each in run] for run in found)
    assert first == second
    assert len(set(first)) > 1, "documents with answers of their own"
    assert (loads(mesh, "kept", "tiny"), loads(mesh, "other", "tiny")) == (1, 0)
    assert ended[0].usage.output_tokens == ended[1].usage.output_tokens > 24
    return first


async def a_killed_model_process_loses_nothing(
    mesh: LocalMesh, client: OrbitClient, expected: list[str], eventually: Any
) -> None:
    await client.submit(cluster("killed", "{model: tiny, max-tokens: 400}", documents(24)))
    killed = model_process(mesh, "kept")
    idle_s = killed.cpu_times().user
    run = await client.trigger("test/killed")
    await eventually(lambda: killed.cpu_times().user > idle_s + 0.1, what="the batch to be under way")
    killed.send_signal(signal.SIGKILL)
    run = await finish(client, run)
    assert (run.state, run.lineages_succeeded, run.attempts) == ("succeeded", 24, 25), "and no attempt was spent on it"
    assert [each.value["text"] for each in await answers(client, run)] == expected
    assert loads(mesh, "kept", "tiny") == 2
    log = (mesh.log_dir / "kept.log").read_text()
    assert "a request is asked again" in log and "SIGKILL" in log
    assert model_process(mesh, "kept").pid != killed.pid


async def bad_items_fail_alone(client: OrbitClient, tmp_path: Path) -> None:
    """Each document names its model; only one of them can be answered."""
    shutil.copytree(TINY, tmp_path / "garbled")
    (tmp_path / "garbled" / "model.onnx").write_bytes(b"no graph")
    await client.add_model("open", f"folder:{TINY}")
    await client.add_model("nowhere", "folder:/nowhere/at/all")
    await client.add_model("garbled", f"folder:{tmp_path / 'garbled'}")
    asked = [
        {"model": "open", "prompt": "hello"},
        {"model": "open", "prompt": "word " * 600},
        *({"model": name, "prompt": "hello"} for name in ("nobody", "nowhere", "garbled")),
    ]
    config = '{model: "${{ satellites.many.output.model }}", max-tokens: 40}'
    await client.submit(cluster("bad", config, asked))
    run = await finish(client, await client.trigger("test/bad"))
    found = await answers(client, run)
    assert (run.state, run.lineages_succeeded, run.lineages_failed) == ("partially-succeeded", 1, 4)
    codes = [each.failure.code if each.failure else "" for each in found]
    assert codes == ["", "prompt-too-long", "unknown-model", "model-source", "unsupported-model"]
    assert "tokens" in found[1].failure.message
    assert "there is no model 'nobody' here" in found[2].failure.message and "models add" in found[2].failure.message
    assert "there is no folder /nowhere/at/all" in found[3].failure.message


async def a_model_that_babbles_is_cut_off(client: OrbitClient) -> None:
    """Held to a schema it cannot but answer in JSON, and this one lets it go on beyond its limit."""
    schema = "{{type: object, properties: {{a: {0}}}, required: [a], additionalProperties: false}}"
    for name, asked in (("babble", "{type: string, minLength: 500}"), ("brief", "{enum: [1, 2]}")):
        config = f"{{model: tiny, max-tokens: 30, output-schema: {schema.format(asked)}}}"
        await client.submit(cluster(name, config, documents(3)))
    babble, brief = [await finish(client, await client.trigger(f"test/{name}")) for name in ("babble", "brief")]
    assert (babble.state, brief.state) == ("failed", "succeeded")
    failures = [each.failure for each in await answers(client, babble)]
    assert [failure.code for failure in failures] == ["truncated"] * 3
    assert "max-tokens (30)" in failures[0].message
    assert all(each.value["a"] in (1, 2) for each in await answers(client, brief))


async def a_damaged_file_is_found_and_fetched_again(mesh: LocalMesh, client: OrbitClient) -> None:
    await client.add_model("damaged", f"folder:{TINY}", labels={"models": "yes"})
    await _pulled(client, "damaged")
    [weights] = (mesh.data / "kept" / "models" / "cache").glob("*/model.onnx.data")
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    await client.submit(cluster("damaged", "{model: damaged, max-tokens: 8}"))
    run = await finish(client, await client.trigger("test/damaged"))
    [result] = await answers(client, run)
    assert result.failure.code == "corrupt-model" and "`orbit models pull damaged`" in result.failure.message
    await _pulled(client, "damaged")
    assert (await finish(client, await client.trigger("test/damaged"))).state == "succeeded"


async def _pulled(client: OrbitClient, name: str) -> None:
    pull = await client.pull_model(name)
    model = [model async for model in client.watch_pull(pull)][-1]
    assert pull.failures(model) == {}


async def a_repository_is_pinned_for_every_agent(mesh: LocalMesh, client: OrbitClient, hub: Hub) -> None:
    files = {path.name: path.read_bytes() for path in TINY.iterdir()}
    first = hub.push(files)
    await client.add_model("from-hub", f"hf:{REPOSITORY}@main")
    pull = await client.pull_model("from-hub", agent_ids=["other"])
    pinned = [model async for model in client.watch_pull(pull)][-1]
    assert pinned.revision == first
    hub.push(files | {"model.onnx": b"retrained"})
    pull = await client.pull_model("from-hub")
    both = [model async for model in client.watch_pull(pull)][-1]
    assert pull.failures(both) == {}
    assert (both.revision, both.hash) == (first, pinned.hash)
    assert {each.agent_id: each.state for each in both.agents} == {"kept": "cached", "other": "cached"}
    await client.add_model("from-hub", f"hf:{REPOSITORY}@gone")
    pull = await client.pull_model("from-hub", agent_ids=["other"])
    gone = [model async for model in client.watch_pull(pull)][-1]
    assert "cannot be listed" in pull.failures(gone)["other"]


async def a_bucket_serves_every_agent_the_same(client: OrbitClient, bucket: S3, expected: list[str]) -> None:
    await client.add_model("from-s3", "s3://models/llm/tiny")
    await client.submit(cluster("bucket", "{model: from-s3, max-tokens: 400}", documents(24)))
    run = await finish(client, await client.trigger("test/bucket"))  # whoever runs it fetches it
    assert (run.state, run.lineages_succeeded) == ("succeeded", 24)
    assert [each.value["text"] for each in await answers(client, run)] == expected
    pull = await client.pull_model("from-s3")
    pinned = [model async for model in client.watch_pull(pull)][-1]
    assert pull.failures(pinned) == {}
    assert {file.path for file in pinned.files} == {path.name for path in TINY.iterdir()}
    bucket.client.put_object(Bucket="models", Key="llm/tiny/model.onnx", Body=b"retrained")
    await client.add_model("from-s3", "s3://models/llm/tiny")  # pinned anew: an agent that fetches it now finds another
    pull = await client.pull_model("from-s3", agent_ids=["other"])
    changed = [model async for model in client.watch_pull(pull)][-1]
    assert pull.failures(changed) == {} and changed.hash != pinned.hash
    await client.add_model("from-s3", "s3://models/nothing")
    pull = await client.pull_model("from-s3", agent_ids=["other"])
    nothing = [model async for model in client.watch_pull(pull)][-1]
    assert "s3://models/nothing holds no model" in pull.failures(nothing)["other"]


async def a_removed_model_is_gone_everywhere(mesh: LocalMesh, client: OrbitClient, eventually: Any) -> None:
    for name in ("from-hub", "from-s3", "damaged", "nowhere", "garbled", "open"):
        assert await client.remove_model(name)
    assert not await client.remove_model("from-hub")
    assert await client.remove_model("tiny")

    async def forgotten() -> bool:
        models = await client.models()
        return [model.name for model in models] == ["orbit-demo"]

    await eventually(forgotten, what="the agents to forget it")

    def freed() -> bool:
        caches = [mesh.data / agent / "models" / "cache" for agent in ("kept", "other")]
        return not [path for cache in caches for path in cache.iterdir() if path.is_dir()]

    await eventually(freed, seconds=120, what="the caches to be empty")
    await client.submit(cluster("gone", "{model: tiny, max-tokens: 8}"))
    run = await finish(client, await client.trigger("test/gone"))
    [result] = await answers(client, run)
    assert result.failure is not None and result.failure.code == "unknown-model"
