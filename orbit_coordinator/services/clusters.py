"""ClusterService: files are checked, submitted, listed."""

from __future__ import annotations

import asyncio
from typing import Any

from orbit_coordinator.compile import compile_workflow
from orbit_coordinator.services.access import Access, page
from orbit_coordinator.services.models import known_models
from orbit_coordinator.term import Term
from orbit_coordinator.triggers import followed_by
from orbit_core.errors import InvalidRequestError, NotFoundError, PreconditionError
from orbit_core.limits import PAGE_DEFAULT, PAGE_MAX, SPEC_MAX_BYTES
from orbit_core.pb.orbit.v1 import clusters_pb2, clusters_pb2_grpc
from orbit_core.sched.events import ClusterDeleted, ClusterEnabled, ClusterSubmitted
from orbit_core.sched.state import ClusterEntry
from orbit_core.spec import yaml_text
from orbit_core.spec.catalog import Catalog
from orbit_core.spec.cron import next_after
from orbit_core.spec.diagnostics import Diagnostic, invalid_spec
from orbit_core.spec.loader import LoadResult, load
from orbit_core.spec.models import VERSION, Cluster, ClusterFile, CronTrigger, S3UploadTrigger, Trigger, WebhookTrigger

_SEVERITIES = {"warning": clusters_pb2.SEVERITY_WARNING, "error": clusters_pb2.SEVERITY_ERROR}


