"""Satellites to try things with: a cluster can be written and watched before any outside service exists."""
