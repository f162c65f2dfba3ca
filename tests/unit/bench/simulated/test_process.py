"""A process alone: a server, a disk, a clock, and somebody who writes down what it does."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from bench.simulated.clock import DriftingClock
from bench.simulated.disk import Save, SimulatedDisk
from bench.simulated.engine import Engine
from bench.simulated.process import Process
from node.machine.kv import Command, SetKey
from node.machine.state_machine import StateMachine
from node.raft import (
    Configuration,
    FlowLimits,
    HardState,
    Log,
    Raft,
    RequestVote,
    Snapshot,
    Timing,
    Transition,
)
from node.raft.messages import AnyMessage
from node.raft.transitions import Role, RoleChanged
from node.server import Answer, Asked, Found, Leased, MakeSnapshot, Server, SnapshotPolicy, Status, Stop, Stopped
from node.server import Write as Asking

PUT = Asking(Command(SetKey("k", "v")).encode())
SOON_S = 3.0
"""By then a lone voter has been elected."""


class Watcher:
    """The `Surroundings` of a process: writes down what happens, in order."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, Any]] = []

    def saving(self, took_s: float) -> None:
        self.seen.append(("saving", took_s))

    def durable(self, write: Save) -> None:
        self.seen.append(("durable", write))

    def trace(self, records: Sequence[Transition]) -> None:
        self.seen += [("trace", record) for record in records]

    def publish(self, status: Status) -> None:
        self.seen.append(("publish", status))

    def send(self, messages: Sequence[AnyMessage], addresses: Mapping[str, str]) -> None:
        self.seen += [("send", message) for message in messages]

    def answer(self, answer: Answer) -> None:
        self.seen.append(("answer", answer))

    def installed(self) -> None: ...

    def kept(self, snapshot: Snapshot) -> None:
        self.seen.append(("kept", snapshot.meta.index))

    def let_go(self, first_kept: int) -> None:
        self.seen.append(("let go", first_kept))

    def say(self, words: str) -> None: ...

    def changed(self) -> None: ...

    def ended(self, reason: str) -> None:
        self.seen.append(("ended", reason))

    def order(self, *kinds: str) -> list[str]:
        return [kind for kind, _ in self.seen if kind in kinds]

    def answers(self) -> list[object]:
        return [answer.to for kind, answer in self.seen if kind == "answer"]


class Alone:
    """A process of one server, in a cluster of as many as are named."""

    def __init__(self, *names: str) -> None:
        self.engine, self.watcher = Engine(1), Watcher()
        self.clock = DriftingClock(reads_s=7.0, rate=1.1)
        self.disk = SimulatedDisk(random.Random(1))
        now = self.clock.at(0.0)
        raft = Raft(
            "n1",
            log=Log(),
            hard_state=HardState(),
            timing=Timing(),
            limits=FlowLimits(),
            rng=random.Random(2),
            now=now,
        )
        server = Server(raft, StateMachine(), policy=SnapshotPolicy(threshold=100, trailing_logs=1), process=1, now=now)
        self.process = Process(
            server,
            engine=self.engine,
            clock=self.clock,
            disk=self.disk,
            chance=lambda: 0.5,
            watch=lambda *_: None,
            around=self.watcher,
        )
        self.process.begin([Found(Configuration.first((name, f"{name}:7000") for name in ("n1", *names)))])

    def run(self, seconds: float) -> None:
        self.engine.run(self.engine.now + seconds)


@pytest.fixture
def leader() -> Alone:
    alone = Alone()
    alone.run(SOON_S)
    assert alone.process.status.role is Role.LEADER
    alone.watcher.seen.clear()
    return alone


def test_a_write_is_answered_when_it_is_durable_and_not_before(leader: Alone) -> None:
    leader.disk.extra_s = 1.0
    leader.process.deliver(Asked(PUT, "w"))
    leader.run(0.9)
    assert leader.watcher.order("durable", "answer") == []
    leader.run(0.9)
    assert leader.watcher.order("saving", "durable", "answer") == ["saving", "durable", "answer"]


def test_what_comes_during_a_save_waits_and_is_saved_at_once(leader: Alone) -> None:
    for number in range(4):
        leader.process.deliver(Asked(PUT, number))
    leader.run(1.0)
    saved = [len(write.entries) for kind, write in leader.watcher.seen if kind == "durable"]
    assert (saved, leader.watcher.answers()) == ([1, 3], [0, 1, 2, 3])


def test_a_process_that_dies_in_a_save_does_nothing_more(leader: Alone) -> None:
    leader.process.deliver(Asked(PUT, "w"))
    leader.process.die()
    leader.disk.crash()
    leader.watcher.seen.clear()
    leader.run(5.0)
    assert leader.watcher.seen == []


def test_a_process_that_is_stopped_between_a_save_and_its_consequences_has_them_when_it_goes_on(leader: Alone) -> None:
    leader.process.deliver(Asked(PUT, "w"))
    leader.process.pause()
    leader.run(5.0)
    assert leader.watcher.order("durable", "answer") == ["durable"]
    leader.process.resume()
    assert leader.watcher.answers() == ["w"]


def test_what_a_process_says_of_itself_is_what_it_published_before_the_save_under_way(leader: Alone) -> None:
    before = leader.process.status
    leader.process.deliver(Asked(PUT, "w"))
    assert leader.process.raft.log.last_index == before.last_index + 1
    assert leader.process.status == before
    leader.run(1.0)
    assert leader.process.status.applied_index == before.applied_index + 1


def test_a_trace_is_written_before_what_it_speaks_of_is_sent() -> None:
    alone = Alone("n2", "n3")
    alone.run(0.0)
    alone.process.server.raft.campaign(alone.clock.at(0.0))
    alone.run(10.0)
    seen = alone.watcher.seen
    first_asked = next(i for i, (kind, what) in enumerate(seen) if kind == "send")
    standing = [i for i, (kind, what) in enumerate(seen) if kind == "trace" and isinstance(what, RoleChanged)]
    assert standing[0] < first_asked
    assert not any(isinstance(what, RequestVote) for _, what in seen), "nobody has said that it would vote for it"


def test_a_snapshot_is_told_of_once_it_is_durable_and_the_log_lets_go_after_that(leader: Alone) -> None:
    for number in range(3):
        leader.process.deliver(Asked(PUT, number))
    leader.run(1.0)
    leader.watcher.seen.clear()
    leader.process.deliver(Asked(MakeSnapshot(), "s"))
    assert leader.watcher.order("kept", "answer", "let go") == []
    leader.run(1.0)
    assert leader.watcher.order("kept", "answer", "let go") == ["kept", "answer", "let go"]
    content = leader.disk.load()
    assert content.snapshot is not None
    assert content.base_index == content.snapshot.meta.index - 1


def test_a_full_disk_ends_the_process_and_nobody_is_told_anything(leader: Alone) -> None:
    leader.disk.full = True
    leader.process.deliver(Asked(PUT, "w"))
    assert leader.watcher.order("ended", "answer", "send") == ["ended"]


def test_a_process_told_to_stop_says_so_in_its_trace_and_ends(leader: Alone) -> None:
    leader.process.deliver(Stop())
    leader.run(5.0)
    assert any(isinstance(what, Stopped) for kind, what in leader.watcher.seen if kind == "trace")
    assert leader.watcher.seen[-1] == ("ended", "")


def test_the_only_voter_leads_for_ever_by_its_trace() -> None:
    alone = Alone()
    alone.run(SOON_S)
    leases = [what for kind, what in alone.watcher.seen if kind == "trace" and isinstance(what, Leased)]
    assert [lease.until_s for lease in leases] == [None]
