from __future__ import annotations

from typing import Any

import pytest

from bench.case import Settings
from bench.checkers import (
    acknowledged_writes_survive,
    faults_touched_traffic,
    leadership_is_handed_over,
    logs_agree,
    nobody_disturbs_a_leader,
    one_leader_at_a_time,
    one_leader_per_term,
)
from bench.checkers.clocks import alike
from bench.evidence import Evidence, Record
from bench.operations import Get, Operation, Outcome, Put, Question, Told, Try
from bench.verdict import Finding, Verdict, combined, worst
from faults.links import KEPT


def role(at_s: float, name: str, term: int) -> Record:
    return {"event": "role", "at_s": at_s, "role": name, "term": term}


def lease(at_s: float, until_s: float | None, term: int = 2) -> Record:
    return {"event": "lease", "at_s": at_s, "until_s": until_s, "term": term}


def leads(at_s: float, term: int, until_s: float | None = 100.0) -> list[Record]:
    """Elected, with a lease until then; None is for ever."""
    return [role(at_s, "Leader", term), lease(at_s, until_s, term)]


def bench(at_s: float, event: str, node: str) -> Record:
    return {"event": event, "at_s": at_s, "node": node}


def fault(at_s: float, event: str, links: str, **fields: int) -> Record:
    return {"event": event, "at_s": at_s, "links": links, "detail": "", **fields}


def applied(index: int, digest: str) -> Record:
    return {"event": "applied", "at_s": 0.0, "term": 1, "index": index, "digest": digest}


def evidence(*timeline: Record, history: tuple[Operation, ...] = (), **traces: list[Record]) -> Evidence:
    return Evidence(history, {node: tuple(trace) for node, trace in traces.items()}, timeline)


DONE = Told(Outcome.OK)
NOT_KNOWN = Told(Outcome.UNKNOWN, "ReadTimeout")
ALL = {"a": "1", "b": "2"}
ALL_BUT_ONE = {"a": "1"}


def operation(at_s: float, asked: Question, told: Told = DONE, **changes: Any) -> Operation:
    fields = {"client": 0, "node": "n1", "invoked_s": at_s, "completed_s": at_s + 0.1}
    return Operation(asked=asked, told=told, **{**fields, **changes})


def read(at_s: float, key: str, found: str | None, **changes: Any) -> Operation:
    return operation(at_s, Get(key), Told(Outcome.OK, result=found), **changes)


def test_two_leaders_of_one_term_are_found() -> None:
    found = evidence(n1=[role(1, "Leader", 2), role(2, "Follower", 2)], n2=[role(3, "Leader", 2)])
    assert one_leader_per_term(found).verdict is Verdict.INVALID


def test_two_leaders_at_one_instant_are_found_though_their_terms_differ() -> None:
    found = evidence(n1=[*leads(1, 2), role(3.001, "Follower", 2)], n2=leads(3, 3))
    assert one_leader_per_term(found).verdict is Verdict.VALID
    assert one_leader_at_a_time(found).verdict is Verdict.INVALID


@pytest.mark.parametrize(
    ("first", "second", "lasted"),
    [
        ([*leads(1, 2), role(3.212, "Follower", 2)], leads(3, 3), "for 212 ms: n1 in term 2"),
        (leads(1, 2), [*leads(3, 3), role(3.05, "Follower", 3)], "for 50 ms: n1 in term 2"),
        (leads(1, 2, None), leads(3, 3, None), "until the end: n1 in term 2"),
    ],
)
def test_two_leaders_at_once_are_told_with_how_long_both_led(
    first: list[Record], second: list[Record], lasted: str
) -> None:
    found = one_leader_at_a_time(evidence(n1=first, n2=second))
    assert (found.verdict, found.at_s) == (Verdict.INVALID, 3)
    assert found.reason.startswith(f"two leaders at once {lasted}")


def test_one_leader_after_the_other_is_fine() -> None:
    found = evidence(n1=[*leads(1, 2), role(3, "Follower", 2)], n2=leads(3, 3))
    assert one_leader_at_a_time(found).verdict is Verdict.VALID


def test_a_reign_whose_lease_was_over_before_it_began_overlaps_none() -> None:
    found = evidence(
        n1=[*leads(1, 2), role(3, "Follower", 2)],
        n2=[*leads(2, 3, until_s=0.5), role(0.5, "Follower", 3)],
    )
    assert one_leader_at_a_time(found).verdict is Verdict.VALID


