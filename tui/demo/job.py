"""The job of the demonstration before it is submitted: reports, the cluster file, what the right answers are."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from typing import Any, Final

from tui.demo.reports import Report, damaged_pdf, make_reports, pdf_bytes

BUCKET: Final = "financial-reports"
DAMAGED: Final = "damaged-in-transit.pdf"
_FOLDER: Final = "sec"
_SEED: Final = 2_026

#: Steps of `cluster.yml` whose objects the closing table is made of.
LIST_STEP: Final = "get-files-from-s3"
EXTRACT_STEP: Final = "extract-json"


@dataclass(frozen=True, slots=True)
class Credentials:
    """Invented for one demonstration; they go into the vault, and nowhere else."""

    aws_access_key: str = field(default_factory=lambda: f"DEMO{secrets.token_hex(8).upper()}", repr=False)
    aws_secret_key: str = field(default_factory=lambda: secrets.token_urlsafe(30), repr=False)
    api_bearer_token: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)
    pagerduty_api_key: str = field(default_factory=lambda: secrets.token_hex(16), repr=False)


@dataclass(frozen=True, slots=True)
class Job:
    """`files` by key: real PDFs, one of them damaged. `reports` by the name of their file."""

    files: Mapping[str, bytes]
    reports: Mapping[str, Report]


def make_job(documents: int) -> Job:
    """`documents` files, the last of them damaged. The same number always gives the same files."""
    reports = make_reports(documents - 1, seed=_SEED)
    files = {f"{_FOLDER}/{report.file_name}": pdf_bytes(report) for report in reports}
    files[f"{_FOLDER}/{DAMAGED}"] = damaged_pdf()
    return Job(files, {report.file_name: report for report in reports})


def cluster_file(*, s3: str, receivers: str, model: str, credentials: Credentials) -> bytes:
    """`cluster.yml` with its names in angle brackets filled in."""
    text = resources.files("tui.demo").joinpath("cluster.yml").read_text(encoding="utf-8")
    for name, value in {
        "<s3>": s3,
        "<receivers>": receivers,
        "<model>": model,
        "<aws-access-key>": credentials.aws_access_key,
        "<aws-secret-key>": credentials.aws_secret_key,
        "<api-bearer-token>": credentials.api_bearer_token,
        "<pagerduty-api-key>": credentials.pagerduty_api_key,
    }.items():
        text = text.replace(name, value)
    return text.encode()


class Bucket:
    """The bucket, as its owner sees it. Blocks: call it from a thread."""

    def __init__(self, endpoint: str, credentials: Credentials) -> None:
        import boto3  # slow to import, and only wanted here
        from botocore.config import Config

        self._client: Any = boto3.client(
            "s3",
            endpoint_url=endpoint,
            region_name="us-east-1",
            aws_access_key_id=credentials.aws_access_key,
            aws_secret_access_key=credentials.aws_secret_key,
            config=Config(s3={"addressing_style": "path"}, proxies={}, retries={"total_max_attempts": 3}),
        )

    def fill(self, files: Mapping[str, bytes]) -> None:
        self._client.create_bucket(Bucket=BUCKET)
        for key, content in files.items():
            self._client.put_object(Bucket=BUCKET, Key=key, Body=content, ContentType="application/pdf")

    def keys(self) -> list[str]:
        found = self._client.list_objects_v2(Bucket=BUCKET)
        return [entry["Key"] for entry in found.get("Contents", ())]

    def close(self) -> None:
        self._client.close()
