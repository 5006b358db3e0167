"""A package of satellites that do everything they should not, and a pool of workers with all that comes out of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil

from orbit_agent.workers import Call, LogRecord, Outcome, WorkerPool
from orbit_core.errors import InvalidRequestError
from satellites.contract import (
    Embedded,
    FileRef,
    GenerateCall,
    Generated,
    JsonObject,
    Overflow,
    SatelliteError,
    Scored,
)

MIB = 1024 * 1024

#: A package of satellites as a user would bring it: a module and an entry point for each class.
MISCHIEF = """
import asyncio, ctypes, logging, os, signal, subprocess, sys, threading, time
from pathlib import Path
from pydantic import ConfigDict
from satellites.contract import (FileRef, GenerateCall, PermanentError, Satellite, SatelliteConfig, SatelliteError,
                                 SatelliteInput, Usage)


hoard = []


class Config(SatelliteConfig):
    model_config = ConfigDict(extra="allow")


class Input(SatelliteInput):
    model_config = ConfigDict(extra="allow")
    how: str = ""


class Mischief(Satellite):
    name = "satellite/test/mischief"
    Config = Config
    Input = Input

    async def run(self, config, input, context):
        return await getattr(self, "do_" + input.how)(config, input.model_extra, context)

    async def do_raise(self, config, given, context):
        raise ValueError(f"no luck with {context.secrets['TOKEN']}")

    async def do_permanent(self, config, given, context):
        raise PermanentError("never", code="never-ever")

    async def do_transient(self, config, given, context):
        raise SatelliteError("not now", code="busy")

    async def do_sys_exit(self, config, given, context):
        sys.exit(4)

    async def do_exit(self, config, given, context):
        print("last words", flush=True)
        os._exit(3)

    async def do_segfault(self, config, given, context):
        ctypes.string_at(0)

    async def do_hang(self, config, given, context):
        while True:
            time.sleep(0.01)

    async def do_eat(self, config, given, context):
        kept = []
        while True:
            kept.append(bytearray(8 * 1024 * 1024))
            time.sleep(0.02)

    async def do_hoard(self, config, given, context):
        hoard.append(bytearray(given["bytes"]))
        return [{"pid": os.getpid()}]

    async def do_gulp(self, config, given, context):
        bytearray(given["bytes"])

    async def do_flood(self, config, given, context):
        for number in range(given["lines"]):
            context.log.info("line %d", number)
        return []

    async def do_talk(self, config, given, context):
        print("to stdout", context.secrets["TOKEN"])
        print("x" * 20_000)
        print("no newline", end="")
        sys.stderr.write("to stderr\\n")
        logging.getLogger("some.library").warning("from a library")
        context.log.info("token is %s", context.secrets["TOKEN"])
        context.log.info("bad %d", "arguments")
        return []

    async def do_who(self, config, given, context):
        Path("mine.txt").write_text("x")
        return [{"pid": os.getpid(), "scratch": str(context.scratch), "cwd": os.getcwd(), "env": dict(os.environ),
                 "secrets": dict(context.secrets), "nice": os.nice(0), "stdin": sys.stdin.read()}]

    async def do_leave_process(self, config, given, context):
        child = subprocess.Popen(["sleep", "600"], start_new_session=True)
        return [{"pid": os.getpid(), "child": child.pid}]

    async def do_thread(self, config, given, context):
        asyncio.get_running_loop().run_in_executor(None, time.sleep, 600)
        return [{"pid": os.getpid()}]

    async def do_spawn_and_hang(self, config, given, context):
        child = subprocess.Popen(["sleep", "600"])
        Path(given["tell"]).write_text(f"{os.getpid()} {child.pid}")
        await asyncio.sleep(600)

    async def do_echo_secret(self, config, given, context):
        return [{"answer": f"Bearer {context.secrets['TOKEN']}", "count": 12345678, context.secrets["TOKEN"]: [1]}]

    async def do_not_a_list(self, config, given, context):
        return {"a": 1}

    async def do_nan(self, config, given, context):
        return [{"a": float("nan")}]

    async def do_deep(self, config, given, context):
        value = {}
        for _ in range(given["levels"]):
            value = {"a": value}
        return [value]

    async def do_huge(self, config, given, context):
        return [{"a": "x" * (65 * 1024 * 1024)}]

    async def do_generate(self, config, given, context):
        context.usage.append(Usage(10, 5))
        answer = await context.models.generate(GenerateCall(given["model"], [{"role": "user", "content": "hi"}],
                                                            json_schema={"b": 1, "a": 2}))
        context.usage.append(Usage(answer.input_tokens, answer.output_tokens))
        vectors = await context.models.embed("e", ["a", "b"])
        if given.get("die"):
            os._exit(1)
        scored = await context.models.score("c", [("a", None), ("q", "d")])
        return [{"text": answer.text, "vectors": vectors, "tokens": vectors.input_tokens, "scores": scored.scores,
                 "labels": scored.labels}]

    async def do_files(self, config, given, context):
        ref = FileRef.from_json(given["file"])
        path = await context.files.path(ref)
        copied = path.read_bytes()
        path.chmod(0o644)
        path.write_bytes(b"spoilt")
        made = await context.files.put(copied.upper(), name="upper.txt", media_type="text/plain")
        Path("relative.txt").write_text("by path")
        by_path = await context.files.put(Path("relative.txt"), name="relative.txt")
        return [made.to_json() | {"name": path.name}, by_path.to_json()]


