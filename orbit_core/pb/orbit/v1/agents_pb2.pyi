from orbit_core.pb.orbit.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PriceKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PRICE_KIND_UNSPECIFIED: _ClassVar[PriceKind]
    PRICE_KIND_OWNED: _ClassVar[PriceKind]
    PRICE_KIND_ON_DEMAND: _ClassVar[PriceKind]
    PRICE_KIND_SPOT: _ClassVar[PriceKind]

class ModelState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MODEL_STATE_UNSPECIFIED: _ClassVar[ModelState]
    MODEL_STATE_COLD: _ClassVar[ModelState]
    MODEL_STATE_FETCHING: _ClassVar[ModelState]
    MODEL_STATE_CACHED: _ClassVar[ModelState]
    MODEL_STATE_WARM: _ClassVar[ModelState]

class AgentState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    AGENT_STATE_UNSPECIFIED: _ClassVar[AgentState]
    AGENT_STATE_ATTACHED: _ClassVar[AgentState]
    AGENT_STATE_DETACHED: _ClassVar[AgentState]
    AGENT_STATE_DRAINING: _ClassVar[AgentState]
    AGENT_STATE_LOST: _ClassVar[AgentState]
PRICE_KIND_UNSPECIFIED: PriceKind
PRICE_KIND_OWNED: PriceKind
PRICE_KIND_ON_DEMAND: PriceKind
PRICE_KIND_SPOT: PriceKind
MODEL_STATE_UNSPECIFIED: ModelState
MODEL_STATE_COLD: ModelState
MODEL_STATE_FETCHING: ModelState
MODEL_STATE_CACHED: ModelState
MODEL_STATE_WARM: ModelState
AGENT_STATE_UNSPECIFIED: AgentState
AGENT_STATE_ATTACHED: AgentState
AGENT_STATE_DETACHED: AgentState
AGENT_STATE_DRAINING: AgentState
AGENT_STATE_LOST: AgentState

class Gpu(_message.Message):
    __slots__ = ("model", "memory_bytes")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    model: str
    memory_bytes: int
    def __init__(self, model: _Optional[str] = ..., memory_bytes: _Optional[int] = ...) -> None: ...

class Hardware(_message.Message):
    __slots__ = ("cpu_milli", "memory_bytes", "disk_free_bytes", "gpus", "cpu_model", "architecture", "os", "providers")
    CPU_MILLI_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    DISK_FREE_BYTES_FIELD_NUMBER: _ClassVar[int]
    GPUS_FIELD_NUMBER: _ClassVar[int]
    CPU_MODEL_FIELD_NUMBER: _ClassVar[int]
    ARCHITECTURE_FIELD_NUMBER: _ClassVar[int]
    OS_FIELD_NUMBER: _ClassVar[int]
    PROVIDERS_FIELD_NUMBER: _ClassVar[int]
    cpu_milli: int
    memory_bytes: int
    disk_free_bytes: int
    gpus: _containers.RepeatedCompositeFieldContainer[Gpu]
    cpu_model: str
    architecture: str
    os: str
    providers: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, cpu_milli: _Optional[int] = ..., memory_bytes: _Optional[int] = ..., disk_free_bytes: _Optional[int] = ..., gpus: _Optional[_Iterable[_Union[Gpu, _Mapping]]] = ..., cpu_model: _Optional[str] = ..., architecture: _Optional[str] = ..., os: _Optional[str] = ..., providers: _Optional[_Iterable[str]] = ...) -> None: ...

