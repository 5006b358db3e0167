"""The calls about cluster files and clusters: a part of `OrbitClient`, one call a method. Nothing is decided here."""

from __future__ import annotations

from orbit_core.client import _convert
from orbit_core.client._requests import request_id as new_request_id
from orbit_core.client._routing import Router
from orbit_core.client._sources import ClusterSource, content_of, problems_of, retold
from orbit_core.client.types import Cluster, ClusterVersion, Submission, Validation
from orbit_core.errors import PreconditionError
from orbit_core.limits import PAGE_MAX
from orbit_core.pb.orbit.v1 import clusters_pb2 as pb
from orbit_core.pb.orbit.v1.clusters_pb2_grpc import ClusterServiceStub


class ClusterCalls:
    """Check, submit, list, enable, roll back, delete."""

    _router: Router

    async def validate(self, file: ClusterSource, *, file_name: str = "") -> Validation:
        """Check a cluster (a path, a file's bytes, or Python objects) against the mesh's catalog; stores nothing."""
        content, name = content_of(file, file_name)
        request = pb.ValidateClusterRequest(content=content, file_name=name)
        response = await self._router.unary(lambda channel: ClusterServiceStub(channel).ValidateCluster, request)
        diagnostics = tuple(_convert.diagnostic(each) for each in response.diagnostics)
        return Validation(name, response.identifier, retold(file, diagnostics))

    async def submit(self, file: ClusterSource, *, file_name: str = "", request_id: str | None = None) -> Submission:
        """Store a cluster (a path, a file's bytes, or Python objects).

        Raises `InvalidSpecError` with every problem that fits.
        """
        content, name = content_of(file, file_name)
        request = pb.SubmitClusterRequest(content=content, file_name=name, request_id=request_id or new_request_id())
        with problems_of(file):
            response = await self._router.unary(lambda channel: ClusterServiceStub(channel).SubmitCluster, request)
        warnings = tuple(_convert.diagnostic(each) for each in response.diagnostics)
        return Submission(_convert.cluster(response.cluster), retold(file, warnings), response.changed)

    async def clusters(self, project: str = "") -> tuple[Cluster, ...]:
        """All clusters, or those of one project."""
        found: list[Cluster] = []
        token = ""
        while True:
            request = pb.ListClustersRequest(project=project, page_size=PAGE_MAX, page_token=token)
            response = await self._router.unary(lambda channel: ClusterServiceStub(channel).ListClusters, request)
            found.extend(_convert.cluster(each) for each in response.clusters)
            token = response.next_page_token
            if not token:
                return tuple(found)

    async def cluster(self, identifier: str) -> Cluster:
        """One cluster, with its document."""
        request = pb.GetClusterRequest(identifier=identifier)
        response = await self._router.unary(lambda channel: ClusterServiceStub(channel).GetCluster, request)
        return _convert.cluster(response.cluster)

    async def enable(self, identifier: str) -> Cluster:
        """Let a cluster start runs again. Ticks that passed while it was disabled are not made up for."""
        return await self._set_enabled(identifier, enabled=True)

    async def disable(self, identifier: str) -> Cluster:
        """Let a cluster start no more runs, whatever triggers it; those under way go on."""
        return await self._set_enabled(identifier, enabled=False)

    async def _set_enabled(self, identifier: str, *, enabled: bool) -> Cluster:
        request = pb.SetClusterEnabledRequest(identifier=identifier, enabled=enabled)
        response = await self._router.unary(lambda channel: ClusterServiceStub(channel).SetClusterEnabled, request)
        return _convert.cluster(response.cluster)

    async def delete_cluster(self, identifier: str) -> bool:
        """Forget a cluster; its ended runs stay readable. `PreconditionError` while it has runs under way.

        Whether there was one (False too where an earlier attempt of this call had deleted it unseen).
        """
        request = pb.DeleteClusterRequest(identifier=identifier)
        response = await self._router.unary(lambda channel: ClusterServiceStub(channel).DeleteCluster, request)
        return response.deleted

    async def versions(self, identifier: str) -> tuple[ClusterVersion, ...]:
        """What the cluster has said, the current version first."""
        request = pb.ListClusterVersionsRequest(identifier=identifier)
        response = await self._router.unary(lambda channel: ClusterServiceStub(channel).ListClusterVersions, request)
        return tuple(_convert.cluster_version(each) for each in response.versions)

    async def roll_back(self, identifier: str, spec_hash: str = "") -> Cluster:
        """Make an earlier version the current one: that which `spec_hash` begins, or the one before this."""
        if not spec_hash:
            # Named in full, so that a call that is tried again does not go back once more.
            _, *earlier = await self.versions(identifier)
            if not earlier:
                raise PreconditionError(
                    f"{identifier} has no version before this one", remedy="`orbit submit FILE` makes another one"
                )
            spec_hash = earlier[0].spec_hash
        request = pb.RollBackClusterRequest(identifier=identifier, spec_hash=spec_hash)
        response = await self._router.unary(lambda channel: ClusterServiceStub(channel).RollBackCluster, request)
        return _convert.cluster(response.cluster)
