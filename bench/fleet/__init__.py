"""The fleet simulator: a whole mesh in virtual time, driven by the live `step`, planner and placer."""
