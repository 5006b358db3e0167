"""Satellites that speak HTTP, and the one guarded way in which any satellite sends a request."""
