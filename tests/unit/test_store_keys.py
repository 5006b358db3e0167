"""The key layout: builders and parsers agree, order is the order of numbers, and nothing escapes its folder."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orbit_core.errors import InvalidRequestError
from orbit_core.store.api import prefix_end
from orbit_core.store.keys import KeyRange, Keys

KEYS = Keys()
HASH = "ab" * 32


def inside(key: bytes, span: KeyRange) -> bool:
    return span.start <= key < span.end


def test_the_layout() -> None:
    assert KEYS.leader() == b"/orbit/v1/election/leader"
    assert KEYS.agent("agent-1") == b"/orbit/v1/agents/agent-1"
    assert KEYS.journal(7) == b"/orbit/v1/journal/00000000000000000007"
    assert KEYS.manifest(7) == b"/orbit/v1/snapshot/manifest/00000000000000000007"
    assert KEYS.part_chunk(HASH, 3) == f"/orbit/v1/snapshot/part/{HASH}/00003".encode()
    assert KEYS.spec(HASH) == f"/orbit/v1/specs/{HASH}".encode()
    assert KEYS.token(HASH) == f"/orbit/v1/tokens/{HASH}".encode()
    assert KEYS.archived("run-1") == b"/orbit/v1/archive/run-1"
    assert KEYS.vault_secret("demo", "", "TOKEN") == b"/orbit/v1/vault/demo/secrets/-/TOKEN"


def test_what_was_built_is_parsed() -> None:
    assert KEYS.agent_id(KEYS.agent("agent-1")) == "agent-1"
    assert KEYS.journal_seq(KEYS.journal(12)) == 12
    assert KEYS.manifest_seq(KEYS.manifest(12)) == 12
    assert KEYS.part_of_chunk(KEYS.part_chunk(HASH, 3)) == (HASH, 3)
    assert KEYS.run_id(KEYS.archived("run-1")) == "run-1"
    for cluster in ("", "reports"):
        assert KEYS.vault_secret_name(KEYS.vault_secret("demo", cluster, "T"), "demo") == (cluster, "T")


def test_ranges_hold_their_keys_and_no_others() -> None:
    other = Keys("/orbit/v10")
    assert inside(KEYS.agent("a"), KEYS.agents())
    assert inside(KEYS.spec(HASH), KEYS.specs())
    assert inside(KEYS.token(HASH), KEYS.tokens())
    assert inside(KEYS.archived("r"), KEYS.archive())
    assert inside(KEYS.part_chunk(HASH, 0), KEYS.part(HASH))
    assert inside(KEYS.part_chunk(HASH, 0), KEYS.parts())
    assert not inside(KEYS.part_chunk(HASH, 0), KEYS.manifests())
    assert inside(KEYS.journal(5), KEYS.journal_from(5))
    assert not inside(KEYS.journal(4), KEYS.journal_from(5))
    assert inside(KEYS.leader(), KEYS.everything())
    assert not inside(other.leader(), KEYS.everything())


@given(st.integers(0, 10**20 - 1), st.integers(0, 10**20 - 1))
def test_records_sort_by_their_numbers(one: int, other: int) -> None:
    assert (KEYS.journal(one) < KEYS.journal(other)) == (one < other)


@pytest.mark.parametrize("name", ["", "a/b", "..", "-", "a b", "ü", "a" * 201])
def test_a_name_that_would_escape_is_refused(name: str) -> None:
    for build in (KEYS.agent, KEYS.archived, KEYS.spec, KEYS.token):
        with pytest.raises(InvalidRequestError):
            build(name)


@pytest.mark.parametrize("prefix", ["", "orbit", "/orbit/", "/", "/a//b"])
def test_a_prefix_that_is_none_is_refused(prefix: str) -> None:
    with pytest.raises(InvalidRequestError):
        Keys(prefix)


def test_a_key_from_elsewhere_is_not_parsed() -> None:
    with pytest.raises(InvalidRequestError):
        KEYS.journal_seq(KEYS.agent("a"))
    with pytest.raises(InvalidRequestError):
        KEYS.journal(-1)


@pytest.mark.parametrize(("prefix", "end"), [(b"a", b"b"), (b"a\xff", b"b"), (b"\xff", b"\x00"), (b"", b"\x00")])
def test_the_end_of_a_prefix(prefix: bytes, end: bytes) -> None:
    assert prefix_end(prefix) == end
