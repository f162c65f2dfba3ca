"""What was acknowledged is there, as far as clients can tell: any kind of write, by any read that must show it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest

from bench.checkers import acknowledged_writes_survive
from bench.evidence import Evidence, Record
from bench.operations import (
    NO_ANSWER,
    Cas,
    Delete,
    DeleteAll,
    Freshness,
    Get,
    GetAll,
    Item,
    Operation,
    Outcome,
    Put,
    Question,
    SetAll,
    Told,
    Try,
)
from bench.verdict import Finding, Verdict

NOT_KNOWN = Told(Outcome.UNKNOWN, "ReadTimeout")
MISMATCH = Told(Outcome.FAILED, "cas mismatch")


def at(at_s: float, asked: Question, told: Told, *, node: str = "n1", lasts_s: float = 0.1) -> Operation:
    return Operation(0, node, asked, told, at_s, at_s + lasts_s)


def done(at_s: float, asked: Question, index: int | None, *, node: str = "n1", lasts_s: float = 0.1) -> Operation:
    """A write that was acknowledged, and stands there in the log."""
    return at(at_s, asked, Told(Outcome.OK, modify_index=index), node=node, lasts_s=lasts_s)


def newest(at_s: float, value: str | None, *, node: str = "n2", by: Freshness = Freshness.LINEARIZABLE) -> Operation:
    """A read of k that had to be fresh."""
    return at(at_s, Get("k", by), Told(Outcome.OK, result=value), node=node)


def plain(at_s: float, value: str | None, node: str = "n2") -> Operation:
    return newest(at_s, value, node=node, by=Freshness.STALE)


def agreed(at_s: float, *nodes: str) -> Record:
    return {"event": "agreed", "at_s": at_s, "since_s": at_s - 0.01, "nodes": list(nodes or ("n1", "n2", "n3"))}


def event(at_s: float, what: str, node: str, **fields: object) -> Record:
    return {"event": what, "at_s": at_s, "node": node, **fields}


def judged(*history: Operation, timeline: Sequence[Record] = ()) -> Finding:
    return acknowledged_writes_survive(Evidence(history, {}, tuple(timeline)))


PUT = done(1, Put("k", "a"), 5)
WRITES = {
    "put": (done(2, Put("k", "b"), 7), "b"),
    "cas": (done(2, Cas("k", "b", 5), 7), "b"),
    "delete": (done(2, Delete("k"), 7), None),
    "delete if": (done(2, Delete("k", 5), 7), None),
    "set all": (done(2, SetAll((Item("k", "b"), Item("j", "b"))), 7), "b"),
    "delete all": (done(2, DeleteAll((Item("k"), Item("j"))), 7), None),
}


@pytest.mark.parametrize("kind", WRITES)
def test_of_every_kind_of_write_the_last_acknowledged_one_is_read_back(kind: str) -> None:
    write, left = WRITES[kind]
    also = newest(3, left)
    other = at(3, Get("j", Freshness.LINEARIZABLE), Told(Outcome.OK, result=left))
    assert judged(PUT, write, also, other).verdict is Verdict.VALID
    lost = judged(PUT, write, newest(3, "a"), other)
    assert lost.verdict is Verdict.INVALID
    assert "was acknowledged by n1 at 2.1000, but n2 read 'a' at 3.0000" in lost.reason


@pytest.mark.parametrize("kind", WRITES)
def test_a_write_that_nobody_read_back_is_not_known_to_be_there(kind: str) -> None:
    write, _ = WRITES[kind]
    assert judged(PUT, newest(1.5, "a"), write).verdict is Verdict.UNKNOWN


def test_which_write_was_the_last_is_known_by_where_it_stands_in_the_log_and_not_by_when_it_was_told() -> None:
    slow = done(1, Put("k", "slow"), 9, lasts_s=3)
    quick = done(2, Put("k", "quick"), 7)
    assert judged(slow, quick, newest(5, "slow")).verdict is Verdict.VALID
    assert judged(slow, quick, newest(5, "quick")).verdict is Verdict.INVALID


def test_two_acknowledged_writes_of_which_nobody_knows_which_was_later_are_not_judged() -> None:
    nameless = done(2, Put("k", "b"), None)
    found = judged(PUT, nameless, newest(3, "a"))
    assert (found.verdict, "not each says where it stands" in found.reason) == (Verdict.UNKNOWN, True)
    assert judged(nameless, newest(3, "b")).verdict is Verdict.VALID
    assert judged(nameless, newest(3, "a")).verdict is Verdict.INVALID


@pytest.mark.parametrize("told", [NOT_KNOWN, NO_ANSWER])
def test_what_may_have_happened_since_may_be_there_or_not(told: Told) -> None:
    unknown = Operation(0, "n1", Put("k", "b"), told, 2, 2.1 if told is NOT_KNOWN else math.inf)
    for value in ("a", "b"):
        assert judged(PUT, unknown, newest(3, value)).verdict is Verdict.VALID
    assert judged(PUT, unknown, newest(3, "c")).verdict is Verdict.INVALID
    assert judged(PUT, at(2, Delete("k"), told), newest(3, None)).verdict is Verdict.VALID


def test_what_has_failed_leaves_nothing() -> None:
    assert judged(PUT, at(2, Cas("k", "b", 1), MISMATCH), newest(3, "b")).verdict is Verdict.INVALID
    assert judged(PUT, at(2, Cas("k", "b", 1), MISMATCH), newest(3, "a")).verdict is Verdict.VALID


def test_a_write_that_was_asked_for_after_the_read_was_told_is_no_excuse() -> None:
    late = at(4, Put("k", "b"), NOT_KNOWN)
    assert judged(PUT, newest(3, "b"), late).verdict is Verdict.INVALID


def test_a_write_may_be_seen_before_it_is_acknowledged() -> None:
    slow = done(2, Put("k", "b"), 7, lasts_s=2)
    for value in ("a", "b"):
        assert judged(PUT, slow, newest(3, value), newest(5, "b")).verdict is Verdict.VALID


def test_the_tries_of_a_write_are_one_write() -> None:
    tries = (Try("n1", 1.0), Try("n2", 2.0))
    again = Operation(
        0, "n2", Put("k", "a", client_id="me", sequence=1), Told(Outcome.OK, modify_index=5), 1, 2.1, tries
    )
    assert judged(again, newest(3, "a")).verdict is Verdict.VALID
    assert judged(again, newest(3, None)).verdict is Verdict.INVALID


# Which reads must show it


def test_a_plain_read_of_a_node_that_is_cut_off_may_be_old() -> None:
    write, _ = WRITES["put"]
    assert judged(PUT, write, plain(3, "a"), newest(3, "b")).verdict is Verdict.VALID
    assert judged(PUT, write, plain(3, "b")).verdict is Verdict.UNKNOWN, "a read that may be old is no witness"


def test_a_plain_read_must_show_what_was_there_when_all_agreed() -> None:
    write, _ = WRITES["cas"]
    assert judged(PUT, write, plain(4, "b"), timeline=[agreed(3)]).verdict is Verdict.VALID
    assert judged(PUT, write, plain(4, "a"), timeline=[agreed(3)]).verdict is Verdict.INVALID
    assert judged(PUT, write, plain(4, None), timeline=[agreed(3)]).verdict is Verdict.INVALID


def test_a_plain_read_need_not_show_what_came_after_all_had_agreed() -> None:
    write, _ = WRITES["put"]
    history = (PUT, write, plain(4, "a"), newest(5, "b"))
    assert judged(*history, timeline=[agreed(1.5)]).verdict is Verdict.VALID


@pytest.mark.parametrize("what", ["kill", "restart", "died", "shut_down"])
def test_a_node_that_has_started_again_may_read_what_is_old(what: str) -> None:
    history = (PUT, plain(4, None), newest(5, "a"))
    assert judged(*history, timeline=[agreed(3)]).verdict is Verdict.INVALID
    assert judged(*history, timeline=[agreed(3), event(3.5, what, "n2")]).verdict is Verdict.VALID
    assert judged(*history, timeline=[agreed(3), event(4.05, what, "n2")]).verdict is Verdict.VALID, "amid the read"
    assert judged(*history, timeline=[agreed(3), event(3.5, what, "n3")]).verdict is Verdict.INVALID, "another node"


def test_a_node_that_was_not_among_those_who_agreed_may_read_what_is_old() -> None:
    assert judged(PUT, plain(4, None), newest(5, "a"), timeline=[agreed(3, "n1", "n3")]).verdict is Verdict.VALID


@pytest.mark.parametrize(("rate", "verdict"), [(0.9, Verdict.INVALID), (0.0, Verdict.VALID), (30.0, Verdict.VALID)])
def test_a_read_by_a_lease_is_believed_as_long_as_clocks_run_alike(rate: float, verdict: Verdict) -> None:
    clock = event(0.5, "clock_rate", "n1", rate=rate)
    old = newest(3, None, by=Freshness.LEASE)
    assert judged(PUT, old, newest(4, "a"), timeline=[clock]).verdict is verdict
    assert judged(PUT, newest(3, None), timeline=[clock]).verdict is Verdict.INVALID, "no clock matters to that read"


def test_what_a_node_refused_to_read_is_no_witness() -> None:
    refused = at(3, Get("k", Freshness.LINEARIZABLE), Told(Outcome.FAILED, "no leader"))
    assert judged(PUT, refused).verdict is Verdict.UNKNOWN


def test_a_read_of_several_keys_is_one_of_each() -> None:
    batch = done(1, SetAll((Item("a", "1"), Item("b", "2"))), 5)
    for found, verdict in (({"a": "1", "b": "2"}, Verdict.VALID), ({"a": "1"}, Verdict.INVALID)):
        read = at(3, GetAll(("a", "b")), Told(Outcome.OK, result=found))
        assert judged(batch, read, timeline=[agreed(2)]).verdict is verdict


def test_a_run_without_an_acknowledged_write_shows_nothing() -> None:
    assert judged(at(1, Put("k", "a"), NOT_KNOWN), newest(3, None)).verdict is Verdict.UNKNOWN


NOISE: Record = {"event": "noise", "at_s": 0.5, "links": "client->n1,n1->n2", "detail": "duplication 0.5"}


@pytest.mark.parametrize(
    "twice", [at(1.5, Put("k", "b"), Told(Outcome.FAILED, "not leader")), done(0.8, Put("k", "b"), 3)]
)
def test_where_requests_may_come_twice_one_may_have_been_done_though_it_was_refused_or_once_more(
    twice: Operation,
) -> None:
    """Noise doubles clients' requests: a leader may take on what another node has refused, or what it has done."""
    history = (twice, done(2, Put("k", "a"), 5), newest(3, "b"))
    assert acknowledged_writes_survive(Evidence(history, {}, ())).verdict is Verdict.INVALID
    assert acknowledged_writes_survive(Evidence(history, {}, (NOISE,))).verdict is Verdict.VALID


def test_a_write_that_is_numbered_takes_effect_once_however_often_it_comes() -> None:
    numbered = done(0.8, Put("k", "b", client_id="c", sequence=1), 3)
    lost = Evidence((numbered, done(2, Put("k", "a"), 5), newest(3, "b")), {}, (NOISE,))
    assert acknowledged_writes_survive(lost).verdict is Verdict.INVALID
