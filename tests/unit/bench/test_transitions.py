"""Traces that Raft allows, and for each rule of the specification some that it does not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from bench.checkers import traces_follow_raft
from bench.checkers.specification import RULES
from bench.cluster import PromiseBrokenError
from bench.evidence import Evidence, Record
from bench.player import Player
from bench.scenarios import SCENARIOS
from bench.search.explore import case_of
from bench.simulated.cluster import SimulatedCluster
from bench.verdict import Finding, Verdict

Line = tuple[str, Record]
"""A node, and what it writes down next."""
THREE = ("n1", "n2", "n3")


def write(node: str, event: str, term: int, **fields: Any) -> Line:
    return node, {"event": event, "term": term, **fields}


def start(node: str, term: int = 0, voted_for: str | None = None, last_index: int = 0) -> Line:
    return write(node, "start", term, pid=1, voted_for=voted_for, last_index=last_index)


def members(node: str, term: int, index: int, *voters: str, others: tuple[str, ...] = ()) -> Line:
    return write(node, "membership", term, index=index, voters=voters, others=others)


def term(node: str, term: int) -> Line:
    return write(node, "term", term)


def vote(node: str, term: int, candidate: str) -> Line:
    return write(node, "vote", term, candidate=candidate)


def role(node: str, term: int, role: str) -> Line:
    return write(node, "role", term, role=role)


def lease(node: str, term: int) -> Line:
    return write(node, "lease", term, until_s=99.0)


def commit(node: str, term: int, index: int, entry_term: int) -> Line:
    return write(node, "commit", term, commit_index=index, entry_term=entry_term)


def applied(node: str, term: int, index: int) -> Line:
    return write(node, "applied", term, index=index, digest="")


def taken(node: str, term: int, index: int) -> Line:
    return write(node, "snapshot_taken", term, index=index)


def installed(node: str, term: int, index: int) -> Line:
    return write(node, "snapshot_installed", term, index=index)


def stands(node: str, in_term: int) -> list[Line]:
    return [term(node, in_term), vote(node, in_term, node), role(node, in_term, "Candidate")]


def votes(in_term: int, candidate: str, *voters: str) -> list[Line]:
    return [line for voter in voters for line in (term(voter, in_term), vote(voter, in_term, candidate))]


def leads(node: str, in_term: int) -> list[Line]:
    return [role(node, in_term, "Leader"), lease(node, in_term)]


def adds(node: str, in_term: int, index: int, *voters: str) -> list[Line]:
    """Commits what makes a change of members possible, and makes it."""
    return [commit(node, in_term, index - 1, in_term), members(node, in_term, index, *voters)]


STARTED = [start(node) for node in THREE]
FOUNDED = [*STARTED, *(line for node in THREE for line in (term(node, 1), members(node, 1, 1, *THREE)))]
"""The log has the configuration at 1."""
ELECTED = [*FOUNDED, *stands("n1", 2), *votes(2, "n1", "n2", "n3"), *leads("n1", 2)]
"""With what begins the term at 2."""
WRITTEN = [*ELECTED, *(line for node in THREE for line in (commit(node, 2, 4, 2), applied(node, 2, 4)))]
SUCCEEDED = [*WRITTEN, role("n1", 2, "Follower"), *stands("n2", 3), *votes(3, "n2", "n3"), *leads("n2", 3)]
"""Nobody but n3 has heard of it."""


def evidence(lines: list[Line], *timeline: Record, unheard: tuple[str, ...] = ()) -> Evidence:
    """One line after the other, a second each. Every node but these is heard of once more in the end."""
    last = [write(node, "stop", 0) for node in {node: None for node, _ in lines} if node not in unheard]
    traces: dict[str, list[Record]] = {}
    for at_s, (node, record) in enumerate([*lines, *last]):
        traces.setdefault(node, []).append({"at_s": float(at_s), **record})
    return Evidence((), {node: tuple(trace) for node, trace in traces.items()}, timeline)


def found(lines: list[Line], *timeline: Record, unheard: tuple[str, ...] = ()) -> Finding:
    return traces_follow_raft(evidence(lines, *timeline, unheard=unheard))


# What Raft allows

ALLOWED: dict[str, list[Line]] = {
    "a term with a leader, and the next": [*SUCCEEDED, commit("n2", 3, 5, 3), term("n1", 3), commit("n1", 3, 5, 3)],
    "who asks for pre-votes, and is heard by nobody": [
        *WRITTEN,
        role("n3", 2, "PreCandidate"),
        role("n3", 2, "Follower"),
    ],
    "an election that nobody wins, and the next": [*WRITTEN, *stands("n3", 3), *stands("n3", 4)],
    "a candidate that asks for pre-votes before it stands again": [
        *WRITTEN,
        *stands("n3", 3),
        role("n3", 3, "PreCandidate"),
        *stands("n3", 4),
    ],
    "a vote that was saved, and its voter killed before it was written down": [
        *[*FOUNDED, *stands("n1", 2), *votes(2, "n1", "n2")],
        start("n3", 2, "n1", 1),
        *leads("n1", 2),
    ],
    "a leader with the vote of a node that was saved only": [
        *[*FOUNDED, *stands("n1", 2)],
        start("n3", 2, "n1", 1),
        *leads("n1", 2),
    ],
    "a start with entries, a term and a vote that nobody had written down": [*WRITTEN, start("n3", 5, "n3", 9)],
    "a start with a snapshot": [*WRITTEN, taken("n3", 2, 4), start("n3", 2, "n1", 4), applied("n3", 2, 4)],
    "a start with an older snapshot, as the newest was damaged": [
        *[*WRITTEN, commit("n1", 2, 9, 2), commit("n3", 2, 9, 2), applied("n3", 2, 9), taken("n3", 2, 9)],
        *[start("n3", 2, "n1", 9), applied("n3", 2, 4), commit("n3", 2, 9, 2), applied("n3", 2, 9)],
        taken("n3", 2, 9),
    ],
    "a commit index that is learnt anew": [*WRITTEN, start("n3", 2, "n1", 4), commit("n3", 2, 2, 2)],
    "a snapshot of what is ahead": [
        *[*WRITTEN, commit("n1", 2, 9, 2), installed("n3", 2, 9), commit("n3", 2, 9, 2), applied("n3", 2, 9)],
    ],
    "two servers that join, one after the other": [
        *[*WRITTEN, *adds("n1", 2, 6, *THREE, "n4"), *adds("n1", 2, 8, *THREE, "n4", "n5")],
        commit("n1", 2, 8, 2),
    ],
    "a learner": [*WRITTEN, members("n1", 2, 5, *THREE, others=("n4",))],
    "a leader that removes itself, and leads until that is committed": [
        *[*WRITTEN, *adds("n1", 2, 6, "n2", "n3"), lease("n1", 2), commit("n1", 2, 6, 2), role("n1", 2, "Follower")],
        write("n1", "transfer", 2, to="n2"),
    ],
    "who was removed, and is elected to commit that": [
        *[*WRITTEN, *adds("n1", 2, 6, "n2", "n3"), role("n1", 2, "Follower"), *stands("n1", 3)],
        *[*votes(3, "n1", "n2", "n3"), *leads("n1", 3)],
    ],
    "a follower's change of members that is taken back": [
        *[*WRITTEN, members("n1", 2, 5, *THREE, "n4"), members("n3", 2, 5, *THREE, "n4"), role("n1", 2, "Follower")],
        *[*stands("n2", 3), *votes(3, "n2", "n3"), *leads("n2", 3), members("n3", 3, 1, *THREE)],
        *[commit("n2", 3, 5, 3), members("n2", 3, 6, *THREE, "n5"), members("n3", 3, 6, *THREE, "n5")],
    ],
    "a follower that knows two changes at once, of which one was committed elsewhere": [
        *[*WRITTEN, *adds("n1", 2, 6, *THREE, "n4"), *adds("n1", 2, 8, *THREE, "n4", "n5")],
        *[members("n3", 2, 6, *THREE, "n4"), members("n3", 2, 8, *THREE, "n4", "n5"), commit("n3", 2, 7, 2)],
    ],
    "an end that is written before what else its round did": [
        *[*WRITTEN, write("n3", "stop", 3), term("n3", 3)],
    ],
}


@pytest.mark.parametrize("lines", ALLOWED.values(), ids=ALLOWED)
def test_what_raft_allows_is_valid(lines: list[Line]) -> None:
    finding = found(lines)
    assert (finding.verdict, finding.details) == (Verdict.VALID, ()), finding.reason


# What it does not

NOT_ALLOWED: list[tuple[str, list[Line]]] = [
    ("terms_go_up", [*WRITTEN, term("n3", 2)]),
    ("terms_go_up", [*WRITTEN, term("n3", 1)]),
    ("acts_in_its_term", [*ELECTED, commit("n1", 1, 1, 1)]),
    ("acts_in_its_term", [*WRITTEN, lease("n1", 3)]),
    ("terms_last", [*WRITTEN, start("n3", 1, None, 4)]),
    ("votes_last", [*WRITTEN, start("n3", 2, None, 4)]),
    ("votes_last", [*WRITTEN, start("n3", 2, "n3", 4)]),
    ("logs_last", [*WRITTEN, start("n3", 2, "n1", 3)]),
    ("logs_last", [*WRITTEN, start("n3", 2, "n1", 4), start("n3", 2, "n1", 3)]),
    ("one_vote_in_a_term", [*ELECTED, vote("n3", 2, "n2")]),
    ("one_vote_in_a_term", [*FOUNDED, *stands("n1", 2), start("n3", 2, "n1", 1), vote("n3", 2, "n3")]),
    ("votes_are_asked_for", [*ELECTED, term("n3", 3), vote("n3", 3, "n2")]),
    ("roles_follow", [*WRITTEN, role("n2", 2, "Leader")]),
    ("roles_follow", [*WRITTEN, role("n1", 2, "PreCandidate")]),
    ("roles_follow", [*WRITTEN, role("n2", 2, "PreCandidate"), role("n2", 2, "Leader")]),
    ("roles_follow", [*WRITTEN, term("n1", 3), vote("n1", 3, "n1"), role("n1", 3, "Candidate")]),
    ("roles_follow", [*WRITTEN, start("n1", 2, "n1", 4), role("n1", 2, "Leader")]),
    ("elections_begin_a_term", [*WRITTEN, *stands("n2", 3), role("n2", 3, "Follower"), role("n2", 3, "Candidate")]),
    ("candidates_vote_for_themselves", [*WRITTEN, role("n2", 2, "Candidate")]),
    ("candidates_vote_for_themselves", [*WRITTEN, *stands("n2", 3), term("n2", 4), role("n2", 4, "Leader")]),
    (
        "one_leader_in_a_term",
        [*FOUNDED, *stands("n2", 2), *stands("n1", 2), *votes(2, "n1", "n3"), *leads("n1", 2), *leads("n2", 2)],
    ),
    ("majorities_elect", [*FOUNDED, *stands("n1", 2), *leads("n1", 2), *votes(2, "n1", "n2", "n3")]),
    ("majorities_elect", [*FOUNDED, *stands("n1", 2), term("n2", 2), vote("n2", 2, "n2"), *leads("n1", 2)]),
    ("voters_lead", [*WRITTEN, *adds("n1", 2, 6, "n2", "n3"), commit("n1", 2, 6, 2), role("n1", 2, "Follower")]),
    ("leaders_hold_leases", [*WRITTEN, lease("n2", 2)]),
    ("leaders_hold_leases", [*WRITTEN, term("n1", 3), lease("n1", 3)]),
    ("leaders_hand_over", [*WRITTEN, write("n2", "transfer", 2, to="n3")]),
    ("commits_go_up", [*WRITTEN, commit("n3", 2, 3, 2)]),
    ("entries_are_of_the_past", [*WRITTEN, commit("n3", 2, 5, 3)]),
    ("leaders_count_their_own", [*SUCCEEDED, commit("n2", 3, 5, 2)]),
    ("leaders_commit_first", [*WRITTEN, commit("n3", 2, 5, 2)]),
    ("one_log_is_committed", [*SUCCEEDED, commit("n2", 3, 4, 3)]),
    ("one_log_is_committed", [*SUCCEEDED, commit("n2", 3, 5, 3), commit("n3", 3, 5, 2)]),
    ("only_what_is_committed_is_applied", [*WRITTEN, applied("n3", 2, 5)]),
    ("applying_goes_up", [*WRITTEN, applied("n3", 2, 3)]),
    ("snapshots_are_of_what_is_applied", [*WRITTEN, commit("n1", 2, 5, 2), taken("n1", 2, 5)]),
    ("snapshots_are_newer", [*WRITTEN, taken("n1", 2, 4), taken("n1", 2, 3)]),
    ("old_snapshots_are_not_installed", [*WRITTEN, installed("n3", 2, 3)]),
    ("leaders_only_append", [*WRITTEN, members("n1", 2, 5, *THREE, "n4"), members("n1", 2, 1, *THREE)]),
    ("members_change_one_by_one", [*WRITTEN, members("n1", 2, 5, *THREE, "n4", "n5")]),
    ("members_change_one_by_one", [*WRITTEN, members("n1", 2, 5, "n1", "n2", "n4")]),
    ("changes_wait_for_the_last", [*WRITTEN, members("n1", 2, 5, *THREE, "n4"), members("n1", 2, 6, *THREE)]),
    ("changes_wait_for_the_term", [*SUCCEEDED, members("n2", 3, 6, *THREE, "n4")]),
    ("configurations_agree", [*WRITTEN, *adds("n1", 2, 6, *THREE, "n4"), commit("n1", 2, 6, 2)]),
]
"""The rule, and what breaks it: with the last line, if nothing of the next table follows."""
THEN: dict[str, list[Line]] = {
    "voters_lead": [*stands("n1", 3), *votes(3, "n1", "n2", "n3"), role("n1", 3, "Leader")],
    "configurations_agree": [members("n3", 2, 6, *THREE, "n5"), commit("n3", 2, 6, 2)],
}


@pytest.mark.parametrize(("rule", "lines"), NOT_ALLOWED)
def test_what_breaks_a_rule_is_found_by_it(rule: str, lines: list[Line]) -> None:
    finding = found([*lines, *THEN.get(rule, ())])
    assert (finding.verdict, f"({rule}: " in finding.reason) == (Verdict.INVALID, True), finding.reason


def test_every_rule_has_been_seen_to_convict() -> None:
    assert {rule.name for rules in RULES.values() for rule in rules} == {rule for rule, _ in NOT_ALLOWED}


def test_the_finding_names_who_what_why_and_when_and_shows_what_came_before() -> None:
    finding = found([*ELECTED, vote("n3", 2, "n2")])
    assert finding.reason == (
        "n3 may not write vote candidate=n2 in term 2: it had voted for n1 in this term (one_vote_in_a_term: Raft §5.2)"
    )
    assert finding.at_s == float(len(ELECTED))
    assert f"not allowed: {finding.at_s:.4f} n3 vote candidate=n2 in term 2" in finding.details
    assert any(line.startswith("before: ") and "n3 vote candidate=n1 in term 2" in line for line in finding.details)
    assert any(line.startswith("others: ") and "n1 vote candidate=n1" in line for line in finding.details)


def test_the_first_that_is_not_allowed_is_told() -> None:
    finding = found([*ELECTED, vote("n3", 2, "n2"), vote("n2", 2, "n3")])
    assert finding.reason.startswith("n3 ")


# What cannot be known


NOT_VOTED = [*FOUNDED, *stands("n1", 2), *leads("n1", 2)]


@pytest.mark.parametrize(("unheard", "verdict"), [(("n2",), Verdict.VALID), (("n1",), Verdict.INVALID)])
def test_who_was_never_heard_of_again_may_have_voted(unheard: tuple[str, ...], verdict: Verdict) -> None:
    assert found(NOT_VOTED, unheard=unheard).verdict is verdict


@pytest.mark.parametrize("rule", ["votes_are_asked_for", "leaders_commit_first"])
def test_who_was_never_heard_of_again_may_have_done_more(rule: str) -> None:
    lines = next(lines for name, lines in NOT_ALLOWED if name == rule)
    assert found(lines, unheard=("n1", "n2")).verdict is Verdict.VALID


def test_causes_come_before_effects_only_by_clocks_that_nobody_changed() -> None:
    late = [*NOT_VOTED, *votes(2, "n1", "n2", "n3")]
    changed = {"event": "clock_rate", "at_s": 1.0, "node": "n1", "rate": 0.5}
    assert found(late).verdict is Verdict.INVALID
    assert found(late, changed).verdict is Verdict.VALID


def test_a_lease_that_was_over_before_its_node_noticed_it_is_in_order() -> None:
    last_s = float(len(WRITTEN))
    before = evidence([*WRITTEN, write("n1", "lease", 2, until_s=1.5)])
    ended = {"event": "role", "at_s": 1.5, "term": 2, "role": "Follower"}
    traces = {**before.traces, "n1": (*before.traces["n1"][:-1], ended, {"event": "term", "at_s": last_s, "term": 3})}
    assert traces_follow_raft(Evidence((), traces, ())).verdict is Verdict.VALID


def test_a_start_that_does_not_say_its_members_leaves_open_who_elects() -> None:
    begun = [*WRITTEN, start("n3", 2, "n1", 4), *stands("n3", 3)]
    assert found([*begun, *leads("n3", 3)]).verdict is Verdict.VALID
    said = [*WRITTEN, start("n3", 2, "n1", 4), members("n3", 2, 1, *THREE), *stands("n3", 3)]
    assert found([*said, *leads("n3", 3)]).verdict is Verdict.INVALID


@pytest.mark.parametrize("lines", [[], STARTED, FOUNDED, ELECTED[1:]], ids=["none", "starts", "no leader", "torn off"])
def test_without_a_leader_or_without_the_beginning_nothing_is_known(lines: list[Line]) -> None:
    assert found(lines).verdict is Verdict.UNKNOWN


def test_who_comes_back_on_an_empty_disk_goes_back_on_nothing() -> None:
    down_s = float(len(WRITTEN))
    lost = (
        {"event": "kill", "at_s": down_s - 0.5, "node": "n3"},
        {"event": "restart", "at_s": down_s + 0.5, "node": "n3", "wipe": True},
    )
    again = [*WRITTEN, start("n3"), term("n3", 2), members("n3", 2, 1, *THREE), commit("n3", 2, 4, 2)]
    assert found(again).verdict is Verdict.INVALID
    assert found(again, *lost).verdict is Verdict.VALID
    breaks = found([*again, commit("n3", 2, 3, 2)], *lost)
    assert breaks.verdict is Verdict.UNKNOWN
    assert "n3 came back with an empty disk" in breaks.reason


# Nodes


def played(seed: int, flaw: str | None = None) -> Evidence:
    """A case of five nodes that nobody watches, up to its end or to where a node fails."""
    case = case_of(seed, 5, flaw)
    cluster = SimulatedCluster(case.plan)
    try:
        with cluster.opened():
            Player(cluster, case).play()
    except (PromiseBrokenError, AssertionError):
        assert flaw is not None
    return cluster.evidence()


@pytest.mark.parametrize("seed", range(16))
def test_correct_nodes_follow_raft(seed: int) -> None:
    finding = traces_follow_raft(played(seed))
    assert (finding.verdict, finding.details) == (Verdict.VALID, ()), finding.reason


@pytest.mark.parametrize("name", ["kill_leader", "join_and_leave", "older_disk", "clock_stands_still"])
def test_scenarios_follow_raft(name: str) -> None:
    scenario = SCENARIOS[name]
    cluster = SimulatedCluster(scenario.plan(seed=1))
    with cluster:
        scenario.play(cluster)
    assert traces_follow_raft(cluster.evidence()).verdict is Verdict.VALID


def convictions(flaw: str) -> Iterator[str]:
    for seed in range(60):
        finding = traces_follow_raft(played(seed, flaw))
        if finding.verdict is Verdict.INVALID:
            yield finding.reason


@pytest.mark.parametrize(
    ("flaw", "rule"),
    [
        ("forget_vote", "votes_last"),
        ("forget_term", "terms_last"),
        ("commit_old_term", "leaders_count_their_own"),
        ("count_own_vote_twice", "majorities_elect"),
        ("commit_past_prev", "one_log_is_committed"),
        ("two_changes_at_once", "changes_wait_for_the_last"),
    ],
)
def test_a_flaw_is_convicted_of_the_transition_that_it_allows(flaw: str, rule: str) -> None:
    assert f"({rule}: " in next(convictions(flaw))
