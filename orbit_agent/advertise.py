"""What the agent says of itself in etcd, under a lease that ends with it.

It attaches only once that has stood there: whoever looks for a machine to hold a second copy finds it from the first
moment on in which it is given work.
"""

from __future__ import annotations

from google.protobuf.json_format import MessageToJson

from orbit_agent.link import Link
from orbit_core.pb.orbit.v1 import agents_pb2
from orbit_core.store.api import Store
from orbit_core.store.keys import Keys
from orbit_core.store.listing import Listing


class Advertiser:
    """Keeps the advertisement in etcd."""

    def __init__(self, store: Store, keys: Keys, agent_id: str) -> None:
        self._listing = Listing(store, keys.agent(agent_id))

    def say(self, advertisement: agents_pb2.Advertisement) -> None:
        """What is to stand in etcd from now on."""
        text = MessageToJson(advertisement, preserving_proto_field_name=True, indent=None)
        self._listing.say(text.encode())

    async def run(self) -> None:
        """Until cancelled."""
        await self._listing.run()

    async def attach(self, link: Link) -> None:
        """Runs the link, once the mesh can find this agent. Until cancelled."""
        await self._listing.stood.wait()
        await link.run()

    async def withdraw(self) -> None:
        """Ends the lease, so that nobody waits for an agent that has said goodbye."""
        await self._listing.withdraw()
