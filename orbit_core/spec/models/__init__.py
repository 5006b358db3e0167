"""The cluster format as frozen pydantic models: what a valid file means, with every default filled in.

They hold no I/O and import none: `orbit_core.sched` builds on them. Reading a file into them, with positions
and every problem at once, is `orbit_core.spec.loader`'s. Three forms of the same thing:

- the objects, whose dump by field name (`model_dump_json`, `model_validate_json`) is exact: for storage;
- `to_document()`: the plain mapping that can be written as YAML and loaded again without loss;
- the file: anything that the loader accepts, with its shorthands.
"""

from orbit_core.spec.models.cluster import (
    VERSION,
    Cluster,
    ClusterFile,
    Failure,
    Objective,
    SecretDeclaration,
)
from orbit_core.spec.models.resources import Resources
from orbit_core.spec.models.retries import RetryPolicy
from orbit_core.spec.models.satellite_ref import SatelliteRef
from orbit_core.spec.models.step import Gather, Step
from orbit_core.spec.models.triggers import (
    ApiCallTrigger,
    ClusterFinishedTrigger,
    CronTrigger,
    S3UploadTrigger,
    Trigger,
    WebhookTrigger,
)

__all__ = [
    "VERSION",
    "ApiCallTrigger",
    "Cluster",
    "ClusterFile",
    "ClusterFinishedTrigger",
    "CronTrigger",
    "Failure",
    "Gather",
    "Objective",
    "Resources",
    "RetryPolicy",
    "S3UploadTrigger",
    "SatelliteRef",
    "SecretDeclaration",
    "Step",
    "Trigger",
    "WebhookTrigger",
]
