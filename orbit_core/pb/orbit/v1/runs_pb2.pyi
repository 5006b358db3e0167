from orbit_core.pb.orbit.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RunState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RUN_STATE_UNSPECIFIED: _ClassVar[RunState]
    RUN_STATE_RUNNING: _ClassVar[RunState]
    RUN_STATE_PAUSED: _ClassVar[RunState]
    RUN_STATE_SUCCEEDED: _ClassVar[RunState]
    RUN_STATE_PARTIALLY_SUCCEEDED: _ClassVar[RunState]
    RUN_STATE_FAILED: _ClassVar[RunState]
    RUN_STATE_CANCELLED: _ClassVar[RunState]

class SlaState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SLA_STATE_UNSPECIFIED: _ClassVar[SlaState]
    SLA_STATE_PENDING: _ClassVar[SlaState]
    SLA_STATE_MET: _ClassVar[SlaState]
    SLA_STATE_MISSED: _ClassVar[SlaState]

class InvocationState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    INVOCATION_STATE_UNSPECIFIED: _ClassVar[InvocationState]
    INVOCATION_STATE_WAITING: _ClassVar[InvocationState]
    INVOCATION_STATE_READY: _ClassVar[InvocationState]
    INVOCATION_STATE_ASSIGNED: _ClassVar[InvocationState]
    INVOCATION_STATE_RUNNING: _ClassVar[InvocationState]
    INVOCATION_STATE_SUCCEEDED: _ClassVar[InvocationState]
    INVOCATION_STATE_FAILED: _ClassVar[InvocationState]
    INVOCATION_STATE_SKIPPED: _ClassVar[InvocationState]
    INVOCATION_STATE_CANCELLED: _ClassVar[InvocationState]
RUN_STATE_UNSPECIFIED: RunState
RUN_STATE_RUNNING: RunState
RUN_STATE_PAUSED: RunState
RUN_STATE_SUCCEEDED: RunState
RUN_STATE_PARTIALLY_SUCCEEDED: RunState
RUN_STATE_FAILED: RunState
RUN_STATE_CANCELLED: RunState
SLA_STATE_UNSPECIFIED: SlaState
SLA_STATE_PENDING: SlaState
SLA_STATE_MET: SlaState
SLA_STATE_MISSED: SlaState
INVOCATION_STATE_UNSPECIFIED: InvocationState
INVOCATION_STATE_WAITING: InvocationState
INVOCATION_STATE_READY: InvocationState
INVOCATION_STATE_ASSIGNED: InvocationState
INVOCATION_STATE_RUNNING: InvocationState
INVOCATION_STATE_SUCCEEDED: InvocationState
INVOCATION_STATE_FAILED: InvocationState
INVOCATION_STATE_SKIPPED: InvocationState
INVOCATION_STATE_CANCELLED: InvocationState

class StepProgress(_message.Message):
    __slots__ = ("step", "section", "expected", "waiting", "ready", "running", "succeeded", "failed", "skipped", "cancelled", "satellite")
    STEP_FIELD_NUMBER: _ClassVar[int]
    SECTION_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_FIELD_NUMBER: _ClassVar[int]
    WAITING_FIELD_NUMBER: _ClassVar[int]
    READY_FIELD_NUMBER: _ClassVar[int]
    RUNNING_FIELD_NUMBER: _ClassVar[int]
    SUCCEEDED_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    SKIPPED_FIELD_NUMBER: _ClassVar[int]
    CANCELLED_FIELD_NUMBER: _ClassVar[int]
    SATELLITE_FIELD_NUMBER: _ClassVar[int]
    step: str
    section: str
    expected: int
    waiting: int
    ready: int
    running: int
    succeeded: int
    failed: int
    skipped: int
    cancelled: int
    satellite: str
    def __init__(self, step: _Optional[str] = ..., section: _Optional[str] = ..., expected: _Optional[int] = ..., waiting: _Optional[int] = ..., ready: _Optional[int] = ..., running: _Optional[int] = ..., succeeded: _Optional[int] = ..., failed: _Optional[int] = ..., skipped: _Optional[int] = ..., cancelled: _Optional[int] = ..., satellite: _Optional[str] = ...) -> None: ...

