"""What is told of a run: in which order, in how many words, and what was in force when."""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec
import pytest

from bench import timeline
from bench.evidence import ERROR, SAID, STORY_OVER, Evidence, Record
from bench.operations import Get, Operation, Outcome, Put, Told
from bench.schedule import Crash, SlowDisk
from faults.links import BYPASS, KEPT, RESTARTED


def did(at_s: float, event: str, **fields: object) -> Record:
    return {"at_s": at_s, "event": event, **fields}


def put(client: int, at_s: float, outcome: Outcome = Outcome.OK, reason: str = "") -> Operation:
    return Operation(client, "n1", Put("k", "v"), Told(outcome, reason), at_s, at_s + 0.001)


def told(*timeline_: Record, history: tuple[Operation, ...] = (), **traces: tuple[Record, ...]) -> list[list[str]]:
    """Each line as when, who, and what."""
    evidence = Evidence(history, traces, timeline_)
    return [line.split(maxsplit=2) for line in timeline.lines(evidence)]


def test_operations_faults_and_roles_stand_in_one_order() -> None:
    read = Operation(7, "n2", Get("k"), Told(Outcome.OK, result="v"), 2.5, 2.501)
    found = told(
        did(2.0, "cut", links="n1->n2,n2->n1", detail="hold"),
        did(3.0, "heal", links="n1->n2,n2->n1", detail="", attempted=4),
        history=(read,),
        n1=(did(1.0, "role", term=2, role="Leader"), did(2.75, "role", term=2, role="Follower", cause="lease over")),
    )
    assert found == [
        ["1.0000", "n1", "Leader in term 2"],
        ["2.0000", "bench", "cuts n1<->n2 (hold)"],
        ["2.5000", "client", "7  asks n2: get k: ok, v"],
        ["2.7500", "n1", "Follower in term 2 (lease over)"],
        ["3.0000", "bench", "heals n1<->n2, which had met 4 messages"],
    ]


def test_a_fault_that_outlasts_the_story_is_told_with_what_it_has_met_and_is_still_in_force() -> None:
    records = did(1.0, "cut", links="n1->n2", detail="hold"), did(2.0, KEPT, links="n1->n2", detail="cut", attempted=4)
    assert told(*records)[1] == ["2.0000", "bench", "keeps faulty n1->n2, which had met 4 messages"]
    assert timeline.in_force(Evidence((), {}, records), 3.0) == ["since 1.0000 n1->n2 is cut (hold)"]


def test_what_the_bench_does_when_the_story_is_over_is_not_told() -> None:
    found = told(
        did(1.0, "kill", node="n1"),
        did(2.0, STORY_OVER),
        did(2.1, "kill", node="n2"),
        n2=(did(2.2, "role", term=3, role="Leader"),),
    )
    assert found == [["1.0000", "bench", "kills n1"]]


def test_clients_that_ask_much_are_told_of_in_sums_between_one_thing_and_the_next() -> None:
    acknowledged = [put(1, at_s) for at_s in (1.0, 1.1, 1.2, 1.3, 1.4)]
    busy = (*acknowledged, put(1, 1.5, Outcome.FAILED, "not leader"))
    found = told(did(1.45, "pause", node="n3"), history=(*busy, put(2, 1.05)))
    assert found == [
        ["1.0000", "client", "1  asks n1: put k = v: ok"],
        ["1.0500", "client", "2  asks n1: put k = v: ok"],
        ["1.1000", "client", "1  asks n1: put k = v: ok"],
        ["1.2000", "client", "1  asks n1: put k = v: ok"],
        ["1.3000", "client", "1  asks n1: put k = v: ok"],
        ["1.4000", "client", "1  asks n1: put k = v: ok"],
        ["1.4500", "bench", "pauses n3"],
        ["1.5000", "client", "1  asks n1: put k = v: failed (not leader)"],
    ]
    more = tuple(put(1, 1.5 + number / 100, Outcome.FAILED, "not leader") for number in range(6))
    assert told(history=(*busy[:5], *more)) == [
        ["1.0000", "clients", "ask 11 times until 1.5500: 6 failed (not leader), 5 ok"]
    ]


