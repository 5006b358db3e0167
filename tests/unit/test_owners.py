"""What a killed `orbit up` leaves is known to be nobody's: its context counts no more, its directory goes."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from orbit_core.client.context import context_file, read_context, read_contexts, write_context
from orbit_core.owners import Owner
from tui.mesh import temporary


@pytest.fixture(scope="module")
def dead() -> Owner:
    """A process that has ended."""
    code = "import json; from orbit_core.owners import Owner; print(json.dumps(Owner.this_process().to_json()))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    owner = Owner.from_json(json.loads(said.stdout))
    assert owner is not None
    return owner


def test_this_process_is_there_and_one_that_has_ended_is_not(dead: Owner) -> None:
    this = Owner.this_process()
    assert not this.is_gone() and dead.is_gone()
    assert Owner.from_json(json.loads(json.dumps(this.to_json()))) == this


def test_a_process_that_has_the_number_of_another_is_not_that_one() -> None:
    assert dataclasses.replace(Owner.this_process(), started_s=1.0).is_gone()


def test_nothing_is_known_of_other_hosts(dead: Owner) -> None:
    assert not dataclasses.replace(dead, host="another-machine").is_gone()


@pytest.mark.parametrize("value", [None, 1, {}, {"pid": "x", "started_s": 1, "host": "h"}, {"pid": 1}])
def test_what_is_no_owner(value: object) -> None:
    assert Owner.from_json(value) is None


def test_the_context_of_a_killed_process_counts_no_more(tmp_path: Path, dead: Owner) -> None:
    write_context(tmp_path, ["127.0.0.1:1"], "kept")
    write_context(tmp_path, ["127.0.0.1:2"], "local", dead)
    assert [each.name for each in read_contexts(tmp_path)] == ["kept"]
    assert read_context(tmp_path) == ("127.0.0.1:1",), "as when it had ended in order"
    write_context(tmp_path, ["127.0.0.1:3"], "other")
    assert "127.0.0.1:2" not in (tmp_path / "context.json").read_text(), "and the next that is written clears it"


def test_the_context_of_a_living_process_counts(tmp_path: Path) -> None:
    with context_file(tmp_path, ["127.0.0.1:1"]):
        write_context(tmp_path, ["127.0.0.1:2"], "other")
        assert [each.name for each in read_contexts(tmp_path)] == ["local", "other"]


def test_the_directory_of_a_killed_process_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dead: Owner) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    left = temporary.make()
    (left / "etcd").mkdir()
    (left / "owner.json").write_text(json.dumps(dead.to_json()))
    (tmp_path / "orbit-of-something-else").mkdir()
    mine = temporary.make()
    assert sorted(tmp_path.iterdir()) == sorted([mine, tmp_path / "orbit-of-something-else"])
    temporary.remove(mine)
    assert not mine.exists()
