"""The sentences of the Raft paper (§) and of Ongaro's thesis that the core is held to, one test each."""

from __future__ import annotations

from typing import Any

import pytest

from node.raft import (
    AppendEntriesResponse,
    Configuration,
    Effects,
    EntryKind,
    FlowLimits,
    HardState,
    InstallSnapshot,
    InstallSnapshotResponse,
    MembershipChangeError,
    NotLeaderError,
    PreVote,
    PreVoteResponse,
    ProtocolViolationError,
    Raft,
    ReadReady,
    RequestVote,
    RequestVoteResponse,
    Role,
    Snapshot,
    SnapshotMeta,
    TimeoutNow,
    TransferError,
    TransferInProgressError,
)
from node.raft.transitions import Cause, RoleChanged
from tests.unit.raft.harness import Network
from tests.unit.raft.servers import MEMBERS, NOW, answer, append, appends, ask_vote, elected, follower


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


def ends(effects: Effects) -> list[tuple[Cause | None, str | None]]:
    """Why reigns ended, and by whom."""
    changes = [change for change in effects.transitions if isinstance(change, RoleChanged)]
    return [(change.cause, change.by) for change in changes if change.role is Role.FOLLOWER]


def late_answer(term: int) -> PreVoteResponse:
    return PreVoteResponse(sender="n3", recipient="n1", term=term, next_term=term, granted=False)


def test_a_leader_says_whose_higher_term_deposed_it() -> None:
    leader = Network(3).bootstrap()
    leader.receive(late_answer(9), 10.0)
    assert ends(leader.take_effects()) == [(Cause.HIGHER_TERM, "n3")]


def test_a_leader_whose_lease_was_over_was_not_deposed_by_what_it_hears_then() -> None:
    leader = Network(3).bootstrap()
    leader.receive(late_answer(9), leader.lease_until_s)
    assert ends(leader.take_effects()) == [(Cause.LEASE_OVER, None)]


def test_a_leader_that_nobody_answers_says_that_its_lease_is_over() -> None:
    leader = Network(3).bootstrap()
    leader.tick(leader.lease_until_s)
    assert ends(leader.take_effects()) == [(Cause.LEASE_OVER, None)]


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
    """No split-brain, as the metrics count it: sum(is_leader) <= 1, whichever way the leader is cut off."""
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


def have_confirmed(network: Network, leader: Raft) -> None:
    """Deliver what it asks of n2 and n3 now, and what they answer; before that it answers no read."""
    asking = leader.take_effects()
    assert not asking.reads
    for message in asking.messages:
        network.deliver(message)
    network.collect(["n2", "n3"])
    for message in network.in_flight:
        network.deliver(message)


def test_a_read_is_confirmed_by_what_was_sent_after_it_was_asked() -> None:
    """Thesis 6.4."""
    network = Network(3)
    leader = network.bootstrap()
    network.now += 0.01
    ticket = leader.read(network.now)
    have_confirmed(network, leader)
    assert [ready.ticket for ready in leader.take_effects().reads] == [ticket]


def test_a_read_waits_for_an_entry_of_the_leaders_own_term() -> None:
    """Thesis 6.4, step 1 (etcd#7331): what the entries before it are worth, a new leader does not know."""
    node = elected(1, 1)
    ticket = node.read(NOW + 1e-3)
    answer(node, appends(node)["n2"])
    (ready,) = node.take_effects().reads
    assert (ready.ticket, ready.index) == (ticket, node.log.last_index)


def test_many_reads_share_one_round_of_heartbeats() -> None:
    """Thesis 6.4: the leader sends one round for all the reads it has accumulated."""
    node = elected()
    answer(node, appends(node)["n2"])
    tickets = [node.read(NOW + 1e-3) for _ in range(3)]
    round_of_heartbeats = appends(node)
    assert not appends(node)
    answer(node, round_of_heartbeats["n2"])
    assert [ready.ticket for ready in node.take_effects().reads] == tickets


def test_a_server_that_comes_back_from_a_partition_disturbs_nobody() -> None:
    """Thesis 9.6: it has spent no term, whatever it tried meanwhile."""
    network = Network(3)
    leader = network.bootstrap()
    network.isolate("n3")
    network.advance(10)
    network.heal()
    network.advance(3)
    assert (network.leader(), leader.current_term) == (leader, 2)


