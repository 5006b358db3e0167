"""What this machine is: cores, memory, disk, GPUs. Providers of ONNX Runtime are probed by `inference`."""

from __future__ import annotations

import logging
import os
import platform
import re
import shutil
import warnings
from pathlib import Path

import psutil

from orbit_core.pb.orbit.v1 import agents_pb2

log = logging.getLogger(__name__)

_NOISE = re.compile(r"^(NVIDIA|GeForce|Tesla|Quadro)\s+", re.IGNORECASE)


def discover(data: Path, *, cpus: float | None, memory_bytes: int | None, providers: list[str]) -> agents_pb2.Hardware:
    """This machine, or the part of it that `cpus` (cores) and `memory_bytes` leave to Orbit."""
    return agents_pb2.Hardware(
        cpu_milli=round((cpus or usable_cpus()) * 1000),
        memory_bytes=memory_bytes or usable_memory_bytes(),
        disk_free_bytes=shutil.disk_usage(data).free,
        gpus=gpus(),
        cpu_model=_cpu_model(),
        architecture=platform.machine(),
        os=platform.platform(terse=True),
        providers=providers,
    )


def usable_cpus() -> float:
    """Cores that this process may use: the affinity mask, and the cgroup's quota where there is one."""
    cores = float(len(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else float(os.cpu_count() or 1)
    quota = _cgroup("cpu.max").split()
    if len(quota) == 2 and quota[0].isdigit():
        cores = min(cores, int(quota[0]) / int(quota[1]))
    return cores


def usable_memory_bytes() -> int:
    """Memory that this process may use: the machine's, and the cgroup's limit where it is lower."""
    total = psutil.virtual_memory().total
    limit = _cgroup("memory.max").strip()
    return min(total, int(limit)) if limit.isdigit() else total


def _cgroup(name: str) -> str:
    try:
        return Path("/sys/fs/cgroup", name).read_text()
    except OSError:
        return ""


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor()


def gpus() -> list[agents_pb2.Gpu]:
    """NVIDIA GPUs by way of NVML; none where there is no driver."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pynvml
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    try:
        return [_gpu(pynvml, index) for index in range(pynvml.nvmlDeviceGetCount())]
    except pynvml.NVMLError as error:
        log.warning("GPUs cannot be read: %s", error)
        return []
    finally:
        pynvml.nvmlShutdown()


def _gpu(nvml: object, index: int) -> agents_pb2.Gpu:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)  # type: ignore[attr-defined]
    name = nvml.nvmlDeviceGetName(handle)  # type: ignore[attr-defined]
    memory = nvml.nvmlDeviceGetMemoryInfo(handle).total  # type: ignore[attr-defined]
    return agents_pb2.Gpu(model=short_gpu_name(name), memory_bytes=memory)


def short_gpu_name(name: str) -> str:
    """`NVIDIA GeForce RTX 4090` → `rtx-4090`; `NVIDIA H100 80GB HBM3` → `h100`."""
    short = name
    while (stripped := _NOISE.sub("", short)) != short:
        short = stripped
    words = short.split()
    kept = [word for word in words if not re.fullmatch(r"\d+GB|HBM\w*|SXM\w*|PCIe", word, re.IGNORECASE)]
    return re.sub(r"[^a-z0-9]+", "-", " ".join(kept).lower()).strip("-") or "gpu"
