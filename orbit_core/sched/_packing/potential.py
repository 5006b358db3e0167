"""What the room on a node is worth: the value of the best that could still be run there, before and after a placement.

A node's worth is the linear relaxation of its own packing problem, solved by its dual: the least, over prices of CPU
and memory, of what its free CPU and memory cost at these prices plus what its GPUs are worth filled with requests
that pay for their CPU and memory (`guide` says what each request is worth). On a node that is rich in CPU the least
lies at a price of nothing, and only stubs count; where CPU runs short it has a price, and what uses little is worth
more there. That relaxation may pick requests with little CPU at will, which all other nodes do too: so it is
averaged over scenarios, in which no request needs less CPU for its GPU than a share of what the mean one needs.

Tables over (scenario, price of CPU, price of memory) are made once for each mix; this module knows requests and
tables, not slots and not what is placed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import gcd
from typing import Final

import numpy as np
from numpy.typing import NDArray

from orbit_core.sched._packing.guide import Piece, best_cuts, piece_prices
from orbit_core.sched._packing.model import WHOLE_GPU_MILLI, Node, Request

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Scenarios: least CPU for a GPU, over that of the mean request, and how much each scenario counts.
_CPU_FLOORS: Final = (0.0, 0.75, 1.1)
_SCENARIO_WEIGHTS: Final = (0.5, 0.25, 0.25)
#: Prices tried for CPU and memory, over those at which the mean request would be worth nothing.
_CPU_PRICES: Final = (0.0, 0.2, 0.36, 0.63, 1.1, 2.0, 3.6, 6.3)
_MEMORY_PRICES: Final = (0.0, 1.1)


class Potential:
    """Tables that give the worth of a node's room, for one mix of requests and GPU models.

    `frequencies`: requests with how often they come, in any unit. `gpus`: how many GPUs of each model there are;
    `gpus_max`: the most that one node has. Worth is in thousandths of a GPU.
    """

    def __init__(self, frequencies: Mapping[Request, float], gpus: Mapping[str | None, int], gpus_max: int) -> None:
        requests = [request for request, frequency in frequencies.items() if request.gpus and frequency > 0]
        self._gpus_max = max(gpus_max, 1)
        self.unit_milli = gcd(WHOLE_GPU_MILLI, *(request.milli_per_gpu for request in requests))
        worth, filled = self._request_worth(requests, frequencies, gpus)
        wanted_milli = sum(frequencies[request] * request.total_gpu_milli for request in requests)
        wanted_cpu = sum(frequency * request.cpu_milli for request, frequency in frequencies.items())
        self._cpu_per_gpu_milli = filled * wanted_cpu / wanted_milli if wanted_milli else 0.0
        self._prices(requests, np.array([frequencies[request] for request in requests], np.float64))
        net = self._net_worth(requests, worth)
        self._table_of: dict[str | None, int] = {}
        tables: dict[bytes, int] = {}
        cuts: list[Floats] = []
        whole: list[Floats] = []
        for model in gpus:
            allowed = np.array([not r.gpu_models or model in r.gpu_models for r in requests], np.bool_)
            key = allowed.tobytes()
            if key not in tables:
                tables[key] = len(tables)
                cut, free = self._table([r for r, ok in zip(requests, allowed, strict=True) if ok], net[allowed])
                cuts.append(cut)
                whole.append(free)
            self._table_of[model] = tables[key]
        #: (tables x units x grid): worth of a stub; the last unit is a GPU that nobody uses.
        self._stub: Floats = np.stack(cuts) if cuts else np.zeros((1, 2, len(self._cpu_price)))
        #: (tables x GPUs x grid): worth of so many GPUs that nobody uses, of one node.
        self._whole: Floats = np.stack(whole) if whole else np.zeros((1, self._gpus_max + 1, len(self._cpu_price)))

    def _request_worth(
        self, requests: list[Request], frequencies: Mapping[Request, float], gpus: Mapping[str | None, int]
    ) -> tuple[Floats, float]:
        """(requests): the worth of each; and the share of the thousandths that they can fill in proportion."""
        pieces = [Piece(request.milli_per_gpu, tuple(sorted(request.gpu_models))) for request in requests]
        demand: dict[Piece, float] = {}
        for request, piece in zip(requests, pieces, strict=True):
            demand[piece] = demand.get(piece, 0.0) + frequencies[request] * request.gpus
        prices = piece_prices(demand, gpus)
        worth = [prices.of_piece[piece] * request.gpus for request, piece in zip(requests, pieces, strict=True)]
        return np.array(worth, np.float64), prices.filled

    def _prices(self, requests: list[Request], frequencies: Floats) -> None:
        """The grid of scenarios and prices, flattened; scenario by scenario."""
        milli = np.array([request.total_gpu_milli for request in requests], np.float64)
        cpu = np.array([request.cpu_milli for request in requests], np.float64)
        memory = np.array([request.memory_mib for request in requests], np.float64)
        used = max(float(frequencies @ milli), 1.0)
        #: Of the mean request, for each thousandth of a GPU.
        mean_cpu, mean_memory = float(frequencies @ cpu) / used, float(frequencies @ memory) / used
        cpu_prices = np.array(_CPU_PRICES) / max(mean_cpu, 1e-9)
        memory_prices = np.array(_MEMORY_PRICES) / max(mean_memory, 1e-9)
        self._cpu_floor: Floats = np.repeat(np.array(_CPU_FLOORS) * mean_cpu, len(cpu_prices) * len(memory_prices))
        self._cpu_price: Floats = np.tile(np.repeat(cpu_prices, len(memory_prices)), len(_CPU_FLOORS))
        self._memory_price: Floats = np.tile(memory_prices, len(cpu_prices) * len(_CPU_FLOORS))

    def _net_worth(self, requests: list[Request], worth: Floats) -> Floats:
        """(requests x grid): worth of each request less what it pays for CPU and memory; never below 0."""
        milli = np.array([request.total_gpu_milli for request in requests], np.float64)[:, None]
        cpu = np.array([request.cpu_milli for request in requests], np.float64)[:, None]
        memory = np.array([request.memory_mib for request in requests], np.float64)[:, None]
        paid = np.maximum(cpu, self._cpu_floor * milli) * self._cpu_price + memory * self._memory_price
        return np.maximum(worth[:, None] - paid, 0)

    def _table(self, requests: list[Request], net: Floats) -> tuple[Floats, Floats]:
        """Worth of stubs (units + 1 x grid) and of whole free GPUs of a node (GPUs + 1 x grid)."""
        grid = len(self._cpu_price)
        best: dict[tuple[int, int], Floats] = {}
        for request, row in zip(requests, net, strict=True):
            key = (request.gpus, request.milli_per_gpu)
            best[key] = np.maximum(best[key], row) if key in best else row
        sizes = sorted(milli for gpus, milli in best if gpus == 1)
        values = np.array([best[1, milli] for milli in sizes]).reshape(len(sizes), grid)
        units = [milli // self.unit_milli for milli in sizes]
        cut, _ = best_cuts(units, values, WHOLE_GPU_MILLI // self.unit_milli)
        free = np.zeros((self._gpus_max + 1, grid))
        several = sorted(gpus for gpus, _ in best if 1 < gpus <= self._gpus_max)
        for count in range(1, self._gpus_max + 1):
            free[count] = free[count - 1] + cut[-1]
            for gpus in several:
                if gpus <= count:
                    np.maximum(free[count], free[count - gpus] + best[gpus, WHOLE_GPU_MILLI], out=free[count])
        return cut, free

    @property
    def grid(self) -> int:
        """Length of the last axis of what `of_gpus` and `without` give."""
        return len(self._cpu_price)

    def covers(self, node: Node) -> bool:
        """Whether the tables have GPUs of this node's model, and as many of them."""
        return node.gpus == 0 or (node.gpu_model in self._table_of and node.gpus <= self._gpus_max)

    def is_short_of_cpu(self, cpu_milli: int, gpus: int) -> bool:
        """Whether so many GPUs cannot all be used with that much CPU, as all requests come, those without GPUs too."""
        return self._cpu_per_gpu_milli * gpus * WHOLE_GPU_MILLI > cpu_milli

    def tables(self, models: Iterable[str | None]) -> Ints:
        """Which table a node uses, by its GPU model; models that were not there when this was made use the first."""
        return np.array([self._table_of.get(model, 0) for model in models], np.int64)

    def of_gpus(self, tables: Ints, gpu: Ints) -> Floats:
        """(nodes x grid): worth of the free thousandths `gpu` (nodes x GPUs) at each point of the grid."""
        free = (gpu == WHOLE_GPU_MILLI).sum(axis=1)
        stubs = np.where(gpu == WHOLE_GPU_MILLI, 0, gpu) // self.unit_milli
        total = self._whole[tables, free]
        for column in range(gpu.shape[1]):
            total = total + self._stub[tables, stubs[:, column]]
        return total

    def change_by_fraction(self, tables: Ints, before_milli: Ints, free: Ints, milli: int) -> Floats:
        """(options x grid): what taking `milli` from a GPU with `before_milli` free adds to `of_gpus`.

        `free`: how many GPUs of that node nobody uses.
        """
        was_free = before_milli == WHOLE_GPU_MILLI
        change = self._stub[tables, (before_milli - milli) // self.unit_milli]
        change -= self._stub[tables, np.where(was_free, 0, before_milli) // self.unit_milli]
        fresh = np.flatnonzero(was_free)
        if len(fresh):
            change[fresh] += self._whole[tables[fresh], free[fresh] - 1] - self._whole[tables[fresh], free[fresh]]
        return change

    def change_by_whole(self, tables: Ints, free: Ints, gpus: int) -> Floats:
        """(nodes x grid): what taking `gpus` of `free` unused GPUs adds to `of_gpus`."""
        return self._whole[tables, free - gpus] - self._whole[tables, free]

    def worth(self, cpu: Ints, memory: Ints, of_gpus: Floats) -> Floats:
        """(nodes): worth of that CPU, memory and those GPUs together, in thousandths of a GPU."""
        cost = cpu[:, None] * self._cpu_price
        cost += memory[:, None] * self._memory_price
        cost += of_gpus
        least = cost.reshape(len(cpu), len(_CPU_FLOORS), -1).min(axis=2)
        total = least[:, 0] * _SCENARIO_WEIGHTS[0]
        for scenario in range(1, len(_CPU_FLOORS)):
            total += least[:, scenario] * _SCENARIO_WEIGHTS[scenario]
        return total
