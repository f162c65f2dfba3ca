"""The sentences of the Raft paper (§) and of Ongaro's thesis that the core is held to, one test each."""

from __future__ import annotations

import random

import pytest

from node.raft import (
    AppendEntries,
    AppendEntriesResponse,
    Configuration,
    Entry,
    EntryKind,
    FlowLimits,
    HardState,
    Log,
    NotLeaderError,
    PreVote,
    PreVoteResponse,
    ProtocolViolationError,
    Raft,
    RequestVote,
    RequestVoteResponse,
    Role,
)
from tests.unit.raft.harness import TIMING, Network

MEMBERS = [("n1", "h:1"), ("n2", "h:2"), ("n3", "h:3")]


def follower(*terms: int, term: int | None = None, voted_for: str | None = None, now: float = 100.0) -> Raft:
    """n1 of three, with a configuration at index 1 and entries of these terms behind it, long without contact."""
    configuration = Entry(1, 1, EntryKind.CONFIGURATION, Configuration.first(MEMBERS).encode())
    entries = [Entry(index, t, EntryKind.COMMAND, b"") for index, t in enumerate(terms, 2)]
    current = term if term is not None else max([1, *terms])
    return Raft(
        "n1",
        log=Log([configuration, *entries]),
        hard_state=HardState(current, voted_for),
        timing=TIMING,
        limits=FlowLimits(),
        rng=random.Random(1),
        now=now - 10,
    )


def ask_vote(node: Raft, *, sender: str = "n2", term: int, last: tuple[int, int], now: float = 100.0) -> bool:
    """Whether the node grants a vote to a candidate whose last entry is (index, term)."""
    request = RequestVote(
        sender=sender, recipient="n1", term=term, last_log_index=last[0], last_log_term=last[1], sent_at_s=now
    )
    node.receive(request, now)
    (answer,) = node.take_effects().messages
    assert isinstance(answer, RequestVoteResponse)
    return answer.granted


def append(
    node: Raft, *, term: int, prev: tuple[int, int], terms: list[int], commit: int = 0, now: float = 100.0
) -> AppendEntriesResponse:
    """The node's answer to entries of these terms behind the entry prev."""
    entries = tuple(Entry(prev[0] + i, t, EntryKind.COMMAND, b"new") for i, t in enumerate(terms, 1))
    request = AppendEntries(
        sender="n2",
        recipient="n1",
        term=term,
        prev_log_index=prev[0],
        prev_log_term=prev[1],
        entries=entries,
        leader_commit=commit,
        sent_at_s=7.0,
    )
    node.receive(request, now)
    (answer,) = node.take_effects().messages
    assert isinstance(answer, AppendEntriesResponse)
    return answer


def test_a_server_votes_for_at_most_one_candidate_in_a_term() -> None:
    """§5.2, first come first served; the same candidate may be answered again."""
    node = follower()
    assert ask_vote(node, sender="n2", term=2, last=(1, 1))
    assert not ask_vote(node, sender="n3", term=2, last=(1, 1))
    assert ask_vote(node, sender="n2", term=2, last=(1, 1))


def test_a_vote_is_durable_before_it_is_sent() -> None:
    """Figure 2, persistent state: updated on stable storage before responding."""
    node = follower()
    node.receive(
        RequestVote(sender="n2", recipient="n1", term=5, last_log_index=9, last_log_term=4, sent_at_s=0), 100.0
    )
    assert node.take_effects().hard_state == HardState(5, "n2")


def test_a_vote_outlives_a_restart() -> None:
    """Figure 2: votedFor is persistent; forgetting it elects two leaders (PySyncObj#84)."""
    assert not ask_vote(follower(term=5, voted_for="n3"), sender="n2", term=5, last=(9, 5))


