"""What can be seen of a process from outside. So far its log: `logs`."""
