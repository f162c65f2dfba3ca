"""Who is owed a leader, and when."""

from __future__ import annotations

import msgspec
import pytest

from bench.cluster import PromiseBrokenError
from bench.simulated.invariants import Invariants, Ledger, liveness
from node.raft import Configuration, EntryKind, HardState, Log, Role
from node.server import AddServer, Consistency, MakeSnapshot, Question, Read, TransferLeadership, Write
from tests.unit.bench.simulated.invariants.steps import ABC, NOTHING, Clock, assert_violated, entry, raft, server


class Watched:
    """Three silent servers of one configuration, watched."""

    def __init__(self) -> None:
        self.watcher = Invariants()
        founding = entry(1, 1, Configuration.first([("a", "a:1"), ("b", "b:1"), ("c", "c:1")]).encode())
        self.founding = msgspec.structs.replace(founding, kind=EntryKind.CONFIGURATION)
        self.rafts = {name: raft(name) for name in ABC}
        for name, core in self.rafts.items():
            self.watcher.started(name, core, Clock(), 0.0)
        self.found()

    def found(self) -> None:
        """a founds the cluster of itself and the others, alone of them on disk with it; b and c have heard of it."""
        for name in ABC:
            log = Log([self.founding])
            self.watcher.ledger.disks[name].save(HardState(1), [self.founding], None)
            self.rafts[name] = raft(name, log, HardState(1))
            self.watcher.crashed(name, 0.0)
            self.watcher.started(name, self.rafts[name], Clock(), 0.0)
        self.watcher.ledger.committed.append(1)
        self.watcher.ledger.configurations.append((1, ABC))

    def connect(self, *groups: str, at_s: float) -> None:
        clear = {(x, y) for group in groups for x in group for y in group if x != y}
        self.watcher.topology(ABC, clear, at_s)

    def pass_until(self, at_s: float) -> None:
        self.watcher.stepped("c", self.rafts["c"], NOTHING, at_s)


def test_a_connected_majority_without_a_leader_for_ten_election_timeouts_is_seen() -> None:
    watched = Watched()
    watched.connect("ab", "c", at_s=1.0)
    watched.pass_until(11.0)
    with pytest.raises(PromiseBrokenError, match=r"a, b hear one another, and none led for 10\.1 s"):
        watched.pass_until(11.1)


def test_a_minority_is_owed_no_leader_and_a_new_majority_has_time_from_its_beginning() -> None:
    watched = Watched()
    watched.connect("a", "b", "c", at_s=1.0)
    watched.pass_until(100.0)
    watched.connect("ab", "c", at_s=100.0)
    watched.pass_until(109.0)
    watched.connect("a", "bc", at_s=109.0)
    watched.pass_until(118.0)
    with pytest.raises(PromiseBrokenError, match="connected_majority_has_a_leader"):
        watched.pass_until(119.1)


def test_those_who_stay_in_touch_are_owed_a_leader_whatever_becomes_of_the_others() -> None:
    watched = Watched()
    for at_s, groups in enumerate([("abc",), ("ab", "c")] * 5):
        watched.connect(*groups, at_s=float(at_s))
    with pytest.raises(PromiseBrokenError, match=r"a, b hear one another, and none led for 10\.1 s"):
        watched.pass_until(10.1)


def test_one_way_is_no_connection() -> None:
    watched = Watched()
    watched.watcher.topology(ABC, {("a", "b"), ("b", "c"), ("c", "a")}, 1.0)
    watched.pass_until(100.0)


WRITE, OLD, FRESH = Write(b""), Read(("k",)), Read(("k",), Consistency.CONSISTENT)


@pytest.mark.parametrize(
    ("role", "question"),
    [
        (Role.FOLLOWER, WRITE),
        (Role.FOLLOWER, FRESH),
        (Role.FOLLOWER, AddServer("d", "d:1")),
        (Role.LEADER, OLD),
        (Role.LEADER, MakeSnapshot()),
    ],
)
def test_whoever_waits_for_what_cannot_come_is_seen(role: Role, question: Question) -> None:
    ledger = Ledger(servers={"a": server(role=role)})
    liveness.nobody_waits_in_vain(ledger, "a", question, True)
    assert_violated(liveness.nobody_waits_in_vain, ledger, "a", question, False, words="a, .* has never answered")


@pytest.mark.parametrize(
    ("role", "question"), [(Role.LEADER, WRITE), (Role.LEADER, FRESH), (Role.FOLLOWER, TransferLeadership("b"))]
)
def test_whoever_waits_for_others_may_have_to(role: Role, question: Question) -> None:
    liveness.nobody_waits_in_vain(Ledger(servers={"a": server(role=role)}), "a", question, False)
