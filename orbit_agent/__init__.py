"""The agent: makes one machine part of a mesh. It obeys the leader, runs satellites in processes of their own, and
keeps each result until the leader has said that it is durable."""
