"""What a piece of a GPU is worth: prices from a cutting-stock program over the kinds of requests that are expected.

A GPU is cut into pieces of fixed sizes, like a roll into orders. The linear program (Gilmore and Gomory, "A linear
programming approach to the cutting-stock problem", 1961) packs all kinds of request in proportion to how often they
come, as many as go in, and then fills what is left; its dual prices say what each kind is worth, and with them what
a stub of any size is still good for: nothing, where all that fits into it is rarer than such stubs are. CPU and
memory are not in it: they are a matter of single nodes (`potential`). Nothing here knows a node.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import gcd
from typing import Final

import highspy
import numpy as np
from numpy.typing import NDArray

from orbit_core.sched._packing.model import WHOLE_GPU_MILLI

Floats = NDArray[np.float64]

#: Demand that the plan reckons with, over what the GPUs hold: a packer matters where more comes than fits.
_DEMAND: Final = 1.3
#: Weight of filling what is left, against that of packing all kinds in proportion.
_FILL_WEIGHT: Final = 0.1
#: What it costs the plan to give pieces bound to certain models less than their part, over what that part weighs:
#: a model that is short must not hold up all other pieces, so this times the share of the bound ones is below 1.
_SHORTFALL_COST: Final = 2.0
#: Rounds of column generation; some 30 are usual, and the prices of the last round are good ones in any case.
_ROUNDS_MAX: Final = 200
_TOLERANCE: Final = 1e-6


@dataclass(frozen=True, slots=True, order=True)
class Piece:
    """One kind of cut: thousandths of a GPU, and the GPU models it may come from (sorted; empty: any)."""

    milli: int
    models: tuple[str, ...] = ()

    def may_use(self, model: str | None) -> bool:
        """Whether GPUs of this model will do."""
        return not self.models or model in self.models


@dataclass(frozen=True, slots=True)
class Prices:
    """`of_piece`: what one of each piece is worth, in thousandths of a GPU. `filled`: the share of all thousandths
    that pieces packed in proportion can fill."""

    of_piece: dict[Piece, float]
    filled: float


def piece_prices(demand: Mapping[Piece, float], gpus: Mapping[str | None, int]) -> Prices:
    """Prices by the linear program.

    `demand`: how many of each piece come, in any unit (whole GPUs are pieces of 1000). `gpus`: how many GPUs of each
    model there are. Pieces for which there is no GPU are worth 0.
    """
    pieces = sorted(piece for piece, amount in demand.items() if amount > 0)
    pieces = [piece for piece in pieces if any(count and piece.may_use(model) for model, count in gpus.items())]
    if not pieces:
        return Prices(dict.fromkeys(demand, 0.0), 1.0)
    amounts = np.array([demand[piece] for piece in pieces], np.float64)
    program = _Program(pieces, amounts, _pooled(pieces, gpus))
    prices = dict.fromkeys(demand, 0.0)
    worth, filled = program.solve()
    prices.update(zip(pieces, worth.tolist(), strict=True))
    return Prices(prices, filled)


def _pooled(pieces: Sequence[Piece], gpus: Mapping[str | None, int]) -> dict[str | None, int]:
    """GPUs by model, in a fixed order; models that no piece tells apart are one."""
    named = {model for piece in pieces for model in piece.models}
    pooled: dict[str | None, int] = {}
    for model in sorted(gpus, key=lambda model: (model is not None, model or "")):
        if gpus[model]:
            key = model if model in named else None
            pooled[key] = pooled.get(key, 0) + gpus[model]
    return pooled


def best_cuts(sizes: Sequence[int], values: Floats, length: int) -> tuple[Floats, list[int]]:
    """The unbounded knapsack over lengths 0 to `length`, for many sets of values at once.

    `values`: (sizes x sets). Returns the best value of each length (length + 1 x sets) and, for the first set,
    which size is cut first at each length (-1: none, one unit is left over).
    """
    best = np.zeros((length + 1, values.shape[1]))
    first = [-1] * (length + 1)
    order = np.argsort(sizes, kind="stable")
    ascending = np.asarray(sizes, np.int64)[order]
    worth = values[order]
    for at in range(1, length + 1):
        best[at] = best[at - 1]
        fitting = int(np.searchsorted(ascending, at, side="right"))
        if fitting:
            options = best[at - ascending[:fitting]] + worth[:fitting]
            top = int(options[:, 0].argmax())
            if options[top, 0] > best[at, 0] + 1e-12:
                first[at] = int(order[top])
            np.maximum(best[at], options.max(axis=0), out=best[at])
    return best, first


class _Program:
    """Maximise: all pieces in proportion, then the thousandths used.

    Rows: for each piece, cut at least in proportion; for each piece, cut at most as many as come; for each model,
    GPUs used at most as many as there are. Columns: the proportion; for each set of models that pieces are bound
    to, how far these stay behind it; and all ways to cut one GPU of a model that have been found useful.
    """

    def __init__(self, pieces: Sequence[Piece], amounts: Floats, gpus: Mapping[str | None, int]) -> None:
        self._pieces = pieces
        self._milli = np.array([piece.milli for piece in pieces], np.int64)
        self._unit = gcd(WHOLE_GPU_MILLI, *(piece.milli for piece in pieces))
        self._models = list(gpus)
        self._usable = [[piece.may_use(model) for piece in pieces] for model in self._models]
        total_milli = WHOLE_GPU_MILLI * sum(gpus.values())
        whole = amounts * (total_milli / float(amounts @ self._milli))  # what would fill every GPU exactly
        self._solver = solver = highspy.Highs()
        solver.setOptionValue("output_flag", False)
        solver.setOptionValue("threads", 1)
        solver.changeObjectiveSense(highspy.ObjSense.kMaximize)
        for _ in pieces:
            solver.addRow(0, highspy.kHighsInf, 0, [], [])
        for amount in whole.tolist():
            solver.addRow(-highspy.kHighsInf, _DEMAND * amount, 0, [], [])
        for count in gpus.values():
            solver.addRow(-highspy.kHighsInf, count, 0, [], [])
        count = len(pieces)
        proportion_weight = (1 - _FILL_WEIGHT) * total_milli
        solver.addCol(proportion_weight, 0, _DEMAND, count, list(range(count)), (-whole).tolist())
        #: Thousandths that all pieces ask for; less, for each set of models, what those bound to it ask for.
        self._weights = [float(total_milli)]
        for models in sorted({piece.models for piece in pieces if piece.models}):
            bound = [index for index, piece in enumerate(pieces) if piece.models == models]
            weight = float(whole[bound] @ self._milli[bound])
            self._weights.append(-weight)
            cost = -_SHORTFALL_COST * (1 - _FILL_WEIGHT) * weight
            solver.addCol(cost, 0, _DEMAND, len(bound), bound, whole[bound].tolist())
        for row, usable in enumerate(self._usable):
            for index in range(count):
                if usable[index]:
                    self._add(row, {index: WHOLE_GPU_MILLI // pieces[index].milli})

    def _add(self, model: int, cut: Mapping[int, int]) -> None:
        count = len(self._pieces)
        rows = sorted(cut)
        times = [float(cut[row]) for row in rows]
        gain = _FILL_WEIGHT * sum(float(self._milli[row]) * cut[row] for row in rows)
        self._solver.addCol(
            gain,
            0,
            highspy.kHighsInf,
            2 * len(rows) + 1,
            [*rows, *(count + row for row in rows), 2 * count + model],
            [*times, *times, 1.0],
        )

    def solve(self) -> tuple[Floats, float]:
        """The worth of each piece and the proportion, after rounds of adding the cuts that prices ask for."""
        count = len(self._pieces)
        worth, filled = np.zeros(count), 1.0
        for _ in range(_ROUNDS_MAX):
            self._solver.run()
            solution = self._solver.getSolution()
            duals = np.array(solution.row_dual)
            packed = np.array(solution.col_value[: len(self._weights)]) @ np.array(self._weights)
            filled = float(packed) / self._weights[0]
            worth = np.maximum(_FILL_WEIGHT * self._milli - duals[:count] - duals[count : 2 * count], 0)
            missing = [
                (model, cut)
                for model in range(len(self._models))
                if (cut := self._better_cut(model, worth, float(duals[2 * count + model])))
            ]
            if not missing:
                break
            for model, cut in missing:
                self._add(model, cut)
        return worth, filled

    def _better_cut(self, model: int, worth: Floats, gpu_price: float) -> dict[int, int] | None:
        """A way to cut a GPU of this model that is worth more than the GPU; None: there is none."""
        usable = np.flatnonzero(self._usable[model])
        sizes = self._milli[usable] // self._unit
        length = WHOLE_GPU_MILLI // self._unit
        best, first = best_cuts(sizes.tolist(), worth[usable, None], length)
        if best[length, 0] <= gpu_price + _TOLERANCE * WHOLE_GPU_MILLI:
            return None
        cut: dict[int, int] = {}
        at = length
        while at > 0:
            if first[at] < 0:
                at -= 1
                continue
            piece = int(usable[first[at]])
            cut[piece] = cut.get(piece, 0) + 1
            at -= int(sizes[first[at]])
        return cut
