"""What all tests share: hypothesis without a clock, since the machine may be busy with other things.

Where `CI` is set the examples are the same in every run, so that a gate answers for the change and not for the draw;
everywhere else each run looks at new ones.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

settings.register_profile("orbit", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("gate", parent=settings.get_profile("orbit"), derandomize=True)
settings.load_profile("gate" if os.environ.get("CI") else "orbit")
