"""`orbit batch` against a client with one canned batch: what is said, what files become, what it ends with."""

from __future__ import annotations

import io
import json
import stat
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO

import pytest

from orbit_core.client import Batch, BatchAnswers, BatchFile, BatchSubmission, LineProblem, Run, Usage
from orbit_core.client.scheduling import Quotation, QuotedSla
from orbit_core.errors import BlobError, InvalidRequestError
from tests.unit.conftest import Said
from tui.cli.session import Session

DAY_MS = 86_400_000
RUN = Run(
    run_id="run-1", cluster="batch/tiny-6h", spec_hash="", state="running", sla="pending", created_ms=1, ended_ms=None,
    deadline_ms=4_000_000_000_000, trigger="api-call", cost_usd=0.25, usage=Usage(120, 30, 0, 0), lineages_succeeded=0,
    lineages_failed=0, steps=(), attempts=1, attempts_lost=0, reason="", retry_of="",
)  # fmt: skip
CANCELLED = replace(RUN, state="cancelled", ended_ms=2, reason="enough")


class Client:
    """A client that has one batch."""

    def __init__(self) -> None:
        self.run_now = RUN
        self.submitted: list[tuple[bytes, dict[str, Any]]] = []
        self.file = BatchFile(2_000, 12, 77, (LineProblem(3, "r3", "invalid_url", "[no] such url"),))
        self.cancelled: list[str] = []
        self.breaks = False

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: object) -> None: ...

    async def submit_batch(self, file: BinaryIO, **options: Any) -> BatchSubmission:
        self.submitted.append((file.read(), options))
        quoted = QuotedSla(options["window_ms"], True, 1.5, 60_000, 90_000)
        quotation = Quotation("batch/tiny-6h", quoted, (), 1, ("nobody can",))
        return BatchSubmission(self.file, quotation, None if options["dry_run"] else self.run_now)

    async def batch(self, run_id: str) -> Batch:
        if run_id != "run-1":
            raise InvalidRequestError("run-2 is a run of acme/reports, not a batch")
        lost = 1_100 if self.run_now.ended else 0
        return Batch(self.run_now, 77, 40, 2_000, 890, 10, lost, ("no-room: too large",) if lost else ())

    async def watch(self, run_id: str) -> AsyncIterator[Run]:
        yield self.run_now

    async def cancel(self, run_id: str, *, reason: str) -> Run:
        self.cancelled.append(run_id)
        self.run_now = CANCELLED
        return self.run_now

    async def batch_results(self, run_id: str, output: BinaryIO, errors: BinaryIO | None) -> BatchAnswers:
        output.write(b'{"custom_id": "a"}\n')
        if self.breaks:
            raise BlobError("lost")
        if errors is not None:
            errors.write(b'{"custom_id": "b"}\n')
        return BatchAnswers(1, 1, 3)


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Client:
    client = Client()
    monkeypatch.setattr(Session, "client", lambda session: client)
    return client


@pytest.fixture
def requests(tmp_path: Path) -> Path:
    path = tmp_path / "requests.jsonl"
    path.write_bytes(b"{}\n")
    return path


SUBMIT = ("batch", "submit", "--model", "tiny", "--window", "6h")


def test_a_submission_says_what_was_read_what_it_costs_and_what_comes_next(
    client: Client, orbit: Callable[..., Said], requests: Path
) -> None:
    said = orbit(*SUBMIT, str(requests), "--max-tokens", "9", "--any-model")
    assert said.code == 0
    ((content, options),) = client.submitted
    assert content == b"{}\n"
    assert (options["model"], options["window_ms"]) == ("tiny", 6 * 3_600_000)
    assert (options["max_tokens"], options["any_model"], options["dry_run"]) == (9, True, False)
    assert "run-1 started; its window ends in" in said.out
    assert "2,000 lines in 77 pages, 12 of them bad" in said.out
    assert "line 3 (r3): [no] such url" in said.out
    assert "and 11 more" in said.out
    assert "about $1.50, done in 1:00" in said.out
    assert "nobody can" in said.err
    assert "orbit batch status -w run-1" in said.err