class ClusterService(clusters_pb2_grpc.ClusterServiceServicer):
    """Checks against the satellites that are installed beside this coordinator."""

    def __init__(self, access: Access, catalog: Catalog) -> None:
        self._access = access
        self._catalog = catalog

    async def ValidateCluster(
        self, request: clusters_pb2.ValidateClusterRequest, context: Any
    ) -> clusters_pb2.ValidateClusterResponse:
        loaded = await self._load(request.content, request.file_name, vault_names=None)
        return clusters_pb2.ValidateClusterResponse(
            diagnostics=[diagnostic_view(each) for each in (*loaded.diagnostics, *self._unheard(loaded, request))],
            identifier=loaded.cluster.identifier if loaded.cluster else "",
        )

    async def SubmitCluster(
        self, request: clusters_pb2.SubmitClusterRequest, context: Any
    ) -> clusters_pb2.SubmitClusterResponse:
        term = self._access.leading()
        first = await self._load(request.content, request.file_name, vault_names=None)
        if first.cluster is None:
            raise invalid_spec(first.diagnostics)
        vault_names = await self._access.resources.secrets.names(first.cluster.identifier)
        loaded = await self._load(request.content, request.file_name, vault_names=vault_names)
        if loaded.cluster is None:
            raise invalid_spec(loaded.diagnostics)
        await self._refuse_circles(term, loaded.cluster)
        cluster, values = loaded.cluster.without_secret_values()
        workflow = compile_workflow(cluster, self._catalog)
        await self._access.resources.secrets.set_all(cluster.identifier, values)
        spec = await self._access.resources.specs.put(cluster, workflow, term.leadership)
        entry = term.state.clusters.get(cluster.identifier)
        changed = entry is None or entry.spec_hash != spec.spec_hash
        if changed:
            term.state.workflows[spec.spec_hash] = workflow
            await term.leader.tell(ClusterSubmitted(cluster.identifier, spec.spec_hash))
        return clusters_pb2.SubmitClusterResponse(
            cluster=cluster_view(cluster, term.state.clusters[cluster.identifier]),
            diagnostics=[diagnostic_view(each) for each in (*loaded.diagnostics, *self._unheard(loaded, request))],
            changed=changed,
        )

    async def GetCluster(
        self, request: clusters_pb2.GetClusterRequest, context: Any
    ) -> clusters_pb2.GetClusterResponse:
        term = self._access.leading()
        entry = find_cluster(term.state.clusters, request.identifier)
        spec = await self._access.resources.specs.get(entry.spec_hash)
        view = cluster_view(spec.cluster, entry)
        document = ClusterFile(version=VERSION, cluster=spec.cluster).to_document()
        view.document = yaml_text.write(document)
        return clusters_pb2.GetClusterResponse(cluster=view)

    async def ListClusters(
        self, request: clusters_pb2.ListClustersRequest, context: Any
    ) -> clusters_pb2.ListClustersResponse:
        term = self._access.leading()
        wanted = f"{request.project}/" if request.project else ""
        entries = sorted(
            (entry for entry in term.state.clusters.values() if entry.identifier.startswith(wanted)),
            key=lambda entry: entry.identifier,
        )
        found, token = page(
            entries,
            request.page_size,
            request.page_token,
            lambda entry: entry.identifier,
            default=PAGE_DEFAULT,
            most=PAGE_MAX,
        )
        specs = self._access.resources.specs
        views = [cluster_view((await specs.get(entry.spec_hash)).cluster, entry) for entry in found]
        return clusters_pb2.ListClustersResponse(clusters=views, next_page_token=token)

    async def SetClusterEnabled(
        self, request: clusters_pb2.SetClusterEnabledRequest, context: Any
    ) -> clusters_pb2.SetClusterEnabledResponse:
        term = self._access.leading()
        entry = find_cluster(term.state.clusters, request.identifier)
        await term.leader.tell(ClusterEnabled(entry.identifier, request.enabled))
        return clusters_pb2.SetClusterEnabledResponse(cluster=await self._view(entry))

    async def DeleteCluster(
        self, request: clusters_pb2.DeleteClusterRequest, context: Any
    ) -> clusters_pb2.DeleteClusterResponse:
        term = self._access.leading()
        identifier = request.identifier.removeprefix("cluster/")
        if identifier not in term.state.clusters:
            return clusters_pb2.DeleteClusterResponse(deleted=False)
        under_way = [run.id for run in term.state.runs.values() if run.cluster == identifier and not run.ended]
        if under_way:
            raise PreconditionError(
                f"{under_way[0]} of {identifier} is under way"
                + (f", and {len(under_way) - 1} more" if len(under_way) > 1 else ""),
                remedy=f"`orbit disable {identifier}`, then wait for its runs or cancel them",
            )
        await term.leader.tell(ClusterDeleted(identifier))
        return clusters_pb2.DeleteClusterResponse(deleted=True)

    async def ListClusterVersions(
        self, request: clusters_pb2.ListClusterVersionsRequest, context: Any
    ) -> clusters_pb2.ListClusterVersionsResponse:
        entry = find_cluster(self._access.leading().state.clusters, request.identifier)
        current = clusters_pb2.ClusterVersion(spec_hash=entry.spec_hash, submitted_ms=entry.submitted_ms, current=True)
        earlier = [
            clusters_pb2.ClusterVersion(spec_hash=each.spec_hash, submitted_ms=each.submitted_ms)
            for each in reversed(entry.earlier)
        ]
        return clusters_pb2.ListClusterVersionsResponse(versions=[current, *earlier])

    async def RollBackCluster(
        self, request: clusters_pb2.RollBackClusterRequest, context: Any
    ) -> clusters_pb2.RollBackClusterResponse:
        term = self._access.leading()
        entry = find_cluster(term.state.clusters, request.identifier)
        spec = await self._access.resources.specs.get(_version(entry, request.spec_hash))
        await self._refuse_circles(term, spec.cluster)
        term.state.workflows[spec.spec_hash] = spec.workflow
        await term.leader.tell(ClusterSubmitted(entry.identifier, spec.spec_hash))
        return clusters_pb2.RollBackClusterResponse(cluster=await self._view(entry))

    async def _refuse_circles(self, term: Term, cluster: Cluster) -> None:
        """PreconditionError where the end of a run of this cluster would in the end start another one of it."""
        ways = [[cluster.identifier, each] for each in followed_by(cluster)]
        seen: set[str] = set()
        while ways:
            way = ways.pop()
            if way[-1] == cluster.identifier:
                raise PreconditionError(
                    f"{cluster.identifier} would start itself without end: {' ← '.join(way)}",
                    remedy="take one `cluster-finished` trigger out of this circle",
                )
            entry = term.state.clusters.get(way[-1])
            if entry is not None and way[-1] not in seen:
                seen.add(way[-1])
                followed = followed_by((await self._access.resources.specs.get(entry.spec_hash)).cluster)
                ways += [[*way, each] for each in followed]

    def _unheard(
        self, loaded: LoadResult, request: clusters_pb2.ValidateClusterRequest | clusters_pb2.SubmitClusterRequest
    ) -> list[Diagnostic]:
        """A warning where a cluster waits for webhooks that this coordinator does not take."""
        triggers = loaded.cluster.triggers if loaded.cluster else ()
        if self._access.http_address or not any(isinstance(each, WebhookTrigger) for each in triggers):
            return []
        message = "nobody listens for webhooks here: `orbit up --http PORT`, or `--http` of the coordinator, does"
        file = request.file_name or "cluster.yml"
        return [Diagnostic("warning", "nobody-listens", file, None, None, "cluster.trigger", message)]

    async def _view(self, entry: ClusterEntry) -> clusters_pb2.Cluster:
        return cluster_view((await self._access.resources.specs.get(entry.spec_hash)).cluster, entry)

    async def _load(self, content: bytes, file_name: str, *, vault_names: frozenset[str] | None) -> LoadResult:
        """In a thread: a hostile file takes seconds, and the leader's loop has other things to do."""
        if len(content) > SPEC_MAX_BYTES:
            raise InvalidRequestError(
                f"the file has {len(content)} bytes; at most {SPEC_MAX_BYTES} are allowed",
                remedy="move long texts into objects or models",
            )
        mode = "validate" if vault_names is None else "submit"
        file = file_name or "cluster.yml"
        models = await known_models(self._access)
        return await asyncio.to_thread(
            load, content, file=file, catalog=self._catalog, vault_names=vault_names, models=models, mode=mode
        )