class Run(_message.Message):
    __slots__ = ("run_id", "cluster", "spec_hash", "state", "sla", "created_ms", "deadline_ms", "ended_ms", "trigger", "cost_usd", "usage", "lineages_succeeded", "lineages_failed", "steps", "attempts", "attempts_lost", "reason", "retry_of", "reused", "budget_usd", "expected_late")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_FIELD_NUMBER: _ClassVar[int]
    SPEC_HASH_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    SLA_FIELD_NUMBER: _ClassVar[int]
    CREATED_MS_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_MS_FIELD_NUMBER: _ClassVar[int]
    ENDED_MS_FIELD_NUMBER: _ClassVar[int]
    TRIGGER_FIELD_NUMBER: _ClassVar[int]
    COST_USD_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    LINEAGES_SUCCEEDED_FIELD_NUMBER: _ClassVar[int]
    LINEAGES_FAILED_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_LOST_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    RETRY_OF_FIELD_NUMBER: _ClassVar[int]
    REUSED_FIELD_NUMBER: _ClassVar[int]
    BUDGET_USD_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_LATE_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    cluster: str
    spec_hash: str
    state: RunState
    sla: SlaState
    created_ms: int
    deadline_ms: int
    ended_ms: int
    trigger: str
    cost_usd: float
    usage: _common_pb2.Usage
    lineages_succeeded: int
    lineages_failed: int
    steps: _containers.RepeatedCompositeFieldContainer[StepProgress]
    attempts: int
    attempts_lost: int
    reason: str
    retry_of: str
    reused: int
    budget_usd: float
    expected_late: bool
    def __init__(self, run_id: _Optional[str] = ..., cluster: _Optional[str] = ..., spec_hash: _Optional[str] = ..., state: _Optional[_Union[RunState, str]] = ..., sla: _Optional[_Union[SlaState, str]] = ..., created_ms: _Optional[int] = ..., deadline_ms: _Optional[int] = ..., ended_ms: _Optional[int] = ..., trigger: _Optional[str] = ..., cost_usd: _Optional[float] = ..., usage: _Optional[_Union[_common_pb2.Usage, _Mapping]] = ..., lineages_succeeded: _Optional[int] = ..., lineages_failed: _Optional[int] = ..., steps: _Optional[_Iterable[_Union[StepProgress, _Mapping]]] = ..., attempts: _Optional[int] = ..., attempts_lost: _Optional[int] = ..., reason: _Optional[str] = ..., retry_of: _Optional[str] = ..., reused: _Optional[int] = ..., budget_usd: _Optional[float] = ..., expected_late: bool = ...) -> None: ...

class TriggerRunRequest(_message.Message):
    __slots__ = ("cluster", "payload_json", "request_id")
    CLUSTER_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_JSON_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    cluster: str
    payload_json: bytes
    request_id: str
    def __init__(self, cluster: _Optional[str] = ..., payload_json: _Optional[bytes] = ..., request_id: _Optional[str] = ...) -> None: ...

class TriggerRunResponse(_message.Message):
    __slots__ = ("run", "created")
    RUN_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    run: Run
    created: bool
    def __init__(self, run: _Optional[_Union[Run, _Mapping]] = ..., created: bool = ...) -> None: ...

class GetRunRequest(_message.Message):
    __slots__ = ("run_id",)
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    def __init__(self, run_id: _Optional[str] = ...) -> None: ...

class GetRunResponse(_message.Message):
    __slots__ = ("run",)
    RUN_FIELD_NUMBER: _ClassVar[int]
    run: Run
    def __init__(self, run: _Optional[_Union[Run, _Mapping]] = ...) -> None: ...

class ListRunsRequest(_message.Message):
    __slots__ = ("cluster", "states", "page_size", "page_token", "project", "slas", "created_from_ms", "created_before_ms")
    CLUSTER_FIELD_NUMBER: _ClassVar[int]
    STATES_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    SLAS_FIELD_NUMBER: _ClassVar[int]
    CREATED_FROM_MS_FIELD_NUMBER: _ClassVar[int]
    CREATED_BEFORE_MS_FIELD_NUMBER: _ClassVar[int]
    cluster: str
    states: _containers.RepeatedScalarFieldContainer[RunState]
    page_size: int
    page_token: str
    project: str
    slas: _containers.RepeatedScalarFieldContainer[SlaState]
    created_from_ms: int
    created_before_ms: int
    def __init__(self, cluster: _Optional[str] = ..., states: _Optional[_Iterable[_Union[RunState, str]]] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., project: _Optional[str] = ..., slas: _Optional[_Iterable[_Union[SlaState, str]]] = ..., created_from_ms: _Optional[int] = ..., created_before_ms: _Optional[int] = ...) -> None: ...

