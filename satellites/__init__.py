"""Satellites: the functions that clusters are made of, and the contract that their authors write against."""

from satellites.contract import (
    Context,
    Embedded,
    FileRef,
    GenerateCall,
    Generated,
    Models,
    PermanentError,
    Requirement,
    Resources,
    Satellite,
    SatelliteError,
    Scored,
    Usage,
)

__all__ = [
    "Context",
    "Embedded",
    "FileRef",
    "GenerateCall",
    "Generated",
    "Models",
    "PermanentError",
    "Requirement",
    "Resources",
    "Satellite",
    "SatelliteError",
    "Scored",
    "Usage",
]
