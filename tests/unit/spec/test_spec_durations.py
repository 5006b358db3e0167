from __future__ import annotations

import pytest

from orbit_core.spec.durations import format_duration_ms, parse_duration_ms
from orbit_core.spec.quantities import format_bytes, parse_bytes, parse_cores
from orbit_core.spec.text_error import TextError

HOUR = 3_600_000
DAY = 24 * HOUR


@pytest.mark.parametrize(
    ("text", "duration_ms"),
    [
        ("5m", 300_000),
        ("90m", 5_400_000),
        ("6h", 6 * HOUR),
        ("12h", 12 * HOUR),
        ("24h", DAY),
        ("7d", 7 * DAY),
        ("2w", 14 * DAY),
        ("1h30m", 5_400_000),
        ("1d2h3m4s5ms", DAY + 2 * HOUR + 184_005),
        ("1.5h", 5_400_000),
        ("0.001s", 1),
        ("250ms", 250),
        ("0s", 0),
        (" 5s ", 5_000),
        ("PT6H", 6 * HOUR),
        ("PT1H30M", 5_400_000),
        ("P1DT12H", 36 * HOUR),
        ("P1W", 7 * DAY),
        ("PT0.5S", 500),
        ("P7D", 7 * DAY),
    ],
)
def test_a_duration_reads_as(text: str, duration_ms: int) -> None:
    assert parse_duration_ms(text) == duration_ms


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "5", "h", "5 m", "m5", "30m1h", "1h1h", "-5m", "+5m", "5M", "5 minutes", "1h30", "0.1ms", "PT", "P",
        "P1M", "P1Y", "PT1M1H", "1e3s", "٥m", "1h\n2m", "9" * 70 + "h", "infs", "PT5", "P1H", "1/2h",
    ],
)  # fmt: skip
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(TextError):
        parse_duration_ms(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [("300", "a duration needs a unit"), ("P1M", "months and years have no fixed length"), ("soon", "not a duration")],
)
def test_the_message_says_why(text: str, message: str) -> None:
    with pytest.raises(TextError, match=message):
        parse_duration_ms(text)


@pytest.mark.parametrize(
    ("duration_ms", "text"),
    [(0, "0s"), (1, "1ms"), (90_000, "1m30s"), (6 * HOUR, "6h"), (DAY, "1d"), (DAY + 1, "1d1ms"), (14 * DAY, "14d")],
)
def test_a_duration_is_written_as(duration_ms: int, text: str) -> None:
    assert format_duration_ms(duration_ms) == text


def test_a_negative_duration_is_not_written() -> None:
    with pytest.raises(ValueError, match="not negative"):
        format_duration_ms(-1)


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("0", 0), ("1024", 1024), ("512Mi", 512 * 2**20), ("512MiB", 512 * 2**20), ("2Gi", 2 * 2**30),
        ("2GB", 2 * 10**9), ("2G", 2 * 10**9), ("1.5Gi", 3 * 2**29), ("4 GiB", 4 * 2**30), ("10k", 10_000),
        ("10KB", 10_000), ("1Ti", 2**40), ("0.5", 1),
    ],
)  # fmt: skip
def test_an_amount_of_memory_reads_as(text: str, amount: int) -> None:
    assert parse_bytes(text) == amount


@pytest.mark.parametrize("text", ["", "lots", "-1Gi", "5gb", "5 G B", "1Gi2Mi", "1" * 50, "1.1.1G"])
def test_what_is_no_amount_of_memory(text: str) -> None:
    with pytest.raises(TextError):
        parse_bytes(text)


@pytest.mark.parametrize(("amount", "text"), [(0, "0"), (1000, "1000"), (2**20, "1Mi"), (3 * 2**29, "1536Mi")])
def test_an_amount_of_memory_is_written_as(amount: int, text: str) -> None:
    assert format_bytes(amount) == text
    assert parse_bytes(text) == amount


@pytest.mark.parametrize(("text", "cores"), [("2", 2.0), ("0.5", 0.5), ("500m", 0.5), ("1500m", 1.5)])
def test_a_number_of_cores_reads_as(text: str, cores: float) -> None:
    assert parse_cores(text) == cores


@pytest.mark.parametrize("text", ["", "two", "-1", "5mm", "1e3"])
def test_what_is_no_number_of_cores(text: str) -> None:
    with pytest.raises(TextError):
        parse_cores(text)
