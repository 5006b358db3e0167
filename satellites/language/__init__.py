"""Satellites that ask language models."""
