"""Satellites that tell people, or the services that people watch, what happened in a run."""
