"""Which market to hold now: nothing, spot in one pool, or on-demand, so that a job ends in time for least money.

A `MarketPolicy` is asked once a tick. It remembers what it saw, keeps the deadline by one exact rule
(`_market/safety.py`), and otherwise does what leaves least to pay: the odds that spot comes and goes fall with the
age of its state (`_market/prior.py`), pools differ in habits that are learnt (`_market/habits.py`), and the values
of all that can follow are worked out backward from the deadline (`_market/values.py`, `_market/plan.py`), with what
is known at this moment put in front of them (`_market/choose.py`).

The live coordinator, the quote and the benchmark use this same object. Nothing here reads a clock, draws a random
number or does I/O; what is bought, and how, belongs to the callers.
"""

from __future__ import annotations

from collections.abc import Iterable

from orbit_core.errors import InvalidRequestError
from orbit_core.sched._market import codec, plan, safety
from orbit_core.sched._market.choose import Chooser, Option
from orbit_core.sched._market.habits import MarketMemory
from orbit_core.sched._market.prior import SHIPPED, Curve, MarketPrior
from orbit_core.sched._market.values import Values
from orbit_core.sched._market.view import Choice, Holding, MarketView, Pool

__all__ = ["Choice", "Curve", "Holding", "MarketPolicy", "MarketPrior", "MarketView", "Pool"]


class MarketPolicy:
    """The policy of one job. `prior`: a `MarketPrior`; None: the one that ships with Orbit."""

    def __init__(self, *, prior: object | None = None) -> None:
        if prior is not None and not isinstance(prior, MarketPrior):
            raise InvalidRequestError(f"a market prior is a MarketPrior, not a {type(prior).__name__}")
        self._prior = prior or SHIPPED
        self._memory = MarketMemory()
        self._plan: plan.Plan | None = None
        self._values: Values | None = None
        self._asked: tuple[float, tuple[str, ...]] = (0.0, ())  # when, and what was asked in that tick

    def decide(self, view: MarketView) -> Choice:
        """What to hold during this tick, or a pool to ask first. Raises InvalidRequestError for a view of no sense."""
        _check(view)
        self._memory.see(view.pools, view.now_s, self._prior)
        if view.work_left_s <= 0.0:
            return Choice("none")
        forced = safety.forced(view)
        if forced is not None:
            return forced
        chooser = Chooser(view, self._memory, *self._planned(view))
        best = _best_safe(view, chooser.options())
        return self._question(view, chooser, best) or best.choice

    def _planned(self, view: MarketView) -> tuple[plan.Plan, Values]:
        """The plan for this view, and its values: kept here too, for jobs outnumber what `solved` keeps."""
        fresh = plan.refreshed(self._plan, view, self._memory, self._prior)
        if self._values is None or fresh is not self._plan:
            self._values = plan.solved(fresh.problem)
        self._plan = fresh
        return fresh, self._values

    def state(self) -> bytes:
        """What this policy remembers, for `restore`."""
        return codec.encode(self._memory, self._plan, self._prior)

    def restore(self, state: bytes) -> None:
        """Go on with the memory of another policy of the same prior. Raises PreconditionError for other bytes."""
        self._memory, self._plan = codec.decode(state, self._prior)
        self._values = None

    def _question(self, view: MarketView, chooser: Chooser, best: Option) -> Choice | None:
        """A pool that is worth asking before `best` is done; none twice in a tick, whatever it answered."""
        asked = self._asked[1] if self._asked[0] == view.now_s else ()
        question = chooser.ask(best, asked)
        if question is not None and question.pool is not None:
            self._asked = (view.now_s, (*asked, question.pool))
        return question


def _best_safe(view: MarketView, options: Iterable[Option]) -> Option:
    """The cheapest option after which the deadline still holds; what is held comes first and wins ties."""
    return min(
        (option for option in options if safety.safe(view, option.choice)),
        key=lambda option: option.cost,
    )


def _check(view: MarketView) -> None:
    if not view.pools:
        raise InvalidRequestError("a market view needs a pool")
    if not (view.tick_s > 0 and view.restart_s >= 0 and view.restart_left_s >= 0):
        raise InvalidRequestError("a market view needs a tick, and restarts that are not negative")
