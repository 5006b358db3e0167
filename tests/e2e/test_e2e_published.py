"""The published cluster file (`../shared/examples`), live: as it stands, but for where the world is and what the
secrets are. S3 is moto's, the webhook, PagerDuty and New Relic are one receiver on loopback, and the 70-billion model
is the small one of the demonstration under that name."""

from __future__ import annotations

import gzip
import json
import logging
import re
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from orbit_agent.models.sources import PACKAGED_ROOT
from orbit_agent.models.store import ModelStore
from orbit_core.errors import InvalidSpecError
from tui.mesh.local import AgentPlan

moto_server = pytest.importorskip("moto.server", reason="the demo extra is not installed")
pytest.importorskip("fpdf", reason="the demo extra is not installed")

from tui.demo.reports import damaged_pdf, make_reports, pdf_bytes  # noqa: E402 - needs what was asked for above

ROOT = Path(__file__).parents[2]
FILE = ROOT.parent / "shared" / "examples" / "structured-pdfs.yml"
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.shared,
    pytest.mark.skipif(not FILE.is_file(), reason="the published example is not beside this repository"),
    pytest.mark.skipif(not (PACKAGED_ROOT / "orbit-demo").is_dir(), reason="the demonstration model is not packaged"),
]

CLUSTER = "aikin/structured-pdfs"
BUCKET = "aikin-financial-reports"
MODEL = "deepseek-r1-distill-llama-70b"
SECRETS = {
    "your-aws-access-key": "planted-aws-access",
    "your-aws-secret-key": "planted-aws-secret",
    "your-api-bearer-token": "planted-bearer",
    "your-new-relic-account-id": "4711",
    "your-new-relic-api-key": "planted-new-relic",
    "your-new-relic-application-id": "orbit",
    "your-failure-s3-aws-access-key": "planted-failure-access",
    "your-failure-s3-aws-secret-key": "planted-failure-secret",
}


@dataclass
class World:
    """What stands for everything that is not Orbit. `posts`: path, headers and body of every request."""

    s3: str
    url: str
    posts: list[tuple[str, dict[str, str], Any]] = field(default_factory=list)

    def at(self, path: str) -> list[tuple[dict[str, str], Any]]:
        return [(headers, body) for where, headers, body in self.posts if where == path]


@pytest.fixture
def world() -> Iterator[World]:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    moto = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    found = World(f"http://{host}:{port}", "")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if self.headers.get("Content-Encoding") == "gzip":
                data = gzip.decompress(data)
            found.posts.append((self.path, dict(self.headers), json.loads(data)))
            self.send_response(202)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, format: str, *args: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield found
    server.shutdown()
    thread.join()
    server.server_close()
    moto.stop()


def published(world: World) -> str:
    """The file, with endpoints and secrets of the test's own, and an api-call beside its cron."""
    text = FILE.read_text()
    for printed, own in SECRETS.items():
        text = text.replace(f'"{printed}"', f'"{own}"')
    text = text.replace("https://api.aikin.com", world.url)
    text = re.sub(r'^( +)cron: ("0 0 \* \* \*")$', r"\1- cron: \2\n\1- api-call: true", text, flags=re.MULTILINE)
    text = re.sub(rf"^( +)bucket: {BUCKET}$", rf"\g<0>\n\1endpoint-url: {world.s3}", text, flags=re.MULTILINE)
    text = re.sub(r"^( +)origin-source: s3$", rf"\g<0>\n\1endpoint-url: {world.s3}", text, flags=re.MULTILINE)
    text = re.sub(r"^( +)log-level: info$", rf"\g<0>\n\1url: {world.url}/new-relic", text, flags=re.MULTILINE)
    return re.sub(r"^( +)pagerduty-api-key: .*$", rf"\g<0>\n\1url: {world.url}/pager", text, flags=re.MULTILINE)


