"""Amounts of memory and of processor as Kubernetes writes them (`512Mi`, `2GB`, `500m`), and back. Pure."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Final

from orbit_core.spec.text_error import TextError

BYTES_EXPECTED: Final = "an amount of memory like 512Mi, 8Gi or 16GB"
CORES_EXPECTED: Final = "a number of cores like 2, 0.5 or 500m"

_FACTORS: Final = {
    "": 1,
    "k": 10**3,
    "M": 10**6,
    "G": 10**9,
    "T": 10**12,
    "Ki": 2**10,
    "Mi": 2**20,
    "Gi": 2**30,
    "Ti": 2**40,
}
_BYTES = re.compile(r"(\d{1,18}(?:\.\d{1,6})?) ?(|[kKMGT]|[KMGT]i)B?", re.ASCII)
_CORES = re.compile(r"(\d{1,6}(?:\.\d{1,3})?)(m?)", re.ASCII)


def parse_bytes(text: str) -> int:
    """`text` in bytes, rounded up. Raises `TextError`."""
    match = _BYTES.fullmatch(text.strip()) if len(text) <= 40 else None
    if not match:
        raise TextError("this is not an amount of memory", expected=BYTES_EXPECTED)
    factor = _FACTORS["k" if match[2] == "K" else match[2]]
    amount = Fraction(match[1]) * factor
    return -(-amount.numerator // amount.denominator)


def format_bytes(amount: int) -> str:
    """The text with the largest binary unit that holds `amount` exactly."""
    for unit in ("Ti", "Gi", "Mi", "Ki"):
        if amount and amount % _FACTORS[unit] == 0:
            return f"{amount // _FACTORS[unit]}{unit}"
    return str(amount)


def parse_cores(text: str) -> float:
    """`text` in cores. Raises `TextError`."""
    match = _CORES.fullmatch(text.strip()) if len(text) <= 40 else None
    if not match:
        raise TextError("this is not a number of cores", expected=CORES_EXPECTED)
    return float(match[1]) / (1000 if match[2] else 1)
