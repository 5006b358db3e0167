"""The demonstration's parts without its mesh: the cluster file, the outside world, and what is told at the end."""

from __future__ import annotations

import io
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from rich.console import Console

from orbit_core.client import Failure, Invocation, Result, Run, Usage
from orbit_core.spec.loader import load
from satellites.catalog import InstalledCatalog
from tui.demo.closing import closing
from tui.demo.job import DAMAGED, EXTRACT_STEP, LIST_STEP, Credentials, cluster_file, make_job
from tui.demo.outcome import documents
from tui.demo.outside import PAGER_PATH, STATE_PATH, WEBHOOK_PATH, Receivers, State
from tui.demo.reports import FIELD_NAMES, OUTPUT_SCHEMA

USAGE = Usage(duration_ms=1_500)


def test_the_cluster_file_is_valid_and_nothing_is_left_to_fill_in() -> None:
    credentials = Credentials()
    content = cluster_file(
        s3="http://127.0.0.1:1", receivers="http://127.0.0.1:2", model="orbit-demo", credentials=credentials
    )
    loaded = load(content, file="cluster.yml", catalog=InstalledCatalog(), mode="submit")
    assert loaded.cluster is not None, [each.format() for each in loaded.diagnostics]
    assert not loaded.diagnostics
    names = [step.identifier for step in loaded.cluster.satellites]
    assert LIST_STEP in names and EXTRACT_STEP in names
    _, values = loaded.cluster.without_secret_values()
    assert set(values.values()) == {
        credentials.aws_access_key,
        credentials.aws_secret_key,
        credentials.api_bearer_token,
        credentials.pagerduty_api_key,
    }
    assert not any(value in repr(credentials) for value in values.values())


def test_its_schema_is_the_reports_own() -> None:
    content = cluster_file(s3="", receivers="", model="m", credentials=Credentials())
    loaded = load(content, file="cluster.yml")
    assert loaded.cluster is not None
    step = next(step for step in loaded.cluster.satellites if step.identifier == EXTRACT_STEP)
    schema = InstalledCatalog().resolve(step.uses)
    assert schema is not None and schema.config_model is not None
    config: Any = schema.config_model.model_validate(dict(step.config))
    assert list(config.output_schema["properties"]) == list(OUTPUT_SCHEMA["properties"])
    assert config.output_schema["properties"] == OUTPUT_SCHEMA["properties"]


def test_the_job_is_the_same_each_time_and_one_file_is_damaged() -> None:
    job = make_job(4)
    assert make_job(4).files == job.files
    assert len(job.files) == 4 and len(job.reports) == 3
    assert [key for key in job.files if key.endswith(DAMAGED)] == [f"sec/{DAMAGED}"]


@pytest.fixture
def receivers() -> Iterator[Receivers]:
    server = Receivers("http://127.0.0.1:1", "right")
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def call(receivers: Receivers, path: str, body: Any = None, **headers: str) -> tuple[int, bytes]:
    request = urllib.request.Request(
        f"http://127.0.0.1:{receivers.server_port}{path}",
        data=None if body is None else json.dumps(body).encode(),
        headers={name.replace("_", "-"): value for name, value in headers.items()},
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=10) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def test_the_outside_world_remembers_what_it_is_sent(receivers: Receivers) -> None:
    assert call(receivers, WEBHOOK_PATH, {"n": 1}, Authorization="Bearer wrong")[0] == 401
    assert call(receivers, WEBHOOK_PATH, {"n": 1}, Authorization="Bearer right", Idempotency_Key="i1")[0] == 200
    assert call(receivers, PAGER_PATH, {"dedup_key": "d", "payload": {"summary": "help"}})[0] == 202
    assert call(receivers, "/elsewhere", {})[0] == 404
    state = State.from_json(call(receivers, STATE_PATH)[1])
    assert (state.s3, state.refused) == ("http://127.0.0.1:1", 1)
    assert [(each.key, each.body) for each in state.reports] == [("i1", {"n": 1})]
    assert state.alerts[0].body["payload"]["summary"] == "help"


def invocation(name: str, step: str, parent: str, index: int = 0, **changes: Any) -> Invocation:
    fields: dict[str, Any] = {
        "invocation_id": name, "run_id": "r", "step": step, "section": "main", "state": "succeeded", "attempt": 1,
        "retries": 0, "parent_id": parent, "index": index, "agent_id": f"on-{step}", "not_before_ms": None,
        "started_ms": 0, "ended_ms": 0, "failure": None, "usage": USAGE, "cost_usd": 0.25, "outputs": 1, "values": (),
    }  # fmt: skip
    return Invocation(**(fields | changes))


def result(name: str, step: str, index: int, value: Any) -> Result:
    return Result(name, step, "main", index, value, None, "", USAGE, 0.0, 1, ())


def test_what_became_of_each_document() -> None:
    job = make_job(3)
    first, second = sorted(job.reports)
    right = job.reports[first].fields()
    nearly = {**job.reports[second].fields(), "revenue": -1.0}
    passed = Failure("blob", "not here just now", True)
    failed = Failure("pdf-unreadable", "this is no PDF", False)
    invocations = [
        invocation("list", LIST_STEP, ""),
        invocation("p0", "parse-pdf", "list", 0, failure=passed, attempt=2),
        invocation("p1", "parse-pdf", "list", 1),
        invocation("p2", "parse-pdf", "list", 2, state="failed", failure=failed),
        invocation("e0", EXTRACT_STEP, "p0"),
        invocation("e1", EXTRACT_STEP, "p1"),
        invocation("m2", "move", "p2", section="failure"),
    ]
    results = [
        *(result("list", LIST_STEP, n, {"file-name": name}) for n, name in enumerate([first, second, DAMAGED])),
        result("e0", EXTRACT_STEP, 0, right),
        result("e1", EXTRACT_STEP, 0, nearly),
    ]
    found = documents(invocations, results, job.reports)
    assert [each.name for each in found] == [first, second, DAMAGED]
    assert [each.right for each in found] == [len(FIELD_NAMES), len(FIELD_NAMES) - 1, 0]
    assert [each.error for each in found] == ["", "", "parse-pdf: this is no PDF"]
    assert [each.agent for each in found] == [f"on-{EXTRACT_STEP}", f"on-{EXTRACT_STEP}", "on-parse-pdf"]
    assert (found[0].attempts, found[0].work_ms, found[0].cost_usd) == (3, 3_000, 0.5)

    run = Run(
        run_id="r", cluster="c", spec_hash="", state="partially-succeeded", sla="met", created_ms=0,
        deadline_ms=600_000, ended_ms=30_000, trigger="api-call", cost_usd=1.5, usage=USAGE, lineages_succeeded=2,
        lineages_failed=1, steps=(), attempts=8, attempts_lost=0, reason="", retry_of="",
    )  # fmt: skip
    console = Console(file=io.StringIO(), width=160)
    console.print(closing(run, found, State("", alerts=[]), [f"failed/{DAMAGED}"]))
    text = console.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]
    for part in (
        "10/10",
        "9/10",
        "parse-pdf: this is no PDF",
        "19 of 20 fields exactly as in the reports (95%)",
        f"holds failed/{DAMAGED}",
        "partially-succeeded: 2 ok, 1 failed",
    ):
        assert part in text
