"""What Tab offers for the names of runs, clusters, agents and contexts. A mesh that does not answer offers nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Final

import click
from click.shell_completion import CompletionItem

from orbit_core.client import OrbitClient, Patience, orbit_home
from orbit_core.errors import OrbitError

#: A person waits for this with a finger on a key.
_ANSWER_S: Final = 1.0
_RUNS_MAX: Final = 50

Offer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]
Names = Callable[[OrbitClient], Coroutine[Any, Any, Iterable[tuple[str, str]]]]


def _offered(names: Names) -> Offer:
    def offer(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
        try:
            found = asyncio.run(_asked(names, context.params.get("address")))
        except OrbitError:
            return []
        return [CompletionItem(name, help=told) for name, told in found if name.startswith(incomplete)]

    return offer


async def _asked(names: Names, address: str | None) -> list[tuple[str, str]]:
    patience = Patience(total_s=_ANSWER_S, first_contact_s=_ANSWER_S, attempt_s=_ANSWER_S)
    async with OrbitClient(address, patience=patience) as client:
        return list(await names(client))


async def _runs(client: OrbitClient) -> Iterable[tuple[str, str]]:
    return [(run.run_id, f"{run.cluster} {run.state}") for run in await client.runs(limit=_RUNS_MAX)]


async def _clusters(client: OrbitClient) -> Iterable[tuple[str, str]]:
    return [(cluster.identifier, cluster.title) for cluster in await client.clusters()]


async def _agents(client: OrbitClient) -> Iterable[tuple[str, str]]:
    return [(agent.agent_id, agent.state) for agent in await client.agents()]


async def _runs_and_clusters(client: OrbitClient) -> Iterable[tuple[str, str]]:
    return [*await _clusters(client), *await _runs(client)]


runs = _offered(_runs)
clusters = _offered(_clusters)
agents = _offered(_agents)
runs_and_clusters = _offered(_runs_and_clusters)


def contexts(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from orbit_core.client.context import read_contexts

    return [
        CompletionItem(each.name, help=", ".join(each.addresses))
        for each in read_contexts(orbit_home())
        if each.name.startswith(incomplete)
    ]
