"""For how long nobody's write was acknowledged is told beside what was broken, and is held against nobody."""

from __future__ import annotations

import math

import pytest

from bench.checkers import availability
from bench.evidence import STORY_OVER, Evidence, Record
from bench.operations import DECISIONS, Get, Operation, Outcome, Put, Told, Try
from bench.verdict import Finding, Verdict

OK = Told(Outcome.OK)
REFUSED = Told(Outcome.FAILED, "not leader")
LOST = Told(Outcome.UNKNOWN, "no answer")


def write(since_s: float, until_s: float, told: Told = OK, *tries: Try) -> Operation:
    return Operation(0, "n1", Put("k", "v"), told, since_s, until_s, tries)


def did(at_s: float, event: str, **fields: object) -> Record:
    return {"at_s": at_s, "event": event, **fields}


def found(*history: Operation, timeline: tuple[Record, ...] = (), **traces: tuple[Record, ...]) -> Finding:
    finding = availability(Evidence(history, traces, timeline))
    assert finding.verdict is Verdict.VALID
    return finding


KILLED = (did(3.1, "kill", node="n1"), did(9.0, STORY_OVER))


def test_the_longest_time_without_an_acknowledgement_is_told_with_the_fault_of_that_time() -> None:
    told = found(write(3.0, 3.102), write(3.05, 4.95), timeline=KILLED)
    assert told.reason == "longest 1.85 s without an acknowledgement, from 3.102, since 3.1000 n1 is down"


def test_a_fault_that_begins_within_it_is_of_that_time_too_and_one_that_was_over_before_is_not() -> None:
    cut = did(2.0, "cut", links="n1->n2", detail="hold"), did(2.5, "heal", links="n1->n2", detail="", attempted=1)
    told = found(write(2.9, 3.0), write(2.95, 4.0), timeline=(*cut, *KILLED))
    assert told.reason.endswith("from 3.000, since 3.1000 n1 is down")


def test_where_no_fault_was_in_force_that_is_told() -> None:
    assert (
        found(write(1.0, 2.5)).reason == "longest 1.50 s without an acknowledgement, from 1.000, with no fault in force"
    )


def test_who_is_refused_and_asks_again_asks_all_the_while() -> None:
    told = found(write(1.0, 1.1, REFUSED), write(1.6, 1.7, LOST), write(2.2, 2.3))
    assert told.reason.startswith("longest 1.30 s without an acknowledgement, from 1.000")


def test_a_pause_of_the_story_is_no_outage() -> None:
    served = found(write(1.0, 1.2), write(50.0, 50.1))
    assert served.reason.startswith("longest 0.20 s")
    refused = found(write(1.0, 1.2, REFUSED), write(50.0, 50.1))
    assert refused.reason.startswith("longest 0.20 s")


def test_who_was_served_and_asks_again_has_not_been_waiting_in_between() -> None:
    assert found(write(1.0, 1.2), write(1.9, 1.95)).reason.startswith("longest 0.20 s")


def test_what_is_asked_when_the_story_is_over_does_not_count() -> None:
    assert found(write(9.5, 9.9), timeline=KILLED).reason == "nobody asked for a write"


def test_all_tries_of_a_write_are_one_time_of_asking() -> None:
    told = found(write(1.0, 9.0, OK, Try("n1", 1.0), Try("n2", 5.0)))
    assert told.reason.startswith("longest 8.00 s without an acknowledgement, from 1.000")


def test_what_is_never_answered_is_asked_until_the_story_ends() -> None:
    told = found(write(4.0, math.inf, LOST), timeline=KILLED)
    assert told.reason.startswith("longest 5.00 s without an acknowledgement, from 4.000")


@pytest.mark.parametrize("reason", DECISIONS)
def test_a_refusal_by_the_state_machine_is_an_answer(reason: str) -> None:
    told = found(write(1.0, 2.0, Told(Outcome.FAILED, reason)), write(1.5, 3.0))
    assert told.reason.startswith("longest 1.00 s")


def test_the_next_longest_are_told_below_and_what_is_short_is_not() -> None:
    told = found(write(1.0, 2.0), write(10.0, 13.0), write(20.0, 20.5), write(30.0, 30.01))
    assert told.reason.startswith("longest 3.00 s")
    assert [line[:11] for line in told.details] == ["then 1.00 s", "then 0.50 s"]


def test_of_many_faults_the_first_are_told_and_how_many_more() -> None:
    down = tuple(did(at_s, "kill", node=node) for at_s, node in ((1.1, "n1"), (1.2, "n2"), (1.3, "n3"), (1.4, "n4")))
    told = found(write(1.0, 9.0), timeline=down)
    assert told.reason.endswith("since 1.1000 n1 is down, since 1.2000 n2 is down, and 2 more faults")


def test_without_writes_there_is_nothing_to_measure_and_no_verdict_is_worse_for_it() -> None:
    read = Operation(0, "n1", Get("k"), LOST, 1.0, 9.0)
    assert found(read).reason == found().reason == "nobody asked for a write"
