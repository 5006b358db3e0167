"""Numbers as people read them."""

from __future__ import annotations

import pytest

from tui.cli.words import ago, money, plural, size, span


@pytest.mark.parametrize(
    ("usd", "text"),
    [
        (0, "$0.00"),
        (1234.5, "$1,234.50"),
        (0.1, "$0.10"),
        (0.0456, "$0.046"),
        (0.00042, "$0.00042"),
        (0.0000091, "$0.0000091"),
        (0.0000001, "<$0.000001"),
    ],
)
def test_money(usd: float, text: str) -> None:
    assert money(usd) == text


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (0, "0.0 s"),
        (9_940, "9.9 s"),
        (45_400, "45 s"),
        (59_600, "1:00"),
        (187_000, "3:07"),
        (7_387_000, "2:03:07"),
        (273_600_000, "3 d 4 h"),
    ],
)
def test_span(milliseconds: int, text: str) -> None:
    assert span(milliseconds) == text


def test_ago() -> None:
    assert ago(None, 5_000) == ""
    assert ago(1_000, 5_000) == "4.0 s ago"
    assert ago(65_000, 5_000) == "in 1:00"


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (1_536, "1.5 KiB"), (2**31, "2 GiB"), (300 * 2**20, "300 MiB"), (2**41, "2.0 TiB")]
)
def test_size(count: int, text: str) -> None:
    assert size(count) == text


def test_plural() -> None:
    assert [plural(n, "problem") for n in (0, 1, 2)] == ["0 problems", "1 problem", "2 problems"]
    assert plural(2, "delivery", "deliveries") == "2 deliveries"