def find_cluster(clusters: dict[str, ClusterEntry], identifier: str) -> ClusterEntry:
    """The cluster of that identifier, with or without `cluster/` before it. NotFoundError."""
    entry = clusters.get(identifier.removeprefix("cluster/"))
    if entry is None:
        raise NotFoundError(f"there is no cluster {identifier!r}", remedy="`orbit clusters` lists those there are")
    return entry


def _version(entry: ClusterEntry, wanted: str) -> str:
    """The hash of the version that `wanted` begins, the one before this where it is empty."""
    if not wanted:
        if not entry.earlier:
            raise PreconditionError(
                f"{entry.identifier} has no version before this one", remedy="`orbit submit FILE` makes another one"
            )
        return entry.earlier[-1].spec_hash
    # The current one too: a call that is made again finds what it did the first time, and changes nothing.
    known = [entry.spec_hash, *(each.spec_hash for each in entry.earlier)]
    found = [spec_hash for spec_hash in known if spec_hash.startswith(wanted)]
    if len(found) != 1:
        raise NotFoundError(
            f"{entry.identifier} has {len(found) or 'no'} versions that begin with {wanted!r}",
            remedy=f"`orbit versions {entry.identifier}` lists them",
        )
    return found[0]


def cluster_view(cluster: Cluster, entry: ClusterEntry) -> clusters_pb2.Cluster:
    return clusters_pb2.Cluster(
        identifier=cluster.identifier,
        title=cluster.title or "",
        spec_hash=entry.spec_hash,
        sla_ms=cluster.sla_ms,
        enabled=entry.enabled,
        submitted_ms=entry.submitted_ms,
        triggers=[_trigger_text(trigger) for trigger in cluster.triggers],
        next_run_ms=_next_run_ms(cluster, entry),
        steps=[step.identifier for step in cluster.satellites],
    )


def _trigger_text(trigger: Trigger) -> str:
    match trigger:
        case CronTrigger():
            return f"cron {trigger.cron}" + (f" {trigger.timezone}" if trigger.timezone != "UTC" else "")
        case S3UploadTrigger():
            return f"s3-upload {trigger.bucket}/{trigger.prefix}"
        case WebhookTrigger():
            return f"webhook {trigger.path}"
        case _:
            return trigger.kind


def _next_run_ms(cluster: Cluster, entry: ClusterEntry) -> int:
    last = max(entry.last_tick_ms, entry.submitted_ms)
    ticks = [
        tick
        for trigger in cluster.triggers
        if isinstance(trigger, CronTrigger) and (tick := next_after(trigger.cron, trigger.timezone, last)) is not None
    ]
    return min(ticks, default=0) if entry.enabled else 0


def diagnostic_view(found: Diagnostic) -> clusters_pb2.Diagnostic:
    return clusters_pb2.Diagnostic(
        severity=_SEVERITIES[found.severity],
        code=found.code,
        file=found.file,
        line=found.line,
        column=found.column,
        path=found.path,
        message=found.message,
        found=found.found or "",
        expected=found.expected or "",
        suggestion=found.suggestion or "",
        text=found.format(),
    )