def fill(world: World, reports: list[Any]) -> Any:
    """The bucket with reports, one damaged; that one lies in the failure bucket too, where the file moves it from."""
    import boto3
    from botocore.config import Config

    client: Any = boto3.client(
        "s3",
        endpoint_url=world.s3,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(proxies={}, s3={"addressing_style": "path"}),
    )
    for bucket in (BUCKET, f"{BUCKET}-failure"):
        client.create_bucket(Bucket=bucket)
        client.put_object(Bucket=bucket, Key="sec/damaged.pdf", Body=damaged_pdf())
    for report in reports:
        client.put_object(Bucket=BUCKET, Key=f"sec/2024/{report.file_name}", Body=pdf_bytes(report))
    client.put_object(Bucket=BUCKET, Key="sec/notes.txt", Body=b"not a report")
    return client


def small_model(folder: Path) -> Path:
    """The demonstration's model, which is trusted with the 1024 tokens that the file allows for an answer.

    Its own context is not much more than that; it never comes near to either.
    """
    shutil.copytree(PACKAGED_ROOT / "orbit-demo", folder)
    config = json.loads((folder / "genai_config.json").read_text())
    config["model"]["context_length"] = config["search"]["max_length"] = 4096
    (folder / "genai_config.json").write_text(json.dumps(config))
    return folder


def keys(s3: Any, bucket: str) -> set[str]:
    return {entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket).get("Contents", ())}


async def test_the_published_example_runs(start_mesh, connect, world, tmp_path):
    reports = make_reports(3)
    s3 = fill(world, reports)
    ModelStore(tmp_path / "models").add(MODEL, f"folder:{small_model(tmp_path / 'small')}")
    agent = AgentPlan(id="only", price_usd_per_hour=0.05, cpus=2, memory="4GiB")
    client = connect(await start_mesh((agent,), models=tmp_path / "models"))

    content = published(world).encode()
    validation = await client.validate(content)
    assert validation.ok
    assert {each.severity for each in validation.diagnostics} <= {"warning"}
    with pytest.raises(InvalidSpecError) as refused:
        await client.submit(content, file_name="structured-pdfs.yml")
    missing = " ".join(each.description for each in refused.value.violations)
    assert "PAGERDUTY_API_KEY" in missing and "PAGERDUTY_SERVICE_ID" in missing

    await client.set_secret(CLUSTER, "PAGERDUTY_API_KEY", "planted-pager-key")
    await client.set_secret(CLUSTER, "PAGERDUTY_SERVICE_ID", "planted-pager-service")
    cluster = (await client.submit(content)).cluster
    assert (cluster.sla_ms, len(cluster.steps)) == (6 * 3_600_000, 5)
    assert cluster.next_run_ms and cluster.next_run_ms % 86_400_000 == 0
    assert not [value for value in SECRETS.values() if value.startswith("planted") and value in cluster.document]

    run = await client.trigger(CLUSTER)
    async for seen in client.watch(run.run_id):
        run = seen
    failures = [result.failure async for result in client.results(run.run_id) if result.failure]
    assert (run.state, run.sla) == ("partially-succeeded", "met"), failures
    assert (run.lineages_succeeded, run.lineages_failed) == (3, 1), failures

    delivered = world.at("/v1/financial-reports")
    assert {headers["Authorization"] for headers, _ in delivered} == {"Bearer planted-bearer"}
    assert {body["file-path"] for _, body in delivered} == {f"sec/2024/{report.file_name}" for report in reports}
    wanted = {"company", "quarter", "year", "revenue", "net-income", "gross-profit", "operating-income"}
    assert all(wanted < set(body["data"]) for _, body in delivered)
    assert keys(s3, BUCKET) == {"sec/damaged.pdf", "sec/notes.txt"}, "what is done is deleted"
    assert keys(s3, f"{BUCKET}-failure") == {"failed/quarterly-financial-reports/damaged.pdf"}

    ((_, alert),) = world.at("/pager")
    said = json.dumps(alert)
    assert f"Cluster {CLUSTER} failed at " in said and "for file sec/damaged.pdf" in said
    assert f"s3://{BUCKET}-failure/failed/quarterly-financial-reports/damaged.pdf" in said
    assert "${{" not in said
    forwarded = json.dumps([body for _, body in world.at("/new-relic")])
    assert "pdf-unreadable" in forwarded and "planted" not in forwarded
    s3.close()