@pytest.mark.parametrize(
    ("last", "granted"),
    [((1, 1), False), ((3, 2), False), ((4, 2), True), ((2, 3), True), ((9, 1), False)],
)
def test_a_candidate_whose_log_is_behind_gets_no_vote(last: tuple[int, int], granted: bool) -> None:
    """§5.4.1: the later term of the last entry wins, then the longer log."""
    assert ask_vote(follower(1, 2, 2), term=9, last=last) is granted


def test_a_candidate_with_an_old_term_is_refused() -> None:
    """Figure 2, RequestVote step 1."""
    assert not ask_vote(follower(term=5), term=4, last=(99, 4))


def test_a_higher_term_makes_any_server_a_follower() -> None:
    """§5.1."""
    network = Network(3)
    leader = network.bootstrap()
    leader.receive(
        AppendEntriesResponse(
            sender="n2",
            recipient="n1",
            term=9,
            success=False,
            prev_log_index=0,
            match_index=0,
            conflict_index=1,
            sent_at_s=0,
        ),
        network.now,
    )
    assert (leader.role, leader.current_term) == (Role.FOLLOWER, 9)


def test_entries_that_do_not_follow_a_shared_one_are_refused() -> None:
    """§5.3, the consistency check."""
    node = follower(1, 1)
    assert not append(node, term=2, prev=(4, 1), terms=[2]).success
    assert not append(node, term=2, prev=(3, 2), terms=[2]).success
    assert append(node, term=2, prev=(3, 1), terms=[2]).success


def test_a_conflicting_entry_is_replaced_with_all_that_follow_it() -> None:
    """Figure 2, AppendEntries step 3."""
    node = follower(1, 2, 2, 2)
    assert append(node, term=3, prev=(2, 1), terms=[3]).success
    assert [entry.term for entry in node.log.between(1, node.log.last_index)] == [1, 1, 3]


def test_an_old_message_takes_nothing_away_that_agrees() -> None:
    """Figure 2, step 3 again: only a conflict truncates. A late short message must not erase acknowledged entries."""
    node = follower(1, 2, 2)
    assert append(node, term=2, prev=(1, 1), terms=[1]).success
    assert node.log.last_index == 4


def test_an_answer_claims_only_what_the_message_proved() -> None:
    """Figure 2: a follower's own tail behind the message is not matched (CCF's AE-ACK bug)."""
    node = follower(1, 2, 2)
    assert append(node, term=3, prev=(2, 1), terms=[]).match_index == 2


def test_a_follower_commits_only_as_far_as_the_message_proved() -> None:
    """Figure 2, step 5: min(leaderCommit, index of last new entry), also for a heartbeat (copycat#265)."""
    node = follower(1, 2, 2)
    append(node, term=3, prev=(2, 1), terms=[], commit=4)
    assert node.commit_index == 2


def test_a_refusal_names_the_first_index_of_the_conflicting_term() -> None:
    """§5.3: one refusal a term, not one an entry."""
    assert append(follower(1, 2, 2, 2), term=4, prev=(5, 3), terms=[]).conflict_index == 3
    assert append(follower(1), term=4, prev=(9, 3), terms=[]).conflict_index == 3


def test_a_new_leader_appends_a_no_op() -> None:
    """§8."""
    leader = Network(3).bootstrap()
    last = leader.log[leader.log.last_index]
    assert (last.kind, last.term) == (EntryKind.NOOP, leader.current_term)


def test_a_leader_commits_an_older_entry_only_through_one_of_its_own() -> None:
    """§5.4.2, Figure 8."""
    node = follower(2, term=2)
    node.campaign(100.0)
    node.receive(PreVoteResponse(sender="n2", recipient="n1", term=2, next_term=3, granted=True), 100.0)
    node.receive(RequestVoteResponse(sender="n2", recipient="n1", term=3, granted=True, sent_at_s=100.0), 100.0)
    assert node.role is Role.LEADER
    match = {"sender": "n2", "recipient": "n1", "term": 3, "success": True, "conflict_index": 0, "sent_at_s": 100.0}
    node.receive(AppendEntriesResponse(**match, prev_log_index=1, match_index=2), 100.0)  # type: ignore[arg-type]
    assert node.commit_index == 0, "entry 2 of term 2 is on a majority, and can still be overwritten"
    node.receive(AppendEntriesResponse(**match, prev_log_index=2, match_index=3), 100.0)  # type: ignore[arg-type]
    assert node.commit_index == 3


