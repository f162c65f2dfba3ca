"""Who is owed a leader, and when."""

from __future__ import annotations

import msgspec
import pytest

from bench.cluster import PromiseBrokenError
from bench.simulated.invariants import Invariants, Ledger, liveness
from bench.simulated.invariants.ledger import Step, note_progress, note_topology
from node.raft import Configuration, EntryKind, HardState, Log, Role
from node.server import AddServer, Consistency, MakeSnapshot, Question, Read, TransferLeadership, Write
from tests.unit.bench.simulated.invariants.steps import (
    ABC,
    NOTHING,
    Clock,
    assert_violated,
    entries,
    entry,
    raft,
    server,
    step,
)


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
        clear = {(x, y): 0.0 for group in groups for x in group for y in group if x != y}
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
    watched.watcher.topology(ABC, dict.fromkeys((("a", "b"), ("b", "c"), ("c", "a")), 0.0), 1.0)
    watched.pass_until(100.0)


# Progress amid faults


def in_touch(*links: str, since_s: float = 0.0, settled_s: float = 0.0) -> Ledger:
    """Pairs such as `ab` hear each other, and what was sent before has arrived at `settled_s`."""
    ledger = Ledger()
    both_ways = {(one, other): settled_s for x, y in map(tuple, links) for one, other in ((x, y), (y, x))}
    note_topology(ledger, ABC, both_ways, since_s)
    return ledger


def leader(at_s: float, *, last: int, commit: int, match: int = 0, term: int = 1, configuration_index: int = 1) -> Step:
    return step(
        "a",
        at_s=at_s,
        role=Role.LEADER,
        term=term,
        log=entries(*[1] * last),
        commit_index=commit,
        matches={"b": last, "c": match},
        configuration_index=configuration_index,
    )


def had(ledger: Ledger, *, at_s: float = 1.0, last: int = 5, commit: int = 5) -> Ledger:
    note_progress(ledger, leader(at_s, last=last, commit=commit))
    return ledger


DUE_S = 1.0 + liveness.PROGRESS
"""Election timeouts of one second after the leader was looked at."""


def test_a_leader_that_hears_a_majority_and_commits_nothing_is_seen() -> None:
    ledger = had(in_touch("ab"), commit=2)
    stuck = leader(DUE_S, last=5, commit=4)
    assert_violated(
        liveness.what_a_leader_takes_on_is_committed, ledger, stuck, words="a has committed 4; it had 5.*heard a, b"
    )
    liveness.what_a_leader_takes_on_is_committed(ledger, leader(DUE_S, last=9, commit=5))
    liveness.what_a_leader_takes_on_is_committed(ledger, leader(DUE_S - 0.1, last=5, commit=4))


def test_a_follower_in_touch_that_does_not_catch_up_is_seen() -> None:
    ledger = had(in_touch("ab", "ac"))
    lagging = leader(DUE_S, last=9, commit=9, match=4)
    assert_violated(liveness.followers_catch_up, ledger, lagging, words="c is known to have 4 of the 5 entries")
    liveness.followers_catch_up(ledger, leader(DUE_S, last=9, commit=9, match=5))


@pytest.mark.parametrize(
    "ledger",
    [
        had(in_touch("bc")),
        had(in_touch("ab", "ac", since_s=1.1)),
        had(in_touch("ab", "ac", settled_s=1.1)),
        had(in_touch("ab", "ac"), at_s=1.1),
    ],
    ids=["out of touch", "in touch again", "behind what is late", "looked at later"],
)
def test_no_progress_is_owed_before_its_time(ledger: Ledger) -> None:
    liveness.what_a_leader_takes_on_is_committed(ledger, leader(DUE_S, last=5, commit=4))
    liveness.followers_catch_up(ledger, leader(DUE_S, last=5, commit=5, match=4))


@pytest.mark.parametrize("change", [{"term": 2}, {"configuration_index": 4}])
def test_a_new_reign_and_new_members_have_time_from_their_beginning(change: dict[str, int]) -> None:
    ledger = had(in_touch("ab", "ac"))
    liveness.what_a_leader_takes_on_is_committed(ledger, leader(DUE_S, last=5, commit=4, **change))
    liveness.followers_catch_up(ledger, leader(DUE_S, last=5, commit=5, match=4, **change))


def test_an_excused_server_owes_no_progress_and_has_time_from_when_it_is_well_again() -> None:
    ledger = Ledger()
    ledger.touch.excuse("c", True)
    note_topology(ledger, ABC, dict.fromkeys((("a", "c"), ("c", "a")), 0.0), 0.0)
    liveness.followers_catch_up(had(ledger), leader(DUE_S, last=5, commit=5, match=4))
    ledger.touch.excuse("c", False)
    note_topology(ledger, ABC, dict.fromkeys((("a", "c"), ("c", "a")), 0.0), 1.5)
    liveness.followers_catch_up(ledger, leader(DUE_S, last=5, commit=5, match=4))


# Questions

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
