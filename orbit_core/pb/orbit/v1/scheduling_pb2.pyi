from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CostBy(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    COST_BY_UNSPECIFIED: _ClassVar[CostBy]
    COST_BY_RUN: _ClassVar[CostBy]
    COST_BY_SATELLITE: _ClassVar[CostBy]
    COST_BY_MODEL: _ClassVar[CostBy]
    COST_BY_PROJECT: _ClassVar[CostBy]
    COST_BY_DAY: _ClassVar[CostBy]
COST_BY_UNSPECIFIED: CostBy
COST_BY_RUN: CostBy
COST_BY_SATELLITE: CostBy
COST_BY_MODEL: CostBy
COST_BY_PROJECT: CostBy
COST_BY_DAY: CostBy

class QuoteRequest(_message.Message):
    __slots__ = ("content", "file_name", "cluster", "objects")
    class ObjectsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    FILE_NAME_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_FIELD_NUMBER: _ClassVar[int]
    OBJECTS_FIELD_NUMBER: _ClassVar[int]
    content: bytes
    file_name: str
    cluster: str
    objects: _containers.ScalarMap[str, int]
    def __init__(self, content: _Optional[bytes] = ..., file_name: _Optional[str] = ..., cluster: _Optional[str] = ..., objects: _Optional[_Mapping[str, int]] = ...) -> None: ...

class QuotedSla(_message.Message):
    __slots__ = ("sla_ms", "feasible", "cost_usd", "p50_finish_ms", "p95_finish_ms")
    SLA_MS_FIELD_NUMBER: _ClassVar[int]
    FEASIBLE_FIELD_NUMBER: _ClassVar[int]
    COST_USD_FIELD_NUMBER: _ClassVar[int]
    P50_FINISH_MS_FIELD_NUMBER: _ClassVar[int]
    P95_FINISH_MS_FIELD_NUMBER: _ClassVar[int]
    sla_ms: int
    feasible: bool
    cost_usd: float
    p50_finish_ms: int
    p95_finish_ms: int
    def __init__(self, sla_ms: _Optional[int] = ..., feasible: bool = ..., cost_usd: _Optional[float] = ..., p50_finish_ms: _Optional[int] = ..., p95_finish_ms: _Optional[int] = ...) -> None: ...

class QuoteResponse(_message.Message):
    __slots__ = ("cluster", "quote", "others", "shortest_sla_ms", "problems")
    CLUSTER_FIELD_NUMBER: _ClassVar[int]
    QUOTE_FIELD_NUMBER: _ClassVar[int]
    OTHERS_FIELD_NUMBER: _ClassVar[int]
    SHORTEST_SLA_MS_FIELD_NUMBER: _ClassVar[int]
    PROBLEMS_FIELD_NUMBER: _ClassVar[int]
    cluster: str
    quote: QuotedSla
    others: _containers.RepeatedCompositeFieldContainer[QuotedSla]
    shortest_sla_ms: int
    problems: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, cluster: _Optional[str] = ..., quote: _Optional[_Union[QuotedSla, _Mapping]] = ..., others: _Optional[_Iterable[_Union[QuotedSla, _Mapping]]] = ..., shortest_sla_ms: _Optional[int] = ..., problems: _Optional[_Iterable[str]] = ...) -> None: ...

class ExplainRequest(_message.Message):
    __slots__ = ("run_id", "invocation_id")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    INVOCATION_ID_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    invocation_id: str
    def __init__(self, run_id: _Optional[str] = ..., invocation_id: _Optional[str] = ...) -> None: ...

class Elsewhere(_message.Message):
    __slots__ = ("agent_ids", "price_usd_per_hour", "cost_usd", "duration_ms", "reason")
    AGENT_IDS_FIELD_NUMBER: _ClassVar[int]
    PRICE_USD_PER_HOUR_FIELD_NUMBER: _ClassVar[int]
    COST_USD_FIELD_NUMBER: _ClassVar[int]
    DURATION_MS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    agent_ids: _containers.RepeatedScalarFieldContainer[str]
    price_usd_per_hour: float
    cost_usd: float
    duration_ms: int
    reason: str
    def __init__(self, agent_ids: _Optional[_Iterable[str]] = ..., price_usd_per_hour: _Optional[float] = ..., cost_usd: _Optional[float] = ..., duration_ms: _Optional[int] = ..., reason: _Optional[str] = ...) -> None: ...