class Advertisement(_message.Message):
    __slots__ = ("agent_id", "session_id", "address", "hardware", "labels", "price_usd_per_hour", "price_kind", "satellites", "warm_models", "cached_models", "version", "started_ms", "models", "tariff")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    HARDWARE_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    PRICE_USD_PER_HOUR_FIELD_NUMBER: _ClassVar[int]
    PRICE_KIND_FIELD_NUMBER: _ClassVar[int]
    SATELLITES_FIELD_NUMBER: _ClassVar[int]
    WARM_MODELS_FIELD_NUMBER: _ClassVar[int]
    CACHED_MODELS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    STARTED_MS_FIELD_NUMBER: _ClassVar[int]
    MODELS_FIELD_NUMBER: _ClassVar[int]
    TARIFF_FIELD_NUMBER: _ClassVar[int]
    agent_id: str
    session_id: str
    address: str
    hardware: Hardware
    labels: _containers.ScalarMap[str, str]
    price_usd_per_hour: float
    price_kind: PriceKind
    satellites: _containers.RepeatedScalarFieldContainer[str]
    warm_models: _containers.RepeatedScalarFieldContainer[str]
    cached_models: _containers.RepeatedScalarFieldContainer[str]
    version: str
    started_ms: int
    models: _containers.RepeatedCompositeFieldContainer[AgentModel]
    tariff: _containers.RepeatedCompositeFieldContainer[TariffRate]
    def __init__(self, agent_id: _Optional[str] = ..., session_id: _Optional[str] = ..., address: _Optional[str] = ..., hardware: _Optional[_Union[Hardware, _Mapping]] = ..., labels: _Optional[_Mapping[str, str]] = ..., price_usd_per_hour: _Optional[float] = ..., price_kind: _Optional[_Union[PriceKind, str]] = ..., satellites: _Optional[_Iterable[str]] = ..., warm_models: _Optional[_Iterable[str]] = ..., cached_models: _Optional[_Iterable[str]] = ..., version: _Optional[str] = ..., started_ms: _Optional[int] = ..., models: _Optional[_Iterable[_Union[AgentModel, _Mapping]]] = ..., tariff: _Optional[_Iterable[_Union[TariffRate, _Mapping]]] = ...) -> None: ...

class TariffRate(_message.Message):
    __slots__ = ("from_minute", "price_usd_per_hour")
    FROM_MINUTE_FIELD_NUMBER: _ClassVar[int]
    PRICE_USD_PER_HOUR_FIELD_NUMBER: _ClassVar[int]
    from_minute: int
    price_usd_per_hour: float
    def __init__(self, from_minute: _Optional[int] = ..., price_usd_per_hour: _Optional[float] = ...) -> None: ...

class AgentModel(_message.Message):
    __slots__ = ("name", "state", "size_bytes", "memory_bytes", "provider", "barred", "pull_id", "failure")
    NAME_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    BARRED_FIELD_NUMBER: _ClassVar[int]
    PULL_ID_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    name: str
    state: ModelState
    size_bytes: int
    memory_bytes: int
    provider: str
    barred: bool
    pull_id: str
    failure: str
    def __init__(self, name: _Optional[str] = ..., state: _Optional[_Union[ModelState, str]] = ..., size_bytes: _Optional[int] = ..., memory_bytes: _Optional[int] = ..., provider: _Optional[str] = ..., barred: bool = ..., pull_id: _Optional[str] = ..., failure: _Optional[str] = ...) -> None: ...

class RunningInvocation(_message.Message):
    __slots__ = ("invocation_id", "run_id", "step", "attempt", "started_ms")
    INVOCATION_ID_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    STARTED_MS_FIELD_NUMBER: _ClassVar[int]
    invocation_id: str
    run_id: str
    step: str
    attempt: int
    started_ms: int
    def __init__(self, invocation_id: _Optional[str] = ..., run_id: _Optional[str] = ..., step: _Optional[str] = ..., attempt: _Optional[int] = ..., started_ms: _Optional[int] = ...) -> None: ...

class Agent(_message.Message):
    __slots__ = ("advertisement", "state", "used", "running", "last_seen_ms", "cpu_load")
    ADVERTISEMENT_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    USED_FIELD_NUMBER: _ClassVar[int]
    RUNNING_FIELD_NUMBER: _ClassVar[int]
    LAST_SEEN_MS_FIELD_NUMBER: _ClassVar[int]
    CPU_LOAD_FIELD_NUMBER: _ClassVar[int]
    advertisement: Advertisement
    state: AgentState
    used: _common_pb2.Resources
    running: _containers.RepeatedCompositeFieldContainer[RunningInvocation]
    last_seen_ms: int
    cpu_load: float
    def __init__(self, advertisement: _Optional[_Union[Advertisement, _Mapping]] = ..., state: _Optional[_Union[AgentState, str]] = ..., used: _Optional[_Union[_common_pb2.Resources, _Mapping]] = ..., running: _Optional[_Iterable[_Union[RunningInvocation, _Mapping]]] = ..., last_seen_ms: _Optional[int] = ..., cpu_load: _Optional[float] = ...) -> None: ...

