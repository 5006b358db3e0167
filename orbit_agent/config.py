"""The agent's settings, from its command line."""

from __future__ import annotations

import argparse
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from orbit_agent.models.store import CACHE_LIMIT_BYTES
from orbit_core.limits import GIB, KIB, MIB
from orbit_core.sched.tariff import Tariff, price_at, rate
from orbit_core.store.keys import DEFAULT_PREFIX

_UNITS = {"KiB": KIB, "MiB": MIB, "GiB": GIB, "K": KIB, "M": MIB, "G": GIB}


@dataclass(frozen=True, slots=True)
class AgentConfig:
    """What one agent is told at its start. `slots`: attempts at once, whatever the hardware would hold."""

    etcd: tuple[str, ...]
    listen: str
    advertise: str | None
    data: Path
    id: str
    price_usd_per_hour: float
    price_kind: str
    tariff: Tariff
    labels: dict[str, str]
    cpus: float | None
    memory_bytes: int | None
    slots: int
    threads: int
    prefix: str
    drain_s: float
    models: Path
    model_cache_bytes: int

    def price_at(self, now_ms: int) -> float:
        """US dollars an hour at that time."""
        return price_at(self.tariff, now_ms) if self.tariff else self.price_usd_per_hour


def parse(arguments: Sequence[str] | None = None) -> AgentConfig:
    """From `sys.argv` or the given words; ends the process with usage on bad ones."""
    parser = argparse.ArgumentParser(prog="python -m orbit_agent", description="One machine of an Orbit mesh.")
    parser.add_argument("--etcd", default=os.environ.get("ORBIT_ETCD_ENDPOINTS", "http://127.0.0.1:2379"))
    parser.add_argument("--listen", default="127.0.0.1:0", help="where blobs are served; port 0: any free one")
    parser.add_argument("--advertise", metavar="HOST", help="what others reach this machine by, if not --listen's host")
    parser.add_argument("--data", type=Path, required=True, help="results, blobs and scratch space")
    parser.add_argument("--id", default=socket.gethostname().lower())
    parser.add_argument("--price", type=_price, default=0.0, help="US dollars an hour")
    parser.add_argument("--price-kind", choices=["owned", "on-demand", "spot"], default="owned")
    parser.add_argument(
        "--tariff",
        action="append",
        default=[],
        type=_rate,
        metavar="HH:MM=USD",
        help="the price from that time of day (UTC) on, every day; goes before --price",
    )
    parser.add_argument("--label", action="append", default=[], type=_label, metavar="KEY=VALUE")
    parser.add_argument("--cpus", type=float, help="cores to offer; all that this process may use if left out")
    parser.add_argument("--memory", type=parse_bytes, metavar="4GiB", help="memory to offer")
    parser.add_argument("--slots", type=int, default=64, help="attempts at once at most")
    parser.add_argument("--threads", type=int, default=0, help="threads of each model; 0: one a core")
    parser.add_argument("--prefix", default=DEFAULT_PREFIX, help="the key prefix of the mesh in etcd")
    parser.add_argument("--drain", type=float, default=20.0, metavar="SECONDS", help="how long SIGTERM waits")
    parser.add_argument("--models", type=Path, help="the folder of models; DATA/models if left out")
    parser.add_argument(
        "--model-cache", type=parse_bytes, default=CACHE_LIMIT_BYTES, metavar="64GiB", help="room on disk for models"
    )
    given = parser.parse_args(arguments)
    return AgentConfig(
        etcd=tuple(filter(None, given.etcd.split(","))),
        listen=given.listen,
        advertise=given.advertise,
        data=given.data,
        id=given.id,
        price_usd_per_hour=given.price,
        price_kind=given.price_kind,
        tariff=tuple(sorted(given.tariff)),
        labels=dict(given.label),
        cpus=given.cpus,
        memory_bytes=given.memory,
        slots=given.slots,
        threads=given.threads,
        prefix=given.prefix,
        drain_s=given.drain,
        models=given.models or given.data / "models",
        model_cache_bytes=given.model_cache,
    )


def parse_bytes(text: str) -> int:
    """`4GiB`, `512M`, or plain bytes."""
    for unit, factor in _UNITS.items():
        if text.endswith(unit):
            return round(float(text.removesuffix(unit)) * factor)
    return int(text)


def _price(text: str) -> float:
    price = float(text)
    if not 0 <= price < 1e6:
        raise argparse.ArgumentTypeError("a price lies between 0 and a million US dollars an hour")
    return price


def _rate(text: str) -> tuple[int, float]:
    try:
        return rate(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _label(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form KEY=VALUE")
    return key, value
