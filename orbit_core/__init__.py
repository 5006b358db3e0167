"""What the coordinator, the agent, the satellites and the terminal UI share. Knows none of them."""
