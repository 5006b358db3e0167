from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import pytest
import yaml
from pydantic import BaseModel, Field, model_validator

from orbit_core.errors import InvalidSpecError, OrbitError
from orbit_core.limits import SPEC_MAX_BYTES, SPEC_MAX_STEPS
from orbit_core.spec.diagnostics import DIAGNOSTICS_MAX, Diagnostic
from orbit_core.spec.loader import load, load_document
from orbit_core.spec.models import (
    ApiCallTrigger,
    ClusterFinishedTrigger,
    CronTrigger,
    Gather,
    Resources,
    RetryPolicy,
    S3UploadTrigger,
    SecretDeclaration,
    WebhookTrigger,
)
from tests.unit.spec.fake_catalog import FakeCatalog

VALID = Path(__file__).parent / "valid"
EXAMPLES = Path(__file__).parents[4] / "shared" / "examples"

HEAD = "version: 0.0.1b\ncluster:\n  identifier: acme/demo\n  sla: 1h\n  trigger: {api-call: true}\n"
STEP = "    - uses: satellite/acme/any\n      identifier: first\n"


def codes(text: str | bytes, **options: Any) -> list[str]:
    return [diagnostic.code for diagnostic in load(text, **options).diagnostics]


def example(name: str) -> bytes:
    path = EXAMPLES / name
    if not path.exists():
        pytest.skip(f"../shared/examples/{name} is not there")
    return path.read_bytes()


# The published example


@pytest.mark.shared
def test_the_published_example_validates_with_its_undeclared_secrets_as_warnings() -> None:
    result = load(example("structured-pdfs.yml"), file="structured-pdfs.yml", catalog=FakeCatalog())
    assert result.cluster is not None
    assert [(d.severity, d.code, d.line, d.column) for d in result.diagnostics] == [
        ("warning", "undeclared-secret", 144, 32),
        ("warning", "undeclared-secret", 145, 35),
    ]
    cluster = result.cluster
    assert cluster.identifier == "aikin/structured-pdfs"
    assert [step.retries.max_retries for step in cluster.satellites] == [3, 3, 5, 3, 3]
    assert cluster.failure is not None
    assert cluster.failure.from_step == "parse-pdf-with-docling"


@pytest.mark.shared
def test_the_published_example_lacks_two_secrets_when_it_is_submitted() -> None:
    text = example("structured-pdfs.yml")
    missing = load(text, catalog=FakeCatalog(), mode="submit")
    assert [(d.severity, d.code) for d in missing.diagnostics] == [("error", "undeclared-secret")] * 2
    names = {"PAGERDUTY_API_KEY", "PAGERDUTY_SERVICE_ID"}
    assert load(text, catalog=FakeCatalog(), mode="submit", vault_names=names).diagnostics == ()


@pytest.mark.shared
def test_the_example_as_printed_is_an_error_at_its_line_126() -> None:
    result = load(example("structured-pdfs-as-printed.yml"), file="printed.yml", catalog=FakeCatalog())
    assert result.cluster is None
    assert [(d.severity, d.code, d.line, d.column) for d in result.diagnostics] == [("error", "yaml", 126, 17)]


@pytest.mark.shared
def test_the_example_goes_there_and_back() -> None:
    cluster = load(example("structured-pdfs.yml")).unwrap()
    text = yaml.safe_dump({"version": "0.0.1b", "cluster": cluster.to_document()}, sort_keys=False)
    assert load(text).unwrap() == cluster


def test_our_own_file_of_that_shape_validates() -> None:
    result = load((VALID / "reports.yml").read_bytes(), catalog=FakeCatalog())
    assert [(d.severity, d.code) for d in result.diagnostics] == [("warning", "undeclared-secret")] * 2
    cluster = result.unwrap()
    assert cluster.secrets[0] == SecretDeclaration(name="AWS_ACCESS_KEY", value="an-access-key")
    assert cluster.secrets[3] == SecretDeclaration(name="LOGS_KEY")
    assert cluster.secrets[4] == SecretDeclaration(name="FAILURE_AWS_ACCESS_KEY")
    listing, _, figures, webhook, _ = cluster.satellites
    assert listing.secrets == {"AWS_ACCESS_KEY": "AWS_ACCESS_KEY", "AWS_SECRET_KEY": "AWS_SECRET_KEY"}
    assert "secrets" not in listing.config
    assert figures.retries == RetryPolicy(max_retries=5)
    assert webhook.config["headers"] == [{"Authorization": "Bearer ${{ secrets.API_BEARER_TOKEN }}"}]
    assert webhook.secret_names() == ("API_BEARER_TOKEN",)


