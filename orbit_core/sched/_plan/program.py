"""A linear program, built column by column and given to HiGHS. Knows nothing of what it is about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import highspy
import numpy as np
from numpy.typing import NDArray

_INFINITY = highspy.kHighsInf


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

    def solve(self, time_limit_s: float | None) -> NDArray[np.float64] | None:
        """The optimal columns, or None where there are none or time ran out."""
        columns, rows = len(self.costs), len(self.row_lowers)
        if columns == 0:
            return np.zeros(0)
        solver = highspy.Highs()
        solver.setOptionValue("output_flag", False)
        solver.setOptionValue("threads", 1)
        if time_limit_s is not None:
            solver.setOptionValue("time_limit", time_limit_s)
        model = highspy.HighsLp()
        model.num_col_, model.num_row_ = columns, rows
        model.col_cost_ = np.array(self.costs)
        model.col_lower_ = np.zeros(columns)
        model.col_upper_ = np.array(self.uppers)
        model.row_lower_ = np.array(self.row_lowers)
        model.row_upper_ = np.array(self.row_uppers)
        model.a_matrix_.format_ = highspy.MatrixFormat.kColwise
        model.a_matrix_.start_ = np.array([*self.starts, len(self.rows)], dtype=np.int32)
        model.a_matrix_.index_ = np.array(self.rows, dtype=np.int32)
        model.a_matrix_.value_ = np.array(self.values)
        if solver.passModel(model) == highspy.HighsStatus.kError:
            return None
        solver.run()
        if solver.getModelStatus() != highspy.HighsModelStatus.kOptimal:
            return None
        return np.array(solver.getSolution().col_value)