class ListAgentsRequest(_message.Message):
    __slots__ = ("include_lost",)
    INCLUDE_LOST_FIELD_NUMBER: _ClassVar[int]
    include_lost: bool
    def __init__(self, include_lost: bool = ...) -> None: ...

class ListAgentsResponse(_message.Message):
    __slots__ = ("agents",)
    AGENTS_FIELD_NUMBER: _ClassVar[int]
    agents: _containers.RepeatedCompositeFieldContainer[Agent]
    def __init__(self, agents: _Optional[_Iterable[_Union[Agent, _Mapping]]] = ...) -> None: ...

class DrainAgentRequest(_message.Message):
    __slots__ = ("agent_id",)
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    agent_id: str
    def __init__(self, agent_id: _Optional[str] = ...) -> None: ...

class DrainAgentResponse(_message.Message):
    __slots__ = ("agent",)
    AGENT_FIELD_NUMBER: _ClassVar[int]
    agent: Agent
    def __init__(self, agent: _Optional[_Union[Agent, _Mapping]] = ...) -> None: ...

class GetMeshRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetMeshResponse(_message.Message):
    __slots__ = ("coordinator_id", "leader_id", "leader_address", "epoch", "is_leader", "version", "runs_live", "journal_sequence", "blob_copies", "http_address", "blob_home")
    COORDINATOR_ID_FIELD_NUMBER: _ClassVar[int]
    LEADER_ID_FIELD_NUMBER: _ClassVar[int]
    LEADER_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    IS_LEADER_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    RUNS_LIVE_FIELD_NUMBER: _ClassVar[int]
    JOURNAL_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    BLOB_COPIES_FIELD_NUMBER: _ClassVar[int]
    HTTP_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    BLOB_HOME_FIELD_NUMBER: _ClassVar[int]
    coordinator_id: str
    leader_id: str
    leader_address: str
    epoch: int
    is_leader: bool
    version: str
    runs_live: int
    journal_sequence: int
    blob_copies: int
    http_address: str
    blob_home: str
    def __init__(self, coordinator_id: _Optional[str] = ..., leader_id: _Optional[str] = ..., leader_address: _Optional[str] = ..., epoch: _Optional[int] = ..., is_leader: bool = ..., version: _Optional[str] = ..., runs_live: _Optional[int] = ..., journal_sequence: _Optional[int] = ..., blob_copies: _Optional[int] = ..., http_address: _Optional[str] = ..., blob_home: _Optional[str] = ...) -> None: ...

class AttachRequest(_message.Message):
    __slots__ = ("events",)
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[AgentEvent]
    def __init__(self, events: _Optional[_Iterable[_Union[AgentEvent, _Mapping]]] = ...) -> None: ...

class AttachResponse(_message.Message):
    __slots__ = ("commands",)
    COMMANDS_FIELD_NUMBER: _ClassVar[int]
    commands: _containers.RepeatedCompositeFieldContainer[AgentCommand]
    def __init__(self, commands: _Optional[_Iterable[_Union[AgentCommand, _Mapping]]] = ...) -> None: ...

class AgentEvent(_message.Message):
    __slots__ = ("hello", "credit", "received", "started", "result", "returned", "logs", "heartbeat", "draining")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    CREDIT_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_FIELD_NUMBER: _ClassVar[int]
    STARTED_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    RETURNED_FIELD_NUMBER: _ClassVar[int]
    LOGS_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    DRAINING_FIELD_NUMBER: _ClassVar[int]
    hello: Hello
    credit: Credit
    received: AttemptReceived
    started: AttemptStarted
    result: AttemptResult
    returned: AttemptReturned
    logs: LogBatch
    heartbeat: Heartbeat
    draining: Draining
    def __init__(self, hello: _Optional[_Union[Hello, _Mapping]] = ..., credit: _Optional[_Union[Credit, _Mapping]] = ..., received: _Optional[_Union[AttemptReceived, _Mapping]] = ..., started: _Optional[_Union[AttemptStarted, _Mapping]] = ..., result: _Optional[_Union[AttemptResult, _Mapping]] = ..., returned: _Optional[_Union[AttemptReturned, _Mapping]] = ..., logs: _Optional[_Union[LogBatch, _Mapping]] = ..., heartbeat: _Optional[_Union[Heartbeat, _Mapping]] = ..., draining: _Optional[_Union[Draining, _Mapping]] = ...) -> None: ...