def test_the_same_block_indented_differently_is_an_error_at_its_line() -> None:
    text = (VALID / "reports.yml").read_text()
    lines = text.replace("        - name: Move aside\n", "         - name: Move aside\n").splitlines()
    at = lines.index("         - name: Move aside")
    lines[at + 1 : at + 1 + 3] = [f"  {line}" for line in lines[at + 1 : at + 1 + 3]]
    (found,) = load("\n".join(lines)).diagnostics
    assert (found.code, found.line) == ("yaml", at + 2)


# The whole format


def test_every_key_is_read() -> None:
    cluster = load((VALID / "everything.yml").read_bytes(), catalog=FakeCatalog()).unwrap()
    assert cluster.sla_ms == 95_400_000
    assert (cluster.objective, cluster.budget_usd, cluster.priority) == ("availability", 12.5, 80)
    assert cluster.triggers == (
        CronTrigger(cron="*/15 8-18 * * mon-fri", timezone="Europe/Berlin", catch_up="all"),
        ApiCallTrigger(),
        S3UploadTrigger(
            bucket="incoming",
            prefix="reports/",
            suffix=".pdf",
            endpoint_url="https://s3.example.com",
            region="eu-central-1",
            secrets={"AWS_ACCESS_KEY": "AWS_ACCESS_KEY", "AWS_SECRET_KEY": "AWS_SECRET_KEY"},
        ),
        WebhookTrigger(path="/reports/new", secret="HOOK"),
        ClusterFinishedTrigger(cluster="acme/before"),
    )
    assert cluster.retries == RetryPolicy(
        max_retries=2, backoff="linear", delay_ms=500, max_delay_ms=60_000, jitter="none"
    )
    assert [secret.vault_name for secret in cluster.secrets] == ["AWS_ACCESS_KEY", "SHARED_SECRET_KEY", "HOOK"]
    listing, left, right, both, summary, apart, end = cluster.satellites
    assert listing.uses.version == "1.2.0"
    assert (listing.delay_ms, listing.timeout_ms, listing.retries.max_retries) == (10_000, 1_200_000, 0)
    assert listing.resources == Resources(
        cpu=0.5, memory_bytes=2 * 2**30, gpu=0.25, gpu_memory_bytes=8 * 10**9, accelerator="h100"
    )
    assert left.config == listing.config == {"shared": [1, 2.5, True, None, "text"]}
    assert right.condition is not None
    assert right.condition.text == "true"
    assert right.input == {}
    assert right.retries.delay_ms == 1_000
    assert (both.needs, both.gather) == (("left.v2", "right"), Gather(over="list"))
    assert (summary.needs, summary.gather) == (("both",), Gather(over="run", when="all-ended"))
    assert apart.needs == ()
    assert (end.needs, end.gather) == (("summary", "apart"), Gather(over="run"))


@pytest.mark.parametrize("name", ["reports", "everything"])
def test_a_valid_file_goes_there_and_back(name: str) -> None:
    cluster = load((VALID / f"{name}.yml").read_bytes()).unwrap()
    text = yaml.safe_dump({"version": "0.0.1b", "cluster": cluster.to_document()}, sort_keys=False)
    again = load(text).unwrap()
    assert again == cluster
    assert again.to_document() == cluster.to_document()


