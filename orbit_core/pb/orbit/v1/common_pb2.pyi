from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class BlobRef(_message.Message):
    __slots__ = ("sha256", "size_bytes", "holders")
    SHA256_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    HOLDERS_FIELD_NUMBER: _ClassVar[int]
    sha256: str
    size_bytes: int
    holders: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, sha256: _Optional[str] = ..., size_bytes: _Optional[int] = ..., holders: _Optional[_Iterable[str]] = ...) -> None: ...

class OutputPage(_message.Message):
    __slots__ = ("blob", "count")
    BLOB_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    blob: BlobRef
    count: int
    def __init__(self, blob: _Optional[_Union[BlobRef, _Mapping]] = ..., count: _Optional[int] = ...) -> None: ...

class Outputs(_message.Message):
    __slots__ = ("inline_json", "pages")
    INLINE_JSON_FIELD_NUMBER: _ClassVar[int]
    PAGES_FIELD_NUMBER: _ClassVar[int]
    inline_json: _containers.RepeatedScalarFieldContainer[bytes]
    pages: _containers.RepeatedCompositeFieldContainer[OutputPage]
    def __init__(self, inline_json: _Optional[_Iterable[bytes]] = ..., pages: _Optional[_Iterable[_Union[OutputPage, _Mapping]]] = ...) -> None: ...

class ObjectRef(_message.Message):
    __slots__ = ("json", "item")
    JSON_FIELD_NUMBER: _ClassVar[int]
    ITEM_FIELD_NUMBER: _ClassVar[int]
    json: bytes
    item: PageItem
    def __init__(self, json: _Optional[bytes] = ..., item: _Optional[_Union[PageItem, _Mapping]] = ...) -> None: ...

class PageItem(_message.Message):
    __slots__ = ("page", "index")
    PAGE_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    page: BlobRef
    index: int
    def __init__(self, page: _Optional[_Union[BlobRef, _Mapping]] = ..., index: _Optional[int] = ...) -> None: ...

class Failure(_message.Message):
    __slots__ = ("code", "message", "retryable")
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    RETRYABLE_FIELD_NUMBER: _ClassVar[int]
    code: str
    message: str
    retryable: bool
    def __init__(self, code: _Optional[str] = ..., message: _Optional[str] = ..., retryable: bool = ...) -> None: ...

class Usage(_message.Message):
    __slots__ = ("input_tokens", "output_tokens", "duration_ms", "peak_memory_bytes")
    INPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    DURATION_MS_FIELD_NUMBER: _ClassVar[int]
    PEAK_MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    input_tokens: int
    output_tokens: int
    duration_ms: int
    peak_memory_bytes: int
    def __init__(self, input_tokens: _Optional[int] = ..., output_tokens: _Optional[int] = ..., duration_ms: _Optional[int] = ..., peak_memory_bytes: _Optional[int] = ...) -> None: ...

class Resources(_message.Message):
    __slots__ = ("cpu_milli", "memory_bytes", "gpus", "gpu_milli", "gpu_memory_bytes", "gpu_models")
    CPU_MILLI_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    GPUS_FIELD_NUMBER: _ClassVar[int]
    GPU_MILLI_FIELD_NUMBER: _ClassVar[int]
    GPU_MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    GPU_MODELS_FIELD_NUMBER: _ClassVar[int]
    cpu_milli: int
    memory_bytes: int
    gpus: int
    gpu_milli: int
    gpu_memory_bytes: int
    gpu_models: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, cpu_milli: _Optional[int] = ..., memory_bytes: _Optional[int] = ..., gpus: _Optional[int] = ..., gpu_milli: _Optional[int] = ..., gpu_memory_bytes: _Optional[int] = ..., gpu_models: _Optional[_Iterable[str]] = ...) -> None: ...

class LogRecord(_message.Message):
    __slots__ = ("time_ms", "level", "message", "run_id", "invocation_id", "step", "agent_id", "attempt")
    TIME_MS_FIELD_NUMBER: _ClassVar[int]
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    INVOCATION_ID_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    time_ms: int
    level: str
    message: str
    run_id: str
    invocation_id: str
    step: str
    agent_id: str
    attempt: int
    def __init__(self, time_ms: _Optional[int] = ..., level: _Optional[str] = ..., message: _Optional[str] = ..., run_id: _Optional[str] = ..., invocation_id: _Optional[str] = ..., step: _Optional[str] = ..., agent_id: _Optional[str] = ..., attempt: _Optional[int] = ...) -> None: ...
