"""Figure 2 of the Raft paper from its top to its bottom: each sentence that no test of `test_paper` is about.

Those whose breach is a famous bug (a second vote, a commit that was not proven, a conflict that is none, an entry of an
older term) stand there, with the bug.
"""

from __future__ import annotations

import pytest

from node.raft import (
    AppendEntries,
    Entry,
    EntryKind,
    PreVoteResponse,
    RequestVote,
    Role,
)
from tests.unit.raft.harness import TIMING, Network
from tests.unit.raft.servers import NOW, answer, append, appends, ask_vote, candidate, elected, follower, vote


def commands(entries: list[Entry]) -> list[bytes]:
    return [entry.data for entry in entries if entry.kind is EntryKind.COMMAND]


# AppendEntries, receiver


def test_a_leader_of_an_earlier_term_is_refused_and_told_the_term() -> None:
    """Step 1."""
    node = follower(term=5)
    refusal = append(node, term=4, prev=(1, 1), terms=[4])
    assert (refusal.success, refusal.term, node.log.last_index) == (False, 5, 1)


def test_entries_that_are_not_in_the_log_yet_are_appended() -> None:
    """Step 4; those that are there already are not appended again."""
    node = follower(1)
    assert append(node, term=1, prev=(1, 1), terms=[1, 1, 1]).match_index == 4
    assert [entry.data for entry in node.log.between(2, 4)] == [b"", b"new", b"new"]


def test_an_entry_is_durable_before_it_is_vouched_for() -> None:
    """Persistent state: log[] is updated on stable storage before responding."""
    node = follower()
    request = AppendEntries(
        sender="n2",
        recipient="n1",
        term=1,
        prev_log_index=1,
        prev_log_term=1,
        entries=(entry := Entry(2, 1, EntryKind.COMMAND, b"c"),),
        leader_commit=0,
        sent_at_s=NOW,
    )
    node.receive(request, NOW)
    effects = node.take_effects()
    assert (effects.entries, effects.must_save) == ((entry,), True)


# All servers


def test_what_is_committed_is_applied_once_and_in_order() -> None:
    """commitIndex > lastApplied: increment lastApplied, apply log[lastApplied]."""
    network = Network(3)
    leader = network.bootstrap()
    for count in range(5):
        leader.propose(b"c%d" % count, network.now)
        network.settle()
    network.advance(0.3)
    for name in network.names:
        assert [entry.index for entry in network.applied[name]] == list(range(1, leader.commit_index + 1))
        assert commands(network.applied[name]) == [b"c0", b"c1", b"c2", b"c3", b"c4"]


# Followers


def test_a_follower_that_hears_nothing_stands_for_election() -> None:
    """Between once and twice the time-out after it last heard; it asks whether it would be elected first (9.6)."""
    node = follower()
    append(node, term=1, prev=(1, 1), terms=[], now=NOW)
    roles = []
    for timeouts in (0.99, 2):
        node.tick(NOW + timeouts * TIMING.heartbeat_timeout_s)
        roles.append(node.role)
    assert roles == [Role.FOLLOWER, Role.PRE_CANDIDATE]


@pytest.mark.parametrize("contact", ["entries", "a vote"])
def test_hearing_from_the_leader_and_granting_a_vote_put_the_election_off(contact: str) -> None:
    """Without receiving AppendEntries from current leader or granting vote to candidate."""
    node = follower()
    due_s = node.deadline
    if contact == "entries":
        append(node, term=1, prev=(1, 1), terms=[], now=NOW)
    else:
        assert ask_vote(node, term=2, last=(1, 1), now=NOW)
    assert due_s < NOW < NOW + TIMING.heartbeat_timeout_s <= node.deadline


def test_refusing_a_vote_does_not_put_the_election_off() -> None:
    """The other side of the same sentence: a candidate that cannot win must not keep out those who can."""
    node = follower(1, 1)
    due_s = node.deadline
    assert not ask_vote(node, term=9, last=(1, 1), now=NOW)
    assert node.deadline == due_s


# Candidates


