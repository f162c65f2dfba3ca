"""Two leaders, two votes, candidates that nobody asked: each invariant is fed a history that breaks it, and the nearest
one that does not."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from bench.cluster import PromiseBrokenError
from bench.simulated.invariants import Invariants, Ledger, elections
from bench.simulated.invariants.ledger import Disk, note_contact, note_elected, note_lease, note_votes
from node.raft import (
    AppendEntries,
    AppendEntriesResponse,
    HardState,
    Message,
    PreVoteResponse,
    RequestVote,
    RequestVoteResponse,
    TimeoutNow,
)
from node.raft.transitions import Role, RoleChanged, TermChanged, Transition, Voted
from tests.unit.bench.simulated.invariants.steps import (
    ABC,
    NOTHING,
    Clock,
    assert_violated,
    elected,
    goes_by,
    raft,
    server,
    step,
)


def test_two_leaders_of_one_term_are_seen_even_with_years_between_them() -> None:
    ledger = Ledger()
    goes_by(elections.one_leader_in_a_term, note_elected, ledger, step("a", transitions=[elected(1)]))
    goes_by(elections.one_leader_in_a_term, note_elected, ledger, step("b", transitions=[elected(2)]))
    goes_by(elections.one_leader_in_a_term, note_elected, ledger, step("a", transitions=[elected(1)]))
    again = step("c", transitions=[elected(1)], at_s=1e9)
    assert_violated(elections.one_leader_in_a_term, ledger, again, words="a and c were both elected in term 1")


def test_a_leader_before_the_others_lease_is_over_is_seen() -> None:
    ledger = Ledger()
    goes_by(elections.one_leader_at_a_time, note_lease, ledger, step("a", role=Role.LEADER, lease_until_s=1.5))
    goes_by(
        elections.one_leader_at_a_time, note_lease, ledger, step("b", role=Role.LEADER, lease_until_s=9.0, at_s=1.5)
    )
    early = step("c", role=Role.LEADER, lease_until_s=9.0, at_s=8.9)
    assert_violated(elections.one_leader_at_a_time, ledger, early, words=r"while b has 0\.100 s of its lease left")


def test_a_second_vote_in_a_term_is_seen_and_a_repeated_one_is_none() -> None:
    ledger = Ledger()
    candidacy = RequestVote(sender="a", recipient="b", term=2, last_log_index=0, last_log_term=0, sent_at_s=0.0)
    again = msgspec.structs.replace(candidacy, recipient="c")
    vote = RequestVoteResponse(sender="a", recipient="b", term=3, granted=True, sent_at_s=0.0)
    refusal = RequestVoteResponse(sender="a", recipient="b", term=2, granted=False, sent_at_s=0.0)
    goes_by(elections.one_vote_in_a_term, note_votes, ledger, step(messages=[candidacy, again, vote, refusal, vote]))
    second = RequestVoteResponse(sender="a", recipient="b", term=2, granted=True, sent_at_s=0.0)
    sending = step(messages=[second])
    assert_violated(elections.one_vote_in_a_term, ledger, sending, words="a voted for a and for b in term 2")
    at_once = step(messages=[candidacy, second])
    assert_violated(elections.one_vote_in_a_term, Ledger(), at_once, words="a voted for a and for b in term 2")


def granted(to: str, term: int) -> RequestVoteResponse:
    return RequestVoteResponse(sender="a", recipient=to, term=term, granted=True, sent_at_s=0.0)


ACCEPTED = AppendEntriesResponse(
    sender="a",
    recipient="b",
    term=1,
    success=True,
    prev_log_index=0,
    match_index=0,
    conflict_index=0,
    sent_at_s=0.0,
)
"""What a says to `heard("b", 1)`."""


def test_a_vote_against_a_leader_that_was_just_heard_is_seen() -> None:
    ledger, voter = Ledger(), server("a")
    note_contact(ledger, step(before=voter, now_s=5.0, inbox=[heard("b", 1)], messages=[ACCEPTED]))
    patient = server("a", contact_s=5.0)
    elections.voters_keep_to_their_leader(ledger, step(before=patient, now_s=6.0, messages=[granted("c", 2)]))
    hasty = step(before=voter, now_s=5.9, messages=[granted("c", 2)])
    words = r"a voted for c 0\.900 s after it heard from another"
    assert_violated(elections.voters_keep_to_their_leader, ledger, hasty, words=words)
    at_once = step(before=server("a"), term=2, inbox=[heard("b", 1)], messages=[ACCEPTED, granted("c", 2)])
    words = r"a voted for c 0\.000 s after it heard from another"
    assert_violated(elections.voters_keep_to_their_leader, ledger, at_once, words=words)


def test_a_leader_that_was_heard_counts_though_its_term_was_over_later_in_the_round() -> None:
    ledger, voter = Ledger(), server("a")
    note_contact(ledger, step(before=voter, term=2, now_s=5.0, inbox=[heard("b", 1)], messages=[ACCEPTED]))
    hasty = step(before=voter, now_s=5.1, messages=[granted("c", 2)])
    words = r"a voted for c 0\.100 s after it heard from another"
    assert_violated(elections.voters_keep_to_their_leader, ledger, hasty, words=words)


def test_who_repeats_an_answer_has_heard_from_nobody() -> None:
    """Found by exploring, when it was told of broken connections: then a follower says again what it last answered."""
    ledger, voter = Ledger(), server("a")
    note_contact(ledger, step(before=voter, now_s=5.0, messages=[ACCEPTED]))
    elections.voters_keep_to_their_leader(ledger, step(before=voter, now_s=5.1, messages=[granted("c", 2)]))


def test_a_vote_for_whom_a_leader_told_to_stand_need_not_wait() -> None:
    ledger = Ledger()
    note_votes(ledger, step("b", messages=[TimeoutNow(sender="b", recipient="c", term=1)]))
    at_once = step(before=server("a", contact_s=5.0), now_s=5.1, messages=[granted("c", 2)])
    elections.voters_keep_to_their_leader(ledger, at_once)
    later = step(before=server("a", contact_s=5.0), now_s=5.1, messages=[granted("c", 3)])
    words = "a voted for c 0.100 s after"
    assert_violated(elections.voters_keep_to_their_leader, ledger, later, words=words)


def heard(leader: str, term: int, *, prev_log_index: int = 0) -> AppendEntries:
    return AppendEntries(
        sender=leader,
        recipient="a",
        term=term,
        prev_log_index=prev_log_index,
        prev_log_term=0,
        entries=(),
        leader_commit=0,
        sent_at_s=0.0,
    )


def stands(candidate: str, term: int, *, leadership_transfer: bool = False) -> RequestVote:
    return RequestVote(
        sender=candidate,
        recipient="a",
        term=term,
        last_log_index=0,
        last_log_term=0,
        leadership_transfer=leadership_transfer,
        sent_at_s=0.0,
    )


def in_term(term: int) -> Transition:
    return TermChanged(at_s=1.0, term=term)


def test_a_leader_that_was_heard_counts_though_what_it_said_was_refused() -> None:
    ledger, voter = Ledger(), server("a")
    refused = step(before=voter, now_s=5.0, inbox=[heard("b", 1, prev_log_index=9)])
    note_contact(ledger, refused)
    hasty = step(before=voter, now_s=5.9, messages=[granted("c", 2)])
    assert_violated(elections.voters_keep_to_their_leader, ledger, hasty, words="a voted for c 0.900 s after")


def test_a_server_that_lived_before_counts_its_start() -> None:
    watcher, core = Invariants(), raft("a", hard_state=HardState(1, "b"))
    watcher.ledger.disks["a"] = Disk(term=1, voted_for="b")
    watcher.started("a", core, Clock(), 5.0)
    again = msgspec.structs.replace(NOTHING, messages=(granted("b", 1),))
    watcher.stepped("a", core, again, 5.1)
    hasty = msgspec.structs.replace(NOTHING, messages=(granted("c", 2),))
    with pytest.raises(PromiseBrokenError, match="voters_keep_to_their_leader"):
        watcher.stepped("a", core, hasty, 5.9)


def test_a_round_in_which_a_leader_was_heard_is_remembered() -> None:
    watcher, core = Invariants(), raft("a")
    watcher.started("a", core, Clock(), 0.0)
    accepted = msgspec.structs.replace(ACCEPTED, term=0)
    hears = msgspec.structs.replace(NOTHING, messages=(accepted,))
    watcher.stepped("a", core, hears, 5.0, [heard("b", 0)])
    votes = msgspec.structs.replace(NOTHING, messages=(granted("c", 1),))
    with pytest.raises(PromiseBrokenError, match="voters_keep_to_their_leader"):
        watcher.stepped("a", core, votes, 5.9)


def test_a_leader_of_the_past_that_was_heard_does_not_count() -> None:
    ledger, voter = Ledger(), server("a", term=2)
    note_contact(ledger, step(before=voter, term=2, now_s=5.0, inbox=[heard("b", 1)]))
    elections.voters_keep_to_their_leader(ledger, step(before=voter, now_s=5.9, messages=[granted("c", 3)]))


def would_vote(candidate: str, next_term: int) -> PreVoteResponse:
    return PreVoteResponse(sender="b", recipient=candidate, term=next_term - 1, next_term=next_term, granted=True)


def candidate(term: int) -> Transition:
    return RoleChanged(at_s=1.0, term=term, role=Role.CANDIDATE)


def test_a_leader_without_the_votes_of_a_majority_is_seen() -> None:
    """A vote that came late, from an earlier candidacy, elects nobody."""
    ledger = Ledger(votes={("a", 2): "a", ("b", 1): "a", ("c", 2): "b"})
    leads = step("a", transitions=[elected(2)])
    assert_violated(
        elections.leaders_were_elected, ledger, leads, words="a leads in term 2 with the votes of a of a, b"
    )
    ledger.votes["b", 2] = "a"
    elections.leaders_were_elected(ledger, leads)


def test_a_candidate_whom_no_majority_wanted_is_seen() -> None:
    ledger = Ledger()
    hasty = step("c", messages=[stands("c", 3)], transitions=[candidate(3)])
    note_votes(ledger, step("b", messages=[would_vote("c", 2)]))
    words = "c stands in term 3, which only c of a, b, c wanted"
    assert_violated(elections.candidates_have_asked, ledger, hasty, words=words)
    note_votes(ledger, step("b", messages=[would_vote("c", 3)]))
    elections.candidates_have_asked(ledger, hasty)


def test_a_candidate_whom_a_leader_told_to_stand_need_not_have_asked() -> None:
    told = step("c", messages=[stands("c", 3, leadership_transfer=True)], transitions=[candidate(3)])
    elections.candidates_have_asked(Ledger(told_to_stand={("c", 3)}), told)


def test_a_server_that_gives_a_candidate_its_term_after_it_heard_from_a_leader_is_seen() -> None:
    heeding: dict[str, Any] = {"term": 2, "transitions": [in_term(2)], "inbox": [stands("c", 2)]}
    patient = step(before=server("a", term=1, contact_s=5.0), now_s=6.0, **heeding)
    elections.candidates_disturb_nobody(Ledger(), patient)
    hasty = step(before=server("a", term=1, contact_s=5.0), now_s=5.9, **heeding)
    words = r"a took term 2 from c 0\.900 s after it heard from another"
    assert_violated(elections.candidates_disturb_nobody, Ledger(), hasty, words=words)


def test_a_leader_deposed_by_a_candidate_while_its_lease_held_is_seen() -> None:
    heeding: dict[str, Any] = {"term": 2, "transitions": [in_term(2)], "inbox": [stands("c", 2)]}
    over = server("a", term=1, role=Role.LEADER, lease_until_s=5.0)
    elections.candidates_disturb_nobody(Ledger(), step(before=over, now_s=5.0, **heeding))
    leading = server("a", term=1, role=Role.LEADER, lease_until_s=5.25)
    assert_violated(
        elections.candidates_disturb_nobody,
        Ledger(),
        step(before=leading, now_s=5.0, **heeding),
        words=r"a took term 2 from c with 0\.250 s of its lease left",
    )


@pytest.mark.parametrize(
    "told",
    [
        pytest.param([stands("c", 2), heard("d", 2)], id="its leader"),
        pytest.param([PreVoteResponse(sender="d", recipient="a", term=2, next_term=2, granted=False)], id="an answer"),
        pytest.param([], id="nobody"),
    ],
)
def test_a_term_that_came_by_another_way_is_no_candidates_doing(told: list[Message]) -> None:
    voter = server("a", term=1, contact_s=5.0)
    elections.candidates_disturb_nobody(
        Ledger(), step(before=voter, term=2, now_s=5.1, transitions=[in_term(2)], inbox=[*told, stands("d", 3)])
    )


def test_a_term_that_a_server_stood_in_itself_is_its_own() -> None:
    voter = server("a", term=1, contact_s=5.0)
    itself = [in_term(2), Voted(at_s=1.0, term=2, candidate="a")]
    elections.candidates_disturb_nobody(
        Ledger(), step(before=voter, term=2, now_s=5.1, transitions=itself, inbox=[stands("c", 2)])
    )


def test_the_term_of_whom_a_leader_told_to_stand_may_be_taken_at_once() -> None:
    ledger = Ledger(told_to_stand={("c", 2)})
    voter = server("a", term=1, contact_s=5.0)
    at_once = step(before=voter, term=2, now_s=5.1, transitions=[in_term(2)], inbox=[stands("c", 2)])
    elections.candidates_disturb_nobody(ledger, at_once)


def test_a_leader_that_is_no_voter_is_seen() -> None:
    elections.only_voters_lead(Ledger(), step("a", transitions=[elected(1)]))
    stranger = step("d", transitions=[elected(1)])
    assert_violated(elections.only_voters_lead, Ledger(), stranger, words="d was elected in term 1 and is no voter")


def test_a_server_that_may_not_know_that_it_is_gone_may_lead_and_one_that_knows_may_not() -> None:
    ledger = Ledger(committed=[0, 1, 1], configurations=[(1, (*ABC, "d")), (2, ABC)])
    elections.only_voters_lead(ledger, step(before=server("d", commit_index=1), transitions=[elected(2)]))
    gone = step(before=server("d", commit_index=2), transitions=[elected(2)])
    assert_violated(elections.only_voters_lead, ledger, gone, words="d was elected in term 2 and is no voter")
