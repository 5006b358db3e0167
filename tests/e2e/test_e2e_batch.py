"""Batches through a whole mesh: two thousand lines with bad ones among them, a stop and a start, a leader that dies."""

from __future__ import annotations

import io
import json
import math
import shutil
from pathlib import Path

import psutil
import pytest

from orbit_core.errors import InvalidRequestError, NotFoundError
from orbit_core.limits import BATCH_WINDOW_MIN_MS
from orbit_core.store.etcd import EtcdConfig, EtcdStore
from orbit_core.store.keys import Keys
from tui.mesh.local import AgentPlan

pytestmark = pytest.mark.e2e

DATA = Path(__file__).parents[1] / "data"
WINDOW_MS = BATCH_WINDOW_MIN_MS


def request(custom_id, question="Revenue?", *, url="/v1/chat/completions", **body):
    content = {"messages": [{"role": "user", "content": question}], "max_tokens": 2, "temperature": 0} | body
    return json.dumps({"custom_id": custom_id, "method": "POST", "url": url, "body": content})


def two_thousand_lines():
    """The file, and what becomes of each line: its custom id and the code of its error, or None."""
    lines, expected = [], []
    for number in range(2_000):
        custom_id, code, line = f"r{number}", None, request(f"r{number}")
        match number % 100:
            case 7:
                custom_id, code, line = None, "invalid_json_line", '{"custom_id": "x", broken'
            case 13:
                code, line = "invalid_url", request(custom_id, url="/v1/images/generations")
            case 21:
                custom_id = f"r{number - 1}"
                code, line = "duplicate_custom_id", request(custom_id)
            case 33:
                code, line = "context_length_exceeded", request(custom_id, "word " * 2_000)
            case 44:
                code, line = "model_not_found", request(custom_id, model="gpt-4o")
            case _:
                pass
        lines.append(line)
        expected.append((custom_id, code))
    return "\n".join(lines).encode(), expected


def code_of(line):
    if line["response"] is None:
        return line["error"]["code"]
    return line["response"]["body"]["error"]["code"]


async def fetched(client, run_id):
    output, errors = io.BytesIO(), io.BytesIO()
    found = await client.batch_results(run_id, output, errors)
    lines = [[json.loads(line) for line in file.getvalue().splitlines()] for file in (output, errors)]
    assert [len(each) for each in lines] == [found.succeeded, found.failed]
    return found, *lines


async def ended(client, run_id):
    async for run in client.watch(run_id):
        last = run
    return last


async def test_batches(start_mesh, connect, eventually):
    """One mesh, several batches: each story is checked on its own below."""
    mesh = await start_mesh(coordinators=2)
    client = connect(mesh)
    await client.add_model("tiny", f"folder:{DATA / 'tiny_llm'}")
    await client.add_model("embedder", f"folder:{DATA / 'tiny_embedder'}")
    await what_cannot_be_a_batch_is_refused_at_once(client)
    await every_line_gets_its_answer_or_its_error_in_order(client)
    await embeddings_are_answered_too(client)
    await a_batch_that_was_stopped_goes_on_where_it_was(mesh, client, eventually)
    await a_leader_that_dies_costs_nothing(mesh, client, eventually)


async def what_cannot_be_a_batch_is_refused_at_once(client):
    line = io.BytesIO(request("a").encode())
    with pytest.raises(NotFoundError, match="did you mean tiny"):
        await client.submit_batch(line, model="tinny", window_ms=WINDOW_MS)
    with pytest.raises(InvalidRequestError, match="window"):
        await client.submit_batch(line, model="tiny", window_ms=WINDOW_MS - 1)
    with pytest.raises(InvalidRequestError, match="no lines"):
        await client.submit_batch(io.BytesIO(b"\n\n"), model="tiny", window_ms=WINDOW_MS)
    dry = await client.submit_batch(line, model="tiny", window_ms=WINDOW_MS, dry_run=True)
    assert (dry.run, dry.file.lines, dry.quotation.quote.sla_ms) == (None, 1, WINDOW_MS)
    assert await client.runs(project="batch") == ()


async def every_line_gets_its_answer_or_its_error_in_order(client):
    content, expected = two_thousand_lines()
    submitted = await client.submit_batch(io.BytesIO(content), model="tiny", window_ms=WINDOW_MS)
    seen_at_submission = ("invalid_json_line", "invalid_url", "duplicate_custom_id")
    bad = sum(code in seen_at_submission for _, code in expected)
    assert (submitted.file.lines, submitted.file.bad) == (2_000, bad)
    assert submitted.file.problems[0].line == 8
    assert submitted.quotation.quote.cost_usd > 0

    run = await ended(client, submitted.run.run_id)
    assert (run.state, run.sla) == ("succeeded", "met")
    found, output, errors = await fetched(client, run.run_id)
    assert found.missing == 0
    assert [line["custom_id"] for line in output] == [custom_id for custom_id, code in expected if code is None]
    assert [(line["custom_id"], code_of(line)) for line in errors] == [each for each in expected if each[1]]
    assert all(line["response"]["body"]["usage"]["completion_tokens"] <= 2 for line in output)
    used = sum(line["response"]["body"]["usage"]["completion_tokens"] for line in output)
    assert run.usage.output_tokens == used, "every token is counted, and once"
    assert run.cost_usd > 0
    batch = await client.batch(run.run_id)
    assert (batch.lines, batch.succeeded, batch.failed, batch.lost) == (2_000, found.succeeded, found.failed, 0)

    again = await client.submit_batch(io.BytesIO(content), model="tiny", window_ms=WINDOW_MS)
    assert again.run.run_id == run.run_id, "there is nothing left to do"


