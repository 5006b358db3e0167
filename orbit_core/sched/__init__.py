"""Scheduling, pure: state, events, commands and the one function that turns them into each other.

The shell (the coordinator, recovery, the simulator, the tests) owes this package, in this order:

1. Hand in the `Workflow` of a spec before an event that names it.
2. Call `step` with one event at a time and a time that does not run backward; time itself is `TimePassed`.
3. If `step` raises, journal nothing of that event and send `RunBroken` for its run.
4. Ask the placer, apply its decisions as `Placed` at once, before any other event.
5. Make the events durable, in order, with their times; only then act on the commands, in order.
6. Replay calls `step` alone: decisions and draws are in the events.
"""
