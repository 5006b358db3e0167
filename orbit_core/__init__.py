"""What the coordinator, the agent, the satellites and the terminal UI share. Knows none of them."""

import os

# Orbit never forks without an exec, and gRPC's handlers for forks only fill the log with that news. Before its import.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