def test_a_read_rests_on_a_round_of_messages_and_on_no_clock() -> None:
    """Thesis 6.4: a leader that wakes with its lease over answers once a majority has said that it leads still."""
    network = Network(3)
    leader = network.bootstrap()
    network.now += 4
    assert network.now >= leader.lease_until_s
    ticket = leader.read(network.now)
    have_confirmed(network, leader)
    assert [ready.ticket for ready in leader.take_effects().reads] == [ticket]


def test_a_read_asked_of_a_leader_that_slept_while_another_was_elected_is_given_up() -> None:
    """etcd#741: it holds the role still, and what it has applied is stale."""
    network = Network(3)
    sleeper = network.bootstrap()
    network.crash("n1")
    network.advance(4)
    assert network.leader().id != "n1"
    network.nodes["n1"] = sleeper
    ticket = sleeper.read(network.now)
    have_confirmed(network, sleeper)
    assert sleeper.take_effects().reads == (ReadReady(ticket, None),)


def test_a_read_that_nobody_confirms_is_given_up_at_the_first_look_at_the_lease() -> None:
    """Whoever asked is always told in the end."""
    network = Network(3)
    leader = network.bootstrap()
    network.now += 4
    ticket = leader.read(network.now)
    leader.tick(network.now)
    assert leader.take_effects().reads == (ReadReady(ticket, None),)


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


@pytest.mark.parametrize("wrong", [{"success": True, "match_index": 99}, {"success": False, "conflict_index": 0}])
def test_an_answer_that_no_correct_peer_gives_changes_nothing(wrong: dict[str, Any]) -> None:
    network = Network(3)
    leader = network.bootstrap()
    before = leader.match_indexes
    fields = {"prev_log_index": 9, "match_index": 0, "conflict_index": 1, "sent_at_s": network.now, **wrong}
    answer = AppendEntriesResponse(sender="n2", recipient="n1", term=leader.current_term, **fields)
    with pytest.raises(ProtocolViolationError):
        leader.receive(answer, network.now)
    assert leader.match_indexes == before


def test_a_message_that_no_correct_peer_sends_changes_nothing() -> None:
    node = follower(1, term=1)
    append(node, term=2, prev=(2, 1), terms=[2], commit=3)
    with pytest.raises(ProtocolViolationError):
        append(node, term=3, prev=(2, 1), terms=[3])
    assert (node.current_term, node.log.term_at(3)) == (2, 2)
    assert node.take_effects().messages == ()


# Snapshots (§7, Figure 13)


def test_a_snapshot_stands_for_the_log_up_to_its_index() -> None:
    """§7: it keeps the last index and term for the consistency check, and the latest configuration."""
    network = Network(3)
    leader = network.bootstrap()
    propose(network, 5)
    snapshot = network.compact("n1")
    assert (snapshot.meta.index, snapshot.meta.term) == (leader.last_applied, 1 + 1)
    assert snapshot.meta.configuration.voters == ("n1", "n2", "n3")
    assert leader.log.first_index == snapshot.meta.index + 1
    assert leader.log.term_at(snapshot.meta.index) == snapshot.meta.term


def test_a_follower_that_needs_what_was_compacted_is_sent_the_snapshot() -> None:
    """§7: when the leader has discarded the next entry it needs to send."""
    network = Network(3, limits=FlowLimits(snapshot_chunk_bytes=1, snapshot_bytes_in_flight=2))
    leader = network.bootstrap()
    network.crash("n3")
    propose(network, 9)
    network.compact("n1")
    propose(network, 1)
    follower = network.restart("n3")
    network.advance(1)
    assert follower.snapshot is not None
    assert follower.commit_index == leader.commit_index
    assert network.applied["n3"] == network.applied["n1"]


def test_a_snapshot_comes_through_lost_doubled_and_disordered_chunks() -> None:
    """Figure 13, in chunks: what is lost is sent again with the next heartbeat, what is too early is dropped."""
    network = Network(3, limits=FlowLimits(snapshot_chunk_bytes=1, snapshot_bytes_in_flight=2))
    leader = network.bootstrap()
    network.crash("n3")
    propose(network, 9)
    network.compact("n1")
    follower = network.restart("n3")
    for loss in range(12):
        network.collect()
        network.in_flight = [m for number, m in enumerate(reversed(network.in_flight * 2)) if (number + loss) % 3]
        network.advance(0.1)
    assert follower.commit_index == leader.commit_index


