"""A policy's memory as bytes, and back, to the last bit. The first byte is the version of the layout."""

from __future__ import annotations

import struct

from orbit_core.errors import PreconditionError
from orbit_core.sched._market.habits import Ends, MarketMemory, PoolMemory, Together
from orbit_core.sched._market.plan import Plan
from orbit_core.sched._market.prior import MarketPrior
from orbit_core.sched._market.problem import PoolTerms, Problem

_VERSION = 2
_POOL = struct.Struct("<b4d")
_SEEN = struct.Struct("<dB")
_END = struct.Struct("<2d")
_SHAPES = struct.Struct("<2B")
_PLAN = struct.Struct("<4d2I2d")
_TOGETHER = struct.Struct("<5d")
_TERMS = struct.Struct("<8d")
_LENGTH = struct.Struct("<H")
_UPS = {None: -1, False: 0, True: 1}


def encode(memory: MarketMemory, plan: Plan | None, prior: MarketPrior) -> bytes:
    """Compact: about 180 bytes a pool, and half as many again with a plan."""
    parts = [bytes([_VERSION]), _LENGTH.pack(len(memory.pools))]
    for name, pool in memory.pools.items():
        parts.append(_text(name))
        parts.append(
            _POOL.pack(
                _UPS[pool.up],
                pool.age_h,
                pool.seen_s,
                pool.price,
                pool.price_s,
            )
        )
        parts += _ends(pool.up_ends) + _ends(pool.down_ends)
    seen = memory.together
    parts.append(
        _TOGETHER.pack(seen.losses, seen.stranded, seen.stranded_expected, seen.relieved, seen.relieved_expected)
    )
    parts.append(_SHAPES.pack(memory.shape_up, memory.shape_down))
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
        ups, downs = prior.shapes()
        parts.append(_SHAPES.pack(ups.index(problem.prior.up), downs.index(problem.prior.down)))
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
    except (struct.error, UnicodeDecodeError, KeyError, IndexError) as error:
        raise PreconditionError(
            f"the state of a market policy is damaged: {error}",
            remedy="start the policy afresh: it learns again, and its deadlines are safe meanwhile",
        ) from error
    return memory, plan


def _decode(reader: _Reader, prior: MarketPrior) -> tuple[MarketMemory, Plan | None]:
    ups = {number: up for up, number in _UPS.items()}
    ups_of, downs_of = prior.shapes()
    memory = MarketMemory()
    count = reader.count()
    for _ in range(count):
        name = reader.text()
        up, age_h, seen_s, price, price_s = reader.take(_POOL)
        up_ends, down_ends = reader.ends(len(ups_of)), reader.ends(len(downs_of))
        memory.pools[name] = PoolMemory(ups[int(up)], age_h, seen_s, up_ends, down_ends, price, price_s)
    memory.together = Together(*reader.take(_TOGETHER))
    memory.shape_up, memory.shape_down = reader.shapes()
    count = reader.count()
    if count == 0:
        return memory, None
    made_s, usd, restart_h, step_h, time_steps, slack_steps, crunch, relief = reader.take(_PLAN)
    shaped = prior.shaped(*reader.shapes())
    names: list[str] = []
    pools: list[PoolTerms] = []
    for _ in range(count):
        names.append(reader.text())
        pools.append(PoolTerms(*reader.take(_TERMS)))
    problem = Problem(shaped, tuple(pools), restart_h, step_h, int(time_steps), int(slack_steps), crunch, relief)
    return memory, Plan(problem, tuple(names), made_s, usd)


def _ends(ends: Ends) -> list[bytes]:
    pairs = zip(ends.expected, ends.told, strict=True)
    return [_SEEN.pack(ends.seen, len(ends.expected)), *(_END.pack(*pair) for pair in pairs)]


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

    def ends(self, shapes: int) -> Ends:
        seen, count = self.take(_SEEN)
        if count not in (0, shapes):
            raise struct.error(f"{int(count)} shapes, where the prior has {shapes}")
        pairs = [self.take(_END) for _ in range(int(count))]
        return Ends(seen, [expected for expected, _ in pairs], [told for _, told in pairs])

    def shapes(self) -> tuple[int, int]:
        up, down = self.take(_SHAPES)
        return int(up), int(down)

    def text(self) -> str:
        length = self.count()
        self._at += length
        raw = self._data[self._at - length : self._at]
        if len(raw) != length:
            raise struct.error("a name is cut short")
        return raw.decode()
