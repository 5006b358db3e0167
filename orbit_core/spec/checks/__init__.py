"""What must hold of a whole cluster beyond the shape of each part, each rule in a module of its own.

Every check reads a `Checking` and reports; none stops at the first problem, and none speaks of a place where
something was left out as unreadable before.
"""

from orbit_core.spec.checks.base import Checking, Mode
from orbit_core.spec.checks.config import check_satellites
from orbit_core.spec.checks.models import check_models
from orbit_core.spec.checks.references import check_references
from orbit_core.spec.checks.secrets import check_secrets
from orbit_core.spec.checks.steps import check_steps
from orbit_core.spec.checks.times import check_times

__all__ = ["Checking", "Mode", "check_all"]


def check_all(checking: Checking) -> None:
    """Report everything that is wrong with a cluster whose parts could be read."""
    check_steps(checking)
    check_references(checking)
    check_secrets(checking)
    check_satellites(checking)
    check_models(checking)
    check_times(checking)