class Stream(Satellite):
    name = "satellite/test/stream"
    Config = Config
    Input = Input

    async def run(self, config, input, context):
        for number in range(input.model_extra["count"]):
            print("giving", number) if number < 3 else None
            yield {"number": number, "padding": "x" * input.model_extra.get("padding", 0)}
            context.log.info("given %d", number) if number % 1000 == 0 else None


class Typed(Satellite):
    name = "satellite/test/typed"
    required_secrets = ("TOKEN",)

    class Config(SatelliteConfig):
        max_tokens: int
        nested: dict[str, int] = {}

    class Input(SatelliteInput):
        file_path: str

    async def run(self, config, input, context):
        return [{"tokens": config.max_tokens, "path": input.file_path}]
"""


class Models:
    """The agent's side of model calls."""

    def __init__(self) -> None:
        self.calls: list[GenerateCall] = []

    async def generate(self, call: GenerateCall) -> Generated:
        self.calls.append(call)
        if call.model == "busy":
            raise SatelliteError("too busy", code="model-busy")
        if call.model == "wrong":
            raise InvalidRequestError("no such schema")
        if call.model == "stuck":
            await asyncio.Event().wait()
        return Generated("hello", "stop", 7, 3)

    async def embed(
        self, model: str, texts: Sequence[str], *, normalize: bool = True, context_overflow: Overflow = "truncate"
    ) -> Embedded:
        return Embedded([[float(len(text)), 0.5] for text in texts], input_tokens=4)

    async def score(
        self, model: str, pairs: Sequence[tuple[str, str | None]], *, context_overflow: Overflow = "truncate"
    ) -> Scored:
        return Scored([[0.25 if second is None else 0.75] for _, second in pairs], ("yes",), 6)


class Files:
    """A blob store in a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir()

    async def put(self, source: bytes | Path, *, name: str, media_type: str = "application/octet-stream") -> FileRef:
        data = source if isinstance(source, bytes) else await asyncio.to_thread(source.read_bytes)
        (self.root / name).write_bytes(data)
        return FileRef("0" * 64, len(data), name, media_type)

    async def path(self, ref: FileRef) -> Path:
        return self.root / ref.name


class Mesh:
    """A pool, and all that came out of it."""

    def __init__(self, pool: WorkerPool, models: Models, files: Files, logs: list[LogRecord], root: Path) -> None:
        self.pool = pool
        self.models = models
        self.files = files
        self.logs = logs
        self.root = root
        self.objects: list[JsonObject] = []

    async def take(self, value: JsonObject) -> None:
        self.objects.append(value)

    async def run(self, call: Call) -> Outcome:
        return await self.pool.run(call, self.take)

    def said(self) -> str:
        return "\n".join(record.message for record in self.logs)


def call(how: str = "", *, satellite: str = "satellite/test/mischief", **given: object) -> Call:
    return Call(
        run_id="run-1",
        cluster="acme/demo",
        step="a-step",
        invocation_id="inv-1",
        attempt=1,
        satellite=satellite,
        config={},
        input={"how": how, **given},
        secrets={"TOKEN": "hunter2-hunter2"},
        timeout_s=60.0,
        memory_bytes=512 * MIB,
        cpu=1.0,
        allow_private_addresses=False,
        pool_key="acme/demo",
    )


def processes_of(root: Path) -> list[int]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("ORBIT_SCRATCH_ROOT") == str(root) and process.status() != "zombie":
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


async def eventually(condition: Callable[[], bool], *, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not come true in time"
        await asyncio.sleep(0.02)


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == "zombie"
    except psutil.NoSuchProcess:
        return True