@pytest.mark.parametrize(
    ("written", "same"),
    [
        ("  retries: 3\n", "  retries: {max-retries: 3}\n"),
        ("  secrets: {A: x, B: }\n", "  secrets: [A: x, B: ]\n"),
        ("  secrets: {A: x, B: }\n", "  secrets: [A: x, B]\n"),
        ("  secrets: {A: '${{ secrets.B }}'}\n", "  secrets: [A: ' $${{secrets.B}} ']\n"),
        ("  title: yes\n", '  title: "yes"\n'),
        ("  title: 1:30\n", '  title: "1:30"\n'),
        ("  title: 2026-01-01\n", '  title: "2026-01-01"\n'),
        ("  budget: 5\n", "  budget: 5.0\n"),
        ("  priority: 0x10\n", "  priority: 16\n"),
        ("  priority: 010\n", "  priority: 10\n"),
        ("  failure:\n", ""),
        ("  logs: null\n  title: ~\n  retries:\n  secrets:\n", ""),
    ],
)
def test_two_ways_of_writing_the_same(written: str, same: str) -> None:
    rest = f"  satellites:\n{STEP}"
    assert load(HEAD + written + rest).unwrap() == load(HEAD + same + rest).unwrap()


@pytest.mark.parametrize(
    ("written", "same"),
    [
        ("needs: first", "needs: [first]"),
        ("needs:", "needs: [first]"),
        ("gather: true", "gather: {}"),
        ("gather: true", "gather: {over: run, when: all-succeeded}"),
        ("gather: false", "name:"),
        ("if: true", 'if: "true"'),
        ("config: {secrets: [A]}", "config: {secrets: {A: '${{ secrets.A }}'}}"),
        ("config: {secrets: {A: , B: '${{ secrets.C }}'}}", "config: {secrets: [A, B: '${{ secrets.C }}']}"),
        ("config: {secrets: }", "config: {}"),
        ("config:", "config: {}"),
        ("retries: 5", "name: ~"),
        ("resources: {memory: 1Gi, cpu: 500m}", "resources: {memory: 1073741824, cpu: 0.5}"),
    ],
)
def test_two_ways_of_writing_the_same_step(written: str, same: str) -> None:
    rest = f"  satellites:\n{STEP}    - uses: satellite/acme/any\n      identifier: second\n      "
    assert load(HEAD + rest + written).unwrap() == load(HEAD + rest + same).unwrap()


def test_a_reference_stands_for_a_value_of_any_type() -> None:
    text = (
        HEAD + "  satellites:\n    - uses: satellite/exospherehost/deepseek-r1-distrill-llama-70b\n"
        "      identifier: first\n      config:\n        temperature: ${{ trigger.temperature }}\n"
        "        max-tokens: ${{ trigger.tokens }}\n        output-schema: ${{ trigger.schema }}\n"
        "      input:\n        images: ${{ trigger.images }}\n"
    )
    assert load(text, catalog=FakeCatalog()).diagnostics == ()


def test_without_a_catalog_satellites_are_not_looked_at() -> None:
    text = HEAD + "  satellites:\n    - {uses: satellite/any/thing@7, identifier: first, config: {a: 1}}\n"
    assert load(text).cluster is not None
    assert codes(text, catalog=FakeCatalog()) == ["unknown-satellite"]


def test_a_satellite_whose_model_fails_badly_is_reported_not_raised() -> None:
    class Broken(FakeCatalog):
        def resolve(self, ref: Any) -> Any:
            class Raises(BaseModel):
                @model_validator(mode="before")
                @classmethod
                def _fail(cls, value: Any) -> Any:
                    raise RuntimeError("a bug of its author")

            found = super().resolve(ref)
            return found and replace(found, config_model=Raises)

    (found,) = load(HEAD + f"  satellites:\n{STEP}      config: {{a: 1}}\n", catalog=Broken()).diagnostics
    assert "a bug of its author" in found.message


def test_a_satellites_own_keys_are_not_taken_for_those_of_the_format() -> None:
    class Own(BaseModel):
        path: str
        timeout: Annotated[float, Field(le=86_400)]

    class OwnCatalog(FakeCatalog):
        def resolve(self, ref: Any) -> Any:
            found = super().resolve(ref)
            return found and replace(found, config_model=Own)

    text = HEAD + f"  satellites:\n{STEP}      config: {{path: 5, timeout: 100000}}\n"
    wrong_path, wrong_timeout = load(text, catalog=OwnCatalog()).diagnostics
    assert (wrong_path.expected, wrong_timeout.expected) == ("text", "at most 86400")


def test_a_schema_with_references_in_it_is_checked_when_they_are_known() -> None:
    text = HEAD + f"  satellites:\n{STEP}      config: {{output-schema: {{a: '${{{{ trigger.type }}}}'}}}}\n"
    assert load(text, catalog=FakeCatalog()).diagnostics == ()


