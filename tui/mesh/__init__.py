"""A whole mesh on this machine: its processes started, watched and stopped. What runs on it is not known here."""

from tui.mesh.child import Child, ChildEnded
from tui.mesh.local import AgentPlan, LocalMesh

__all__ = ["AgentPlan", "Child", "ChildEnded", "LocalMesh"]
