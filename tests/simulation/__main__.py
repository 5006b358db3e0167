"""`python -m tests.simulation --seeds 0:2000`: runs seeds, and shows the first that fails as a short story."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence

from orbit_core.plants import CATALOG, plant
from tests.simulation.faults import Fault
from tests.simulation.world import Outcome, simulate

_HISTORY_LINES = 120


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", default="0:100", help="A:B, without B")
    parser.add_argument("--json", action="store_true", help="print figures as JSON")
    parser.add_argument("--plant", choices=sorted(CATALOG), help="switch a planted bug on")
    parser.add_argument("--history", action="store_true", help="print the whole history of each seed")
    options = parser.parse_args(arguments)
    first, _, last = options.seeds.partition(":")
    seeds = range(int(first), int(last) if last else int(first) + 1)
    with plant(*([options.plant] if options.plant else [])):
        return _run(seeds, options)


def _run(seeds: range, options: argparse.Namespace) -> int:
    began_s = time.process_time()
    virtual_s, events, elections, done = 0.0, 0, 0, 0
    failed: list[Outcome] = []
    for seed in seeds:
        outcome = simulate(seed)
        virtual_s, events, elections, done = (
            virtual_s + outcome.virtual_s,
            events + outcome.events,
            elections + outcome.elections,
            done + 1,
        )
        if options.history:
            print("\n".join(outcome.history))
        if outcome.violations:
            failed.append(outcome)
            if not options.json:
                _tell(outcome, options.plant)
                break
    took_s = time.process_time() - began_s
    figures = {
        "seeds": done,
        "virtual_hours": round(virtual_s / 3600, 2),
        "events": events,
        "elections": elections,
        "violations": sum(len(each.violations) for each in failed),
        "failed_seeds": [each.seed for each in failed],
        "cpu_seconds": round(took_s, 1),
        "seeds_per_cpu_second": round(done / took_s, 1),
    }
    if options.json:
        print(json.dumps(figures))
    elif not failed:
        print(", ".join(f"{name.replace('_', ' ')} {value}" for name, value in figures.items()))
    return 1 if failed else 0


def shrink(outcome: Outcome) -> Outcome:
    """Drops faults one by one, as long as the seed still fails."""
    position = 0
    while position < len(outcome.faults):
        fewer: list[Fault] = [*outcome.faults[:position], *outcome.faults[position + 1 :]]
        smaller = simulate(outcome.seed, fewer)
        if smaller.violations:
            outcome = smaller
        else:
            position += 1
    return outcome


def _tell(outcome: Outcome, planted: str | None) -> None:
    small = shrink(outcome)
    print(f"seed {outcome.seed} fails; {len(outcome.faults)} faults, of which {len(small.faults)} are needed:")
    for fault in small.faults:
        print(f"  {fault}")
    print("what is wrong:")
    for violation in small.violations[:10]:
        print(f"  {violation}")
    first = next(index for index, line in enumerate(small.history) if "VIOLATION" in line)
    print("how it came about:")
    for line in small.history[max(0, first - _HISTORY_LINES) : first + 1]:
        print(f"  {line}")
    flag = f" --plant {planted}" if planted else ""
    print(f"again: python -m tests.simulation --seeds {outcome.seed}:{outcome.seed + 1}{flag}")


if __name__ == "__main__":
    sys.exit(main())
