"""`python -m orbit_agent`: makes this machine part of a mesh."""

from __future__ import annotations

import asyncio
import signal

from orbit_agent.agent import Agent
from orbit_agent.config import AgentConfig, parse
from orbit_core import process
from orbit_core.obs.logs import log_to_stderr
from orbit_core.store.etcd import EtcdConfig, EtcdStore


async def _serve(config: AgentConfig) -> None:
    config.data.mkdir(parents=True, exist_ok=True)
    store = EtcdStore(EtcdConfig(config.etcd))
    agent = await Agent.create(config, store)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, agent.stop)
    try:
        await agent.run(lambda address: process.say_ready(config.id, address))
    finally:
        await store.close()


def main() -> None:
    config = parse()
    process.end_with_parent()
    log_to_stderr(f"agent {config.id}")
    process.run(_serve(config))


if __name__ == "__main__":
    main()