def test_a_pre_vote_spends_no_term_and_no_vote() -> None:
    """Thesis 9.6."""
    node = follower(term=3)
    node.receive(PreVote(sender="n2", recipient="n1", term=3, next_term=4, last_log_index=9, last_log_term=3), 100.0)
    effects = node.take_effects()
    assert effects.hard_state is None
    assert [message.granted for message in effects.messages if isinstance(message, PreVoteResponse)] == [True]


def test_a_pre_vote_of_a_higher_term_deposes_nobody() -> None:
    """Thesis 9.6: a partitioned server that comes back must not raise the term of those who never missed it."""
    network = Network(3)
    leader = network.bootstrap()
    request = PreVote(sender="n3", recipient="n1", term=9, next_term=10, last_log_index=2, last_log_term=2)
    leader.receive(request, network.now)
    assert (leader.role, leader.current_term) == (Role.LEADER, 2)


def test_an_answer_says_when_the_request_was_sent_and_not_when_it_came() -> None:
    """Thesis 6.4.1: the lease is counted from the send, on the leader's clock; hashicorp/raft counts from receipt."""
    assert append(follower(), term=2, prev=(1, 1), terms=[2], now=100.0).sent_at_s == 7.0


def test_a_server_that_hears_from_a_leader_refuses_every_candidate() -> None:
    """Thesis 4.2.3: not even the candidate's higher term is taken over."""
    node = follower()
    append(node, term=2, prev=(1, 1), terms=[2], now=100.0)
    assert not ask_vote(node, sender="n3", term=9, last=(9, 8), now=100.9)
    assert node.current_term == 2
    assert ask_vote(node, sender="n3", term=9, last=(9, 8), now=101.1)


def test_a_server_that_lived_before_keeps_its_promise_over_a_restart() -> None:
    """Thesis 4.2.3: who may have promised a leader not to vote counts its start as contact."""
    network = Network(3)
    network.bootstrap()
    network.crash("n2")
    restarted = network.restart("n2")
    request = RequestVote(
        sender="n3", recipient="n2", term=9, last_log_index=99, last_log_term=8, sent_at_s=network.now
    )
    restarted.receive(request, network.now)
    assert restarted.current_term < 9


def test_a_leader_cut_off_from_its_majority_stops_leading_when_its_lease_ends() -> None:
    """Thesis 6.2, check-quorum; the lease counts from the send of what was last answered."""
    network = Network(3)
    leader = network.bootstrap()
    network.advance(0.3)
    until = leader.lease_until_s
    network.isolate("n1")
    network.advance(0.8)
    assert leader.role is not Role.LEADER
    assert until <= network.now


def test_a_leader_that_was_stopped_past_its_lease_does_not_lead_when_it_wakes() -> None:
    """The package's promise in time: neither the role nor a waiting proposal says otherwise."""
    network = Network(3)
    leader = network.bootstrap()
    network.now += 4
    assert network.now >= leader.lease_until_s
    with pytest.raises(NotLeaderError):
        leader.propose(b"late", network.now)


@pytest.mark.parametrize("direction", ["both", "out", "in"])
def test_no_two_nodes_lead_at_one_instant(direction: str) -> None:
    """SEED.md, split-brain: sum(is_leader) <= 1, whichever way the leader is cut off."""
    network = Network(3)
    network.bootstrap()
    outward = {("n1", "n2"), ("n1", "n3")}
    inward = {(b, a) for a, b in outward}
    network.cut = {"both": outward | inward, "out": outward, "in": inward}[direction]
    for _ in range(400):
        network.advance(0.01)
        leading = [node.id for node in network.nodes.values() if network.now < node.lease_until_s]
        assert len(leading) <= 1, leading
    assert network.leader().id != "n1"


