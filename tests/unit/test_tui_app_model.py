"""What the terminal app knows and may do, without a terminal: the mesh, a run's page, columns, deeds."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orbit_core.client import Run
from tests.snapshot.tui_world import AGENTS, FAILURES, LOGS, MESH, NOW_MS, RUN_A, RUN_B, RUN_C, agent, step
from tui.app.model import offers
from tui.app.model.columns import Column, cut, cut_middle, fit
from tui.app.model.mesh import MeshModel
from tui.app.model.messages import (
    AgentsListed,
    Answered,
    FailuresListed,
    GraphRead,
    LogsRefused,
    LogsSeen,
    RunChanged,
    RunRefused,
    RunsListed,
    Silent,
)
from tui.app.model.page import LOG_RECORDS_MAX, RunPage
from tui.app.widgets.cells import percent_done

ENDED = replace(RUN_A, state="succeeded", sla="met", ended_ms=NOW_MS)


def told(model: MeshModel, *messages) -> list[str]:
    return [f"{notice.severity}: {notice.text}" for message in messages for notice in model.apply(message)]


# The mesh


def test_nothing_is_known_before_it_is_heard() -> None:
    model = MeshModel()
    assert (model.agents, model.runs, model.mesh, model.under_way) == (None, None, None, ())
    assert told(model, AgentsListed(()), RunsListed(())) == []
    assert (model.agents, model.runs) == ((), ())


def test_agents_that_work_come_first_and_lost_ones_cost_nothing() -> None:
    model = MeshModel()
    told(model, AgentsListed(AGENTS))
    first, *_, draining, lost = [each.agent_id for each in model.agents or ()]
    assert (first, draining, lost) == ("cheap", "old-laptop", "spot-7")
    assert model.price_usd_per_hour == pytest.approx(0.05 + 1.99 + 0.192 + 0.011)


def test_an_agent_that_is_lost_is_told_once_and_only_if_it_was_there() -> None:
    model = MeshModel()
    assert told(model, AgentsListed(AGENTS)) == [], "spot-7 was lost before anybody looked"
    lost = AgentsListed((*AGENTS[1:], replace(AGENTS[0], state="lost", running=())))
    assert told(model, lost, lost) == ["warning: gpu-box is lost; its 6 attempts will run elsewhere"]


def test_silence_is_told_once_and_so_is_its_end() -> None:
    model = MeshModel()
    assert told(model, Silent(1_000, "nobody")) == [], "nothing is lost that was never there"
    told(model, Answered(MESH))
    notices = told(model, Silent(5_000, "connection refused"), Silent(9_000, "no leader"))
    assert notices == ["warning: the mesh does not answer (connection refused): what runs goes on, and so does asking"]
    assert model.silence == Silent(5_000, "no leader"), "it began when it began"
    assert told(model, Answered(MESH)) == ["information: the mesh answers again"]
    assert model.silence is None


def test_a_new_leader_is_told() -> None:
    model = MeshModel()
    assert told(model, Answered(MESH), Answered(replace(MESH, runs_live=9))) == []
    assert told(model, Answered(replace(MESH, leader_id="b", epoch=8))) == ["information: b leads now, in term 8"]
    assert told(model, Answered(replace(MESH, leader_id="", epoch=9))) == [], "not before somebody does"


def test_the_end_of_a_run_is_told_once_however_it_is_learnt() -> None:
    model = MeshModel()
    told(model, RunsListed((RUN_A, RUN_C)))
    assert told(model, RunChanged(ENDED)) == [f"information: {RUN_A.cluster} succeeded ({RUN_A.run_id})"]
    assert told(model, RunsListed((ENDED, RUN_C)), RunChanged(ENDED)) == []


@pytest.mark.parametrize(
    ("changes", "severity", "word"),
    [
        ({"state": "succeeded", "sla": "met"}, "information", "succeeded"),
        ({"state": "succeeded", "sla": "missed"}, "warning", "succeeded, after its deadline"),
        ({"state": "failed", "sla": "missed"}, "warning", "failed, after its deadline"),
        ({"state": "cancelled", "sla": "met"}, "information", "cancelled"),
        ({"state": "partially-succeeded", "sla": "met"}, "warning", "partially-succeeded"),
    ],
)
def test_how_a_run_ended(changes: dict[str, str], severity: str, word: str) -> None:
    model = MeshModel()
    told(model, RunsListed((RUN_A,)))
    (notice,) = told(model, RunChanged(replace(RUN_A, ended_ms=NOW_MS, **changes)))
    assert notice == f"{severity}: {RUN_A.cluster} {word} ({RUN_A.run_id})"


def test_a_list_that_was_on_its_way_takes_no_end_back() -> None:
    model = MeshModel()
    told(model, RunsListed((RUN_A,)), RunChanged(ENDED), RunsListed((RUN_A, RUN_B)))
    assert model.run(RUN_A.run_id) == ENDED
    assert model.under_way == (RUN_B,)


def test_a_run_that_is_told_before_the_list_is_kept() -> None:
    model = MeshModel()
    told(model, RunChanged(RUN_A))
    assert model.runs is None and model.run(RUN_A.run_id) == RUN_A
    assert len(told(model, RunsListed((ENDED,)))) == 1
    assert told(model, RunsListed((RUN_B,))) == []
    assert model.runs == (RUN_B,), "a run that was deleted goes"


def test_the_newest_run_comes_first() -> None:
    model = MeshModel()
    told(model, RunsListed((RUN_C, RUN_B, RUN_A)))
    assert [each.run_id for each in model.runs or ()] == [RUN_A.run_id, RUN_B.run_id, RUN_C.run_id]


# A run's page


def page_of(run: Run) -> RunPage:
    page = RunPage(run.run_id)
    page.apply(RunChanged(run))
    return page


def test_steps_are_a_chain_until_the_graph_is_known() -> None:
    page = page_of(RUN_A)
    names = ["list-files", "parse-pdf", "scan-for-tables-in-appendices", "extract-json", "post"]
    assert [line.progress.step for line in page.steps] == [*names, "page-somebody"], "logs have had nothing to do"
    assert {line.gutter for line in page.steps} == {"●", " "}
    page.apply(
        GraphRead(
            {
                "list-files": (),
                "parse-pdf": ("list-files",),
                "scan-for-tables-in-appendices": ("list-files",),
                "extract-json": ("parse-pdf", "scan-for-tables-in-appendices"),
                "post": ("extract-json",),
            }
        )
    )
    assert [line.gutter for line in page.steps] == ["●─╮", "● │", "├─●", "●  ", "●  ", "   "]


def test_a_graph_of_another_file_is_not_drawn() -> None:
    page = page_of(RUN_A)
    page.apply(GraphRead({"list-files": (), "other": ("list-files",)}))
    assert len(page.steps) == 6 and {line.gutter for line in page.steps} == {"●", " "}


def test_looking_at_one_step_and_at_all_again() -> None:
    page = page_of(RUN_A)
    page.apply(FailuresListed(FAILURES, more=False))
    page.apply(LogsSeen(LOGS))
    page.look_at("extract-json")
    assert page.shown_failures == ()
    assert [each.message for each in page.logs if page.shows(each)] == ["prompt has 912 tokens"]
    page.look_at("parse-pdf")
    assert page.shown_failures == FAILURES
    page.look_at("parse-pdf")
    assert all(map(page.shows, page.logs))
    assert page.failure(FAILURES[1].invocation_id) == FAILURES[1] and page.failure("inv-none") is None


def test_a_run_that_has_ended_stays_ended() -> None:
    page = page_of(ENDED)
    page.apply(RunChanged(RUN_A))
    assert page.run == ENDED


def test_a_refusal_is_shown_until_something_comes() -> None:
    page = page_of(RUN_A)
    page.apply(RunRefused("nobody leads"))
    assert page.refused == "nobody leads" and page.run == RUN_A
    page.apply(RunChanged(RUN_A))
    assert page.refused == ""
    page.apply(LogsRefused("not allowed"))
    assert page.logs_refused == "not allowed"


def test_only_the_latest_logs_are_kept() -> None:
    page = page_of(RUN_A)
    page.apply(LogsSeen(LOGS * LOG_RECORDS_MAX))
    assert len(page.logs) == LOG_RECORDS_MAX and page.logs[-1] == LOGS[-1]


# Progress


def test_progress_never_goes_back_as_more_is_expected() -> None:
    def percent(*steps) -> int:
        return percent_done(replace(RUN_A, steps=steps))

    started = percent(step("a", 1, 0, 0, 0, 1), step("b", 0), step("c", 0))
    fanned_out = percent(step("a", 1, 0, 0, 0, 1), step("b", 100, 0, 99, 0, 1), step("c", 1))
    further = percent(step("a", 1, 0, 0, 0, 1), step("b", 100, 0, 0, 0, 100), step("c", 100, 0, 0, 0, 50))
    assert 33 == started <= fanned_out < further == 83


def test_all_is_done_when_all_is_done() -> None:
    nearly = step("a", 1_000, 0, 0, 1, 999)
    assert percent_done(replace(RUN_A, steps=(nearly,))) == 99
    assert percent_done(replace(RUN_A, state="succeeded", steps=(step("a", 1, 0, 0, 0, 1), step("b", 0)))) == 100
    assert percent_done(replace(RUN_A, state="cancelled", steps=(step("a", 4, 0, 0, 0, 1, 0, 0, 3),))) == 25
    assert percent_done(replace(RUN_A, steps=())) == 0


# Deeds


def test_what_can_be_done_with_a_run() -> None:
    assert offers.can_cancel(RUN_A) and not offers.can_retry(RUN_A)
    assert offers.can_cancel(replace(RUN_A, state="paused"))
    assert not offers.can_cancel(ENDED) and not offers.can_retry(ENDED), "a run that succeeded has nothing left"
    for state in ("failed", "partially-succeeded", "cancelled"):
        assert offers.can_retry(replace(ENDED, state=state))
    assert not offers.can_cancel(None) and not offers.can_retry(None)


def test_what_can_be_done_with_an_agent() -> None:
    assert [offers.can_drain(agent("a", state=each)) for each in ("attached", "detached", "draining", "lost")] == [
        True,
        True,
        False,
        False,
    ]
    assert not offers.can_drain(None)


# Columns

COLUMNS = (
    Column("name", "NAME", 8, 20, 0),
    Column("cost", "COST", 9, 9, 1, right=True),
    Column("note", "NOTE", 6, 40, 2),
)


def test_columns_take_what_they_want_where_there_is_room() -> None:
    assert fit(COLUMNS, {"name": 12, "cost": 8, "note": 30}, 200, gap=2) == {"name": 12, "cost": 8, "note": 30}
    assert fit(COLUMNS, {"name": 99, "cost": 99, "note": 99}, 200, gap=2) == {"name": 20, "cost": 9, "note": 40}


def test_the_last_in_rank_goes_first_and_no_number_is_cut() -> None:
    wanted = {"name": 12, "cost": 8, "note": 30}
    assert fit(COLUMNS, wanted, 30, gap=2) == {"name": 10, "cost": 8, "note": 6}
    assert fit(COLUMNS, wanted, 27, gap=2) == {"name": 12, "cost": 8}
    assert fit(COLUMNS, wanted, 12, gap=2) == {"name": 10}
    assert fit(COLUMNS, wanted, 5, gap=2) == {"name": 8}, "the first is there whatever the window"


def test_a_column_is_as_wide_as_its_title() -> None:
    assert fit(COLUMNS, {"name": 0, "cost": 0, "note": 0}, 100, gap=2) == {"name": 4, "cost": 4, "note": 4}


def test_cutting() -> None:
    assert (cut("abcdef", 6), cut("abcdef", 4), cut("abcdef", 1)) == ("abcdef", "abc…", "…")
    assert cut_middle("run-ujrx4mdnw5yq2b7kcz3a", 10) == "run…7kcz3a"
    assert all(len(cut_middle("x" * 50, width)) == width for width in range(2, 50))
