"""What is packed into what: nodes, requests and placements, each valid once it exists. No state, no choice of nodes."""

from __future__ import annotations

from dataclasses import dataclass

#: Thousandths in one GPU.
WHOLE_GPU_MILLI = 1_000


def _not_negative(**amounts: int) -> None:
    for name, amount in amounts.items():
        if amount < 0:
            raise ValueError(f"{name} is {amount}: it cannot be negative")


@dataclass(frozen=True, slots=True)
class Node:
    """A machine: what it has when nothing runs on it.

    `gpus` are all of one model and have `gpu_memory_mib` each; 0 means not known, and then not checked.
    """

    id: str
    cpu_milli: int
    memory_mib: int
    gpus: int
    gpu_model: str | None
    gpu_memory_mib: int = 0

    def __post_init__(self) -> None:
        _not_negative(
            cpu_milli=self.cpu_milli,
            memory_mib=self.memory_mib,
            gpus=self.gpus,
            gpu_memory_mib=self.gpu_memory_mib,
        )


@dataclass(frozen=True, slots=True)
class Request:
    """What one invocation needs.

    - `gpus` 0: none, any node will do (of one of `gpu_models`, where they are named).
    - `gpus` 1 with `gpu_milli` 1 to 999: that many thousandths of one GPU, never spread over two.
    - `gpus` 1 with `gpu_milli` 0 or 1000, and `gpus` 2 or more: whole GPUs of one node, shared with nobody.

    `gpu_memory_mib` is a second amount beside the thousandths, needed on each GPU: a fraction takes both from its
    GPU, the thousandths for computing and the memory it names. One does not stand in for the other: a fraction
    that names no memory takes none, and one that names most of a GPU's memory leaves the other thousandths free
    for requests that fit in what memory remains. A whole GPU has to have the memory named, and comes with all.
    `gpu_models` empty: any model. Raises ValueError for what no node could ever mean.
    """

    cpu_milli: int
    memory_mib: int
    gpus: int = 0
    gpu_milli: int = 0
    gpu_memory_mib: int = 0
    gpu_models: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        _not_negative(
            cpu_milli=self.cpu_milli,
            memory_mib=self.memory_mib,
            gpus=self.gpus,
            gpu_milli=self.gpu_milli,
            gpu_memory_mib=self.gpu_memory_mib,
        )
        if self.gpu_milli > WHOLE_GPU_MILLI:
            raise ValueError(f"gpu_milli is {self.gpu_milli}: a GPU has {WHOLE_GPU_MILLI} thousandths")
        if self.gpus == 0 and (self.gpu_milli or self.gpu_memory_mib):
            raise ValueError("gpu_milli and gpu_memory_mib need a GPU to be on: gpus is 0")
        if self.gpus > 1 and self.gpu_milli not in (0, WHOLE_GPU_MILLI):
            raise ValueError(f"gpu_milli is {self.gpu_milli} with {self.gpus} GPUs: several GPUs are whole ones")

    @property
    def milli_per_gpu(self) -> int:
        """Thousandths taken of each GPU; 0 without GPUs."""
        if self.gpus == 0:
            return 0
        return self.gpu_milli or WHOLE_GPU_MILLI

    @property
    def total_gpu_milli(self) -> int:
        """Thousandths taken of all GPUs together."""
        return self.gpus * self.milli_per_gpu


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a request runs: the node, and which of its GPUs (counted from 0, ascending)."""

    node_id: str
    gpu_indices: tuple[int, ...]