def test_an_answer_that_took_long_or_never_came_is_told_so() -> None:
    late = Operation(1, "n1", Put("k", "v"), Told(Outcome.OK, modify_index=9), 1.0, 2.5)
    never = Operation(2, "n1", Put("k", "v"), Told(Outcome.UNKNOWN, "no answer yet"), 3.0, math.inf)
    assert [line[2] for line in told(history=(late, never))] == [
        "1  asks n1: put k = v: ok, at index 9 after 1.5000 s",
        "2  asks n1: put k = v: unknown (no answer yet)",
    ]


def test_of_a_cases_faults_those_are_told_of_which_no_other_record_tells() -> None:
    crash, slow = Crash(at_s=1, for_s=1, node="n1"), SlowDisk(at_s=1, for_s=1, node="n2", latency_ms=5)
    found = told(did(1.0, "begins", fault=crash), did(1.0, "kill", node="n1"), did(1.1, "begins", fault=slow))
    assert [line[2] for line in found] == ["kills n1", "each save of n2 takes 5 ms longer for 1 s"]


@pytest.mark.parametrize("event", sorted({*timeline.OF_THE_BENCH} - {SAID, STORY_OVER}))
def test_whatever_the_bench_did_is_told_in_words(event: str) -> None:
    fields = {"node": "n1", "links": "n1->n2", "detail": "x", "nodes": ["n1"], "words": "w", "address": "a"}
    record = did(1.0, event, **fields, exit_code=1, latency_ms=5.0, rate=0.5)
    ((_, who, what),) = told(record)
    assert who == "bench"
    assert "=" not in what


def test_an_event_that_nobody_knows_is_told_as_it_stands_there() -> None:
    assert told(did(1.0, "invented", node="n1", monotonic_s=5.0)) == [["1.0000", "bench", "invented node=n1"]]


# In force


FAULTS = (
    did(1.0, "cut", links="n1->n2,n1->n3,n2->n1,n3->n1", detail="blackhole"),
    did(1.5, "delay", links="n2->n3", detail="200ms"),
    did(2.0, "pause", node="n3"),
    did(2.5, "heal", links="n1->n2,n2->n1", detail=""),
    did(3.0, "resume", node="n3"),
    did(3.5, "end", links="n1->n3,n3->n1", detail="cut"),
    did(4.0, "kill", node="n2"),
    did(6.0, "slow_disk", node="n1", latency_ms=20.0),
    did(7.0, "slow_disk", node="n1", latency_ms=0.0),
)


@pytest.mark.parametrize(
    ("at_s", "expected"),
    [
        (0.5, []),
        (1.2, ["since 1.0000 n1<->n2, n1<->n3 are cut (blackhole)"]),
        (
            2.2,
            [
                "since 1.0000 n1<->n2, n1<->n3 are cut (blackhole)",
                "since 1.5000 n2->n3 is delayed by 200ms",
                "since 2.0000 n3 is paused",
            ],
        ),
        (3.2, ["since 1.0000 n1<->n3 are cut (blackhole)", "since 1.5000 n2->n3 is delayed by 200ms"]),
        (4.5, ["since 1.5000 n2->n3 is delayed by 200ms", "since 4.0000 n2 is down"]),
        (6.5, ["since 1.5000 n2->n3 is delayed by 200ms", "since 6.0000 n1 saves 20 ms late"]),
        (8.0, ["since 1.5000 n2->n3 is delayed by 200ms"]),
    ],
)
def test_in_force_is_what_has_begun_and_not_ended(at_s: float, expected: list[str]) -> None:
    started = {"n2": (did(5.0, "start", last_index=3),)}
    assert timeline.in_force(Evidence((), started, FAULTS), at_s) == expected