def test_a_long_reign_overlaps_one_that_begins_and_ends_within_it() -> None:
    found = evidence(
        n1=[*leads(1, 2), role(9, "Follower", 2)],
        n2=[*leads(3, 3), role(4, "Follower", 3)],
    )
    assert one_leader_at_a_time(found).verdict is Verdict.INVALID


def test_a_leader_that_was_killed_reigned_until_then() -> None:
    killed = bench(2, "kill", "n1")
    start = {"event": "start", "at_s": 8.0, "term": 2}
    for trace in (leads(1, 2), [*leads(1, 2), start]):
        found = evidence(killed, n1=trace, n2=leads(3, 3))
        assert one_leader_at_a_time(found).verdict is Verdict.VALID


@pytest.mark.parametrize("until_s", [3.5, None])
def test_a_leader_whose_lease_lasts_reigns_on(until_s: float | None) -> None:
    found = evidence(n1=leads(1, 2, until_s), n2=leads(3, 3))
    assert one_leader_at_a_time(found).verdict is Verdict.INVALID


@pytest.mark.parametrize(
    "happened", [(), (bench(1.4, "pause", "n1"), bench(5, "kill", "n1")), (bench(5, "kill", "n1"),)]
)
def test_a_leader_that_wrote_no_more_reigned_until_its_last_lease(happened: tuple[Record, ...]) -> None:
    """It hung in a save, was starved or stopped, until the run ended or it was killed: it could not write that it
    ceased to lead, nor say that it did any longer."""
    found = evidence(*happened, n1=[*leads(1, 2, until_s=1.5), lease(1.2, 1.7)], n2=leads(1.7, 3))
    assert one_leader_at_a_time(found).verdict is Verdict.VALID
    overlapping = evidence(*happened, n1=[*leads(1, 2, until_s=1.5), lease(1.2, 1.8)], n2=leads(1.7, 3))
    assert one_leader_at_a_time(overlapping).verdict is Verdict.INVALID


def test_a_lease_that_became_shorter_is_no_longer_than_its_last_record_says() -> None:
    found = evidence(n1=[*leads(1, 2, until_s=9), lease(2, 2.5)], n2=leads(3, 3))
    assert one_leader_at_a_time(found).verdict is Verdict.VALID


def handed_over(*successor: Record, n3: tuple[Record, ...] = ()) -> Finding:
    """n1 hands over to n2 at 2, in term 2."""
    transfer = {"event": "transfer", "at_s": 2.0, "term": 2, "to": "n2"}
    old = [role(1, "Leader", 2), role(2, "Follower", 2), transfer]
    return leadership_is_handed_over(evidence(n1=old, n2=list(successor), n3=list(n3)))


def ended(at_s: float, cause: str, term: int = 2, **by: str) -> Record:
    return {**role(at_s, "Follower", term), "cause": cause, **by}


def test_a_leader_deposed_by_a_higher_term_was_disturbed() -> None:
    found = nobody_disturbs_a_leader(evidence(n1=[role(1, "Leader", 2), ended(2, "higher term", 5, by="n4")]))
    assert found.verdict is Verdict.INVALID
    assert "n4 deposed n1 with term 5 at 2.0000" in found.reason


@pytest.mark.parametrize("cause", ["lease over", "handed over"])
def test_a_leader_that_was_starved_or_handed_over_was_not_disturbed(cause: str) -> None:
    found = evidence(n1=[role(1, "Leader", 2), ended(2, cause)], n2=[role(3, "Leader", 3)])
    assert nobody_disturbs_a_leader(found) == Finding(
        "nobody_disturbs_a_leader", Verdict.VALID, f"2 times a node led, and was not disturbed, 1 ended by {cause}"
    )


def test_a_leader_that_was_killed_was_not_disturbed() -> None:
    start = {"event": "start", "at_s": 8.0, "term": 2}
    found = evidence(n1=[role(1, "Leader", 2), start, role(9, "PreCandidate", 2), role(10, "Follower", 3)])
    assert nobody_disturbs_a_leader(found).verdict is Verdict.VALID


def test_a_trace_that_does_not_say_why_a_reign_ended_carries_no_verdict() -> None:
    found = evidence(n1=[role(1, "Leader", 2), role(2, "Follower", 2)])
    assert nobody_disturbs_a_leader(found).verdict is Verdict.UNKNOWN
    assert nobody_disturbs_a_leader(evidence(n1=[])).verdict is Verdict.UNKNOWN


