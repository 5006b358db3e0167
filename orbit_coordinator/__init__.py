"""The coordinator: the edge around `orbit_core.sched`. It owns I/O and time; it decides nothing that `step` decides."""
