"""What one attempt of a step takes of a machine."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from orbit_core.spec.models.base import ByteCount, CoreCount, Model, Number, Text


class Resources(Model):
    """Amounts for one attempt; None leaves the satellite's own declaration as it is.

    `cpu` in cores, `gpu` in devices (0.25 is a quarter of one), `accelerator` a kind such as `h100`.
    """

    cpu: Annotated[CoreCount, Field(gt=0, le=4096)] | None = None
    memory_bytes: Annotated[ByteCount, Field(gt=0)] | None = None
    gpu: Annotated[Number, Field(ge=0, le=1024)] | None = None
    gpu_memory_bytes: ByteCount | None = None
    accelerator: Annotated[Text, Field(min_length=1, max_length=120)] | None = None

    def over(self, base: Resources) -> Resources:
        """These amounts where they are said, `base`'s where they are not."""
        said = {name: value for name, value in self if value is not None}
        return base.model_copy(update=said)
