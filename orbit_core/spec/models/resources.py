"""What one attempt of a step takes of a machine."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from orbit_core.spec.models.base import ByteCount, CoreCount, Model, Number, Text


class Resources(Model):
    """What one attempt takes; what is left out stays as the satellite declares it."""

    cpu: Annotated[CoreCount, Field(gt=0, le=4096)] | None = None
    """Cores: `2`, `0.5`, `500m`."""
    memory_bytes: Annotated[ByteCount, Field(gt=0)] | None = None
    """Memory: `512Mi`, `8Gi`, `16GB`."""
    gpu: Annotated[Number, Field(ge=0, le=1024)] | None = None
    """Devices, or a part of one: `0.25`."""
    gpu_memory_bytes: ByteCount | None = None
    """Memory of the device, written as `memory` is."""
    accelerator: Annotated[Text, Field(min_length=1, max_length=120)] | None = None
    """The kind of device that is needed, such as `h100`."""

    def over(self, base: Resources) -> Resources:
        """These amounts where they are said, `base`'s where they are not."""
        said = {name: value for name, value in self if value is not None}
        return base.model_copy(update=said)