class Explanation(_message.Message):
    __slots__ = ("step", "invocation_id", "agent_id", "reason", "latest_start_ms", "elsewhere", "waiting")
    STEP_FIELD_NUMBER: _ClassVar[int]
    INVOCATION_ID_FIELD_NUMBER: _ClassVar[int]
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    LATEST_START_MS_FIELD_NUMBER: _ClassVar[int]
    ELSEWHERE_FIELD_NUMBER: _ClassVar[int]
    WAITING_FIELD_NUMBER: _ClassVar[int]
    step: str
    invocation_id: str
    agent_id: str
    reason: str
    latest_start_ms: int
    elsewhere: _containers.RepeatedCompositeFieldContainer[Elsewhere]
    waiting: int
    def __init__(self, step: _Optional[str] = ..., invocation_id: _Optional[str] = ..., agent_id: _Optional[str] = ..., reason: _Optional[str] = ..., latest_start_ms: _Optional[int] = ..., elsewhere: _Optional[_Iterable[_Union[Elsewhere, _Mapping]]] = ..., waiting: _Optional[int] = ...) -> None: ...

class ExplainResponse(_message.Message):
    __slots__ = ("run_id", "expected_late", "explanations")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_LATE_FIELD_NUMBER: _ClassVar[int]
    EXPLANATIONS_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    expected_late: bool
    explanations: _containers.RepeatedCompositeFieldContainer[Explanation]
    def __init__(self, run_id: _Optional[str] = ..., expected_late: bool = ..., explanations: _Optional[_Iterable[_Union[Explanation, _Mapping]]] = ...) -> None: ...

class CostRequest(_message.Message):
    __slots__ = ("by", "since_ms")
    BY_FIELD_NUMBER: _ClassVar[int]
    SINCE_MS_FIELD_NUMBER: _ClassVar[int]
    by: CostBy
    since_ms: int
    def __init__(self, by: _Optional[_Union[CostBy, str]] = ..., since_ms: _Optional[int] = ...) -> None: ...

class CostLine(_message.Message):
    __slots__ = ("key", "runs", "cost_usd", "input_tokens", "output_tokens", "duration_ms", "tokens_per_usd", "runs_looked_back_on", "least_usd", "lost_usd")
    KEY_FIELD_NUMBER: _ClassVar[int]
    RUNS_FIELD_NUMBER: _ClassVar[int]
    COST_USD_FIELD_NUMBER: _ClassVar[int]
    INPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    DURATION_MS_FIELD_NUMBER: _ClassVar[int]
    TOKENS_PER_USD_FIELD_NUMBER: _ClassVar[int]
    RUNS_LOOKED_BACK_ON_FIELD_NUMBER: _ClassVar[int]
    LEAST_USD_FIELD_NUMBER: _ClassVar[int]
    LOST_USD_FIELD_NUMBER: _ClassVar[int]
    key: str
    runs: int
    cost_usd: float
    input_tokens: int
    output_tokens: int
    duration_ms: int
    tokens_per_usd: float
    runs_looked_back_on: int
    least_usd: float
    lost_usd: float
    def __init__(self, key: _Optional[str] = ..., runs: _Optional[int] = ..., cost_usd: _Optional[float] = ..., input_tokens: _Optional[int] = ..., output_tokens: _Optional[int] = ..., duration_ms: _Optional[int] = ..., tokens_per_usd: _Optional[float] = ..., runs_looked_back_on: _Optional[int] = ..., least_usd: _Optional[float] = ..., lost_usd: _Optional[float] = ...) -> None: ...

class CostResponse(_message.Message):
    __slots__ = ("lines", "total")
    LINES_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    lines: _containers.RepeatedCompositeFieldContainer[CostLine]
    total: CostLine
    def __init__(self, lines: _Optional[_Iterable[_Union[CostLine, _Mapping]]] = ..., total: _Optional[_Union[CostLine, _Mapping]] = ...) -> None: ...
