"""Satellites that read, move and delete files: folders of an agent's machine, and S3 or what speaks like it."""