def test_who_was_handed_leadership_and_led_next_did_not_wait_for_it() -> None:
    candidate, leader = role(2.1, "Candidate", 3), role(2.2, "Leader", 3)
    assert handed_over(candidate, leader).verdict is Verdict.VALID
    assert handed_over(role(0.1, "PreCandidate", 1), candidate, leader).verdict is Verdict.VALID


@pytest.mark.parametrize(
    ("successor", "other"),
    [
        ((), ()),
        ((role(4, "PreCandidate", 2), role(4.1, "Candidate", 3), role(4.2, "Leader", 3)), ()),
        ((role(2.1, "Candidate", 3), role(4.2, "Leader", 4)), ()),
        ((role(5, "Leader", 4),), (role(4, "Leader", 3), role(4.9, "Follower", 3))),
    ],
    ids=["nobody led", "after a time-out", "in a later term", "after another"],
)
def test_a_handing_over_that_was_waited_for_is_found(successor: tuple[Record, ...], other: tuple[Record, ...]) -> None:
    assert handed_over(*successor, n3=other).verdict is Verdict.INVALID


@pytest.mark.parametrize(
    "check",
    [
        one_leader_per_term,
        one_leader_at_a_time,
        leadership_is_handed_over,
        logs_agree,
        acknowledged_writes_survive,
    ],
)
def test_where_nothing_was_seen_nothing_is_known(check: Any) -> None:
    assert check(evidence(n1=[])).verdict is Verdict.UNKNOWN


def test_different_logs_up_to_one_index_are_found() -> None:
    found = evidence(n1=[applied(3, "a"), applied(5, "b")], n2=[applied(5, "c")])
    assert logs_agree(found).verdict is Verdict.INVALID
    assert logs_agree(evidence(n1=[applied(5, "b")], n2=[applied(5, "b")])).verdict is Verdict.VALID


def test_a_node_that_applies_another_log_after_a_restart_is_found() -> None:
    assert logs_agree(evidence(n1=[applied(5, "b"), applied(5, "c")])).verdict is Verdict.INVALID


def test_a_cut_that_swallowed_messages_was_felt() -> None:
    cut, heal = fault(1, "cut", "n1->n2,n2->n1"), fault(3, "heal", "n1->n2,n2->n1", attempted=7)
    found = faults_touched_traffic(evidence(cut, heal))
    assert (found.verdict, found.reason) == (Verdict.VALID, "once links were faulty, and met 7 messages")


@pytest.mark.parametrize(("met", "verdict"), [(7, Verdict.VALID), (0, Verdict.UNKNOWN)])
def test_what_a_fault_has_met_that_outlasts_the_story_counts_like_that_of_one_that_healed(
    met: int, verdict: Verdict
) -> None:
    found = faults_touched_traffic(evidence(fault(1, "cut", "n1->n2"), fault(3, KEPT, "n1->n2", attempted=met)))
    assert found.verdict is verdict


@pytest.mark.parametrize("event", ["cut", "delay", "limit", "noise"])
def test_a_fault_on_links_that_nobody_used_leaves_the_run_unknown(event: str) -> None:
    felt = [fault(1, "cut", "n1->n2"), fault(2, "heal", "n1->n2", attempted=7)]
    silent = [fault(3, event, "n2->n3,n3->n2"), fault(4, "heal", "n2->n3,n3->n2", attempted=0)]
    found = faults_touched_traffic(evidence(*felt, *silent))
    assert found.verdict is Verdict.UNKNOWN
    assert "n2->n3, n3->n2" in found.reason


@pytest.mark.parametrize(
    ("node", "at_s", "verdict"),
    [
        ("n1", 2.0, Verdict.VALID),
        ("n2", 2.0, Verdict.UNKNOWN),
        ("n1", 0.5, Verdict.UNKNOWN),
        ("n1", 3.0, Verdict.UNKNOWN),
    ],
)
def test_a_cut_client_link_meets_what_is_asked_over_it_in_its_time(node: str, at_s: float, verdict: Verdict) -> None:
    cut, heal = fault(1, "cut", "client->n1"), fault(3, "heal", "client->n1", attempted=0)
    asked = operation(at_s, Put("k", "1"), NOT_KNOWN, node=node)
    assert faults_touched_traffic(evidence(cut, heal, history=(asked,))).verdict is verdict