def test_a_candidate_enters_a_new_term_votes_for_itself_and_asks_all_others() -> None:
    """On conversion to candidate."""
    node = candidate()
    effects = node.take_effects()
    assert effects.hard_state is not None
    assert (effects.hard_state.current_term, effects.hard_state.voted_for) == (2, "n1")
    asked = [message for message in effects.messages if isinstance(message, RequestVote)]
    assert [(message.recipient, message.term) for message in asked] == [("n2", 2), ("n3", 2)]
    assert all((message.last_log_index, message.last_log_term) == (1, 1) for message in asked)


def test_a_candidate_that_a_majority_votes_for_leads() -> None:
    """And not before: of three, its own vote is none, a refusal is none, and one more is a majority."""
    node = candidate()
    roles = []
    for voter, granted in (("n3", False), ("n2", True)):
        vote(node, sender=voter, granted=granted)
        roles.append(node.role)
    assert roles == [Role.CANDIDATE, Role.LEADER]


def test_a_candidate_that_hears_of_a_leader_of_its_term_follows_it() -> None:
    """AppendEntries received from new leader: convert to follower."""
    node = candidate()
    node.take_effects()
    assert append(node, term=2, prev=(1, 1), terms=[2]).success
    assert (node.role, node.leader) == (Role.FOLLOWER, "n2")


def test_an_election_that_nobody_wins_is_followed_by_another() -> None:
    """Reset election timer; election timeout elapses: start new election."""
    node = candidate()
    node.tick(NOW + 0.99 * TIMING.election_timeout_s)
    assert node.role is Role.CANDIDATE
    later = NOW + 2 * TIMING.election_timeout_s
    node.tick(later)
    node.receive(PreVoteResponse(sender="n3", recipient="n1", term=2, next_term=3, granted=True), later)
    assert (node.role, node.current_term) == (Role.CANDIDATE, 3)


# Leaders


def test_a_new_leader_is_heard_of_at_once_and_then_again_and_again() -> None:
    """Upon election, and during idle periods, to prevent election timeouts."""
    node = elected()
    assert appends(node).keys() == {"n2", "n3"}
    node.tick(node.deadline)
    assert appends(node).keys() == {"n2", "n3"}


def test_a_new_leader_tries_each_follower_at_the_end_of_its_own_log() -> None:
    """Volatile state on leaders: nextIndex is initialized to leader last log index + 1, matchIndex to 0."""
    node = elected(1, 1)
    first = appends(node)["n2"]
    assert (first.prev_log_index, first.prev_log_term) == (3, 1)
    assert node.match_indexes == {"n2": 0, "n3": 0}


def test_a_command_is_appended_at_once_and_decided_by_a_majority() -> None:
    """Append entry to local log, respond after entry applied to state machine."""
    network = Network(3)
    leader = network.bootstrap()
    network.isolate("n1")
    position = leader.propose(b"c", network.now)
    network.settle()
    assert leader.log.last_index == position.index > leader.commit_index
    network.heal()
    network.advance(0.2)
    assert leader.commit_index == position.index
    assert network.applied["n1"][-1].data == b"c"


def test_a_follower_is_sent_what_its_log_lacks() -> None:
    """last log index >= nextIndex: AppendEntries with log entries starting at nextIndex; on success both indices
    move."""
    node = elected()
    probe = appends(node)["n2"]
    answer(node, probe)
    assert node.match_indexes["n2"] == probe.last_index
    node.propose(b"c", NOW)
    message = appends(node)["n2"]
    assert (message.prev_log_index, [entry.data for entry in message.entries]) == (probe.last_index, [b"c"])
    answer(node, message)
    assert node.match_indexes["n2"] == node.log.last_index


def test_after_a_refusal_the_leader_tries_further_back() -> None:
    """If AppendEntries fails because of log inconsistency: decrement nextIndex and retry."""
    node = elected(1, 1, 1)
    probe = appends(node)["n2"]
    answer(node, probe, success=False, conflict_index=2)
    again = appends(node)["n2"]
    assert again.prev_log_index == 1 < probe.prev_log_index


def test_a_leader_never_takes_back_what_is_in_its_log() -> None:
    """Leader Append-Only (Figure 3): also not for a refusal that claims to know better."""
    node = elected(1, 1)
    before = node.log.between(1, node.log.last_index)
    probe = appends(node)["n2"]
    answer(node, probe, success=False, conflict_index=1)
    node.propose(b"c", NOW)
    assert node.log.between(1, len(before)) == before