class ListRunsResponse(_message.Message):
    __slots__ = ("runs", "next_page_token")
    RUNS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    runs: _containers.RepeatedCompositeFieldContainer[Run]
    next_page_token: str
    def __init__(self, runs: _Optional[_Iterable[_Union[Run, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class WatchRunRequest(_message.Message):
    __slots__ = ("run_id", "resume_token")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    resume_token: str
    def __init__(self, run_id: _Optional[str] = ..., resume_token: _Optional[str] = ...) -> None: ...

class WatchRunResponse(_message.Message):
    __slots__ = ("run", "resume_token")
    RUN_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    run: Run
    resume_token: str
    def __init__(self, run: _Optional[_Union[Run, _Mapping]] = ..., resume_token: _Optional[str] = ...) -> None: ...

class StreamResultsRequest(_message.Message):
    __slots__ = ("run_id", "steps", "follow")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    FOLLOW_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    steps: _containers.RepeatedScalarFieldContainer[str]
    follow: bool
    def __init__(self, run_id: _Optional[str] = ..., steps: _Optional[_Iterable[str]] = ..., follow: bool = ...) -> None: ...

class Result(_message.Message):
    __slots__ = ("invocation_id", "step", "section", "index", "json", "failure", "agent_id", "usage", "cost_usd", "attempts", "lineage")
    INVOCATION_ID_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    SECTION_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    JSON_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    COST_USD_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    LINEAGE_FIELD_NUMBER: _ClassVar[int]
    invocation_id: str
    step: str
    section: str
    index: int
    json: bytes
    failure: _common_pb2.Failure
    agent_id: str
    usage: _common_pb2.Usage
    cost_usd: float
    attempts: int
    lineage: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, invocation_id: _Optional[str] = ..., step: _Optional[str] = ..., section: _Optional[str] = ..., index: _Optional[int] = ..., json: _Optional[bytes] = ..., failure: _Optional[_Union[_common_pb2.Failure, _Mapping]] = ..., agent_id: _Optional[str] = ..., usage: _Optional[_Union[_common_pb2.Usage, _Mapping]] = ..., cost_usd: _Optional[float] = ..., attempts: _Optional[int] = ..., lineage: _Optional[_Iterable[str]] = ...) -> None: ...

class StreamResultsResponse(_message.Message):
    __slots__ = ("result",)
    RESULT_FIELD_NUMBER: _ClassVar[int]
    result: Result
    def __init__(self, result: _Optional[_Union[Result, _Mapping]] = ...) -> None: ...

class StreamLogsRequest(_message.Message):
    __slots__ = ("run_id", "follow", "step", "invocation_id")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    FOLLOW_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    INVOCATION_ID_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    follow: bool
    step: str
    invocation_id: str
    def __init__(self, run_id: _Optional[str] = ..., follow: bool = ..., step: _Optional[str] = ..., invocation_id: _Optional[str] = ...) -> None: ...

class StreamLogsResponse(_message.Message):
    __slots__ = ("records",)
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    records: _containers.RepeatedCompositeFieldContainer[_common_pb2.LogRecord]
    def __init__(self, records: _Optional[_Iterable[_Union[_common_pb2.LogRecord, _Mapping]]] = ...) -> None: ...

class DownloadFileRequest(_message.Message):
    __slots__ = ("run_id", "sha256", "offset")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    sha256: str
    offset: int
    def __init__(self, run_id: _Optional[str] = ..., sha256: _Optional[str] = ..., offset: _Optional[int] = ...) -> None: ...

class DownloadFileResponse(_message.Message):
    __slots__ = ("chunk",)
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    chunk: bytes
    def __init__(self, chunk: _Optional[bytes] = ...) -> None: ...

class Invocation(_message.Message):
    __slots__ = ("invocation_id", "run_id", "step", "state", "attempt", "retries", "parent_id", "index", "agent_id", "not_before_ms", "started_ms", "ended_ms", "failure", "usage", "cost_usd", "outputs", "section", "outputs_json")
    INVOCATION_ID_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    RETRIES_FIELD_NUMBER: _ClassVar[int]
    PARENT_ID_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    NOT_BEFORE_MS_FIELD_NUMBER: _ClassVar[int]
    STARTED_MS_FIELD_NUMBER: _ClassVar[int]
    ENDED_MS_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    COST_USD_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    SECTION_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_JSON_FIELD_NUMBER: _ClassVar[int]
    invocation_id: str
    run_id: str
    step: str
    state: InvocationState
    attempt: int
    retries: int
    parent_id: str
    index: int
    agent_id: str
    not_before_ms: int
    started_ms: int
    ended_ms: int
    failure: _common_pb2.Failure
    usage: _common_pb2.Usage
    cost_usd: float
    outputs: int
    section: str
    outputs_json: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, invocation_id: _Optional[str] = ..., run_id: _Optional[str] = ..., step: _Optional[str] = ..., state: _Optional[_Union[InvocationState, str]] = ..., attempt: _Optional[int] = ..., retries: _Optional[int] = ..., parent_id: _Optional[str] = ..., index: _Optional[int] = ..., agent_id: _Optional[str] = ..., not_before_ms: _Optional[int] = ..., started_ms: _Optional[int] = ..., ended_ms: _Optional[int] = ..., failure: _Optional[_Union[_common_pb2.Failure, _Mapping]] = ..., usage: _Optional[_Union[_common_pb2.Usage, _Mapping]] = ..., cost_usd: _Optional[float] = ..., outputs: _Optional[int] = ..., section: _Optional[str] = ..., outputs_json: _Optional[_Iterable[bytes]] = ...) -> None: ...

class ListInvocationsRequest(_message.Message):
    __slots__ = ("run_id", "step", "states", "page_size", "page_token")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    STATES_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    step: str
    states: _containers.RepeatedScalarFieldContainer[InvocationState]
    page_size: int
    page_token: str
    def __init__(self, run_id: _Optional[str] = ..., step: _Optional[str] = ..., states: _Optional[_Iterable[_Union[InvocationState, str]]] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListInvocationsResponse(_message.Message):
    __slots__ = ("invocations", "next_page_token")
    INVOCATIONS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    invocations: _containers.RepeatedCompositeFieldContainer[Invocation]
    next_page_token: str
    def __init__(self, invocations: _Optional[_Iterable[_Union[Invocation, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class CancelRunRequest(_message.Message):
    __slots__ = ("run_id", "reason")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    reason: str
    def __init__(self, run_id: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class CancelRunResponse(_message.Message):
    __slots__ = ("run",)
    RUN_FIELD_NUMBER: _ClassVar[int]
    run: Run
    def __init__(self, run: _Optional[_Union[Run, _Mapping]] = ...) -> None: ...

class RetryRunRequest(_message.Message):
    __slots__ = ("run_id", "request_id")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    request_id: str
    def __init__(self, run_id: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class RetryRunResponse(_message.Message):
    __slots__ = ("run", "created")
    RUN_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    run: Run
    created: bool
    def __init__(self, run: _Optional[_Union[Run, _Mapping]] = ..., created: bool = ...) -> None: ...

class ResumeRunRequest(_message.Message):
    __slots__ = ("run_id", "budget_usd")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    BUDGET_USD_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    budget_usd: float
    def __init__(self, run_id: _Optional[str] = ..., budget_usd: _Optional[float] = ...) -> None: ...

class ResumeRunResponse(_message.Message):
    __slots__ = ("run",)
    RUN_FIELD_NUMBER: _ClassVar[int]
    run: Run
    def __init__(self, run: _Optional[_Union[Run, _Mapping]] = ...) -> None: ...

class DeleteRunRequest(_message.Message):
    __slots__ = ("run_id",)
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    def __init__(self, run_id: _Optional[str] = ...) -> None: ...

class DeleteRunResponse(_message.Message):
    __slots__ = ("deleted",)
    DELETED_FIELD_NUMBER: _ClassVar[int]
    deleted: bool
    def __init__(self, deleted: bool = ...) -> None: ...
