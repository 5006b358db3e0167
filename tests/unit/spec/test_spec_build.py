"""Clusters as Python objects: what they write, how they are checked, what refuses."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from orbit_core.errors import InvalidSpecError
from orbit_core.spec.build import (
    ApiCall,
    Cluster,
    ClusterFinished,
    Cron,
    Failure,
    Gather,
    Resources,
    Retry,
    S3Upload,
    Step,
    Webhook,
    of_failure,
    of_run,
    secret,
    trigger,
)
from orbit_core.spec.build.paths import python_path
from orbit_core.spec.expressions import parse_expression
from orbit_core.spec.loader import load
from tests.unit.spec.fake_catalog import FakeCatalog

ANY = "satellite/acme/any"
VALID = Path(__file__).parent / "valid"


def cluster(*steps: Step, **changes: Any) -> Cluster:
    given: dict[str, Any] = {"sla": "1h", "triggers": [ApiCall()], **changes}
    return Cluster("acme/built", steps=steps or (Step("one", ANY),), **given)


def test_everything_that_a_file_can_say_can_be_said_here() -> None:
    listed = Step(
        "list",
        f"{ANY}@1.2.0",
        {"shared": [1, 2.5, True, None, "text"]},
        delay="10s",
        timeout=timedelta(minutes=20),
        retries=0,
        resources=Resources("500m", "2Gi", 0.25, "8GB", "h100"),
    )
    left = Step(
        "left.v2",
        ANY,
        listed.config,
        condition="${{ satellites.list.output.size > 0 }} && satellites.list.output.kind != 'skip'",
    )
    right = Step("right", ANY, needs=listed, condition=True, input={}, retries=Retry(delay="1s"))
    both = Step(
        "both",
        ANY,
        {
            "left": left.outputs,
            "first": right.outputs[0]["key"],
            "one": listed.output["odd key"]["items"][0],
        },
        needs=[left, "right"],
    )
    summary = Step(
        "summary",
        ANY,
        gather=Gather("run", "all-ended"),
        input={
            "text": f"{trigger['name']} {of_run('run-id')} {of_run('sla')} {of_run('deadline')}",
            "all": both.outputs,
        },
    )
    apart = Step("apart", ANY, needs=())
    end = Step("end", ANY, needs=(summary, apart), gather=True)
    built = Cluster(
        "acme/everything",
        timedelta(hours=26, minutes=30),
        [
            Cron("*/15 8-18 * * mon-fri", "Europe/Berlin", "all"),
            ApiCall(),
            S3Upload(
                "incoming",
                "reports/",
                ".pdf",
                "https://s3.example.com",
                "eu-central-1",
                secrets=["AWS_ACCESS_KEY", "AWS_SECRET_KEY"],
            ),
            Webhook("/reports/new", secret("HOOK")),
            ClusterFinished("acme/before"),
        ],
        [listed, left, right, both, summary, apart, end],
        title="Everything",
        objective="availability",
        budget_usd=12.5,
        priority=80,
        retries=Retry(2, "linear", "500ms", timedelta(minutes=1), "none"),
        secrets={"AWS_ACCESS_KEY": "abc", "AWS_SECRET_KEY": secret("SHARED_SECRET_KEY"), "HOOK": None},
        failure=Failure(
            right, [Step("tell", ANY, input={"text": f"{of_failure('satellite')} said {of_failure('error')}"})]
        ),
    )
    assert built.build() == load((VALID / "everything.yml").read_text()).unwrap()


def test_a_condition_may_be_made_of_references() -> None:
    first = Step("one", ANY)
    built = cluster(first, Step("two", ANY, condition=f"{first.output['n']} > 1 && {trigger['ok']}")).build()
    assert built.satellites[1].condition is not None
    assert built.satellites[1].condition.expression == parse_expression("satellites.one.output.n > 1 && trigger.ok")


@pytest.mark.parametrize("name", sorted(each.name for each in VALID.glob("*.yml")))
def test_files_come_in_and_go_out_again(name: str) -> None:
    text = (VALID / name).read_text()
    read = Cluster.from_yaml(text)
    assert read.build() == load(text).unwrap()
    assert load(read.to_yaml()).unwrap() == load(text).unwrap()
    assert Cluster.from_yaml(read.to_yaml()) == read


# Problems


def problems(built: Cluster, **options: Any) -> list[str]:
    return [each.format() for each in built.check(**options)]


def test_problems_are_told_all_at_once_where_python_has_them() -> None:
    built = cluster(
        Step("one", "any"),
        Step("two", ANY, needs=["on"], retries=Retry(max_delay="soon"), condition="1 >"),
        Step("three", ANY, {"key": "${{ satellites.two.output.x"}, gather=Gather(over="nowhere")),
        sla="soon",
        triggers=[Cron("* * *"), Webhook("reports", "HOOK")],
        secrets=["HOOK"],
        failure=Failure("one", [Step("tell", ANY, timeout="0s")]),
        logs=[Step("ship", ANY, secrets={"KEY": "hunter2"})],
    )
    found = problems(built)
    places = [text.split(": ")[2] for text in found]
    assert places == [
        "failure.steps[0].timeout",
        'logs[0].secrets["KEY"]',
        "steps[0].uses",
        "steps[1].condition",
        "steps[1].needs[0]",
        "steps[1].retries.max_delay",
        'steps[2].config["key"]',
        "steps[2].gather.over",
        "sla",
        "triggers[0].expression",
        "triggers[1].path",
    ]
    assert found[2] == (
        "Cluster('acme/built'): error: steps[0].uses: this does not name a satellite "
        '(found "any", expected satellite/<project>/<name>, optionally @<version>)'
    )
    assert "hunter2" not in " ".join(found)
    with pytest.raises(InvalidSpecError) as refused:
        built.build()
    assert [each.description for each in refused.value.violations] == found


def test_a_config_is_checked_against_a_catalog() -> None:
    built = cluster(Step("one", "satellite/acme/nothing"))
    assert problems(built) == []
    (found,) = problems(built, catalog=FakeCatalog())
    assert found.startswith("Cluster('acme/built'): error: steps[0].uses: ")


def test_warnings_leave_it_valid() -> None:
    built = cluster(triggers=[Webhook("/open")])
    (found,) = built.check()
    assert (found.severity, found.path) == ("warning", "triggers[0]")
    assert built.build().identifier == "acme/built"


def test_values_that_are_not_plain_are_refused_with_their_place() -> None:
    built = cluster(Step("one", ANY, {"days": [{"first": date(2026, 1, 31)}]}))
    with pytest.raises(InvalidSpecError) as refused:
        built.check()
    assert str(refused.value) == 'steps[0].config["days"][0]["first"]: a cluster holds plain data, not date'
    with pytest.raises(InvalidSpecError, match="a key is text, not int"):
        cluster(Step("one", ANY, input={"by": {1: 2}})).to_yaml()


def test_secrets_are_said_once() -> None:
    with pytest.raises(InvalidSpecError, match="say them once"):
        cluster(Step("one", ANY, {"secrets": ["A"]}, secrets=["B"])).to_document()


def test_what_python_shows_of_a_cluster_holds_no_secret() -> None:
    built = cluster(Step("one", ANY, secrets={"KEY": "hunter2"}), secrets={"KEY": "hunter2"})
    assert "hunter2" not in repr(built)


# References


def test_references_write_themselves() -> None:
    step = Step("a.b", ANY)
    assert str(step.output["odd key"][0]["plain"]) == "${{ satellites.a.b.output['odd key'][0].plain }}"
    assert f"to {step.outputs} by {secret('KEY')}" == "to ${{ satellites.a.b.outputs }} by ${{ secrets.KEY }}"
    assert str(trigger["it's"]) == """${{ trigger["it's"] }}"""


def test_references_that_cannot_be_are_refused() -> None:
    with pytest.raises(InvalidSpecError, match="nothing inside"):
        secret("KEY")["inside"]
    with pytest.raises(InvalidSpecError, match="quotes of both kinds"):
        trigger["'\""]
    with pytest.raises(InvalidSpecError, match="from the beginning"):
        trigger[-1]


# Places


@pytest.mark.parametrize(
    ("in_a_file", "in_python"),
    [
        ("", ""),
        ("cluster", ""),
        ("cluster.sla", "sla"),
        ("cluster.budget", "budget_usd"),
        ("cluster.trigger", "triggers"),
        ("cluster.trigger[0].s3-upload.endpoint-url", "triggers[0].endpoint_url"),
        ("cluster.trigger[0].s3-upload.secrets.KEY", 'triggers[0].secrets["KEY"]'),
        ("cluster.trigger[1].webhook", "triggers[1]"),
        ("cluster.trigger[1].cluster-finished", "triggers[1].cluster"),
        ("cluster.satellites[2].if", "steps[2].condition"),
        ("cluster.satellites[2].resources.gpu-memory", "steps[2].resources.gpu_memory"),
        ('cluster.satellites[2].config.a-b["odd key"][1].if', 'steps[2].config["a-b"]["odd key"][1]["if"]'),
        ("cluster.satellites[2].config.secrets.KEY", 'steps[2].secrets["KEY"]'),
        ("cluster.secrets.KEY", 'secrets["KEY"]'),
        ("cluster.logs.satellites[0].uses", "logs[0].uses"),
        ("cluster.failure.from", "failure.from_step"),
        ("cluster.failure.satellites[0].config.secrets.K", 'failure.steps[0].secrets["K"]'),
        ("cluster.failure.satellites[0].max-delay", "failure.steps[0].max_delay"),
        ("version", "version"),
    ],
)
def test_places_of_a_file_are_places_of_objects(in_a_file: str, in_python: str) -> None:
    assert python_path(in_a_file) == in_python