async def embeddings_are_answered_too(client):
    lines = [
        json.dumps({"custom_id": f"e{n}", "method": "POST", "url": "/v1/embeddings", "body": {"input": f"text {n}"}})
        for n in range(40)
    ]
    submitted = await client.submit_batch(
        io.BytesIO("\n".join([*lines, request("chat")]).encode()), model="embedder", window_ms=WINDOW_MS
    )
    run = await ended(client, submitted.run.run_id)
    _, output, errors = await fetched(client, run.run_id)
    assert [line["custom_id"] for line in output] == [f"e{n}" for n in range(40)]
    for line in output:
        [item] = line["response"]["body"]["data"]
        assert math.hypot(*item["embedding"]) == pytest.approx(1.0, abs=1e-4)
    [wrong] = errors
    assert (wrong["custom_id"], wrong["response"]["status_code"]) == ("chat", 400)


async def a_batch_that_was_stopped_goes_on_where_it_was(mesh, client, eventually):
    content = "\n".join(request(f"s{n}", max_tokens=200) for n in range(640)).encode()
    submitted = await client.submit_batch(io.BytesIO(content), model="tiny", window_ms=WINDOW_MS)
    first = submitted.run.run_id

    async def some_pages():
        return (await client.batch(first)).pages_ended >= 4

    await eventually(some_pages, seconds=60)
    partial, output, _ = await fetched(client, first)
    assert partial.succeeded > 0 and partial.missing > 0
    numbers = [int(line["custom_id"][1:]) for line in output]
    assert numbers == sorted(numbers)
    await client.cancel(first, reason="for today")
    stopped = await ended(client, first)
    assert stopped.state == "cancelled"
    kept, _, errors = await fetched(client, first)
    assert kept.succeeded + kept.failed == 640
    assert {code_of(line) for line in errors} == {"batch_cancelled"}

    resubmitted = await client.submit_batch(io.BytesIO(content), model="tiny", window_ms=WINDOW_MS)
    assert resubmitted.run.retry_of == first
    same = await client.submit_batch(io.BytesIO(content), model="tiny", window_ms=WINDOW_MS)
    assert same.run.run_id == resubmitted.run.run_id
    run = await ended(client, resubmitted.run.run_id)
    assert run.state == "succeeded"
    batch = await client.batch(run.run_id)
    done_before = (await client.batch(first)).pages_ended
    assert run.reused == done_before + 2, "the section, the list of its pages, and each page that had its answers"
    assert run.attempts - run.attempts_lost == batch.pages - done_before
    found, output, _ = await fetched(client, run.run_id)
    assert (found.succeeded, found.failed, found.missing) == (640, 0, 0)
    assert [line["custom_id"] for line in output] == [f"s{n}" for n in range(640)]


async def a_leader_that_dies_costs_nothing(mesh, client, eventually):
    content = "\n".join(request(f"l{n}", max_tokens=150) for n in range(480)).encode()
    submitted = await client.submit_batch(io.BytesIO(content), model="tiny", window_ms=WINDOW_MS)
    run_id = submitted.run.run_id

    async def some_pages():
        return (await client.batch(run_id)).pages_ended >= 3

    await eventually(some_pages, seconds=60)
    assert kill_models(mesh), "no model was at work"
    await mesh.kill_coordinator()
    run = await ended(client, run_id)
    assert run.state == "succeeded"
    found, output, _ = await fetched(client, run_id)
    assert (found.succeeded, found.failed) == (480, 0)
    assert [line["custom_id"] for line in output] == [f"l{n}" for n in range(480)]


async def test_a_batch_that_no_agent_could_begin_survives_the_disk_of_the_leader(start_mesh, connect, eventually):
    """Its pages are left with an agent that cannot work on them, and nowhere else."""
    mesh = await start_mesh((AgentPlan(id="tiny", cpus=0.1, memory="128MiB"),))
    store = EtcdStore(EtcdConfig(mesh.etcd_endpoints))
    agents = Keys().agents()

    async def advertised():  # an agent may be attached a moment before it can be found as a second machine
        return (await store.range(agents.start, agents.end)).kvs

    try:
        await eventually(advertised)
    finally:
        await store.close()
    client = connect(mesh)
    await client.add_model("tiny", f"folder:{DATA / 'tiny_llm'}")
    content = "\n".join(request(f"p{n}") for n in range(100)).encode()
    submitted = await client.submit_batch(io.BytesIO(content), model="tiny", window_ms=WINDOW_MS)
    await mesh.kill_coordinator()
    shutil.rmtree(mesh.data / "coordinator-0" / "blobs")
    await mesh.start_coordinator(0)
    waiting = await client.batch(submitted.run.run_id)
    assert (waiting.run.state, waiting.run.attempts, waiting.lines) == ("running", 0, 0)
    await mesh.start_agent(plan=AgentPlan(id="able", cpus=1, memory="2GiB"))
    run = await ended(client, submitted.run.run_id)
    assert run.state == "succeeded", "\n".join([str(each.failure.message) async for each in client.results(run.run_id)])
    assert run.attempts - run.attempts_lost == 1 + 1 + 7, "a list of sections, a list of pages, seven pages: each once"
    found, output, _ = await fetched(client, run.run_id)
    assert (found.succeeded, found.failed, found.missing) == (100, 0, 0)
    assert [line["custom_id"] for line in output] == [f"p{n}" for n in range(100)]


def kill_models(mesh):
    """As `kill -9` of every model's process; how many there were."""
    killed = 0
    for agent in mesh.agents:
        for child in psutil.Process(agent.pid).children(recursive=True):
            if "orbit_agent.inference.child" in child.cmdline():
                child.kill()
                killed += 1
    return killed
