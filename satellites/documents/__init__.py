"""Satellites that read and check documents and data."""