def test_each_trigger_is_checked_whatever_is_wrong_with_the_others() -> None:
    text = HEAD.replace(
        "{api-call: true}",
        "[{cron: 0 0 30 2 *, catch-up: x}, {cron: 5, timezone: Nowhere}, {cluster-finished: 5}, {webhook: {path: x}}]",
    )
    result = load(text + f"  satellites:\n{STEP}      timeout: 2h\n")
    assert [(diagnostic.code, diagnostic.path) for diagnostic in result.diagnostics] == [
        ("never-fires", "cluster.trigger[0].cron"),
        ("wrong-value", "cluster.trigger[0].catch-up"),
        ("wrong-type", "cluster.trigger[1].cron"),
        ("unknown-timezone", "cluster.trigger[1].timezone"),
        ("wrong-type", "cluster.trigger[2].cluster-finished"),
        ("open-webhook", "cluster.trigger[3].webhook"),
        ("wrong-value", "cluster.trigger[3].webhook.path"),
        ("sla-below-timeout", "cluster.satellites[0].timeout"),
    ]


# Secrets of the vault


@pytest.mark.parametrize(
    ("mode", "vault", "severities"),
    [
        ("validate", None, ["warning"]),
        ("validate", [], ["warning", "warning"]),
        ("validate", ["OWN", "OTHER"], []),
        ("submit", None, ["error", "error"]),
        ("submit", ["OWN"], ["error"]),
        ("submit", ["OTHER"], ["error"]),
        ("submit", ["OWN", "OTHER"], []),
    ],
)
def test_secrets_that_the_vault_has_or_lacks(mode: Any, vault: list[str] | None, severities: list[str]) -> None:
    text = (
        HEAD
        + "  secrets: [OWN]\n  satellites:\n"
        + STEP
        + "      config: {a: '${{ secrets.OWN }} ${{ secrets.OTHER }}'}\n"
    )
    result = load(text, mode=mode, vault_names=vault)
    assert [diagnostic.severity for diagnostic in result.diagnostics] == severities


SECRET = "hunter2-do-not-show"


@pytest.mark.parametrize(
    "lines",
    [
        f"  secrets: {SECRET}!\n",
        f"  secrets: [[{SECRET}!]]\n",
        f"  secrets: ['{SECRET} !']\n",
        f"  secrets: [A: [{SECRET}]]\n",
        f"  secrets: [A: {{x: {SECRET}}}]\n",
        f"  secrets: {{A: 'Bearer {SECRET} ${{{{ secrets.B }}}}'}}\n",
        f"  secrets: {{A: '{SECRET} ${{{{'}}\n",
        f"  secrets: {{A: {SECRET}, A: {SECRET}}}\n",
        f"  secrets: {{A: '${{{{ {SECRET} }}}}'}}\n",
        f"  secrets: {{A: '${{{{ secrets.B {SECRET} }}}}'}}\n",
        f"  secrets: {{A: {SECRET}}}\n  priority: 1000\n",
        f"  secrets: {{A: 5, B: {SECRET}}}\n",
    ],
)
def test_no_diagnostic_shows_a_secret(lines: str) -> None:
    result = load(f"{HEAD}{lines}  satellites:\n{STEP}      config: {{secrets: {{A: '{SECRET}'}}}}\n", mode="submit")
    assert result.errors
    assert not any(SECRET in diagnostic.format() for diagnostic in result.diagnostics)
    with pytest.raises(InvalidSpecError) as caught:
        result.unwrap()
    assert SECRET not in str(caught.value)


# Limits