def test_a_snapshot_with_damaged_bytes_is_not_installed() -> None:
    """What arrives is held against the checksum it was sent under."""
    node = follower(1, term=2)
    node.receive(chunk(index=9, data=b"damaged", checksum=Snapshot(META, b"healthy").checksum), 100.0)
    effects = node.take_effects()
    assert effects.snapshot is None
    assert node.commit_index == 0
    (answer,) = effects.messages
    assert isinstance(answer, InstallSnapshotResponse)
    assert answer.offset == 0, "send it again"


def test_a_snapshot_replaces_a_log_that_does_not_hold_its_last_entry() -> None:
    """Figure 13, step 7: discard the entire log."""
    node = follower(1, 1, term=2)
    node.receive(chunk(index=2, term=2, data=b"state"), 100.0)
    effects = node.take_effects()
    assert effects.snapshot is not None
    assert effects.entries == ()
    assert (node.log.first_index, node.log.last_index, node.commit_index) == (3, 2, 2)


def test_what_follows_a_snapshot_stays_if_its_last_entry_is_in_the_log() -> None:
    """Figure 13, step 6: retain log entries following it; they may be acknowledged."""
    node = follower(1, 1, 1, term=2)
    node.receive(chunk(index=2, term=1, data=b"state"), 100.0)
    effects = node.take_effects()
    assert [entry.index for entry in effects.entries] == [3, 4], "the whole remaining log is saved beside the snapshot"
    assert node.log.last_index == 4


def test_a_snapshot_of_what_is_committed_already_changes_nothing() -> None:
    """Figure 13: an old one, delivered late, would take committed entries away."""
    node = follower(1, term=1)
    append(node, term=2, prev=(1, 1), terms=[2, 2], commit=3)
    node.receive(chunk(index=2, term=2, data=b"old"), 100.0)
    effects = node.take_effects()
    assert effects.snapshot is None
    assert node.log.last_index == 3
    (answer,) = effects.messages
    assert isinstance(answer, InstallSnapshotResponse)
    assert answer.offset == len(b"old"), "nothing more of it need be sent"


def test_an_installed_snapshot_may_be_moved_to_a_file() -> None:
    """The owner has stored it: it is held once, and nothing else changes."""
    node = follower(1, 1, term=2)
    node.receive(chunk(index=2, term=2, data=b"state"), 100.0)
    node.take_effects()
    assert node.snapshot is not None
    moved = Snapshot(node.snapshot.meta, memoryview(b"state"))
    node.compact(moved, first_kept=0)
    assert node.snapshot is moved
    assert node.take_effects().transitions == ()


def test_a_restart_goes_on_from_the_snapshot() -> None:
    """§7: the state machine is restored, and what follows is committed again by the leader."""
    network = Network(3)
    leader = network.bootstrap()
    propose(network, 5)
    network.advance(0.2)
    snapshot = network.compact("n2", keep=2)
    network.crash("n2")
    propose(network, 2)
    restarted = network.restart("n2")
    assert restarted.commit_index == restarted.last_applied == snapshot.meta.index
    network.advance(0.5)
    assert restarted.commit_index == leader.commit_index
    assert network.applied["n2"] == network.applied["n1"]


def test_a_configuration_outlives_its_compaction() -> None:
    """§7: the snapshot also includes the latest configuration in the log as of last included index."""
    network = Network(3)
    network.bootstrap()
    network.add("n4")
    network.join("n4")
    network.advance(0.2)
    network.compact("n2")
    network.crash("n2")
    assert network.restart("n2").configuration.voters == ("n1", "n2", "n3", "n4")


# Leaving (thesis 4.2)


def test_a_server_that_left_is_counted_no_more() -> None:
    """Thesis 4.1: the new configuration is in force as soon as it is in the log."""
    network = Network(3)
    leader = network.bootstrap()
    network.crash("n3")
    assert leader.leave("n3", network.now) is not None
    network.settle()
    assert leader.configuration.voters == ("n1", "n2")
    assert leader.commit_index == leader.configuration_index


