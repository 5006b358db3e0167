"""The planner's parts: what it sees (picture, observe), and two ways to decide (linear, greedy)."""
