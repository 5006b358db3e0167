"""`python -m orbit_coordinator`: one candidate for the lead of a mesh."""

from __future__ import annotations

import asyncio
import signal
import sys

from orbit_coordinator.config import CoordinatorConfig, parse
from orbit_coordinator.server import Server
from orbit_core import process
from orbit_core.errors import InvalidRequestError, PreconditionError
from orbit_core.obs.logs import log_to_stderr
from orbit_core.store.etcd import EtcdConfig, EtcdStore


async def _serve(config: CoordinatorConfig) -> None:
    config.data.mkdir(parents=True, exist_ok=True)
    store = EtcdStore(EtcdConfig(config.etcd))
    server = Server(config, store)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.stop)
    try:
        await server.run(lambda address: process.say_ready(config.id, address))
    finally:
        await store.close()


def main() -> None:
    try:
        config = parse()
        process.end_with_parent()
        log_to_stderr(f"coordinator {config.id}")
        process.run(_serve(config))
    except (InvalidRequestError, PreconditionError) as error:  # how it was started, or what it was started beside
        sys.exit(f"this coordinator cannot start: {error}")


if __name__ == "__main__":
    main()
