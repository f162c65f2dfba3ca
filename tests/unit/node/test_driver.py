"""The driver's order of things, with a disk that fails where it is told to."""

from __future__ import annotations

import random
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from node import wire
from node.disk.storage import Storage
from node.driver import Driver
from node.errors import LeadershipLostError, StoppingError
from node.machine.kv import Command, SetKey
from node.machine.state_machine import Frozen, StateMachine
from node.raft import (
    AppendEntries,
    AppendEntriesResponse,
    Configuration,
    Entry,
    FlowLimits,
    HardState,
    Log,
    Raft,
    RequestVote,
    RequestVoteResponse,
    Role,
    Snapshot,
    SnapshotMeta,
    TimeoutNow,
    Timing,
)
from node.raft.messages import AnyMessage
from node.raft.snapshot import Data
from node.server import Consistency, MakeSnapshot, Read, Server, SnapshotPolicy, Status, TransferLeadership, Write
from node.trace import Trace
from node.transport import Transport

WAIT_S = 20.0
DEFAULT = SnapshotPolicy()
READ = Read(("k",), Consistency.CONSISTENT)


def write(operation: SetKey) -> Write:
    return Write(Command(operation).encode())


class FailingStorage(Storage):
    """Fails as a disk does, once it is told to; counts what is asked of it afterwards. Knows what it has saved."""

    failing: type[Exception] | None = None
    asked_after_failure = 0

    def __init__(self, folder: Path, node_id: str) -> None:
        super().__init__(folder, node_id)
        self.saving = threading.Event()
        """Set when a save begins that is to fail."""
        self.may_fail = threading.Event()
        """Cleared, a save waits before it fails."""
        self.may_fail.set()
        self.hard_state = HardState()
        self.last_index = 0

    def save(self, hard_state: HardState | None, entries: Sequence[Entry]) -> None:
        self._fail_if_told()
        super().save(hard_state, entries)
        self.hard_state = hard_state or self.hard_state
        self.last_index = entries[-1].index if entries else self.last_index

    def write_snapshot(self, meta: SnapshotMeta, data: Iterable[Data]) -> Snapshot:
        self._fail_if_told()
        return super().write_snapshot(meta, data)

    def _fail_if_told(self) -> None:
        if self.failing is not None:
            self.saving.set()
            self.may_fail.wait(WAIT_S)
            self.asked_after_failure += 1
            raise self.failing("disk I/O error")


class Sent(NamedTuple):
    """A message, with what the disk held and what the node said of itself when it was sent."""

    message: AnyMessage
    hard_state: HardState
    last_index: int
    status: Status

    def is_kept(self) -> bool:
        """Whether the node would stand by it after a crash (Figure 2, persistent state)."""
        match self.message:
            case RequestVote() | RequestVoteResponse(granted=True):
                candidate = self.message.sender if isinstance(self.message, RequestVote) else self.message.recipient
                return self.hard_state == HardState(self.message.term, candidate)
            case AppendEntries(entries=(*_, last)):
                promised = last.index
            case AppendEntriesResponse(success=True, match_index=promised):
                pass
            case _:
                promised = 0
        return self.message.term <= self.hard_state.current_term and promised <= self.last_index


def from_n2(messages: Sequence[AnyMessage]) -> wire.Envelope:
    return wire.Envelope(
        sender="n2",
        cluster_id="",
        raft_address="127.0.0.1:2",
        http_address="127.0.0.1:8501",
        messages=tuple(messages),
    )


class Peer(Transport):
    """In the place of the network: n2, which answers at once, and stands for election only if it is told to."""

    def __init__(self, storage: FailingStorage) -> None:
        super().__init__(from_n2, lambda peer: None, dial={}, settled_s=0.1)
        self.sent: list[Sent] = []
        self.driver: Driver | None = None
        self._storage = storage
        self._core = Raft(
            "n2",
            log=Log(),
            hard_state=HardState(),
            timing=Timing(),
            limits=FlowLimits(),
            rng=random.Random(2),
            now=time.monotonic(),
        )

    def send(self, message: AnyMessage, address: str) -> None:
        assert self.driver is not None
        self.sent.append(Sent(message, self._storage.hard_state, self._storage.last_index, self.driver.status))
        self._core.receive(message, time.monotonic())
        self.driver.deliver(from_n2(self._core.take_effects().messages))


