"""Satellites that speak HTTP, against a small server on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from satellites.alerts import send_logs_to_new_relic
from satellites.alerts.send_logs_to_new_relic import SendLogsToNewRelic
from satellites.alerts.send_pagerduty_alert import SendPagerdutyAlert
from satellites.contract import PermanentError, SatelliteError
from satellites.http.call_webhook import CallWebhook
from tests.unit.satellites.contexts import make_context, run


@dataclass
class Outside:
    """What stands for the outside world: notes every request, answers as told."""

    url: str
    requests: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)
    status: int = 200
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})
    body: bytes = b'{"ok": true}'
    hold: threading.Event = field(default_factory=threading.Event)

    def last_json(self) -> Any:
        return json.loads(self.requests[-1][3])


@pytest.fixture
def outside() -> Iterator[Outside]:
    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            told.requests.append((self.command, self.path, dict(self.headers), content))
            if self.path == "/hangs":
                told.hold.wait()
            self.send_response(told.status)
            for name, value in told.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(told.body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(told.body)

        do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = answer

        def log_message(self, format: str, *args: Any) -> None:
            pass

        def handle(self) -> None:
            # Some tests stop reading before the end.
            with contextlib.suppress(ConnectionError):
                super().handle()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    told = Outside(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield told
    told.hold.set()
    server.shutdown()
    thread.join()
    server.server_close()


async def test_a_webhook_gets_what_the_config_says_and_one_key_for_all_attempts(
    tmp_path: Path, outside: Outside
) -> None:
    config = {
        "url": outside.url + "/v1/reports?x=1",
        "method": "POST",
        "headers": [{"Authorization": "Bearer t"}],
        "body": [{"data": {"company": "Ácme"}, "file-path": "sec/a.pdf"}],
    }
    for attempt in (1, 2):
        context = make_context(tmp_path, attempt=attempt)
        assert await run(CallWebhook, config, {}, context) == [{"status": 200, "body": {"ok": True}}]
    assert outside.last_json() == {"data": {"company": "Ácme"}, "file-path": "sec/a.pdf"}
    method, path, headers, _ = outside.requests[0]
    assert (method, path) == ("POST", "/v1/reports?x=1")
    assert headers["Authorization"] == "Bearer t"
    assert headers["Content-Type"] == "application/json"
    assert headers["Host"] == outside.url.removeprefix("http://")
    assert {request[2]["Idempotency-Key"] for request in outside.requests} == {"inv-1"}


async def test_bodies_may_be_text_any_json_or_the_input(tmp_path: Path, outside: Outside) -> None:
    context = make_context(tmp_path)
    await run(CallWebhook, {"url": outside.url, "body": "plain"}, {}, context)
    assert outside.requests[-1][3] == b"plain"
    assert outside.requests[-1][2]["Content-Type"].startswith("text/plain")
    await run(CallWebhook, {"url": outside.url, "json": [{"a": 1}, {"a": 2}]}, {}, context)
    assert outside.last_json() == [{"a": 1}, {"a": 2}]
    await run(CallWebhook, {"url": outside.url}, {"company": "Acme"}, context)
    assert outside.last_json() == {"company": "Acme"}
    await run(CallWebhook, {"url": outside.url, "method": "get"}, {"company": "Acme"}, context)
    assert outside.requests[-1][3] == b""
    headers = {"content-type": "application/cloudevents+json"}
    await run(CallWebhook, {"url": outside.url, "headers": headers}, {}, context)
    assert outside.requests[-1][2]["content-type"] == "application/cloudevents+json"


async def test_answers_are_parsed_and_bounded(tmp_path: Path, outside: Outside) -> None:
    context = make_context(tmp_path)
    outside.headers = {"Content-Type": "text/plain; charset=latin-1"}
    outside.body = "é".encode("latin-1")
    assert (await run(CallWebhook, {"url": outside.url}, {}, context))[0]["body"] == "é"
    outside.headers = {"Content-Type": "application/json"}
    outside.body = b"not json"
    assert (await run(CallWebhook, {"url": outside.url}, {}, context))[0]["body"] == "not json"
    outside.body = b""
    assert (await run(CallWebhook, {"url": outside.url}, {}, context))[0]["body"] is None
    outside.body = b"x" * 3_000_000
    (value,) = await run(CallWebhook, {"url": outside.url}, {}, context)
    assert len(value["body"]) == 1024 * 1024
    assert value["truncated"] is True


@pytest.mark.parametrize(
    ("status", "permanent"),
    [(400, True), (401, True), (404, True), (409, True), (422, True), (408, False), (425, False), (429, False),
     (500, False), (502, False), (503, False)],
)  # fmt: skip
async def test_statuses_say_whether_to_try_again(
    tmp_path: Path, outside: Outside, status: int, permanent: bool
) -> None:
    outside.status, outside.body = status, b"the reason"
    with pytest.raises(SatelliteError, match=f"answered {status}: the reason") as caught:
        await run(CallWebhook, {"url": outside.url}, {}, make_context(tmp_path))
    assert caught.value.code == f"http-{status}"
    assert isinstance(caught.value, PermanentError) is permanent


async def test_expected_statuses_replace_any_2xx(tmp_path: Path, outside: Outside) -> None:
    context = make_context(tmp_path)
    outside.status = 404
    (value,) = await run(CallWebhook, {"url": outside.url, "expected-status": [200, 404]}, {}, context)
    assert value["status"] == 404
    outside.status = 200
    with pytest.raises(PermanentError) as caught:
        await run(CallWebhook, {"url": outside.url, "expected-status": 201}, {}, context)
    assert caught.value.code == "http-200"


async def test_redirects_are_not_followed(tmp_path: Path, outside: Outside) -> None:
    outside.status, outside.headers = 307, {"Location": "http://169.254.169.254/latest"}
    with pytest.raises(PermanentError, match=r"redirect to http://169\.254\.169\.254/latest") as caught:
        await run(CallWebhook, {"url": outside.url}, {}, make_context(tmp_path))
    assert caught.value.code == "http-307"
    assert len(outside.requests) == 1


async def test_a_server_that_hangs_or_is_not_there_may_answer_later(tmp_path: Path, outside: Outside) -> None:
    with pytest.raises(SatelliteError, match=r"within 0\.2 s") as caught:
        await run(CallWebhook, {"url": outside.url + "/hangs", "timeout": "200ms"}, {}, make_context(tmp_path))
    assert caught.value.code == "http-timeout"
    assert not isinstance(caught.value, PermanentError)

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: nobody else gets this port
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(SatelliteError, match="cannot be reached") as caught:
            await run(CallWebhook, {"url": url}, {}, make_context(tmp_path))
    assert caught.value.code == "http-unreachable"
    assert not isinstance(caught.value, PermanentError)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "2130706433", "169.254.169.254"])
async def test_private_addresses_are_refused_before_anything_is_sent(
    tmp_path: Path, outside: Outside, host: str
) -> None:
    port = outside.url.rpartition(":")[2]
    context = make_context(tmp_path, allow_private_addresses=False)
    with pytest.raises(PermanentError) as caught:
        await run(CallWebhook, {"url": f"http://{host}:{port}/"}, {}, context)
    assert caught.value.code == "address-not-allowed"
    assert outside.requests == []


async def test_the_address_that_was_checked_is_the_one_that_is_connected_to(
    tmp_path: Path, outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    loop = asyncio.get_running_loop()
    real = loop.getaddrinfo

    async def rebinding(host: Any, *arguments: Any, **more: Any) -> Any:
        """A name server that gives another answer when it is asked again."""
        if host in ("rebinding.test", b"rebinding.test"):
            asked.append("name")
            host = "127.0.0.1" if len(asked) == 1 else "203.0.113.1"
        return await real(host, *arguments, **more)

    monkeypatch.setattr(loop, "getaddrinfo", rebinding)
    port = outside.url.rpartition(":")[2]
    await run(CallWebhook, {"url": f"http://rebinding.test:{port}/x", "timeout": 5}, {}, make_context(tmp_path))
    assert asked == ["name"]
    assert outside.requests[0][2]["Host"] == f"rebinding.test:{port}"


async def test_the_second_address_is_tried_where_the_first_does_not_answer(
    tmp_path: Path, outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = int(outside.url.rpartition(":")[2])
    loop = asyncio.get_running_loop()
    real = loop.getaddrinfo

    async def two(host: Any, *arguments: Any, **more: Any) -> Any:
        if host == "two.test":
            return [
                (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in ("127.0.0.2", "127.0.0.1")
            ]
        return await real(host, *arguments, **more)

    monkeypatch.setattr(loop, "getaddrinfo", two)
    await run(CallWebhook, {"url": f"http://two.test:{port}/"}, {}, make_context(tmp_path))
    assert len(outside.requests) == 1


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/", "no url", "http://", "http://[::1"])
async def test_what_is_no_http_url_is_permanent(tmp_path: Path, url: str) -> None:
    with pytest.raises(PermanentError) as caught:
        await run(CallWebhook, {"url": url}, {}, make_context(tmp_path))
    assert caught.value.code == "bad-url"


async def test_an_alert_says_what_happened_and_is_one_incident_however_often_it_is_sent(
    tmp_path: Path, outside: Outside
) -> None:
    outside.status, outside.body = 202, b'{"status": "success", "dedup_key": "inv-1"}'
    config = {"pagerduty-api-key": "routing", "pagerduty-service-id": "P123", "url": outside.url + "/v2/enqueue"}
    message = "Cluster acme/reports failed\nwith error " + "x" * 2_000
    for _ in range(2):
        assert await run(SendPagerdutyAlert, config, {"message": message}, make_context(tmp_path)) == [
            {"dedup-key": "inv-1", "status": "success"}
        ]
    first, second = (json.loads(request[3]) for request in outside.requests)
    assert first == second
    assert first["routing_key"] == "routing"
    assert first["event_action"] == "trigger"
    assert first["dedup_key"] == "inv-1"
    payload = first["payload"]
    assert payload["summary"].startswith("Cluster acme/reports failed with error x")
    assert len(payload["summary"]) == 1_024
    assert (payload["source"], payload["severity"]) == ("acme/reports", "error")
    assert payload["custom_details"]["pagerduty-service-id"] == "P123"
    assert payload["custom_details"]["message"] == message


async def test_an_alert_with_a_wrong_key_is_permanent(tmp_path: Path, outside: Outside) -> None:
    outside.status, outside.body = 400, b'{"errors": ["invalid routing key"]}'
    with pytest.raises(PermanentError, match="invalid routing key"):
        await run(
            SendPagerdutyAlert,
            {"pagerduty-api-key": "k", "url": outside.url},
            {"message": "m"},
            make_context(tmp_path),
        )


async def test_logs_go_out_in_batches_from_the_level_on(
    tmp_path: Path, outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside.status, outside.body = 202, b"{}"
    monkeypatch.setattr(send_logs_to_new_relic, "REQUEST_MAX_BYTES", 2_000)
    records = [
        {"time-ms": 1_000 + number, "level": level, "message": f"{number} " + "x" * 100, "step": "s"}
        for number, level in enumerate(["debug", "info", "warn", "error", "strange"] * 8)
    ]
    config = {"account-id": 12, "api-key": "key", "application-id": "app", "log-level": "WARNING", "url": outside.url}
    assert await run(SendLogsToNewRelic, config, {"records": records}, make_context(tmp_path)) == [
        {"sent": 24, "left-out": 16}
    ]
    bodies = [json.loads(gzip.decompress(request[3])) for request in outside.requests]
    assert len(bodies) > 1
    logs = [entry for (body,) in bodies for entry in body["logs"]]
    assert [entry["timestamp"] for entry in logs] == [
        record["time-ms"] for record in records if record["level"] not in ("debug", "info")
    ]
    assert logs[0]["attributes"] == {"level": "warn", "step": "s"}
    common = bodies[0][0]["common"]["attributes"]
    assert common["orbit.cluster"] == "acme/reports"
    assert common["newrelic.account-id"] == "12"
    assert outside.requests[0][2]["Api-Key"] == "key"


async def test_no_logs_send_nothing(tmp_path: Path, outside: Outside) -> None:
    config = {"account-id": "1", "api-key": "k", "url": outside.url}
    assert await run(SendLogsToNewRelic, config, {"records": []}, make_context(tmp_path)) == [
        {"sent": 0, "left-out": 0}
    ]
    assert outside.requests == []
