"""Faults: what can go wrong, when, to whom, for how long. A seed draws a list of them; a list can be shrunk."""

from __future__ import annotations

import random
from dataclasses import dataclass

COORDINATORS = ("c1", "c2", "c3")
AGENTS = ("a1", "a2", "a3")
ETCD = "etcd"


@dataclass(frozen=True, slots=True)
class Fault:
    """`at_s`: when it begins. `other`: the far end of a cut. `for_s`: 0 for what happens in a moment."""

    at_s: float
    kind: str
    target: str = ""
    other: str = ""
    for_s: float = 0.0

    def __str__(self) -> str:
        to = f" → {self.other}" if self.other else ""
        lasts = f" for {self.for_s:.1f} s" if self.for_s else ""
        return f"{self.at_s:7.3f}  {self.kind} {self.target}{to}{lasts}"


#: Kind, weight, longest duration in seconds (0: a moment).
_KINDS: tuple[tuple[str, int, float], ...] = (
    ("crash-leader", 5, 0),
    ("crash-coordinator", 3, 0),
    ("crash-agent", 5, 0),
    ("lose-machine", 2, 0),  # a crash that nobody is told about: no reset, only silence
    ("pause-leader", 3, 14),
    ("pause-agent", 3, 14),
    ("cut-both", 3, 14),
    ("cut-one-way", 4, 14),
    ("cut-from-etcd", 3, 12),
    ("drop-stream", 6, 0),
    ("etcd-down", 2, 6),
    ("etcd-slow", 3, 10),
    ("etcd-late", 4, 25),
    ("etcd-mute", 4, 10),
    ("etcd-full", 3, 15),
    ("compact", 2, 0),
    ("disk-full", 2, 20),
    ("drain-agent", 3, 0),
    ("repeat-words", 3, 15),
    ("flap-stream", 3, 8),
    ("lose-blob", 4, 0),  # every copy of a blob is gone
    ("bury-agent", 1, 0),  # never comes back, nor does its disk
    ("bury-coordinator", 1, 0),
)
#: The last fault is over by then.
LAST_S = 45.0


def has_home(seed: int) -> bool:
    """Whether the mesh of this seed keeps its blobs in a bucket."""
    return seed % 4 == 3


def faults_of(seed: int) -> tuple[Fault, ...]:
    """The faults that a seed draws, in order of time."""
    faults = list(_draw(random.Random(f"{seed}/faults")))
    rng = random.Random(f"{seed}/home")
    for _ in range(rng.choice((0, 1, 1, 2)) if has_home(seed) else 0):
        at_s = round(rng.uniform(1.0, 25.0), 3)
        faults.append(Fault(at_s, "home-away", for_s=round(rng.uniform(0.2, 15.0), 3)))
    return tuple(sorted(faults, key=lambda fault: (fault.at_s, fault.kind, fault.target)))


def _draw(rng: random.Random) -> tuple[Fault, ...]:
    count = rng.choice((0, 1, 2, 3, 4, 5, 6, 8, 10, 14))
    kinds = rng.choices(_KINDS, weights=[weight for _, weight, _ in _KINDS], k=count)
    faults = []
    buried: set[str] = set()
    for kind, _, longest_s in kinds:
        at_s = round(rng.uniform(2.0, 30.0), 3)
        target, other = _between(rng, kind)
        for_s = round(min(rng.uniform(0.2, longest_s), LAST_S - at_s), 3) if longest_s else 0.0
        if kind.startswith("bury"):
            if target[0] in buried:
                continue  # at least two of each kind stay
            buried.add(target[0])
        faults.append(Fault(at_s, kind, target, other, for_s))
    return tuple(faults)


def _between(rng: random.Random, kind: str) -> tuple[str, str]:
    agent, coordinator = rng.choice(AGENTS), rng.choice(COORDINATORS)
    if kind in ("cut-both", "cut-one-way"):
        return rng.choice(((agent, coordinator), (coordinator, agent)))
    if kind == "cut-from-etcd":
        near = rng.choice((agent, coordinator, coordinator))
        return rng.choice(((near, ETCD), (ETCD, near)))
    if kind == "lose-machine":
        return rng.choice((agent, coordinator)), ""
    if "agent" in kind or kind in ("drop-stream", "flap-stream", "disk-full", "repeat-words"):
        return agent, ""
    if "coordinator" in kind:
        return coordinator, ""
    return "", ""