class Hello(_message.Message):
    __slots__ = ("advertisement", "epoch", "held", "credit", "draining")
    ADVERTISEMENT_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    CREDIT_FIELD_NUMBER: _ClassVar[int]
    DRAINING_FIELD_NUMBER: _ClassVar[int]
    advertisement: Advertisement
    epoch: int
    held: _containers.RepeatedCompositeFieldContainer[AttemptKey]
    credit: int
    draining: bool
    def __init__(self, advertisement: _Optional[_Union[Advertisement, _Mapping]] = ..., epoch: _Optional[int] = ..., held: _Optional[_Iterable[_Union[AttemptKey, _Mapping]]] = ..., credit: _Optional[int] = ..., draining: bool = ...) -> None: ...

class AttemptKey(_message.Message):
    __slots__ = ("run_id", "invocation_id", "attempt")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    INVOCATION_ID_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    invocation_id: str
    attempt: int
    def __init__(self, run_id: _Optional[str] = ..., invocation_id: _Optional[str] = ..., attempt: _Optional[int] = ...) -> None: ...

class Credit(_message.Message):
    __slots__ = ("assignments",)
    ASSIGNMENTS_FIELD_NUMBER: _ClassVar[int]
    assignments: int
    def __init__(self, assignments: _Optional[int] = ...) -> None: ...

class AttemptReceived(_message.Message):
    __slots__ = ("key",)
    KEY_FIELD_NUMBER: _ClassVar[int]
    key: AttemptKey
    def __init__(self, key: _Optional[_Union[AttemptKey, _Mapping]] = ...) -> None: ...

class AttemptStarted(_message.Message):
    __slots__ = ("key", "started_ms")
    KEY_FIELD_NUMBER: _ClassVar[int]
    STARTED_MS_FIELD_NUMBER: _ClassVar[int]
    key: AttemptKey
    started_ms: int
    def __init__(self, key: _Optional[_Union[AttemptKey, _Mapping]] = ..., started_ms: _Optional[int] = ...) -> None: ...

class AttemptResult(_message.Message):
    __slots__ = ("key", "outputs", "failure", "skipped", "usage", "blobs", "ended_ms")
    KEY_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    SKIPPED_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    BLOBS_FIELD_NUMBER: _ClassVar[int]
    ENDED_MS_FIELD_NUMBER: _ClassVar[int]
    key: AttemptKey
    outputs: _common_pb2.Outputs
    failure: _common_pb2.Failure
    skipped: Skipped
    usage: _common_pb2.Usage
    blobs: _containers.RepeatedCompositeFieldContainer[_common_pb2.BlobRef]
    ended_ms: int
    def __init__(self, key: _Optional[_Union[AttemptKey, _Mapping]] = ..., outputs: _Optional[_Union[_common_pb2.Outputs, _Mapping]] = ..., failure: _Optional[_Union[_common_pb2.Failure, _Mapping]] = ..., skipped: _Optional[_Union[Skipped, _Mapping]] = ..., usage: _Optional[_Union[_common_pb2.Usage, _Mapping]] = ..., blobs: _Optional[_Iterable[_Union[_common_pb2.BlobRef, _Mapping]]] = ..., ended_ms: _Optional[int] = ...) -> None: ...

class Skipped(_message.Message):
    __slots__ = ("outputs",)
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    outputs: _common_pb2.Outputs
    def __init__(self, outputs: _Optional[_Union[_common_pb2.Outputs, _Mapping]] = ...) -> None: ...

class AttemptReturned(_message.Message):
    __slots__ = ("key", "reason")
    KEY_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    key: AttemptKey
    reason: str
    def __init__(self, key: _Optional[_Union[AttemptKey, _Mapping]] = ..., reason: _Optional[str] = ...) -> None: ...

class LogBatch(_message.Message):
    __slots__ = ("records",)
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    records: _containers.RepeatedCompositeFieldContainer[_common_pb2.LogRecord]
    def __init__(self, records: _Optional[_Iterable[_Union[_common_pb2.LogRecord, _Mapping]]] = ...) -> None: ...