class Node:
    """One node that founded a cluster of itself, or of itself and a peer."""

    def __init__(self, folder: Path, policy: SnapshotPolicy, *, with_peer: bool) -> None:
        self.storage = FailingStorage(folder, "n1")
        hard_state, snapshot, log = self.storage.load()
        self.machine = StateMachine()
        if snapshot is not None:
            self.machine.restore(Frozen.decode(snapshot.data))
        core = Raft(
            "n1",
            log=log,
            hard_state=hard_state,
            snapshot=snapshot,
            # Alone, nobody is lost to a slow disk; a peer is to be lost to nothing at all.
            timing=Timing() if with_peer else Timing(0.1, 0.1, 0.05),
            limits=FlowLimits(),
            rng=random.Random(1),
            now=time.monotonic(),
        )
        self.peer = Peer(self.storage)
        self.failed = threading.Event()
        self.driver = Driver(
            Server(core, self.machine, policy=policy, process=1, now=time.monotonic()),
            storage=self.storage,
            outcomes=lambda: dict(self.machine.outcomes),
            trace=Trace(None),
            raft_address="127.0.0.1:1",
            http_address="127.0.0.1:8500",
            transport=lambda envelope, hint: self.peer,
            on_failure=self.failed.set,
        )
        if hard_state.current_term == 0:
            members = [("n1", "127.0.0.1:1"), ("n2", "127.0.0.1:2")]
            self.driver.found(Configuration.first(members if with_peer else members[:1]))
        self.peer.driver = self.driver
        self.driver.start()

    def lead(self) -> None:
        """Wait until the node leads."""
        deadline_s = time.monotonic() + WAIT_S
        while self.driver.ask(READ).exception(WAIT_S) is not None:
            assert time.monotonic() < deadline_s

    def put(self, key: str) -> None:
        self.driver.ask(write(SetKey(key, "x"))).result(WAIT_S)

    def end(self) -> None:
        self.driver.stop()
        self.storage.close()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Node]]:
    running: list[Node] = []

    def begin(policy: SnapshotPolicy = DEFAULT, *, with_peer: bool = False) -> Node:
        while running:
            running.pop().end()
        running.append(Node(tmp_path, policy, with_peer=with_peer))
        running[-1].lead()
        return running[-1]

    yield begin
    for node in running:
        node.end()


def test_nothing_is_sent_that_a_crash_could_take_back(start: Callable[..., Node]) -> None:
    node = start(with_peer=True)
    node.put("k")
    assert node.driver.ask(TransferLeadership("n2")).result(WAIT_S).value == "n2"
    assert [sent for sent in node.peer.sent if not sent.is_kept()] == []
    kinds = {type(sent.message) for sent in node.peer.sent}
    assert kinds >= {RequestVote, RequestVoteResponse, AppendEntries, AppendEntriesResponse}


def test_a_leader_that_hands_over_says_so_before_another_may_stand(start: Callable[..., Node]) -> None:
    """From then on two nodes could report themselves leader at one instant."""
    node = start(with_peer=True)
    node.driver.ask(TransferLeadership("n2")).result(WAIT_S)
    (told,) = [sent for sent in node.peer.sent if isinstance(sent.message, TimeoutNow)]
    assert told.status.role is not Role.LEADER


def test_all_that_came_while_the_disk_was_busy_is_saved_at_once(start: Callable[..., Node]) -> None:
    node = start()
    reached, go_on = threading.Event(), threading.Event()
    save, saves = node.storage.save, list[int]()

    def slow(hard_state: HardState | None, entries: Sequence[Entry]) -> None:
        reached.set()
        assert go_on.wait(WAIT_S)
        saves.append(len(entries))
        save(hard_state, entries)

    node.storage.save = slow  # type: ignore[method-assign]
    writes = [node.driver.ask(write(SetKey("first", "x")))]
    assert reached.wait(WAIT_S)
    writes += [node.driver.ask(write(SetKey(f"k{number}", "x"))) for number in range(50)]
    go_on.set()
    for written in writes:
        written.result(WAIT_S)
    assert saves == [1, 50]


@pytest.mark.parametrize("error", [sqlite3.OperationalError, OSError])
def test_a_write_that_could_not_be_synced_is_not_acknowledged_and_not_tried_again(
    start: Callable[..., Node], error: type[Exception]
) -> None:
    node = start()
    node.put("before")
    node.storage.failing = error
    lost = node.driver.ask(write(SetKey("k", "x")))
    assert isinstance(lost.exception(WAIT_S), LeadershipLostError), "it may be on the disk, or not: nobody knows"
    assert node.failed.wait(WAIT_S)
    assert isinstance(node.driver.ask(write(SetKey("k", "x"))).exception(WAIT_S), StoppingError)
    assert node.storage.asked_after_failure == 1
    assert node.machine.store.get("k") is None


