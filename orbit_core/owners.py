"""Whose something on this machine is: which process it belongs to, and whether that one has ended."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, cast

#: Clocks that are set, and how coarsely the kernel tells: a process whose start differs by more is another one.
_SAME_START_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Owner:
    """A process. A process identifier alone may be another process's by now; on another host it says nothing."""

    pid: int
    started_s: float
    host: str

    @classmethod
    def this_process(cls) -> Owner:
        import psutil  # every `orbit` command imports this module, and few need it

        return cls(os.getpid(), psutil.Process().create_time(), socket.gethostname())

    @classmethod
    def from_json(cls, value: object) -> Owner | None:
        """None: it is not known whose it is."""
        if not isinstance(value, Mapping):
            return None
        known = cast("Mapping[str, Any]", value)
        try:
            return cls(int(known["pid"]), float(known["started_s"]), str(known["host"]))
        except (KeyError, TypeError, ValueError):
            return None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def is_gone(self) -> bool:
        """Whether that process has certainly ended."""
        if self.host != socket.gethostname():
            return False
        import psutil

        try:
            process = psutil.Process(self.pid)
            return abs(process.create_time() - self.started_s) > _SAME_START_S or (
                process.status() == psutil.STATUS_ZOMBIE
            )
        except psutil.NoSuchProcess:
            return True
        except psutil.Error:
            return False
