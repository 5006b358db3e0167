"""The agent's session: what it holds, and how it answers whom."""

from __future__ import annotations

import pytest

from orbit_agent.outbox import Outbox
from orbit_agent.session import Session, StaleEpochError, key_of
from orbit_core.pb.orbit.v1 import agents_pb2

KEY = agents_pb2.AttemptKey(run_id="run-1", invocation_id="inv-1", attempt=1)


def assign(epoch: int = 5, attempt: int = 1) -> agents_pb2.AgentCommand:
    key = agents_pb2.AttemptKey(run_id="run-1", invocation_id="inv-1", attempt=attempt)
    return agents_pb2.AgentCommand(assign=agents_pb2.Assignment(key=key, epoch=epoch))


def stop(epoch: int = 5) -> agents_pb2.AgentCommand:
    return agents_pb2.AgentCommand(stop=agents_pb2.StopAttempt(key=KEY, epoch=epoch))


def ack(epoch: int = 5) -> agents_pb2.AgentCommand:
    return agents_pb2.AgentCommand(ack=agents_pb2.ResultAck(key=KEY, epoch=epoch))


def result() -> agents_pb2.AttemptResult:
    return agents_pb2.AttemptResult(key=KEY, ended_ms=7)


def kinds(events: list[agents_pb2.AgentEvent]) -> list[str]:
    return [str(event.WhichOneof("kind")) for event in events]


def test_an_assignment_that_comes_twice_starts_once():
    session = Session(window=4)
    assert len(session.command(assign()).start) == 1
    assert session.command(assign()).start == []


def test_a_result_is_held_and_sent_again_until_it_is_acknowledged():
    session = Session(window=4)
    session.command(assign())
    done = session.finished(result())
    assert done.store == [result()] and kinds(done.send) == ["result"]
    assert kinds(session.unacknowledged()) == ["result"]
    assert kinds(session.command(assign()).send) == ["result"], "the leader asks again: it gets the result, not a run"
    acknowledged = session.command(ack())
    assert acknowledged.forget == [key_of(KEY)] and kinds(acknowledged.send) == ["credit"]
    assert session.unacknowledged() == []
    assert session.command(ack()).forget == [], "an acknowledgement that comes twice gives no second credit"


def test_commands_of_an_older_epoch_are_refused():
    session = Session(window=4)
    session.command(assign(epoch=5))
    for command in (assign(epoch=4, attempt=2), stop(epoch=4), ack(epoch=4)):
        with pytest.raises(StaleEpochError):
            session.command(command)
    welcome = agents_pb2.AgentCommand(welcome=agents_pb2.Welcome(epoch=3))
    with pytest.raises(StaleEpochError):
        session.command(welcome)
    assert session.running == 1


def test_a_stopped_attempt_says_nothing_more_and_gives_its_room_back():
    session = Session(window=1)
    session.command(assign())
    assert session.command(stop()).stop == [key_of(KEY)]
    assert session.command(stop()).stop == []
    ended = session.finished(result())
    assert ended.store == [] and kinds(ended.send) == ["credit"]
    assert session.attempts == {}


def test_a_stop_does_not_take_a_result_that_is_there_already():
    session = Session(window=1)
    session.command(assign())
    session.finished(result())
    assert session.command(stop()).stop == []
    assert kinds(session.unacknowledged()) == ["result"]


def test_hello_says_what_is_held_and_how_much_room_is_left():
    session = Session(window=3, kept=[result()])
    session.command(assign(attempt=2))
    hello = session.hello(agents_pb2.Advertisement(agent_id="a")).hello
    assert sorted(key.attempt for key in hello.held) == [1, 2]
    assert hello.credit == 1 and hello.epoch == 5


def test_a_drain_takes_no_more_and_hands_back_what_runs():
    session = Session(window=3)
    session.command(assign())
    assert kinds(session.drain("asked to").send) == ["draining"]
    refused = session.command(assign(attempt=2))
    assert refused.start == [] and kinds(refused.send) == ["returned"]
    back = session.hand_back("drain")
    assert back.stop == [key_of(KEY)] and kinds(back.send) == ["returned"]
    assert session.stopped(key_of(KEY)).send == [], "no credit: it takes no more"
    assert session.hello(agents_pb2.Advertisement()).hello.credit == 0


def test_the_outbox_survives_a_crash_at_any_line(tmp_path):
    outbox = Outbox(tmp_path)
    outbox.put(result())
    (tmp_path / "half.tmp").write_bytes(b"half written")
    (tmp_path / "attempt-broken.result").write_bytes(b"\xff\xff\xff")
    again = Outbox(tmp_path)
    assert again.load() == [result()]
    again.forget(key_of(KEY))
    assert Outbox(tmp_path).load() == [] and list(tmp_path.iterdir()) == []
