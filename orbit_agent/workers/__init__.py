"""Worker processes: satellites run in them, never in the agent's own process.

`api` says what goes in and comes out, `pool` hands attempts to processes, `process` is the agent's side of one
process, `child` and `attempt` are the process's own side, `frames` is what the two say to each other.
"""

from orbit_agent.workers.api import Call, LogRecord, Outcome
from orbit_agent.workers.pool import WorkerPool

__all__ = ["Call", "LogRecord", "Outcome", "WorkerPool"]