class Heartbeat(_message.Message):
    __slots__ = ("cpu_load", "memory_free_bytes", "disk_free_bytes", "warm_models", "price_usd_per_hour", "models")
    CPU_LOAD_FIELD_NUMBER: _ClassVar[int]
    MEMORY_FREE_BYTES_FIELD_NUMBER: _ClassVar[int]
    DISK_FREE_BYTES_FIELD_NUMBER: _ClassVar[int]
    WARM_MODELS_FIELD_NUMBER: _ClassVar[int]
    PRICE_USD_PER_HOUR_FIELD_NUMBER: _ClassVar[int]
    MODELS_FIELD_NUMBER: _ClassVar[int]
    cpu_load: float
    memory_free_bytes: int
    disk_free_bytes: int
    warm_models: _containers.RepeatedScalarFieldContainer[str]
    price_usd_per_hour: float
    models: _containers.RepeatedCompositeFieldContainer[AgentModel]
    def __init__(self, cpu_load: _Optional[float] = ..., memory_free_bytes: _Optional[int] = ..., disk_free_bytes: _Optional[int] = ..., warm_models: _Optional[_Iterable[str]] = ..., price_usd_per_hour: _Optional[float] = ..., models: _Optional[_Iterable[_Union[AgentModel, _Mapping]]] = ...) -> None: ...

class Draining(_message.Message):
    __slots__ = ("reason",)
    REASON_FIELD_NUMBER: _ClassVar[int]
    reason: str
    def __init__(self, reason: _Optional[str] = ...) -> None: ...

class AgentCommand(_message.Message):
    __slots__ = ("welcome", "assign", "stop", "ack", "drain", "pull_model")
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    ASSIGN_FIELD_NUMBER: _ClassVar[int]
    STOP_FIELD_NUMBER: _ClassVar[int]
    ACK_FIELD_NUMBER: _ClassVar[int]
    DRAIN_FIELD_NUMBER: _ClassVar[int]
    PULL_MODEL_FIELD_NUMBER: _ClassVar[int]
    welcome: Welcome
    assign: Assignment
    stop: StopAttempt
    ack: ResultAck
    drain: DrainCommand
    pull_model: PullModelCommand
    def __init__(self, welcome: _Optional[_Union[Welcome, _Mapping]] = ..., assign: _Optional[_Union[Assignment, _Mapping]] = ..., stop: _Optional[_Union[StopAttempt, _Mapping]] = ..., ack: _Optional[_Union[ResultAck, _Mapping]] = ..., drain: _Optional[_Union[DrainCommand, _Mapping]] = ..., pull_model: _Optional[_Union[PullModelCommand, _Mapping]] = ...) -> None: ...

class Welcome(_message.Message):
    __slots__ = ("epoch", "coordinator_id", "blob_home")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    COORDINATOR_ID_FIELD_NUMBER: _ClassVar[int]
    BLOB_HOME_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    coordinator_id: str
    blob_home: BlobHome
    def __init__(self, epoch: _Optional[int] = ..., coordinator_id: _Optional[str] = ..., blob_home: _Optional[_Union[BlobHome, _Mapping]] = ...) -> None: ...

class BlobHome(_message.Message):
    __slots__ = ("uri", "endpoint_url", "region")
    URI_FIELD_NUMBER: _ClassVar[int]
    ENDPOINT_URL_FIELD_NUMBER: _ClassVar[int]
    REGION_FIELD_NUMBER: _ClassVar[int]
    uri: str
    endpoint_url: str
    region: str
    def __init__(self, uri: _Optional[str] = ..., endpoint_url: _Optional[str] = ..., region: _Optional[str] = ...) -> None: ...

class LineageObject(_message.Message):
    __slots__ = ("step", "object")
    STEP_FIELD_NUMBER: _ClassVar[int]
    OBJECT_FIELD_NUMBER: _ClassVar[int]
    step: str
    object: _common_pb2.ObjectRef
    def __init__(self, step: _Optional[str] = ..., object: _Optional[_Union[_common_pb2.ObjectRef, _Mapping]] = ...) -> None: ...

