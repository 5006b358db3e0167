"""One run's page as the app knows it: the run, its graph, what failed, its latest logs, and the step that is looked at.

`RunPage.apply` feeds it. Which lines fit a window is the widgets' business.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from orbit_core.client import Invocation, LogRecord, Run, StepProgress
from tui.app.model.graph import gutters, order
from tui.app.model.messages import (
    FailuresListed,
    GraphRead,
    LogsRefused,
    LogsSeen,
    PageMessage,
    RunChanged,
    RunRefused,
)

#: The latest log records that are kept.
LOG_RECORDS_MAX: Final = 2_000


@dataclass(frozen=True, slots=True)
class StepLine:
    """A step with its piece of the graph's drawing."""

    gutter: str
    progress: StepProgress


@dataclass(slots=True)
class RunPage:
    """`run` and `failures` are None until they have been heard of. `step`: only its failures and logs; empty: all."""

    run_id: str
    run: Run | None = None
    refused: str = ""
    logs_refused: str = ""
    step: str = ""
    failures: tuple[Invocation, ...] | None = None
    more_failures: bool = False
    logs: deque[LogRecord] = field(default_factory=lambda: deque(maxlen=LOG_RECORDS_MAX))
    _needs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def apply(self, message: PageMessage) -> None:
        match message:
            case RunChanged(run):
                if self.run is None or run.ended or not self.run.ended:
                    self.run = run
                self.refused = ""
            case GraphRead(needs):
                self._needs = needs
            case FailuresListed(failures, more):
                self.failures, self.more_failures = failures, more
            case LogsSeen(records):
                self.logs.extend(records)
            case LogsRefused(reason):
                self.logs_refused = reason
            case RunRefused(reason):
                self.refused = reason

    def look_at(self, step: str) -> None:
        """Only this step from now on; the same step again: all of them."""
        self.step = "" if step == self.step else step

    @property
    def failed(self) -> int:
        """Invocations that failed, of all steps."""
        return sum(each.failed for each in self.run.steps) if self.run else 0

    @property
    def shown_failures(self) -> tuple[Invocation, ...]:
        return tuple(each for each in self.failures or () if self.step in ("", each.step))

    def failure(self, invocation_id: str) -> Invocation | None:
        return next((each for each in self.failures or () if each.invocation_id == invocation_id), None)

    def shows(self, record: LogRecord) -> bool:
        return self.step in ("", record.step)

    @property
    def steps(self) -> tuple[StepLine, ...]:
        """The main block along its graph, then the other sections that have something to do.

        Where the graph is not known, the steps are drawn as the chain that the format makes of them.
        """
        if self.run is None:
            return ()
        main = {each.step: each for each in self.run.steps if each.section == "main"}
        known = {step: needs for step, needs in self._needs.items() if step in main}
        needs = known if len(known) == len(main) else _chain(tuple(main))
        along = order(needs)
        lines = [StepLine(gutter, main[step]) for step, gutter in zip(along, gutters(along, needs), strict=True)]
        beside = " " * max((len(line.gutter) for line in lines), default=0)
        lines += [StepLine(beside, each) for each in self.run.steps if each.section != "main" and each.expected]
        return tuple(lines)


def _chain(steps: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    return {step: steps[max(0, at - 1) : at] for at, step in enumerate(steps)}