def test_a_fault_that_ends_while_another_lasts_on_its_links_is_looked_at_when_that_heals() -> None:
    overlapping = [fault(1, "delay", "n1->n2"), fault(2, "cut", "n1->n2"), fault(3, "end", "n1->n2")]
    found = [
        faults_touched_traffic(evidence(*overlapping, *more))
        for more in ([], [fault(4, "heal", "n1->n2", attempted=7)])
    ]
    assert [finding.verdict for finding in found] == [Verdict.UNKNOWN, Verdict.VALID]


def test_a_cut_client_link_meets_every_try_of_a_write() -> None:
    cut, heal = fault(1, "cut", "client->n1"), fault(3, "heal", "client->n1", attempted=0)
    write = operation(0.5, Put("k", "1"), node="n2", tries=(Try("n2", 0.5), Try("n1", 2.0), Try("n2", 4.0)))
    assert faults_touched_traffic(evidence(cut, heal, history=(write,))).verdict is Verdict.VALID


def test_a_fault_that_stayed_is_not_known_to_have_met_anything() -> None:
    assert faults_touched_traffic(evidence(fault(1, "cut", "n1->n2"))).verdict is Verdict.UNKNOWN


def test_a_run_without_faults_on_links_owes_no_traffic() -> None:
    healed_for_nothing = fault(2, "heal", "n1->n2,n2->n1")
    found = faults_touched_traffic(evidence(bench(1, "kill", "n1"), healed_for_nothing))
    assert (found.verdict, found.reason) == (Verdict.VALID, "no fault was put on a link")


def test_the_worst_finding_decides() -> None:
    found = [Finding("c", verdict, "") for verdict in (Verdict.VALID, Verdict.UNKNOWN, Verdict.INVALID)]
    assert [combined(found[:count]) for count in (1, 2, 3)] == [finding.verdict for finding in found]


def test_what_was_skipped_takes_nothing_from_what_was_played() -> None:
    assert worst([Verdict.SKIPPED, Verdict.VALID]) is Verdict.VALID
    assert worst([Verdict.SKIPPED]) is Verdict.SKIPPED


def test_where_nothing_was_found_nothing_is_known() -> None:
    assert combined([]) is Verdict.UNKNOWN


def test_a_verdict_has_its_exit_status() -> None:
    statuses = {verdict: verdict.exit_status for verdict in Verdict}
    assert statuses == {Verdict.VALID: 0, Verdict.SKIPPED: 0, Verdict.INVALID: 1, Verdict.UNKNOWN: 2}


# What rests on clocks


def clock(at_s: float, node: str, rate: float) -> Record:
    return {"event": "clock_rate", "at_s": at_s, "node": node, "rate": rate}


@pytest.mark.parametrize("check", [one_leader_at_a_time, nobody_disturbs_a_leader])
@pytest.mark.parametrize("rate", [0.0, 0.4, 2.5])
def test_what_a_lease_keeps_is_not_judged_where_a_clock_ran_much_faster_than_another(check: Any, rate: float) -> None:
    found = check(evidence(clock(0.2, "n1", 1.1), clock(0.5, "n1", rate), n1=leads(1, 2), n2=leads(2, 3)))
    assert found.verdict is Verdict.UNKNOWN
    assert f"from 0.5000 the clock of n1 ran at {rate:g} of its rate" in found.reason


@pytest.mark.parametrize("rate", [0.6, 1.0, 1.9])
def test_clocks_that_run_about_alike_excuse_nobody(rate: float) -> None:
    found = evidence(clock(0.5, "n1", rate), n1=leads(1, 2), n2=leads(2, 3))
    assert one_leader_at_a_time(found).verdict is Verdict.INVALID


def test_how_much_clocks_may_differ_is_a_matter_of_the_lease_and_the_heartbeat_timeout() -> None:
    assert alike([1.0, 1.0], Settings(leader_lease_timeout_s=1.0))
    assert not alike([1.0, 1.01], Settings(leader_lease_timeout_s=1.0))
    assert alike([0.5, 1.0], Settings(leader_lease_timeout_s=0.5))
    assert alike([0.11, 1.0], Settings(leader_lease_timeout_s=0.11))
    assert not alike([0.0, 1.0], Settings(leader_lease_timeout_s=0.11))