def test_a_server_that_left_cannot_disrupt() -> None:
    """Thesis 4.2.3: it does not stand for election, and if it did not learn of it, nobody listens."""
    network = Network(3)
    leader = network.bootstrap()
    network.isolate("n3")
    leader.leave("n3", network.now)
    network.settle()
    term = leader.current_term
    network.advance(5)
    network.heal()
    network.advance(5)
    assert (network.leader().id, leader.current_term) == ("n1", term)


def test_a_server_that_is_told_it_left_stands_for_election_no_more() -> None:
    network = Network(3)
    leader = network.bootstrap()
    leader.leave("n3", network.now)
    network.settle()
    assert network.nodes["n3"].configuration.voters == ("n1", "n2"), "it is sent the entry that removes it"
    assert network.nodes["n3"].deadline == float("inf")


def test_a_leader_that_leaves_leads_until_that_is_committed_and_hands_over() -> None:
    """Thesis 4.2.2: it manages the cluster without counting itself, and steps down once its removal is committed."""
    network = Network(3)
    leader = network.bootstrap()
    position = leader.leave("n1", network.now)
    assert position is not None
    assert network.leader() is leader
    network.settle()
    assert leader.commit_index >= position.index
    assert leader.role is Role.FOLLOWER
    assert network.leader().configuration.voters == ("n2", "n3")


def test_a_leader_that_leaves_does_not_count_itself() -> None:
    """Thesis 4.2.2: a majority of the configuration without it."""
    network = Network(3)
    leader = network.bootstrap()
    network.crash("n3")
    position = leader.leave("n1", network.now)
    assert position is not None
    network.settle()
    assert leader.commit_index < position.index, "one of two voters is no majority"


def test_a_server_stands_for_election_as_long_as_its_removal_may_need_it() -> None:
    """Thesis 4.2.2. Found by random schedules: n1 alone held the entry that removes n1, so n2 could not win without
    its vote, did not get it, and n1 did not stand."""
    network = Network(2)
    leader = network.bootstrap()
    network.isolate("n1")
    leader.leave("n1", network.now)
    network.collect()
    network.advance(5)
    network.heal()
    network.advance(5)
    assert network.leader().id == "n2"
    assert network.leader().configuration.voters == ("n2",)


def test_who_is_no_member_cannot_leave_and_the_last_voter_may_not() -> None:
    network = Network(1)
    leader = network.bootstrap()
    before = leader.log.last_index
    with pytest.raises(MembershipChangeError, match="n7 is no member"):
        leader.leave("n7", network.now)
    with pytest.raises(MembershipChangeError, match="last voter"):
        leader.leave("n1", network.now)
    assert leader.log.last_index == before


def test_no_membership_changes_before_an_entry_of_the_term_is_committed() -> None:
    """raft-dev 2015, the correction to thesis 4.1 (copycat#23): two leaders' changes could have disjoint majorities."""
    network = Network(4)
    network.bootstrap()
    network.crash("n1")
    fresh = elect_but_replicate_nothing(network, "n2")
    assert fresh.leave("n1", network.now) is None
    network.settle()
    assert fresh.leave("n1", network.now) is not None


# Handing over (thesis 3.10)


def test_a_transfer_makes_the_target_leader_without_an_election_timeout() -> None:
    """Thesis 3.10."""
    network = Network(3)
    leader = network.bootstrap()
    before = network.now
    assert leader.transfer_leadership("n3", network.now) == "n3"
    network.settle()
    assert network.leader().id == "n3"
    assert network.now == before


def test_a_transfer_waits_until_the_target_has_the_whole_log() -> None:
    """Thesis 3.10, step 2 (hashicorp#487, redpanda#2606): a target that is behind could not win."""
    network = Network(3)
    leader = network.bootstrap()
    network.cut = {("n1", "n3")}
    propose(network, 3)
    leader.transfer_leadership("n3", network.now)
    network.settle()
    assert leader.role is Role.LEADER
    network.heal()
    network.advance(0.3)
    assert network.leader().id == "n3"


def test_a_leader_takes_nothing_new_while_it_hands_over() -> None:
    """Thesis 3.10, step 1."""
    network = Network(3)
    leader = network.bootstrap()
    network.isolate("n3")
    network.now += 0.01
    leader.transfer_leadership("n3", network.now)
    network.settle()
    with pytest.raises(TransferInProgressError):
        leader.propose(b"late", network.now)


