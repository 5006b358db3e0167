"""Pulls: models that are fetched because somebody asked for them, ahead of any request that needs them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from orbit_agent.models.resending import Look
from orbit_agent.models.store import ModelStore
from orbit_agent.models.threads import apart
from orbit_core.errors import OrbitError

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Pulled:
    """A pull that has ended; `failure` is empty where it succeeded."""

    pull_id: str
    failure: str = ""


class Pulls:
    """The pulls of one agent: each is done once, however often it is asked for."""

    def __init__(self, models: ModelStore, look: Look, news: Callable[[], None]) -> None:
        self._models = models
        self._look = look
        self._news = news
        self._asked: dict[str, str] = {}
        self._ended: dict[str, Pulled] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def ask(self, name: str, pull_id: str) -> None:
        """Fetches a model in the background, unless this very pull was asked for before."""
        if self._asked.get(name) == pull_id:
            return
        self._asked[name] = pull_id
        task = asyncio.create_task(self._pull(name, pull_id), name=f"pull {name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def ended(self) -> dict[str, Pulled]:
        """The last pull that has ended, of each model that was pulled."""
        return dict(self._ended)

    async def close(self) -> None:
        """Lets go of what is under way. A download on its thread goes on; nobody waits for it."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _pull(self, name: str, pull_id: str) -> None:
        failure = ""
        try:
            await self._look(name)  # a pull often follows the registration at once
            await apart(self._models.ensure, name)
        except OrbitError as error:
            failure = str(error)
        except Exception as error:  # a library below a source raised what it does not document
            failure = f"{type(error).__name__}: {error}"
        if failure:
            _log.warning("the model %s cannot be pulled: %s", name, failure)
        if self._asked.get(name) == pull_id:
            self._ended[name] = Pulled(pull_id, failure)
            self._news()
