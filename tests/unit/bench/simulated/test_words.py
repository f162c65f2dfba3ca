from __future__ import annotations

import pytest

from bench.operations import (
    Cas,
    Delete,
    DeleteAll,
    Freshness,
    Get,
    GetAll,
    Item,
    Join,
    Leave,
    Outcome,
    Put,
    Question,
    SetAll,
    TakeSnapshot,
    Told,
    Transfer,
)
from bench.schedule import (
    AnyFault,
    Ask,
    Clients,
    Crash,
    Cut,
    Delay,
    Drift,
    FullDisk,
    JoinAstray,
    Limit,
    Move,
    Noise,
    Pause,
    SlowDisk,
)
from bench.simulated import requests, words
from bench.simulated.chronicle import Chronicle
from bench.simulated.requests import Request
from faults.links import Mode
from node.raft import AppendEntries, Entry, EntryKind
from node.raft.transitions import Cause, Role, RoleChanged

ENTRIES = tuple(Entry(index, 3, EntryKind.COMMAND, b"x") for index in (4, 5, 6))


def append_entries(entries: tuple[Entry, ...]) -> AppendEntries:
    return AppendEntries(
        sender="n1",
        recipient="n2",
        term=3,
        prev_log_index=3,
        prev_log_term=2,
        entries=entries,
        leader_commit=3,
        sent_at_s=754.8,
    )


def request(asked: Question) -> Request:
    return Request(2, "n1", asked, 0, lambda *_: None)


@pytest.mark.parametrize(
    ("what", "said"),
    [
        (append_entries(ENTRIES), "n1 -> n2 AppendEntries term=3 entries 4/3 to 6/3 after 3/2 commit=3"),
        (append_entries(ENTRIES[:1]), "n1 -> n2 AppendEntries term=3 entry 4/3 after 3/2 commit=3"),
        (append_entries(()), "n1 -> n2 AppendEntries term=3 no entries after 3/2 commit=3"),
        (RoleChanged(at_s=6.6, term=3, role=Role.LEADER), "n1: Leader in term 3"),
        (
            RoleChanged(at_s=6.6, term=3, role=Role.FOLLOWER, cause=Cause.HIGHER_TERM, by="n2"),
            "n1: Follower in term 3 (higher term, from n2)",
        ),
        (request(Put("k3", "7")), "client 2 asks n1: put k3 = 7"),
        (request(Put("k3", "7", client_id="client-2", sequence=4)), "client 2 asks n1: put k3 = 7 (write 4)"),
        (request(Get("k3", Freshness.LINEARIZABLE)), "client 2 asks n1: linearizable get k3"),
        (words.Answered(request(Put("k3", "7")), Told(Outcome.OK)), "client 2 is told by n1: put k3 = 7: ok"),
        (words.Answered(request(Get("k3")), Told(Outcome.OK, result="7")), "told by n1: get k3: ok, 7"),
        (
            words.Answered(request(Leave("n3")), Told(Outcome.FAILED, "not leader")),
            "told by n1: leave n3: failed, not leader",
        ),
        (
            words.Answered(request(Get("k3")), requests.NO_ANSWER),
            "hears nothing from n1: get k3: unknown, ReadTimeout",
        ),
        (request(Cas("k3", "7", 4)), "put k3 = 7 if at 4"),
        (request(Delete("k3", 4)), "delete k3 if at 4"),
        (request(SetAll((Item("a", "1"), Item("b", "2", 0)))), "put a = 1; put b = 2 if at 0"),
        (request(DeleteAll((Item("a"), Item("b", None, 3)))), "delete a, b if at 3"),
        (request(GetAll(("a", "b"))), "get a, b"),
        (request(Join("n4")), "join n4"),
        (request(Join("n4", "n4:7")), "join n4 at n4:7"),
        (request(Transfer()), "asks n1: transfer"),
        (request(TakeSnapshot()), "asks n1: snapshot"),
        (request(Put("k3", "7" * 300)), f"put k3 = {'7' * 20}... (300 characters)"),
        ("restart", "n1: restart"),
    ],
)
def test_what_happens_to_a_node_is_told_in_words(what: object, said: str) -> None:
    assert words.happening("n1", what).endswith(said)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Pause(at_s=6.6, for_s=0.8, node="n2"), "n2 is stopped for 0.8 s"),
        (Crash(at_s=1, for_s=2, node="leader"), "the leader is killed for 2 s"),
        (Crash(at_s=1, for_s=2, node="n1", torn=True), "n1 is killed in its next save, which is torn, for 2 s"),
        (FullDisk(at_s=1, for_s=2, node="n1"), "the disk of n1 is full for 2 s"),
        (JoinAstray(at_s=1, for_s=2, node="n1"), "the leader is asked: join n1 under a wrong address for 2 s"),
        (Ask(at_s=1, for_s=2, node="leader", what=Leave("n1")), "the leader is asked: leave n1 for 2 s"),
        (SlowDisk(at_s=1, for_s=2, node="n1", latency_ms=30), "each save of n1 takes 30 ms longer for 2 s"),
        (Drift(at_s=1, for_s=2, node="n1", rate=0.9), "the clock of n1 runs at 0.9 of its rate for 2 s"),
        (Noise(at_s=1, for_s=2, loss=0.5), "messages are lost (0.5), doubled (0), overtaken (0) for 2 s"),
        (Move(at_s=1, for_s=2, node="n1"), "n1 moves to another address, under which it is to join, for 2 s"),
        (
            Limit(at_s=0, for_s=1, targets=("leader",), both_ways=False, rate_kib_s=4),
            "links from everybody else to the leader carry 4 KiB a second for 1 s",
        ),
        (Clients(at_s=0, for_s=9, number=1), "1 client writes and reads for 9 s"),
        (
            Cut(at_s=0, for_s=1, sources=("n1", "n2"), mode=Mode.HOLD),
            "links between n1, n2 and everybody else are cut (hold) for 1 s",
        ),
        (
            Delay(at_s=0, for_s=1, sources=("n1",), targets=("follower",), both_ways=False, latency_ms=30, jitter_ms=5),
            "links from n1 to a follower are 30 ms late, up to 5 ms more or less for 1 s",
        ),
    ],
)
def test_a_fault_is_told_in_words_when_it_begins_and_when_it_is_over(fault: AnyFault, said: str) -> None:
    assert words.happening("fault", fault) == f"fault: {said}"
    assert words.happening("fault", words.Over(fault)) == f"fault over: {said}"