def test_what_an_error_found_in_force_is_told_though_its_blocks_have_ended_at_once() -> None:
    cut, heal = {"links": "n1->n2", "detail": "hold"}, {"links": "n1->n2", "detail": ""}
    blocks = (did(1.0, "cut", **cut), did(2.0, ERROR), did(2.0, "heal", **heal))
    assert timeline.in_force(Evidence((), {}, blocks), 2.0) == ["since 1.0000 n1->n2 is cut (hold)"]
    assert timeline.in_force(Evidence((), {}, blocks), 2.1) == []


def test_what_the_bench_saw_or_had_to_do_is_no_fault_in_force() -> None:
    seen = (did(1.0, BYPASS, links="n1->n2", detail="x"), did(1.0, RESTARTED, links="n1->n2", detail="x"))
    assert timeline.in_force(Evidence((), {}, seen), 2.0) == []


def test_in_force_within_a_span_is_what_was_so_at_any_instant_of_it() -> None:
    started = Evidence((), {"n2": (did(5.0, "start", last_index=3),)}, FAULTS)
    paused, delayed = "since 2.0000 n3 is paused", "since 1.5000 n2->n3 is delayed by 200ms"
    down, slow = "since 4.0000 n2 is down", "since 6.0000 n1 saves 20 ms late"
    assert timeline.in_force_within(started, 5.5, 6.5) == [delayed, slow]
    assert timeline.in_force_within(started, 4.5, 9.0) == [delayed, down, slow]
    assert paused in timeline.in_force_within(started, 2.2, 4.5)
    assert timeline.in_force_within(started, 8.0, 8.0) == timeline.in_force(started, 8.0)


def test_a_node_is_down_until_its_trace_says_that_it_has_started() -> None:
    restarted = did(1.0, "kill", node="n1"), did(2.0, "restart", node="n1")
    traced = {"n1": (did(0.0, "start", last_index=0), did(3.0, "start", last_index=0))}
    assert timeline.in_force(Evidence((), traced, restarted), 2.5) == ["since 1.0000 n1 is down"]
    assert timeline.in_force(Evidence((), traced, restarted), 3.5) == []
    assert timeline.in_force(Evidence((), {}, restarted), 2.5) == []


def test_a_restart_ends_what_was_done_to_the_process_and_leaves_the_disk_slow() -> None:
    done = (
        did(1.0, "pause", node="n1"),
        did(1.0, "failed_save", node="n1"),
        did(1.0, "slow_disk", node="n1", latency_ms=20.0),
        did(2.0, "restart", node="n1"),
    )
    assert timeline.in_force(Evidence((), {}, done), 2.5) == ["since 1.0000 n1 saves 20 ms late"]


def test_a_clock_is_off_if_it_is_so_by_more_than_clocks_may_be_anyway() -> None:
    rates = did(1.0, "clock_rate", node="n1", rate=0.5), did(2.0, "clock_rate", node="n1", rate=1.01)
    assert timeline.in_force(Evidence((), {}, rates), 1.5) == ["since 1.0000 n1 has a clock off by -50%"]
    assert timeline.in_force(Evidence((), {}, rates), 2.5) == []


@pytest.mark.parametrize("written", [lambda fault: fault, msgspec.to_builtins], ids=["played", "stored"])
def test_a_fault_of_a_case_of_which_nothing_else_tells_is_in_force_until_it_is_over(
    written: Callable[[SlowDisk], object],
) -> None:
    fault = SlowDisk(at_s=1.0, for_s=1.0, node="leader", latency_ms=30)
    case = did(1.0, "begins", fault=written(fault)), did(2.0, "over", fault=written(fault))
    assert timeline.in_force(Evidence((), {}, case), 1.5) == ["since 1.0000 the leader saves 30 ms late"]
    assert timeline.in_force(Evidence((), {}, case), 2.5) == []
