"""Satellites: the functions that clusters are made of, and the contract that their authors write against."""

from satellites.contract import (
    Context,
    FileRef,
    GenerateCall,
    Generated,
    Models,
    PermanentError,
    Resources,
    Satellite,
    SatelliteError,
    Usage,
)

__all__ = [
    "Context",
    "FileRef",
    "GenerateCall",
    "Generated",
    "Models",
    "PermanentError",
    "Resources",
    "Satellite",
    "SatelliteError",
    "Usage",
]
