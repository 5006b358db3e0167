"""A coordinator process: its gRPC server, its services, its candidacy, put together."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from functools import partial

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from orbit_coordinator.archive import Archive
from orbit_coordinator.buying import Capacity, give_all_back
from orbit_coordinator.candidacy import campaign_and_lead, relieve, watch_leader
from orbit_coordinator.capacity import CommandProvider, Commands
from orbit_coordinator.config import CoordinatorConfig
from orbit_coordinator.copies import MeshBlobs, other_machines
from orbit_coordinator.http_front import HttpFront
from orbit_coordinator.logs import LogStore
from orbit_coordinator.services.access import Access
from orbit_coordinator.services.agents import AgentLinkService, AgentService
from orbit_coordinator.services.blobs import CoordinatorBlobs
from orbit_coordinator.services.clusters import ClusterService
from orbit_coordinator.services.models import ModelService
from orbit_coordinator.services.runs import RunService
from orbit_coordinator.services.scheduling import SchedulingService
from orbit_coordinator.services.secrets import SecretService
from orbit_coordinator.services.triggers import TriggerService, deliver
from orbit_coordinator.specs import SpecStore
from orbit_coordinator.term import Resources
from orbit_coordinator.vault import Secrets
from orbit_core.clock import SystemClock
from orbit_core.pb.orbit.v1 import (
    agents_pb2,
    agents_pb2_grpc,
    blobs_pb2,
    blobs_pb2_grpc,
    clusters_pb2,
    clusters_pb2_grpc,
    models_pb2,
    models_pb2_grpc,
    runs_pb2,
    runs_pb2_grpc,
    scheduling_pb2,
    scheduling_pb2_grpc,
    secrets_pb2,
    secrets_pb2_grpc,
    triggers_pb2,
    triggers_pb2_grpc,
)
from orbit_core.rpc_errors import ErrorInterceptor
from orbit_core.security.vault import Vault, load_master_key
from orbit_core.store.api import Store
from orbit_core.store.blobs import LocalBlobs, S3Blobs
from orbit_core.store.blobs.home import BlobHome, settle
from orbit_core.store.election import Candidate, Election
from orbit_core.store.keys import Keys
from orbit_core.store.listing import Listing
from orbit_core.store.peers import Peers
from orbit_core.store.transport import SERVER_OPTIONS
from satellites.catalog import InstalledCatalog

_STOP_GRACE_S = 0.5
_SERVICES = (
    (clusters_pb2, "ClusterService"),
    (runs_pb2, "RunService"),
    (agents_pb2, "AgentService"),
    (agents_pb2, "AgentLinkService"),
    (scheduling_pb2, "SchedulingService"),
    (secrets_pb2, "SecretService"),
    (triggers_pb2, "TriggerService"),
    (blobs_pb2, "BlobService"),
    (models_pb2, "ModelService"),
)


class Server:
    """One coordinator. `run` until `stop`."""

    def __init__(self, config: CoordinatorConfig, store: Store) -> None:
        self._config = config
        self._store = store
        self._keys = Keys(config.prefix)
        self._peers = Peers()
        self._stopping = asyncio.Event()
        self._health = health.aio.HealthServicer()  # type: ignore[attr-defined]

    def stop(self) -> None:
        """Ends the process in order: the lead is given up, so that another takes it at once."""
        self._stopping.set()

    async def run(self, ready: Callable[[str], None]) -> None:
        """Serves until `stop`. `ready(address)` is called once requests are answered."""
        server = grpc.aio.server(interceptors=[ErrorInterceptor()], options=SERVER_OPTIONS)
        port = server.add_insecure_port(self._config.listen)
        host = self._config.advertise or self._config.listen.rpartition(":")[0]
        address = host if ":" in host else f"{host}:{port}"
        access = Access(self._resources(address, await settle(self._store, self._keys, self._config.blobs)))
        self._add_services(server, access)
        await server.start()
        front = HttpFront(partial(deliver, access))
        if self._config.http:
            access.http_address = await front.start(self._config.http)
        ready(address)
        election = Election(
            self._store, self._keys, Candidate(self._config.id, address), ttl_s=self._config.lease_ttl_s
        )
        where = json.dumps({"address": address}).encode()
        listing = Listing(self._store, self._keys.coordinator(self._config.id), where)
        work = [
            asyncio.create_task(listing.run()),
            asyncio.create_task(watch_leader(access)),
            asyncio.create_task(relieve(access)),
            asyncio.create_task(campaign_and_lead(access, election, self._say_serving)),
        ]
        try:
            await self._stopping.wait()
        finally:
            for task in work:
                task.cancel()
            await asyncio.gather(*work, return_exceptions=True)
            if access.resources.capacity is not None and self._config.capacity_ends_here:
                await give_all_back(access.resources.capacity)
            await election.resign()
            await listing.withdraw()
            await server.stop(_STOP_GRACE_S)
            await self._peers.close()

    def _resources(self, address: str, home: tuple[BlobHome, S3Blobs] | None) -> Resources:
        config = self._config
        local = LocalBlobs(config.data / "blobs")
        clock = SystemClock()
        blobs = MeshBlobs(
            local,
            fetch=self._peers.fetch_from,
            push=self._peers.push,
            held=self._peers.held,
            others=lambda: other_machines(self._store, self._keys, address),
            clock=clock,
            home=home[1] if home else None,
        )
        return Resources(
            coordinator_id=config.id,
            address=address,
            store=self._store,
            keys=self._keys,
            local_blobs=local,
            blobs=blobs,
            specs=SpecStore(self._store, self._keys),
            secrets=Secrets(Vault(self._store, self._keys, load_master_key(config.master_key_file))),
            archive=Archive(self._store, self._keys, blobs),
            logs=LogStore(config.data / "logs", clock),
            clock=clock,
            allow_private_addresses=config.allow_private_addresses,
            blob_home=home[0] if home else None,
            capacity=self._capacity(),
        )

    def _capacity(self) -> Capacity | None:
        file = self._config.capacity
        if file is None:
            return None
        spec = file.spec
        commands = Commands(start=spec.start, stop=spec.stop, list=spec.list, prices=spec.prices)
        provider = CommandProvider(
            commands,
            file.folder,
            timeout_s=spec.timeout / 1000,
            environment={"ORBIT_ETCD_ENDPOINTS": ",".join(self._config.etcd)},
        )
        return Capacity(spec, provider)

    def _add_services(self, server: grpc.aio.Server, access: Access) -> None:
        catalog = InstalledCatalog()
        clusters_pb2_grpc.add_ClusterServiceServicer_to_server(ClusterService(access, catalog), server)
        runs_pb2_grpc.add_RunServiceServicer_to_server(RunService(access), server)
        agents_pb2_grpc.add_AgentServiceServicer_to_server(AgentService(access), server)
        agents_pb2_grpc.add_AgentLinkServiceServicer_to_server(AgentLinkService(access), server)
        scheduling_pb2_grpc.add_SchedulingServiceServicer_to_server(SchedulingService(access, catalog), server)
        triggers_pb2_grpc.add_TriggerServiceServicer_to_server(TriggerService(access), server)
        secrets_pb2_grpc.add_SecretServiceServicer_to_server(SecretService(access), server)
        models_pb2_grpc.add_ModelServiceServicer_to_server(ModelService(access), server)
        blobs_pb2_grpc.add_BlobServiceServicer_to_server(CoordinatorBlobs(access), server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        names = [module.DESCRIPTOR.services_by_name[name].full_name for module, name in _SERVICES]
        reflection.enable_server_reflection([*names, health.SERVICE_NAME, reflection.SERVICE_NAME], server)

    async def _say_serving(self, leads: bool) -> None:
        status = health_pb2.HealthCheckResponse
        await self._health.set("", status.SERVING if leads else status.NOT_SERVING)