def test_a_transfer_that_does_not_come_about_is_given_up() -> None:
    """Thesis 3.10: after about an election timeout the leader goes on."""
    network = Network(3)
    leader = network.bootstrap()
    network.crash("n3")
    network.now += 0.01
    leader.transfer_leadership("n3", network.now)
    network.advance(1.1)
    assert leader.transfer_target is None
    leader.propose(b"on we go", network.now)


def test_leadership_goes_to_a_voter_only() -> None:
    network = Network(2)
    leader = network.bootstrap()
    leader.join("n9", "h:9", network.now)
    for target, why in [("n9", "no voter"), ("n7", "no voter"), ("n1", "leads already")]:
        with pytest.raises(TransferError, match=why):
            leader.transfer_leadership(target, network.now)
    assert leader.transfer_target is None


def test_whoever_hands_over_leads_no_more_when_it_says_so() -> None:
    """The package's promise in time: it steps down before TimeoutNow leaves."""
    network = Network(3)
    leader = network.bootstrap()
    leader.transfer_leadership("n2", network.now)
    network.collect()
    while not any(isinstance(message, TimeoutNow) for message in network.in_flight):
        network.deliver(network.in_flight.pop(0))
        network.collect()
    assert leader.role is Role.FOLLOWER
    assert network.now >= leader.lease_until_s


def test_an_order_to_stand_that_comes_late_elects_nobody_beside_a_leader() -> None:
    """It speaks of a term that is over."""
    network = Network(3)
    leader = network.bootstrap()
    stale = TimeoutNow(sender="n3", recipient="n2", term=leader.current_term - 1)
    network.deliver(stale)
    network.settle()
    assert network.leader() is leader


# Reads by the lease (thesis 6.4.1)


def test_a_read_by_the_lease_waits_for_an_entry_of_the_leaders_own_term() -> None:
    """Thesis 6.4, step 1 (etcd#7331): before that, a leader may not know the latest commit."""
    network = Network(3)
    network.bootstrap()
    propose(network, 1)
    network.crash("n1")
    network.advance(5)
    fresh = network.leader()
    assert fresh.lease_read(network.now) >= fresh.log.last_index


def test_a_leader_whose_lease_is_over_serves_no_read() -> None:
    """Thesis 6.4.1; sofa-jraft#34: a leader that was stopped wakes and still holds the role."""
    network = Network(3)
    leader = network.bootstrap()
    network.now += 4
    with pytest.raises(NotLeaderError):
        leader.lease_read(network.now)


# Hints


def test_a_follower_repeats_its_answer_when_the_way_back_to_its_leader_opens() -> None:
    """Found by measuring: a partition that heals link by link swallowed the answer to the first heartbeat, and the
    follower stayed behind until the next."""
    network = Network(3)
    leader = network.bootstrap()
    network.isolate("n3")
    propose(network, 3)
    network.cut.discard(("n1", "n3"))
    leader.nudge("n3", network.now)
    network.settle()
    assert leader.match_indexes["n3"] < leader.log.last_index, "the answer was lost"
    network.heal()
    network.nodes["n3"].nudge("n1", network.now)
    network.settle()
    assert leader.match_indexes["n3"] == leader.log.last_index


META = SnapshotMeta(9, 2, Configuration.first(MEMBERS), 1)


def chunk(*, index: int, term: int = 2, data: bytes, checksum: str | None = None) -> InstallSnapshot:
    """A whole snapshot in one message."""
    return InstallSnapshot(
        sender="n2",
        recipient="n1",
        term=2,
        last_index=index,
        last_term=term,
        configuration=META.configuration.encode(),
        configuration_index=META.configuration_index,
        total=len(data),
        checksum=checksum or Snapshot(META, data).checksum,
        offset=0,
        data=data,
        sent_at_s=7.0,
    )


def propose(network: Network, count: int) -> None:
    for number in range(count):
        network.leader().propose(b"%d" % number, network.now)
        network.settle()


def elect_but_replicate_nothing(network: Network, name: str) -> Raft:
    """Let `name` win an election, up to the instant before its first AppendEntries leaves."""
    network.now += 3
    candidate = network.nodes[name]
    candidate.campaign(network.now)
    while candidate.role is not Role.LEADER:
        network.collect()
        network.deliver(network.in_flight.pop(0))
    return candidate
