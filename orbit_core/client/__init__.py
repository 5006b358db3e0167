"""The client of a mesh, for programs, the `orbit` command and the terminal UI alike.

    from orbit_core.client import SyncOrbitClient

    with SyncOrbitClient() as orbit:                       # the mesh that `orbit up` started
        cluster = orbit.submit("cluster.yml").cluster
        run = orbit.trigger(cluster.identifier, {"day": "2026-01-31"})
        for result in orbit.results(run.run_id):           # as lineages end
            print(result.value or result.failure)

Everything public is named here; modules with an underscore are not. Errors are those of `orbit_core.errors`.
"""

from orbit_core.client._routing import OnWait, Patience
from orbit_core.client._sources import ClusterSource
from orbit_core.client.aio import OrbitClient
from orbit_core.client.batches import Batch, BatchAnswers, BatchFile, BatchSubmission, LineProblem
from orbit_core.client.context import context_file, orbit_home, parse_addresses, resolve_addresses
from orbit_core.client.download import files_in
from orbit_core.client.models import Model, ModelFile, ModelOnAgent, ModelState, Pull
from orbit_core.client.scheduling import CostKey, CostLine, Elsewhere, Explanation, Quotation, QuotedSla
from orbit_core.client.sync import SyncOrbitClient
from orbit_core.client.types import (
    ENDED,
    Agent,
    AgentState,
    Cluster,
    ClusterVersion,
    Diagnostic,
    Download,
    Failure,
    FileRef,
    Gpu,
    Hardware,
    Invocation,
    InvocationState,
    LogRecord,
    Mesh,
    PriceKind,
    Result,
    Run,
    RunningInvocation,
    RunPage,
    RunState,
    Secret,
    Severity,
    SlaState,
    StepProgress,
    Submission,
    Usage,
    Validation,
    to_json,
)

__all__ = [
    "ENDED",
    "Agent",
    "AgentState",
    "Batch",
    "BatchAnswers",
    "BatchFile",
    "BatchSubmission",
    "Cluster",
    "ClusterSource",
    "ClusterVersion",
    "CostKey",
    "CostLine",
    "Diagnostic",
    "Download",
    "Elsewhere",
    "Explanation",
    "Failure",
    "FileRef",
    "Gpu",
    "Hardware",
    "Invocation",
    "InvocationState",
    "LineProblem",
    "LogRecord",
    "Mesh",
    "Model",
    "ModelFile",
    "ModelOnAgent",
    "ModelState",
    "OnWait",
    "OrbitClient",
    "Patience",
    "PriceKind",
    "Pull",
    "Quotation",
    "QuotedSla",
    "Result",
    "Run",
    "RunPage",
    "RunState",
    "RunningInvocation",
    "Secret",
    "Severity",
    "SlaState",
    "StepProgress",
    "Submission",
    "SyncOrbitClient",
    "Usage",
    "Validation",
    "context_file",
    "files_in",
    "orbit_home",
    "parse_addresses",
    "resolve_addresses",
    "to_json",
]
