"""`python -m tests.simulation.planted`: switches each planted bug on, and counts the seeds until it is found.

Prints the table of `docs/reliability.md`. A survivor shows a fault that the laboratory lacks.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

from orbit_core.plants import CATALOG, plant
from tests.simulation.world import simulate

SEEDS = 500


@dataclass(frozen=True, slots=True)
class Found:
    """`seeds`: how many it took; None: it survived."""

    plant: str
    seeds: int | None
    by: str


def hunt(name: str, seeds: int = SEEDS) -> Found:
    """Runs seeds from 0 on until one fails."""
    with plant(name):
        for seed in range(seeds):
            outcome = simulate(seed)
            if outcome.violations:
                return Found(name, seed + 1, outcome.violations[0])
    return Found(name, None, "")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.planted", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these; all where none is named")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args(arguments)
    names = options.names or list(CATALOG)
    print("| planted bug | what it breaks | seeds | found by |\n| --- | --- | ---: | --- |")
    survivors = 0
    with ProcessPoolExecutor(options.processes) as pool:
        for found in pool.map(hunt, names, [options.seeds] * len(names)):
            survivors += found.seeds is None
            seeds = "survives" if found.seeds is None else str(found.seeds)
            print(f"| `{found.plant}` | {CATALOG[found.plant]} | {seeds} | {found.by[:110]} |", flush=True)
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