def test_a_dry_run_submits_nothing_and_says_so(client: Client, orbit: Callable[..., Said], requests: Path) -> None:
    said = orbit(*SUBMIT, str(requests), "--dry-run", "-w")
    assert (said.code, client.submitted[0][1]["dry_run"]) == (0, True)
    assert "not submitted" in said.out
    assert "next:" not in said.err


def test_a_resubmission_says_that_it_goes_on(client: Client, orbit: Callable[..., Said], requests: Path) -> None:
    client.run_now = replace(RUN, run_id="run-2", retry_of="run-1")
    assert "run-2 goes on from run-1" in orbit(*SUBMIT, str(requests)).out
    client.run_now = replace(RUN, state="succeeded", ended_ms=2)
    said = orbit(*SUBMIT, str(requests))
    assert "every line has its answer" in said.out
    assert "orbit batch results run-1" in said.err


def test_requests_come_from_standard_input_too(
    client: Client, orbit: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b"piped")))
    assert orbit(*SUBMIT, "-", "-o", "name").out == "run-1\n"
    assert client.submitted[0][0] == b"piped"


@pytest.mark.parametrize("window", ["6", "banana", ""])
def test_a_window_that_is_none_is_2(client: Client, orbit: Callable[..., Said], requests: Path, window: str) -> None:
    said = orbit("batch", "submit", str(requests), "--model", "tiny", "--window", window)
    assert said.code == 2
    assert "10m, 6h or 7d" in said.err
    assert not client.submitted


def test_a_file_that_is_not_there_is_2(client: Client, orbit: Callable[..., Said], tmp_path: Path) -> None:
    assert orbit(*SUBMIT, str(tmp_path / "none")).code == 2


def test_status_shows_lines_and_money(client: Client, orbit: Callable[..., Said]) -> None:
    said = orbit("batch", "status", "run-1")
    assert said.code == 0
    for text in ("900 of 2,000 answered", "890 succeeded, 10 failed", "40 of 77", "$0.25", "120 in, 30 out"):
        assert text in said.out
    assert json.loads(orbit("batch", "status", "run-1", "--json").out)["succeeded"] == 890
    assert orbit("batch", "status", "run-2").code == 2


def test_what_was_watched_and_did_not_succeed_ends_with_1(client: Client, orbit: Callable[..., Said]) -> None:
    client.run_now = CANCELLED
    said = orbit("batch", "status", "-w", "run-1")
    assert said.code == 1
    assert "1,100: submit the file again" in said.out
    assert "no-room: too large" in said.out
    client.run_now = replace(RUN, state="succeeded", ended_ms=2)
    assert orbit("batch", "status", "-w", "run-1").code == 0


def test_cancel_ends_a_batch_and_no_other_run(client: Client, orbit: Callable[..., Said]) -> None:
    said = orbit("batch", "cancel", "run-1")
    assert (said.code, client.cancelled) == (0, ["run-1"])
    assert "cancelled" in said.out and "enough" in said.out
    assert orbit("batch", "cancel", "run-2").code == 2
    assert client.cancelled == ["run-1"]


def test_results_become_files_as_a_whole(client: Client, orbit: Callable[..., Said], tmp_path: Path) -> None:
    output, errors = tmp_path / "out.jsonl", tmp_path / "err.jsonl"
    output.write_text("old")
    said = orbit("batch", "results", "run-1", "--output", str(output), "--errors", str(errors))
    assert said.code == 0
    assert output.read_text() == '{"custom_id": "a"}\n'
    assert errors.read_text() == '{"custom_id": "b"}\n'
    assert "1 answered, 1 failed, 3 still to come" in said.err
    assert stat.S_IMODE(output.stat().st_mode) & 0o400

    client.breaks = True
    output.write_text("kept")
    assert orbit("batch", "results", "run-1", "--output", str(output)).code != 0
    assert output.read_text() == "kept"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["err.jsonl", "out.jsonl"]


def test_results_that_cannot_be_written_are_2(client: Client, orbit: Callable[..., Said], tmp_path: Path) -> None:
    said = orbit("batch", "results", "run-1", "--output", str(tmp_path / "no" / "out"))
    assert said.code == 2
    assert "cannot be written" in said.err
