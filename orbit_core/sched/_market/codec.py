"""A policy's memory as bytes, and back, to the last bit. The first byte is the version of the layout."""

from __future__ import annotations

import struct

from orbit_core.errors import PreconditionError
from orbit_core.sched._market.habits import MarketMemory, PoolMemory, Together
from orbit_core.sched._market.plan import Plan
from orbit_core.sched._market.prior import MarketPrior
from orbit_core.sched._market.problem import PoolTerms, Problem

_VERSION = 1
_POOL = struct.Struct("<b8d")
_PLAN = struct.Struct("<4d2I2d")
_TOGETHER = struct.Struct("<5d")
_TERMS = struct.Struct("<8d")
_LENGTH = struct.Struct("<H")
_UPS = {None: -1, False: 0, True: 1}


def encode(memory: MarketMemory, plan: Plan | None) -> bytes:
    """Compact: about 75 bytes a pool, and as many again with a plan."""
    parts = [bytes([_VERSION]), _LENGTH.pack(len(memory.pools))]
    for name, pool in memory.pools.items():
        parts.append(_text(name))
        parts.append(
            _POOL.pack(
                _UPS[pool.up],
                pool.age_h,
                pool.seen_s,
                pool.ended_up,
                pool.expected_up,
                pool.ended_down,
                pool.expected_down,
                pool.price,
                pool.price_s,
            )
        )
    seen = memory.together
    parts.append(
        _TOGETHER.pack(seen.losses, seen.stranded, seen.stranded_expected, seen.relieved, seen.relieved_expected)
    )
    parts.append(_LENGTH.pack(0 if plan is None else len(plan.names)))
    if plan is not None:
        problem = plan.problem
        parts.append(
            _PLAN.pack(
                plan.made_s,
                plan.usd,
                problem.restart_h,
                problem.step_h,
                problem.time_steps,
                problem.slack_steps,
                problem.crunch,
                problem.relief,
            )
        )
        for name, terms in zip(plan.names, problem.pools, strict=True):
            parts.append(_text(name))
            parts.append(
                _TERMS.pack(
                    terms.spot,
                    terms.on_demand,
                    terms.habit_up,
                    terms.habit_down,
                    terms.move,
                    terms.move_h,
                    terms.share_up,
                    terms.back_per_h,
                )
            )
    return b"".join(parts)


def decode(state: bytes, prior: MarketPrior) -> tuple[MarketMemory, Plan | None]:
    """What `encode` was given. Raises PreconditionError for bytes that it did not make."""
    if not state or state[0] != _VERSION:
        raise PreconditionError(
            f"the state of a market policy has layout {state[0] if state else 'none'}, this version reads {_VERSION}",
            remedy="start the policy afresh: it learns again, and its deadlines are safe meanwhile",
        )
    reader = _Reader(state, 1)
    try:
        memory, plan = _decode(reader, prior)
    except (struct.error, UnicodeDecodeError, KeyError) as error:
        raise PreconditionError(
            f"the state of a market policy is damaged: {error}",
            remedy="start the policy afresh: it learns again, and its deadlines are safe meanwhile",
        ) from error
    return memory, plan


def _decode(reader: _Reader, prior: MarketPrior) -> tuple[MarketMemory, Plan | None]:
    ups = {number: up for up, number in _UPS.items()}
    memory = MarketMemory()
    count = reader.count()
    for _ in range(count):
        name = reader.text()
        up, *rest = reader.take(_POOL)
        memory.pools[name] = PoolMemory(ups[int(up)], *rest)
    memory.together = Together(*reader.take(_TOGETHER))
    count = reader.count()
    if count == 0:
        return memory, None
    made_s, usd, restart_h, step_h, time_steps, slack_steps, crunch, relief = reader.take(_PLAN)
    names: list[str] = []
    pools: list[PoolTerms] = []
    for _ in range(count):
        names.append(reader.text())
        pools.append(PoolTerms(*reader.take(_TERMS)))
    problem = Problem(prior, tuple(pools), restart_h, step_h, int(time_steps), int(slack_steps), crunch, relief)
    return memory, Plan(problem, tuple(names), made_s, usd)


def _text(text: str) -> bytes:
    raw = text.encode()
    return _LENGTH.pack(len(raw)) + raw


class _Reader:
    def __init__(self, data: bytes, at: int) -> None:
        self._data, self._at = data, at

    def take(self, layout: struct.Struct) -> tuple[float, ...]:
        values = layout.unpack_from(self._data, self._at)
        self._at += layout.size
        return values

    def count(self) -> int:
        (number,) = self.take(_LENGTH)
        return int(number)

    def text(self) -> str:
        length = self.count()
        self._at += length
        raw = self._data[self._at - length : self._at]
        if len(raw) != length:
            raise struct.error("a name is cut short")
        return raw.decode()
