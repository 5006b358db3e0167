"""Broken cluster files, each with the exact diagnostics that it must give."""

from __future__ import annotations

import pytest
import yaml

from tests.unit.spec import broken_files


@pytest.mark.parametrize("name", broken_files.names())
def test_a_broken_file_gives_exactly_these_diagnostics(name: str) -> None:
    if "this is not YAML" in broken_files.expected(name) and not yaml.__with_libyaml__:
        pytest.skip("PyYAML was built without libyaml, whose messages these are")
    result = broken_files.load_broken(name)
    assert broken_files.told(result) == broken_files.expected(name)
    assert result.diagnostics
    assert (result.cluster is None) == bool(result.errors)


def test_there_are_enough_broken_files_and_no_expectation_without_one() -> None:
    assert len(broken_files.names()) >= 120
    assert {path.stem for path in broken_files.FOLDER.glob("*.txt")} == set(broken_files.names())


def test_only_files_meant_as_warnings_are_accepted() -> None:
    accepted = {name for name in broken_files.names() if broken_files.load_broken(name).cluster is not None}
    assert accepted == {
        "failure-after-a-gather",
        "reference-in-a-key",
        "undeclared-secret",
        "undeclared-secret-close",
        "vault-lacks-referenced-secret",
        "webhook-without-secret",
    }
