"""Which execution providers of onnxruntime really work here. Asked in a child process: a probe may crash.

What onnxruntime says it was built with is no answer, nor is genai's `is_cuda_available`: the probe makes a session on
each provider and asks the session what it runs on. `python -m orbit_agent.inference.providers` is that child.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any, Final

from orbit_agent.inference.errors import ProviderError

_log = logging.getLogger("orbit.inference")

CPU: Final = "CPUExecutionProvider"
CUDA: Final = "CUDAExecutionProvider"
PROBE_TIMEOUT_S: Final = 60.0

#: Best first. A provider that is not named here is never chosen by itself.
_PREFERENCE: Final = (CUDA, "MIGraphXExecutionProvider", CPU)
_RUNTIME_WHEELS: Final = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-migraphx", "onnxruntime-openvino")
_GENAI_WHEELS: Final = ("onnxruntime-genai", "onnxruntime-genai-cuda")

#: ONNX: y = Identity(x), one float. The smallest model that a session can be made of.
_IDENTITY_MODEL: Final = bytes.fromhex(
    "0808 3a2f"  # ir_version 8; graph:
    "0a10 0a0178 120179 2208 4964656e74697479"  # node x -> y, Identity
    "1201 69"  # its name
    "5a0b 0a0178 1206 0a04 0801 1200"  # input x, a float
    "620b 0a0179 1206 0a04 0801 1200"  # output y, a float
    "4204 0a00 100d"  # opset 13
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Providers:
    """What a probe found: installed wheels and their versions, providers built in, and those that work."""

    versions: Mapping[str, str]
    built_in: tuple[str, ...]
    usable: tuple[str, ...]


def installed_wheels() -> dict[str, str]:
    """The versions of every onnxruntime and genai wheel that is installed."""
    found: dict[str, str] = {}
    for name in (*_RUNTIME_WHEELS, *_GENAI_WHEELS):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def check_wheels(installed: Mapping[str, str]) -> None:
    """Raises `ProviderError` where wheels are missing or have overwritten each other."""
    for family in (_RUNTIME_WHEELS, _GENAI_WHEELS):
        present = [name for name in family if name in installed]
        if len(present) > 1:
            raise ProviderError(
                f"{' and '.join(present)} are both installed: they share one module and overwrite each other",
                remedy="uninstall all of them, then install orbit-mesh[cpu] or orbit-mesh[gpu], never both",
            )
        if not present:
            raise ProviderError(
                f"none of {', '.join(family)} is installed", remedy="install orbit-mesh[cpu] or orbit-mesh[gpu]"
            )


async def probe() -> Providers:
    """Asks a child process; raises `ProviderError` if it says nothing that can be understood."""
    from orbit_agent.inference.process import child_environment

    installed = installed_wheels()
    check_wheels(installed)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",
        "-m",
        "orbit_agent.inference.providers",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=child_environment(),
    )
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            answer, complaint = await process.communicate()
    except TimeoutError as error:
        raise ProviderError(f"the probe for providers said nothing for {PROBE_TIMEOUT_S:.0f} s") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return read_answer(answer, complaint, process.returncode, installed)


def read_answer(answer: bytes, complaint: bytes, status: int | None, installed: Mapping[str, str]) -> Providers:
    """What a probe's output means."""
    try:
        data: Any = json.loads(answer.splitlines()[-1])
        return Providers(dict(installed), tuple(data["built-in"]), tuple(data["usable"]))
    except (IndexError, KeyError, TypeError, ValueError) as error:
        words = complaint.decode(errors="replace").strip().splitlines()[-1:]
        raise ProviderError(
            f"onnxruntime could not be asked for its providers (status {status}): {' '.join(words) or 'no output'}"
        ) from error


def choose(providers: Providers, wanted: str | None = None) -> str:
    """The provider to run on: `wanted` if it works, else the best that does. Raises `ProviderError`."""
    if wanted is not None:
        if wanted in providers.usable:
            return wanted
        raise ProviderError(
            f"{wanted} does not work here (usable: {', '.join(providers.usable) or 'none'}; "
            f"built in: {', '.join(providers.built_in) or 'none'})",
            remedy="install the matching driver and wheels, or leave the choice to Orbit",
        )
    for name in _PREFERENCE:
        if name in providers.usable:
            unusable = [other for other in providers.built_in if other in _PREFERENCE and other not in providers.usable]
            _log.info(
                "inference runs on %s (%s)%s",
                name,
                ", ".join(f"{wheel} {version}" for wheel, version in providers.versions.items()),
                f"; built in but not usable: {', '.join(unusable)}" if unusable else "",
            )
            return name
    raise ProviderError(f"no execution provider works here (built in: {', '.join(providers.built_in) or 'none'})")


def usable(candidates: Sequence[str], runtime: Any) -> list[str]:
    """Those of `candidates` on which `runtime`, the module onnxruntime, runs a session in this process."""
    found: list[str] = []
    for name in candidates:
        options = runtime.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = 1
        try:
            session = runtime.InferenceSession(_IDENTITY_MODEL, options, providers=[name])
        except Exception:  # whatever it is, this provider cannot be used
            continue
        if session.get_providers()[:1] == [name]:
            found.append(name)
    return found


def preload_libraries() -> None:
    """Loads CUDA and cuDNN from the wheels that brought them, where nothing else looks. Once, before a session."""
    import onnxruntime

    if "onnxruntime-gpu" in installed_wheels():
        onnxruntime.preload_dlls()


def main() -> None:
    """The child: prints what works as one line of JSON."""
    import onnxruntime

    onnxruntime.set_default_logger_severity(4)
    preload_libraries()
    built_in = onnxruntime.get_available_providers()
    answer = {"built-in": built_in, "usable": usable(built_in, onnxruntime)}
    sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
