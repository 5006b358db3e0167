"""Two copies: what is put counts only with a second one, and live runs keep theirs whoever dies."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator

import pytest

from orbit_coordinator.copies import RESULT_PATIENCE_S, other_machines
from orbit_coordinator.upkeep import Upkeep
from orbit_core.batch.pages import Sections, pages_of
from orbit_core.errors import BlobError
from orbit_core.ids import content_hash
from orbit_core.sched.events import AgentAttached, AgentLost, RunCreated
from orbit_core.sched.model import ObjectAddress, TriggerFacts
from orbit_core.sched.state import MeshState
from orbit_core.sched.step import step
from orbit_core.store.blobs import (
    BlobInfo,
    BlobMissingError,
    BlobUnreachableError,
    MemoryBlobs,
    read_blob,
)
from orbit_core.store.keys import Keys
from orbit_core.store.memory import MemoryStore
from tests.property.sched_worlds import agent, chain
from tests.unit.blob_machines import FILE, PAGE, PAYLOAD, Machines, a_run_on, with_home


async def test_what_is_put_lies_on_another_machine_too() -> None:
    machines = Machines("b:1", "c:1")
    machines.refusing = {"b:1"}
    info = await machines.blobs.put(b"payload")
    assert info.sha256 in machines.local.contents and machines.holders(info.sha256) == ["c:1"]


async def test_a_mesh_of_one_machine_has_one_copy() -> None:
    machines = Machines()
    info = await machines.blobs.put(b"payload")
    assert await machines.blobs.secure([info.sha256]) is None


async def test_where_no_other_machine_takes_a_copy_it_does_not_count() -> None:
    machines = Machines("b:1")
    machines.refusing = {"b:1"}
    with pytest.raises(BlobError, match="second copy"):
        await machines.blobs.put(b"payload")
    assert machines.clock.now_s >= 10, "machines that have died stand in etcd for a while"


async def test_who_probably_has_it_is_asked_first() -> None:
    machines = Machines("b:1", "c:1")
    info = await machines.local.put(b"payload")
    assert await machines.blobs.secure([info.sha256], ["c:1", "gone:1"]) == "c:1"
    assert machines.pushes == ["c:1"]


async def test_other_machines_are_listed_coordinators_first_and_this_host_last() -> None:
    store, keys = MemoryStore(), Keys()
    listed = {keys.agent("a1"): "x:1", keys.agent("a2"): "here:7", keys.coordinator("c1"): "here:1"}
    listed |= {keys.coordinator("c2"): "y:1", keys.agent("a3"): ""}
    for key, address in listed.items():
        await store.put(key, json.dumps({"address": address}).encode())
    assert await other_machines(store, keys, "here:1") == ["y:1", "x:1", "here:7"]
    await store.close()


async def test_a_new_leader_fetches_what_live_runs_rest_on() -> None:
    machines = Machines("b:1", "c:1")
    state = await a_run_on(machines, "b")
    await Upkeep(state, machines.blobs, machines.clock).look()
    assert {content_hash(each) for each in (PAGE, FILE, PAYLOAD)} <= set(machines.local.contents)
    assert machines.holders(content_hash(PAYLOAD)), "the payload has a second copy"
    assert machines.holders(content_hash(PAGE)) == ["b:1"], "the maker's copy is the second one"


async def test_when_the_maker_is_gone_another_machine_gets_a_copy_once() -> None:
    machines = Machines("b:1", "c:1")
    state = await a_run_on(machines, "b")
    upkeep = Upkeep(state, machines.blobs, machines.clock)
    await upkeep.look()
    step(state, AgentLost("b", "1", announced=False), 2_000)
    del machines.disks["b:1"]
    machines.clock.now_s += 10
    await upkeep.look()
    assert machines.holders(content_hash(PAGE)) == machines.holders(content_hash(FILE)) == ["c:1"]
    machines.pushes.clear()
    await upkeep.look()
    assert machines.pushes == [], "what is known to be safe is not looked at again"


async def test_what_cannot_be_put_right_now_is_tried_again() -> None:
    machines = Machines("b:1", "c:1")
    state = await a_run_on(machines, "b")
    del machines.disks["b:1"]
    machines.refusing = {"c:1"}
    upkeep = Upkeep(state, machines.blobs, machines.clock)
    await upkeep.look()
    assert machines.holders(content_hash(PAYLOAD)) == []
    machines.refusing = set()
    await upkeep.look()
    assert machines.holders(content_hash(PAYLOAD)) == ["c:1"]


async def test_one_blob_that_is_lost_leaves_the_others_safe() -> None:
    machines = Machines("b:1", "c:1")
    state = await a_run_on(machines, "b")
    del machines.disks["b:1"].contents[content_hash(FILE)]
    await Upkeep(state, machines.blobs, machines.clock).look()
    assert content_hash(PAGE) in machines.local.contents and content_hash(FILE) not in machines.local.contents


async def test_the_files_of_a_payload_and_what_a_manifest_lists_get_their_copies() -> None:
    machines = Machines("b:1", "c:1")
    sections = Sections()
    pages = list(pages_of([{"custom_id": str(n), "line": n} for n in range(40)]))
    blobs = [page.content for page in pages]
    blobs += [section.content for page in pages if (section := sections.add(page)) is not None]
    last = sections.end()
    assert last is not None and len(pages) > 1
    manifest = sections.manifest
    blobs += [last.content, manifest, FILE, b"no manifest"]
    for content in blobs:
        await machines.local.put(content)
    payload = {
        "manifest": [file_of(manifest), file_of(b"no manifest")],
        "deep": [{"inside": file_of(FILE)}],
    }
    state = MeshState()
    state.workflows["spec"] = chain(1)
    step(state, AgentAttached(agent("b")), 1_000)
    address = ObjectAddress(json=json.dumps(payload))
    step(state, RunCreated("run", "test/flow", "spec", TriggerFacts("api-call", 1, ""), address, 2**50), 1_000)
    await Upkeep(state, machines.blobs, machines.clock).look()
    assert {content_hash(content) for content in blobs} == set(machines.disks["b:1"].contents)


def file_of(content: bytes) -> dict[str, object]:
    return {"$file": {"sha256": content_hash(content), "size": len(content), "name": "f", "media-type": "text/plain"}}


async def test_what_a_result_passes_on_is_asked_for_again_while_its_machine_cannot_be_reached() -> None:
    machines = Machines("b:1")
    wanted = content_hash(FILE)

    async def sleep(seconds: float) -> None:
        machines.clock.now_s += seconds
        if machines.clock.now_s >= 5:
            machines.disks["b:1"].contents[wanted] = FILE

    machines.clock.sleep = sleep
    await machines.blobs.keep_result([wanted], "b:1")
    assert wanted in machines.local.contents


async def test_a_result_whose_blob_nobody_gives_is_refused_after_a_while() -> None:
    machines = Machines("b:1")
    with pytest.raises(BlobError, match="b:1"):
        await machines.blobs.keep_result([content_hash(FILE)], "b:1")
    assert machines.clock.now_s >= RESULT_PATIENCE_S


# With a home for blobs.


class FlakyHome(MemoryBlobs):
    """Unreachable for the first calls."""

    def __init__(self, failures: int = 0) -> None:
        super().__init__()
        self.failures = failures

    async def stat(self, sha256: str) -> BlobInfo | None:
        if self.failures:
            self.failures -= 1
            raise BlobUnreachableError("S3 does not answer")
        return await super().stat(sha256)


async def test_where_there_is_a_home_it_is_the_second_copy() -> None:
    machines, home = Machines("b:1"), FlakyHome(failures=3)
    info = await with_home(machines, home).put(b"payload")
    assert home.contents == {info.sha256: b"payload"} and machines.pushes == []


async def test_what_the_home_does_not_take_does_not_count() -> None:
    machines, home = Machines("b:1"), FlakyHome(failures=10_000)
    with pytest.raises(BlobUnreachableError):
        await with_home(machines, home).put(b"payload")
    assert machines.clock.now_s >= 10


async def test_what_only_the_home_has_is_read_from_there() -> None:
    machines, home = Machines("b:1"), MemoryBlobs()
    info = await home.put(b"payload")
    assert await read_blob(with_home(machines, home), info.sha256) == b"payload"


async def test_a_home_that_does_not_answer_is_no_sign_that_a_blob_is_lost() -> None:
    class Mute(MemoryBlobs):
        async def open(self, sha256: str) -> AsyncGenerator[bytes, None]:
            raise BlobUnreachableError("S3 does not answer")
            yield b""

    machines = Machines("b:1")
    with pytest.raises(BlobUnreachableError):
        await with_home(machines, Mute()).ensure(content_hash(b"payload"))


async def test_a_result_waits_for_the_home_however_long() -> None:
    machines, home = Machines("b:1"), FlakyHome(failures=500)
    info = await machines.disks["b:1"].put(FILE)
    await with_home(machines, home).keep_result([info.sha256], "b:1")
    assert home.contents == {info.sha256: FILE} and machines.clock.now_s > 100


async def test_what_an_agent_put_into_the_home_is_not_fetched() -> None:
    machines, home = Machines("b:1"), MemoryBlobs()
    info = await home.put(FILE)
    await with_home(machines, home).keep_result([info.sha256], "b:1")
    assert machines.local.contents == {}


async def test_upkeep_brings_home_what_a_mesh_had_before_it_got_one() -> None:
    machines, home = Machines("b:1", "c:1"), MemoryBlobs()
    state = await a_run_on(machines, "b")
    upkeep = Upkeep(state, with_home(machines, home), machines.clock)
    await upkeep.look()
    assert set(home.contents) == {content_hash(each) for each in (PAGE, FILE, PAYLOAD)}
    del machines.disks["b:1"]
    home.contents.clear()
    await upkeep.look()
    assert home.contents == {}, "what is known to be safe is not looked at again"


async def test_what_was_seen_in_the_home_is_looked_for_again_once_somebody_missed_it() -> None:
    machines, home = Machines(), MemoryBlobs()
    blobs = with_home(machines, home)
    info = await home.put(FILE)
    await blobs.keep(info.sha256)
    home.contents.clear()
    await blobs.keep(info.sha256)  # taken for granted, for a while
    blobs.doubt()
    with pytest.raises(BlobMissingError):
        await blobs.keep(info.sha256)
