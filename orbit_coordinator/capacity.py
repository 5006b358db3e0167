"""Where machines are bought: the protocol that any provider keeps, and the one that runs a user's commands.

A provider starts, stops and lists machines by name and says what they cost; starting one that is there already
changes nothing. What to buy is decided in `orbit_core.sched.capacity`, carried out by `buying.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from orbit_core.errors import OrbitError

#: The exit status of a start command that says that there is none to be had (EX_TEMPFAIL of sysexits.h).
NONE_TO_BE_HAD = 75
_SAID_MAX_BYTES = 256 * 1024
#: Set by a local mesh for its own processes, which end with it: a machine that is bought does not.
_NOT_INHERITED = ("ORBIT_PARENT_DEATH_SIGNAL",)


class CapacityError(OrbitError):
    """A provider of machines failed."""

    status = "UNAVAILABLE"
    code = "capacity"


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars an hour in one pool, now. `spot` None: not sold; `available`: a spot machine, None where not known."""

    on_demand: float
    spot: float | None = None
    available: bool | None = None


class CapacityProvider(Protocol):
    """Raises CapacityError; outcomes of a start that failed are not known."""

    async def start(self, pool: str, kind: str, name: str, price_usd_per_hour: float) -> bool:
        """Whether there was one to be had; it may still take its time to join."""
        ...

    async def stop(self, name: str, pool: str) -> None:
        """Ends the machine, if it is there. `pool`: as `list` gave it."""
        ...

    async def list(self) -> Mapping[str, str]:
        """The machines that there are, starting ones too: name to pool, empty where that is not known."""
        ...

    async def prices(self) -> Mapping[str, Price]:
        """By pool; those that are left out have the prices of the capacity file."""
        ...


@dataclass(frozen=True, slots=True)
class Commands:
    """The command lines of a capacity file."""

    start: str
    stop: str
    list: str
    prices: str | None = None


class CommandProvider:
    """A user's commands, run by `sh` in `folder`; each may take `timeout_s`, then it is killed with all it started.

    They find ORBIT_INSTANCE, ORBIT_POOL, ORBIT_KIND, ORBIT_PRICE_USD_PER_HOUR and `environment` in their environment.
    """

    def __init__(self, commands: Commands, folder: Path, *, timeout_s: float, environment: Mapping[str, str]) -> None:
        self._commands = commands
        self._folder = folder
        self._timeout_s = timeout_s
        inherited = {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED}
        self._environment = {**inherited, **environment}

    async def start(self, pool: str, kind: str, name: str, price_usd_per_hour: float) -> bool:
        price = f"{price_usd_per_hour:.6f}"
        told = {"ORBIT_INSTANCE": name, "ORBIT_POOL": pool, "ORBIT_KIND": kind, "ORBIT_PRICE_USD_PER_HOUR": price}
        status, said = await self._run(self._commands.start, told)
        if status not in (0, NONE_TO_BE_HAD):
            raise _failed("start", status, said)
        return status == 0

    async def stop(self, name: str, pool: str) -> None:
        status, said = await self._run(self._commands.stop, {"ORBIT_INSTANCE": name, "ORBIT_POOL": pool})
        if status != 0:
            raise _failed("stop", status, said)

    async def list(self) -> Mapping[str, str]:
        status, said = await self._run(self._commands.list, {}, errors_apart=True)
        if status != 0:
            raise _failed("list", status, said)
        words = [line.split() for line in said.splitlines() if line.strip()]
        return {each[0]: each[1] if len(each) > 1 else "" for each in words}

    async def prices(self) -> Mapping[str, Price]:
        if self._commands.prices is None:
            return {}
        status, said = await self._run(self._commands.prices, {}, errors_apart=True)
        if status != 0:
            raise _failed("prices", status, said)
        return _prices(said)

    async def _run(self, line: str, told: Mapping[str, str], *, errors_apart: bool = False) -> tuple[int, str]:
        """Exit status and what was said. Into a file and not a pipe: a machine that goes on may hold that open."""
        with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as errors:
            process = await asyncio.create_subprocess_shell(
                line,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=said,
                stderr=errors if errors_apart else said,
                cwd=self._folder,
                env={**self._environment, **told},
                start_new_session=True,
            )
            try:
                async with asyncio.timeout(self._timeout_s):
                    status = await process.wait()
            except BaseException as error:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
                if isinstance(error, TimeoutError):
                    raise CapacityError(
                        f"`{line}` did not end within {self._timeout_s:g} s",
                        remedy="let it not wait for the machine, or raise `timeout` in the capacity file",
                    ) from error
                raise
            return status, _read(said) if status == 0 or not errors_apart else _read(errors)


def _read(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read(_SAID_MAX_BYTES).decode(errors="replace")


def _failed(what: str, status: int, said: str) -> CapacityError:
    last = said.strip().splitlines()[-1:] or ["nothing was said"]
    return CapacityError(f"the {what} command ended with status {status}: {last[0][:500]}")


def _prices(said: str) -> Mapping[str, Price]:
    """`{"POOL": {"on-demand": 0.1, "spot": 0.03, "available": true}}`, the last two of which may be left out."""
    try:
        found: dict[str, Price] = {}
        for pool, each in json.loads(said).items():
            spot, available = each.get("spot"), each.get("available")
            if not (available is None or isinstance(available, bool)):
                raise ValueError(f"`available` of {pool} is {available!r}, which is neither true nor false")
            found[pool] = Price(_usd(each["on-demand"]), None if spot is None else _usd(spot), available)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise CapacityError(
            f"what the prices command printed cannot be read: {error!r}",
            remedy='it prints {"POOL": {"on-demand": 0.1, "spot": 0.03, "available": true}}',
        ) from error
    return found


def _usd(value: object) -> float:
    price = float(str(value))
    if not 0 <= price < 1e6:
        raise ValueError(f"{value} is no price")
    return price