def test_a_file_may_be_as_large_as_the_limit_and_no_larger() -> None:
    text = HEAD + f"  satellites:\n{STEP}"
    room = SPEC_MAX_BYTES - len(text)
    assert load(text + "#" * room).cluster is not None
    assert codes(text + "#" * (room + 1)) == ["too-large"]
    assert codes((text + "#" * (room + 1)).encode()) == ["too-large"]
    assert codes(text + "#" + "ü" * (room // 2 + 1)) == ["too-large"]


def test_too_many_steps_are_one_problem() -> None:
    def steps(count: int) -> str:
        lines = [f"    - {{uses: satellite/acme/any, identifier: s{index}}}\n" for index in range(count)]
        return HEAD + "  satellites:\n" + "".join(lines)

    assert load(steps(SPEC_MAX_STEPS)).cluster is not None
    assert codes(steps(SPEC_MAX_STEPS + 1)) == ["wrong-value"]


def test_more_problems_than_anyone_reads_are_counted() -> None:
    keys = "".join(f"      key-{index}: 1\n" for index in range(DIAGNOSTICS_MAX + 7))
    result = load(HEAD + "  satellites:\n" + STEP + keys)
    assert len(result.diagnostics) == DIAGNOSTICS_MAX + 1
    assert "7 further problems" in result.diagnostics[-1].message


def test_errors_after_more_warnings_than_are_kept_still_refuse_the_file() -> None:
    text = (
        HEAD + "  satellites:\n" + STEP + "      config:\n"
        + "".join(f"        '{index} ${{{{ trigger.a }}}}': 1\n" for index in range(DIAGNOSTICS_MAX + 5))
        + "        z: ${{ satellites.nobody.output }}\n"
    )  # fmt: skip
    result = load(text)
    assert result.cluster is None
    assert [diagnostic.code for diagnostic in result.errors] == ["too-many-problems"]


def test_duplicate_keys_are_counted_too() -> None:
    result = load(HEAD + "  title: x\n" * (DIAGNOSTICS_MAX + 10) + f"  satellites:\n{STEP}")
    assert len(result.diagnostics) == DIAGNOSTICS_MAX + 1


@pytest.mark.parametrize(
    "text",
    [
        "[" * 500_000,
        "{a: " * 200_000,
        "- " * 300_000,
        "? " * 300_000,
        "a: &a [" + "*a, " * 100_000,
        "x: '" + "${{ a'" * 100_000,
        'x: "' + "\\u0041" * 100_000 + '"',
        "a: 1\n" * 150_000,
        "&a " * 1_000 + "x",
        "x: " + "9" * 500_000,
        "- - - - " * 20 + "x",
        "!" * 300_000,
        "%TAG ! tag:x,2000:\n" * 20_000,
        "'" * 500_001,
        "x: |\n" + " \n" * 250_000,
    ],
    ids=lambda text: text[:12],
)
def test_hostile_text_is_answered(text: str) -> None:
    result = load(text)
    assert result.cluster is None
    assert result.errors


# Results


def test_a_diagnostic_reads_as_one_line() -> None:
    full = Diagnostic("error", "x", "a.yml", 3, 5, "cluster.sla", "wrong", "1", "2", "3")
    assert full.format() == "a.yml:3:5: error: cluster.sla: wrong (found 1, expected 2; did you mean 3?)"
    bare = Diagnostic("warning", "x", "a.yml", None, None, "", "wrong")
    assert bare.format() == "a.yml: warning: wrong"


def test_errors_are_one_error_of_the_tree_with_each_as_a_violation() -> None:
    result = load("version: 0.0.1b\ncluster: {sla: 5}\n", file="a.yml")
    with pytest.raises(InvalidSpecError) as caught:
        result.unwrap()
    assert isinstance(caught.value, OrbitError)
    assert [violation.path for violation in caught.value.violations] == [d.path for d in result.errors]
    assert all(d.format() in str(caught.value) for d in result.errors)


def test_a_document_without_text_has_paths_and_no_lines() -> None:
    document = yaml.safe_load(HEAD + f"  satellites:\n{STEP}      timeout: 2h\n")
    (found,) = load_document(document, file="built").diagnostics
    assert (found.line, found.column, found.path) == (None, None, "cluster.satellites[0].timeout")
    assert found.format().startswith("built: error: cluster.satellites[0].timeout: ")


def test_a_document_of_other_than_plain_data_is_refused() -> None:
    with pytest.raises(TypeError, match=r"cluster\.title"):
        load_document({"cluster": {"title": object()}})
    with pytest.raises(TypeError, match="a key is text"):
        load_document({"cluster": {1: 2}})


def test_text_and_bytes_are_read_alike() -> None:
    text = (VALID / "reports.yml").read_text()
    assert load(text) == load(text.encode()) == load(b"\xef\xbb\xbf" + text.encode())
