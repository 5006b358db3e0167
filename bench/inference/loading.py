"""How long a model takes until it is ready to answer, the first time and later.

`python -m bench.inference.loading MODEL_FOLDER THREADS` prints it as JSON; in a process of its own, since the hub's
client keeps the address that it first knew.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from bench.inference.models import ROOT
from tests.integration.model_hub import REPOSITORY, serve

LINK_BYTES_PER_SECOND = 125e6  # 1 Gbit/s
REPEATS = 3


def load_times(folder: Path, threads: int) -> dict[str, float]:
    """What `measure` finds out."""
    command = [sys.executable, "-m", "bench.inference.loading", str(folder), str(threads)]
    said = subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(said.splitlines()[-1])


def measure(folder: Path, threads: int) -> dict[str, float]:
    """Seconds until a model is ready to answer, medians of agents that begin with nothing.

    first         an agent that has just started is asked for a model that it has never had: its files are fetched (from
                  a folder, the fastest source there is) and hashed, a process starts, and the model is loaded
    first-ready   the same in an agent that had the time to let a process stand by
    first-hub     as `first`, from a stand-in for the Hugging Face hub behind a link of `LINK_BYTES_PER_SECOND`
    second        the model has left memory, its files are in the cache, a process stands by
    warm          the model is in memory
    """
    copied = f"folder:{folder}"
    seen: dict[str, list[float]] = {}
    with serve(LINK_BYTES_PER_SECOND) as hub:
        os.environ["HF_ENDPOINT"] = hub.url  # before anything imports the hub's client
        hub.push({file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()})
        for _ in range(REPEATS):
            for name, source in (("first", copied), ("first-ready", copied), ("first-hub", f"hf:{REPOSITORY}")):
                for moment, seconds in asyncio.run(_one_agent(name, source, threads)):
                    seen.setdefault(moment, []).append(seconds)
    return {name: statistics.median(times) for name, times in seen.items()}


async def _one_agent(first: str, source: str, threads: int) -> list[tuple[str, float]]:
    """The times of one agent that has the model from `source`; its first one is to be called `first`."""
    from orbit_agent.inference.server import ModelServer
    from orbit_agent.models.store import ModelStore

    times: list[tuple[str, float]] = []
    with tempfile.TemporaryDirectory() as scratch:
        store = ModelStore(Path(scratch))
        store.add("bench", source)
        server = ModelServer(store, threads=threads, memory_limit_bytes=4 << 30)
        await server.start()
        try:
            for name in (first, "second", "warm"):
                if name == "second":
                    await server.unload("bench")
                if name in ("second", "first-ready"):
                    await server.standing_by()
                started = time.perf_counter()
                await server.warm("bench")
                times.append((name, time.perf_counter() - started))
            return times
        finally:
            await server.close()


def described(seconds: Mapping[str, float]) -> str:
    """A line of it."""
    shares = ", ".join(f"{seconds['second'] / seconds[first]:.2f}" for first in ("first", "first-ready", "first-hub"))
    return (
        f"load: first {seconds['first']:.3f} s from a folder ({seconds['first-ready']:.3f} s with a process standing "
        f"by), {seconds['first-hub']:.3f} s from a hub at 1 Gbit/s; second {seconds['second']:.3f} s, which is "
        f"{shares} of these; warm {seconds['warm'] * 1000:.3f} ms"
    )


if __name__ == "__main__":
    print(json.dumps(measure(Path(sys.argv[1]), int(sys.argv[2]))))