class Assignment(_message.Message):
    __slots__ = ("key", "epoch", "cluster", "step", "satellite", "config_json", "input_json", "condition", "parent", "lineage", "payload", "facts_json", "failure_json", "secrets", "resources", "gpu_indices", "timeout_ms", "gathered", "gather_needs", "allow_private_addresses")
    class SecretsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    KEY_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    SATELLITE_FIELD_NUMBER: _ClassVar[int]
    CONFIG_JSON_FIELD_NUMBER: _ClassVar[int]
    INPUT_JSON_FIELD_NUMBER: _ClassVar[int]
    CONDITION_FIELD_NUMBER: _ClassVar[int]
    PARENT_FIELD_NUMBER: _ClassVar[int]
    LINEAGE_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    FACTS_JSON_FIELD_NUMBER: _ClassVar[int]
    FAILURE_JSON_FIELD_NUMBER: _ClassVar[int]
    SECRETS_FIELD_NUMBER: _ClassVar[int]
    RESOURCES_FIELD_NUMBER: _ClassVar[int]
    GPU_INDICES_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    GATHERED_FIELD_NUMBER: _ClassVar[int]
    GATHER_NEEDS_FIELD_NUMBER: _ClassVar[int]
    ALLOW_PRIVATE_ADDRESSES_FIELD_NUMBER: _ClassVar[int]
    key: AttemptKey
    epoch: int
    cluster: str
    step: str
    satellite: str
    config_json: bytes
    input_json: bytes
    condition: str
    parent: _common_pb2.ObjectRef
    lineage: _containers.RepeatedCompositeFieldContainer[LineageObject]
    payload: _common_pb2.ObjectRef
    facts_json: bytes
    failure_json: bytes
    secrets: _containers.ScalarMap[str, str]
    resources: _common_pb2.Resources
    gpu_indices: _containers.RepeatedScalarFieldContainer[int]
    timeout_ms: int
    gathered: _containers.RepeatedCompositeFieldContainer[GatheredOutputs]
    gather_needs: _containers.RepeatedScalarFieldContainer[str]
    allow_private_addresses: bool
    def __init__(self, key: _Optional[_Union[AttemptKey, _Mapping]] = ..., epoch: _Optional[int] = ..., cluster: _Optional[str] = ..., step: _Optional[str] = ..., satellite: _Optional[str] = ..., config_json: _Optional[bytes] = ..., input_json: _Optional[bytes] = ..., condition: _Optional[str] = ..., parent: _Optional[_Union[_common_pb2.ObjectRef, _Mapping]] = ..., lineage: _Optional[_Iterable[_Union[LineageObject, _Mapping]]] = ..., payload: _Optional[_Union[_common_pb2.ObjectRef, _Mapping]] = ..., facts_json: _Optional[bytes] = ..., failure_json: _Optional[bytes] = ..., secrets: _Optional[_Mapping[str, str]] = ..., resources: _Optional[_Union[_common_pb2.Resources, _Mapping]] = ..., gpu_indices: _Optional[_Iterable[int]] = ..., timeout_ms: _Optional[int] = ..., gathered: _Optional[_Iterable[_Union[GatheredOutputs, _Mapping]]] = ..., gather_needs: _Optional[_Iterable[str]] = ..., allow_private_addresses: bool = ...) -> None: ...

class GatheredOutputs(_message.Message):
    __slots__ = ("step", "objects")
    STEP_FIELD_NUMBER: _ClassVar[int]
    OBJECTS_FIELD_NUMBER: _ClassVar[int]
    step: str
    objects: _containers.RepeatedCompositeFieldContainer[_common_pb2.ObjectRef]
    def __init__(self, step: _Optional[str] = ..., objects: _Optional[_Iterable[_Union[_common_pb2.ObjectRef, _Mapping]]] = ...) -> None: ...

class StopAttempt(_message.Message):
    __slots__ = ("key", "epoch", "reason")
    KEY_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    key: AttemptKey
    epoch: int
    reason: str
    def __init__(self, key: _Optional[_Union[AttemptKey, _Mapping]] = ..., epoch: _Optional[int] = ..., reason: _Optional[str] = ...) -> None: ...

class ResultAck(_message.Message):
    __slots__ = ("key", "epoch")
    KEY_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    key: AttemptKey
    epoch: int
    def __init__(self, key: _Optional[_Union[AttemptKey, _Mapping]] = ..., epoch: _Optional[int] = ...) -> None: ...

class DrainCommand(_message.Message):
    __slots__ = ("epoch",)
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    def __init__(self, epoch: _Optional[int] = ...) -> None: ...

class PullModelCommand(_message.Message):
    __slots__ = ("epoch", "name", "pull_id")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    PULL_ID_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    name: str
    pull_id: str
    def __init__(self, epoch: _Optional[int] = ..., name: _Optional[str] = ..., pull_id: _Optional[str] = ...) -> None: ...
