"""Satellites over models, through a whole mesh: encoders beside one another, and what an escalation is counted as."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.tiny_reranker import write_reranker

pytestmark = pytest.mark.e2e

DATA = Path(__file__).parents[1] / "data"

ENCODERS = b"""
version: 0.0.1b
cluster:
  identifier: test/encoders
  sla: 10m
  trigger: {api-call: true}
  satellites:
    - uses: satellite/orbit/echo
      identifier: texts
      config: {objects: [{text: good news}, {text: bad news}, {text: the revenue of the quarter}]}
    - uses: satellite/orbit/embed
      identifier: embed
      config: {model: embedder}
    - uses: satellite/orbit/classify
      identifier: classify
      needs: texts
      config: {model: classifier}
    - uses: satellite/orbit/rerank
      identifier: rerank
      gather: {over: run}
      needs: [embed, classify]
      config: {model: reranker, top: 2}
      input: {query: "what news?", documents: "${{ satellites.texts.outputs }}"}
"""

ESCALATION = b"""
version: 0.0.1b
cluster:
  identifier: test/escalation
  sla: 10m
  trigger: {api-call: true}
  retries: 0
  satellites:
    - uses: satellite/orbit/generate
      identifier: ask
      config:
        model: tiny
        escalate-to: larger
        max-tokens: 5
        output-schema: {type: object, properties: {a: {type: string, minLength: 200}}, required: [a]}
      input: {prompt: hello}
"""


async def finish(client, cluster):
    run = await client.trigger(cluster, {})
    async for seen in client.watch(run.run_id):
        run = seen
    return run


async def test_models_under_satellites(start_mesh, connect, tmp_path):
    mesh = await start_mesh()
    client = connect(mesh)
    write_reranker(tmp_path / "reranker", DATA / "tiny_embedder")
    for name, folder in (
        ("embedder", DATA / "tiny_embedder"),
        ("classifier", DATA / "tiny_classifier"),
        ("reranker", tmp_path / "reranker"),
        ("tiny", DATA / "tiny_llm"),
        ("larger", DATA / "tiny_llm"),
    ):
        await client.add_model(name, f"folder:{folder}")
    await encoders_embed_classify_and_rank(client)
    await every_question_of_an_escalation_is_counted(client)


async def encoders_embed_classify_and_rank(client):
    await client.submit(ENCODERS)
    run = await finish(client, "test/encoders")
    assert run.state == "succeeded"
    found = {
        step: [result.value async for result in client.results(run.run_id, steps=[step])]
        for step in ("embed", "classify", "rerank")
    }
    assert [len(value["vector"]) for value in found["embed"]] == [32, 32, 32]
    assert {value["label"] for value in found["classify"]} <= {"buy", "hold", "sell"}
    [ranked] = found["rerank"]
    assert len(ranked["results"]) == 2
    best, second = ranked["results"]
    assert best["score"] >= second["score"]
    assert best["document"]["text"] in ("good news", "bad news", "the revenue of the quarter")
    assert run.usage.input_tokens > 30
    assert run.usage.output_tokens == 0


async def every_question_of_an_escalation_is_counted(client):
    """Both models are cut off at five tokens: the attempt fails, and the ten are on the bill."""
    await client.submit(ESCALATION)
    run = await finish(client, "test/escalation")
    assert run.state == "failed"
    [failed] = [result async for result in client.results(run.run_id)]
    assert (failed.failure.code, failed.attempts) == ("truncated", 1)
    assert "of larger was cut off" in failed.failure.message
    assert run.usage.output_tokens == 10
    assert run.usage.input_tokens > 0
    [told] = [record async for record in client.logs(run.run_id) if "is asked" in record.message]
    assert told.message.startswith("tiny cannot do it, larger is asked")
    assert run.cost_usd > 0