def test_what_is_heard_of_late_is_told_where_it_happened_and_the_simultaneous_as_it_was_noted() -> None:
    chronicle = Chronicle()
    for at_s, what in ((1.0, "first"), (2.0, "message"), (2.0 - 1e-12, "its answer"), (1.5, "stepped down")):
        chronicle.note((at_s, "n1", what))
    assert [line.split(": ")[1] for line in chronicle.words()] == ["first", "stepped down", "message", "its answer"]


def test_what_happens_again_at_once_is_told_once() -> None:
    chronicle = Chronicle()
    for at_s in (1.0, 1.0, 1.0, 2.0):
        chronicle.note((at_s, "n2", append_entries((Entry(4, 2, EntryKind.NOOP, b""),))))
    held, later = chronicle.words()
    assert held.endswith("commit=3 (3 times)")
    assert later.endswith("commit=3")
    assert chronicle.words(1) == [later]


def test_heartbeats_that_follow_one_another_are_told_as_one() -> None:
    """Or else the end of a log is nothing but heartbeats."""
    chronicle = Chronicle()
    for number in range(5):
        chronicle.note((1.0 + number, "n2", append_entries(())))
    chronicle.remark(6.5, "n2", "a word between")
    chronicle.note((7.0, "n2", append_entries(())))
    assert [line.split(maxsplit=1) for line in chronicle.words()] == [
        ["1.000000", "5 heartbeats and answers until 5.000000"],
        ["6.500000", "n2: a word between"],
        ["7.000000", "n1 -> n2 AppendEntries term=3 no entries after 3/2 commit=3"],
    ]


def test_what_is_told_in_the_place_of_a_value_leaves_the_digest_as_it_is() -> None:
    told, untold = Chronicle(), Chronicle()
    told.note((1.0, "fault", "crash"), Crash(at_s=1, for_s=2, node="n2"))
    told.remark(1.0, "fault", "the leader is n2")
    untold.note((1.0, "fault", "crash"))
    assert told.digest() == untold.digest()
    assert told.words() != untold.words()