def test_a_node_whose_driver_has_failed_is_shut_down_and_leads_no_more(start: Callable[..., Node]) -> None:
    """The lease of the only voter never ends; but a node that can serve nobody must not be taken for one that can."""
    node = start()
    node.storage.failing = OSError
    assert node.driver.ask(write(SetKey("k", "x"))).exception(WAIT_S) is not None
    status, now = node.driver.status, time.monotonic()
    assert (status.state_at(now), status.is_leader_at(now), status.leader_at(now)) == ("Shutdown", False, None)


def test_whoever_asks_while_the_disk_fails_is_told_at_once(start: Callable[..., Node]) -> None:
    """What is in the inbox when the driver dies, and what comes later, is decided by nobody."""
    node = start()
    node.storage.failing = OSError
    node.storage.may_fail.clear()
    written = node.driver.ask(write(SetKey("k", "x")))
    assert node.storage.saving.wait(WAIT_S)
    asked = node.driver.ask(READ)
    node.storage.may_fail.set()
    assert isinstance(written.exception(WAIT_S), LeadershipLostError)
    assert isinstance(asked.exception(WAIT_S), StoppingError)
    assert isinstance(node.driver.ask(READ).exception(WAIT_S), StoppingError)


def test_a_snapshot_that_could_not_be_synced_fails_the_node(start: Callable[..., Node]) -> None:
    node = start()
    node.storage.failing = OSError
    taken = node.driver.ask(MakeSnapshot())
    assert node.failed.wait(WAIT_S)
    assert taken.exception(WAIT_S) is not None
    assert isinstance(node.driver.ask(MakeSnapshot()).exception(WAIT_S), StoppingError)


def test_a_snapshot_that_is_not_read_as_it_was_written_fails_the_node(start: Callable[..., Node]) -> None:
    """It is a disk that fails, like one that cannot be written; otherwise no snapshot would ever be taken again."""
    node = start()
    node.storage.failing = ValueError
    node.driver.ask(MakeSnapshot())
    assert node.failed.wait(WAIT_S)


def test_a_snapshot_is_taken_as_soon_as_the_threshold_is_reached(start: Callable[..., Node]) -> None:
    node = start(SnapshotPolicy(threshold=20, trailing_logs=1))
    for number in range(100):
        node.put(f"k{number}")
    index = node.driver.ask(MakeSnapshot()).result(WAIT_S).value
    assert index >= 100
    assert node.driver.status.snapshot_index == index
    text = node.driver.meters.registry.get_sample_value("konsul_raft_snapshot_total", {"node_id": "n1"})
    assert text is not None
    assert text >= 3


def test_a_snapshot_is_taken_when_the_interval_is_over_and_something_is_new(start: Callable[..., Node]) -> None:
    node = start(SnapshotPolicy(interval_s=0.01))
    node.put("k")
    deadline_s = time.monotonic() + WAIT_S
    while node.driver.status.snapshot_index < node.driver.status.applied_index:
        assert time.monotonic() < deadline_s
        node.driver.ask(READ).result(WAIT_S)


def test_a_snapshot_of_nothing_new_is_the_one_there_is(start: Callable[..., Node]) -> None:
    node = start()
    assert node.driver.ask(MakeSnapshot()).result(WAIT_S).value == node.driver.ask(MakeSnapshot()).result(WAIT_S).value


def test_writes_go_on_while_a_snapshot_is_taken(start: Callable[..., Node]) -> None:
    node = start()
    reached, go_on = threading.Event(), threading.Event()
    write_snapshot = node.storage.write_snapshot

    def slow(meta: SnapshotMeta, data: Iterable[Data]) -> Snapshot:
        reached.set()
        assert go_on.wait(WAIT_S)
        return write_snapshot(meta, data)

    node.storage.write_snapshot = slow  # type: ignore[method-assign]
    taken = node.driver.ask(MakeSnapshot())
    assert reached.wait(WAIT_S)
    node.put("meanwhile")
    assert not taken.done()
    go_on.set()
    assert taken.result(WAIT_S).value < node.driver.status.applied_index


def test_a_restarted_node_has_the_state_the_digest_and_the_log_it_had(start: Callable[..., Node]) -> None:
    node = start(SnapshotPolicy(threshold=20, trailing_logs=1))
    for number in range(50):
        node.put(f"k{number}")
    node.driver.ask(MakeSnapshot()).result(WAIT_S)
    node.put("later")
    before = node.machine.freeze()
    again = start()
    assert dict(again.machine.store.values()) == dict(before.store.values())
    assert again.driver.status.snapshot_index >= 50
    assert again.driver.status.last_index == node.driver.status.last_index + 1, "and the entry of a new leader"
