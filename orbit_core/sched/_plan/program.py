"""A linear program, built column by column and given to HiGHS. Knows nothing of what it is about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import highspy
import numpy as np
from numpy.typing import NDArray

_INFINITY = highspy.kHighsInf
#: As HiGHS counts its strategies, and how it says that a solution holds all rows.
_PRIMAL_SIMPLEX = 4
_FEASIBLE = 2
_AT_LIMIT = (highspy.HighsModelStatus.kTimeLimit, highspy.HighsModelStatus.kIterationLimit)
_TOLERANCE = 1e-6


@dataclass(slots=True)
class Program:
    """Minimise cost × x with 0 ≤ x ≤ upper and lower ≤ rows ≤ upper."""

    costs: list[float] = field(default_factory=list)
    uppers: list[float] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    row_lowers: list[float] = field(default_factory=list)
    row_uppers: list[float] = field(default_factory=list)

    def row(self, lower: float = -_INFINITY, upper: float = _INFINITY) -> int:
        """A new row; its number."""
        self.row_lowers.append(lower)
        self.row_uppers.append(upper)
        return len(self.row_lowers) - 1

    def column(self, cost: float, entries: Sequence[tuple[int, float]], upper: float = _INFINITY) -> int:
        """A new column with its entries as (row, value); its number."""
        self.starts.append(len(self.rows))
        for row, value in entries:
            self.rows.append(row)
            self.values.append(value)
        self.costs.append(cost)
        self.uppers.append(upper)
        return len(self.costs) - 1

    def solve(
        self,
        time_limit_s: float | None,
        start: NDArray[np.float64] | None = None,
        *,
        iterations_most: int | None = None,
    ) -> NDArray[np.float64] | None:
        """The optimal columns; at a limit the best that are known; None where there are none.

        `start`: columns to begin with. Where they hold all rows, what is known at any limit is no worse than they are.
        """
        if not self.costs:
            return np.zeros(0)
        solver = highspy.Highs()
        solver.setOptionValue("output_flag", False)
        solver.setOptionValue("threads", 1)
        if time_limit_s is not None:
            solver.setOptionValue("time_limit", time_limit_s)
        if iterations_most is not None:
            solver.setOptionValue("simplex_iteration_limit", iterations_most)
        if solver.passModel(self._model()) == highspy.HighsStatus.kError:
            return None
        if start is not None:
            # The primal simplex goes from one way to do it to a better one. Presolving would lose the beginning.
            solver.setOptionValue("presolve", "off")
            solver.setOptionValue("simplex_strategy", _PRIMAL_SIMPLEX)
            solution = highspy.HighsSolution()
            solution.col_value = start.tolist()
            solver.setSolution(solution)
        solver.run()
        status = solver.getModelStatus()
        if status == highspy.HighsModelStatus.kOptimal:
            return np.array(solver.getSolution().col_value)
        if status not in _AT_LIMIT:
            return None
        known = [np.array(solver.getSolution().col_value)]
        if solver.getInfo().primal_solution_status != _FEASIBLE:
            known.clear()
        if start is not None and self._holds(start):  # no vertex: the simplex may have begun behind it
            known.append(start)
        costs = np.array(self.costs)
        return min(known, key=lambda columns: float(costs @ columns), default=None)

    def _holds(self, columns: NDArray[np.float64]) -> bool:
        """Whether these columns keep to all limits, as closely as the solver does."""
        counts = np.diff(np.array([*self.starts, len(self.rows)]))
        activity = np.zeros(len(self.row_lowers))
        np.add.at(activity, np.array(self.rows, dtype=np.int64), np.array(self.values) * np.repeat(columns, counts))
        within = (activity >= np.array(self.row_lowers) - _TOLERANCE) & (
            activity <= np.array(self.row_uppers) + _TOLERANCE
        )
        held = (columns >= -_TOLERANCE) & (columns <= np.array(self.uppers) + _TOLERANCE)
        return bool(within.all() and held.all())

    def _model(self) -> highspy.HighsLp:
        model = highspy.HighsLp()
        model.num_col_, model.num_row_ = len(self.costs), len(self.row_lowers)
        model.col_cost_ = np.array(self.costs)
        model.col_lower_ = np.zeros(len(self.costs))
        model.col_upper_ = np.array(self.uppers)
        model.row_lower_ = np.array(self.row_lowers)
        model.row_upper_ = np.array(self.row_uppers)
        model.a_matrix_.format_ = highspy.MatrixFormat.kColwise
        model.a_matrix_.start_ = np.array([*self.starts, len(self.rows)], dtype=np.int32)
        model.a_matrix_.index_ = np.array(self.rows, dtype=np.int32)
        model.a_matrix_.value_ = np.array(self.values)
        return model