def test_an_acknowledged_entry_is_in_every_later_leader() -> None:
    """§5.4, leader completeness."""
    network = Network(3)
    leader = network.bootstrap()
    leader.propose(b"kept", network.now)
    network.settle()
    network.crash("n1")
    network.advance(5)
    successor = network.leader()
    assert b"kept" in [entry.data for entry in successor.log.between(1, successor.log.last_index)]


def test_what_a_leader_without_a_majority_appended_is_overwritten() -> None:
    """§5.3, Figure 7."""
    network = Network(3)
    old = network.bootstrap()
    network.isolate("n1")
    old.propose(b"lost", network.now)
    network.advance(4)
    network.leader().propose(b"kept", network.now)
    network.settle()
    network.heal()
    network.advance(2)
    assert len({tuple(node.log.between(1, node.log.last_index)) for node in network.nodes.values()}) == 1
    assert b"lost" not in [entry.data for entry in old.log.between(1, old.log.last_index)]


def test_a_follower_that_was_wiped_is_sent_everything_again() -> None:
    """Found on the bench: its refusals stood below the match index and were taken for old news, for ever."""
    network = Network(3)
    leader = network.bootstrap()
    network.advance(0.3)
    network.crash("n2")
    network.logs["n2"], network.hard_states["n2"] = [], HardState()
    wiped = network.restart("n2")
    network.advance(0.5)
    assert wiped.log.last_index == leader.log.last_index
    assert wiped.commit_index == leader.commit_index


def test_a_refusal_that_comes_late_backs_nobody_up() -> None:
    """A message from before the follower matched, answered and delivered after: nothing is sent twice for it."""
    network = Network(3)
    leader = network.bootstrap()
    network.advance(0.3)
    late = AppendEntriesResponse(
        sender="n2",
        recipient="n1",
        term=leader.current_term,
        success=False,
        prev_log_index=1,
        match_index=0,
        conflict_index=1,
        sent_at_s=10.0,
    )
    leader.receive(late, network.now)
    assert leader.match_indexes["n2"] == leader.log.last_index


def test_a_read_is_confirmed_by_what_was_sent_after_it_was_asked() -> None:
    """Thesis 6.4."""
    network = Network(3)
    leader = network.bootstrap()
    network.now += 0.01
    ticket = leader.read(network.now)
    effects = leader.take_effects()
    assert not effects.reads
    for message in effects.messages:
        network.deliver(message)
    network.collect(["n2", "n3"])
    for message in network.in_flight:
        network.deliver(message)
    assert [ready.ticket for ready in leader.take_effects().reads] == [ticket]


def test_a_joining_server_votes_only_after_it_has_caught_up() -> None:
    """Thesis 4.2.1."""
    network = Network(2)
    leader = network.bootstrap()
    assert not leader.join("n9", "h:9", network.now)
    assert leader.configuration.voters == ("n1", "n2")
    network.settle()
    assert leader.configuration.others == ("n9",), "a server that never answered stays without a vote"


def test_membership_changes_one_server_at_a_time() -> None:
    """Thesis 4.1, with the correction of 2015: none before the change before it is committed."""
    network = Network(3)
    leader = network.bootstrap()
    leader.join("n8", "h:8", network.now)
    leader.join("n9", "h:9", network.now)
    assert leader.configuration.others == ("n8",)


def test_a_message_that_no_correct_peer_sends_changes_nothing() -> None:
    node = follower(1, term=1)
    append(node, term=2, prev=(2, 1), terms=[2], commit=3)
    with pytest.raises(ProtocolViolationError):
        append(node, term=3, prev=(2, 1), terms=[3])
    assert (node.current_term, node.log.term_at(3)) == (2, 2)
    assert node.take_effects().messages == ()
