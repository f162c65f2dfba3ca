"""Ongaro's thesis (2014) from its front to its back: each sentence that no test of `test_paper` is about.

Where the thesis repeats the paper, the paper's section (§) stands beside its own.
"""

from __future__ import annotations

import pytest

from node.raft import (
    AppendEntries,
    AppendEntriesResponse,
    Configuration,
    Entry,
    EntryKind,
    Member,
    NotLeaderError,
    PreVote,
    PreVoteResponse,
    Raft,
    ReadReady,
    RequestVoteResponse,
    Role,
    Suffrage,
    TimeoutNow,
)
from node.raft.messages import AnyMessage
from tests.unit.raft.harness import TIMING, Network
from tests.unit.raft.servers import MEMBERS, NOW, answer, append, appends, ask_vote, candidate, elected, follower, vote

A_MOMENT = 1e-3
WITHIN_TIMEOUT = NOW + 0.9 * TIMING.heartbeat_timeout_s
AFTER_TIMEOUT = NOW + 1.1 * TIMING.heartbeat_timeout_s


# Leader election (thesis 3.4, §5.2)


def test_a_vote_of_an_earlier_term_does_not_count() -> None:
    """A majority of the votes *in the same term*: the vote of term 2 is late, and its voter may have another's in 3."""
    node = candidate()
    later = NOW + 2 * TIMING.election_timeout_s
    node.tick(later)
    node.receive(would_vote(term=3), later)
    roles = [(node.role, node.current_term)]
    for term in (2, 3):
        node.receive(RequestVoteResponse(sender="n2", recipient="n1", term=term, granted=True, sent_at_s=NOW), later)
        roles.append((node.role, node.current_term))
    assert roles == [(Role.CANDIDATE, 3), (Role.CANDIDATE, 3), (Role.LEADER, 3)]


def test_a_vote_that_comes_when_another_leads_elects_nobody() -> None:
    """Whoever has recognised the leader of its term is no candidate any more."""
    node = candidate()
    node.take_effects()
    append(node, term=2, prev=(1, 1), terms=[2])
    for voter in ("n2", "n3"):
        vote(node, sender=voter)
    assert (node.role, node.leader) == (Role.FOLLOWER, "n2")


# Log replication (thesis 3.5, §5.3)


def test_an_answer_of_an_earlier_reign_proves_no_match() -> None:
    """nextIndex and matchIndex are reinitialized after election: what it speaks of may have been replaced since."""
    network = Network(5)
    leader = network.bootstrap()
    network.advance(0.3)
    network.isolate("n1", "n2")
    for data in (b"x", b"y", b"z"):
        leader.propose(data, network.now)
    network.collect(["n1"])
    deliver_from(network, "n1", to="n2")
    network.collect(["n2"])
    late = [message for message in network.in_flight if isinstance(message, AppendEntriesResponse)]
    network.in_flight.clear()
    assert late[-1].success
    assert late[-1].match_index == leader.log.last_index

    network.advance(4)
    network.heal()
    network.isolate("n2")
    network.advance(2)
    assert network.leader() is not leader
    network.leader().transfer_leadership("n1", network.now)
    network.settle()
    assert network.leader() is leader

    for message in late:
        network.deliver(message)
    assert leader.match_indexes["n2"] == 0, "n2 has x, y and z still, which nobody else has"


def test_an_answer_of_an_earlier_reign_extends_no_lease() -> None:
    """Its `sent_at_s` is a reading of a clock that may have begun anew, with the machine, before this reign."""
    asked = appends(elected())["n2"]
    restarted_s = NOW / 2
    node = follower(2, term=2, now=restarted_s)
    node.campaign(restarted_s)
    node.receive(would_vote(term=3), restarted_s)
    node.receive(
        RequestVoteResponse(sender="n2", recipient="n1", term=3, granted=True, sent_at_s=restarted_s), restarted_s
    )
    assert node.role is Role.LEADER
    late = AppendEntriesResponse(
        sender="n2",
        recipient="n1",
        term=asked.term,
        success=True,
        prev_log_index=asked.prev_log_index,
        match_index=asked.last_index,
        conflict_index=0,
        sent_at_s=asked.sent_at_s,
    )
    node.receive(late, restarted_s)
    assert node.lease_until_s == restarted_s + TIMING.leader_lease_timeout_s


# Leadership transfer (thesis 3.10)


def test_a_leader_hands_over_when_all_is_committed_and_not_when_the_successor_alone_has_it() -> None:
    """Whoever asked for what is not committed yet waits for an answer that only the leader can give."""
    network = Network(5)
    leader = network.bootstrap()
    network.advance(1.0)
    network.isolate("n3", "n4", "n5")
    leader.propose(b"x", network.now)
    leader.transfer_leadership("n2", network.now)
    network.settle()
    assert leader.match_indexes["n2"] == leader.log.last_index > leader.commit_index
    assert leader.role is Role.LEADER
    network.heal()
    network.advance(0.2)
    assert network.leader().id == "n2"


def test_a_leader_hands_over_only_to_who_has_its_whole_log() -> None:
    """Step 2; that the target has all that is committed does not do."""
    node = elected()
    answer(node, appends(node)["n2"])
    node.propose(b"c", NOW)
    assert node.match_indexes["n2"] == node.commit_index < node.log.last_index
    node.transfer_leadership("n2", NOW)
    (lacking,) = [m for m in node.take_effects().messages if m.recipient == "n2"]
    assert isinstance(lacking, AppendEntries)
    assert node.transfer_target == "n2"
    answer(node, lacking)
    assert TimeoutNow(sender="n1", recipient="n2", term=2) in node.take_effects().messages
    assert node.role is Role.FOLLOWER


def test_a_leader_that_may_choose_hands_over_to_whose_log_is_furthest() -> None:
    """Step 2 again: the fewer entries it lacks, the sooner it can win."""
    for furthest in ("n2", "n3"):
        node = elected()
        answer(node, appends(node)[furthest])
        assert node.transfer_leadership(None, NOW) == furthest


# Cluster membership changes (thesis 4.1)


@pytest.mark.parametrize("agreed", [1, 2, 3, 4])
def test_a_configuration_that_is_truncated_gives_way_to_the_one_before(agreed: int) -> None:
    """A server uses the latest configuration in its log, committed or not, and must be prepared to fall back."""
    node = follower()
    staged = Configuration.first(MEMBERS).with_server(Member("n4", "h:4", Suffrage.STAGING))
    promoted = staged.with_server(Member("n4", "h:4"))
    configurations = [Configuration.first(MEMBERS), staged, promoted, promoted.without_server("n3")]
    changes = [Entry(index, 2, EntryKind.CONFIGURATION, c.encode()) for index, c in enumerate(configurations, 1)][1:]
    node.receive(
        AppendEntries(
            sender="n2",
            recipient="n1",
            term=2,
            prev_log_index=1,
            prev_log_term=1,
            entries=tuple(changes),
            leader_commit=0,
            sent_at_s=NOW,
        ),
        NOW,
    )
    node.take_effects()
    assert (node.configuration, node.configuration_index, node.commit_index) == (configurations[3], 4, 0)
    assert append(node, term=4, prev=(agreed, node.log.term_at(agreed)), terms=[4]).success
    assert (node.configuration, node.configuration_index) == (configurations[agreed - 1], agreed)


# Catching up new servers (thesis 4.2.1)


def test_a_joiner_that_has_begun_to_catch_up_does_not_vote_yet() -> None:
    """Not before its log is within one message of the leader's."""
    node = elected(*[1] * 100)
    answer(node, appends(node)["n2"])
    node.join("n9", "h:9", NOW)
    asked = appends(node)
    answer(node, asked["n2"])
    answer(node, asked["n9"], success=False, conflict_index=1)
    answer(node, appends(node)["n9"])
    rest = [m for m in node.take_effects().messages if isinstance(m, AppendEntries) and m.recipient == "n9"]
    assert 0 < node.match_indexes["n9"] < node.log.last_index
    assert node.configuration.others == ("n9",)
    answer(node, rest[-1])
    node.take_effects()
    assert node.configuration.voters == ("n1", "n2", "n3", "n9")


def test_a_joiner_that_does_not_catch_up_is_let_go_again() -> None:
    """The leader aborts the change, and sends it nothing more."""
    network = Network(3)
    leader = joining_in_vain(network)
    network.settle()
    leader.abandon_join("n9", network.now)
    network.settle()
    assert leader.configuration.names == ("n1", "n2", "n3")
    assert leader.commit_index == leader.configuration_index
    assert "n9" not in leader.match_indexes


def test_a_joiner_is_not_let_go_while_its_coming_is_not_committed() -> None:
    """One change at a time (4.1) holds for this one too."""
    leader = joining_in_vain(Network(3))
    leader.abandon_join("n9", 10.0)
    assert leader.configuration.others == ("n9",)


def test_a_joiner_that_has_caught_up_is_not_let_go() -> None:
    """It is a voter like all others, and leaves as they do."""
    network = Network(3)
    leader = network.bootstrap()
    leader.abandon_join("n3", network.now)
    assert leader.configuration.voters == ("n1", "n2", "n3")


# Removing the current leader (thesis 4.2.2)


def test_a_leader_that_leaves_does_not_count_itself_for_its_lease() -> None:
    """A majority of the configuration without it: of n2 and n3 that is both, and either alone could elect the other."""
    node = elected()
    asked = appends(node)
    for name in ("n2", "n3"):
        answer(node, asked[name])
    node.leave("n1", NOW)
    node.tick(NOW + 0.3)
    asked = appends(node)
    answer(node, asked["n2"])
    assert node.lease_until_s == NOW + TIMING.leader_lease_timeout_s
    answer(node, asked["n3"])
    assert node.lease_until_s == NOW + 0.3 + TIMING.leader_lease_timeout_s


# Disruptive servers (thesis 4.2.3)


def test_a_vote_given_counts_as_contact() -> None:
    """Whoever won with it leads from when it was asked for, and its first heartbeat may be under way still."""
    node = follower()
    assert ask_vote(node, sender="n2", term=2, last=(1, 1), now=NOW)
    assert not ask_vote(node, sender="n3", term=3, last=(1, 1), now=WITHIN_TIMEOUT)
    assert (node.current_term, node.voted_for) == (2, "n2")
    assert ask_vote(node, sender="n3", term=3, last=(1, 1), now=AFTER_TIMEOUT)


def test_a_leader_whose_lease_holds_is_deposed_by_no_candidate() -> None:
    """It is itself the leader whose heartbeats it would hear."""
    node = elected()
    node.take_effects()
    assert not ask_vote(node, sender="n3", term=9, last=(9, 8), now=NOW)
    assert (node.role, node.current_term) == (Role.LEADER, 2)
    ask_vote(node, sender="n3", term=9, last=(9, 8), now=node.lease_until_s)
    assert (node.role, node.current_term) == (Role.FOLLOWER, 9), "but it is when that is over"


# Routing requests to the leader (thesis 6.2)


def test_a_server_that_does_not_lead_says_who_does() -> None:
    """The client need not try one after the other."""
    network = Network(3)
    network.bootstrap()
    for name in ("n2", "n3"):
        assert referred_by(network.nodes[name], network.now) == "n1"


@pytest.mark.parametrize("why", ["its time-out", "the leader's word"])
def test_whoever_stands_for_election_names_nobody(why: str) -> None:
    """It discards what it knew: otherwise two servers might send a client to one another for ever."""
    node = follower()
    append(node, term=1, prev=(1, 1), terms=[])
    assert referred_by(node, NOW) == "n2"
    if why == "its time-out":
        node.tick(node.deadline)
        assert node.role is Role.PRE_CANDIDATE
    else:
        node.receive(TimeoutNow(sender="n2", recipient="n1", term=1), NOW)
        assert node.role is Role.CANDIDATE
    assert referred_by(node, NOW) is None


def test_a_follower_in_a_later_term_names_nobody() -> None:
    """It discards what it knew when the term changes, for the same reason."""
    node = follower()
    append(node, term=1, prev=(1, 1), terms=[])
    node.receive(news_of_term(9), NOW)
    assert (node.role, referred_by(node, NOW)) == (Role.FOLLOWER, None)


def test_a_deposed_leader_does_not_name_itself() -> None:
    node = elected()
    node.receive(news_of_term(9), NOW)
    assert referred_by(node, NOW) is None


def test_a_leader_whose_lease_is_over_does_not_name_itself() -> None:
    """It steps down if an election timeout goes by without a round of heartbeats to a majority."""
    node = elected()
    assert referred_by(node, node.lease_until_s) is None


# Read-only queries (thesis 6.4)


def test_a_read_waits_for_what_was_committed_when_it_was_asked_and_no_more() -> None:
    """Step 2: the leader saves its commit index, which may be ahead of what is applied and grow before the answer."""
    node = elected()
    answer(node, appends(node)["n2"])
    node.propose(b"before", NOW)
    answer(node, appends(node)["n2"])
    committed = node.commit_index
    assert node.last_applied < committed
    node.propose(b"meanwhile", NOW + A_MOMENT)
    ticket = node.read(NOW + A_MOMENT)
    answer(node, appends(node)["n2"])
    assert node.commit_index > committed
    assert node.take_effects().reads == (ReadReady(ticket, committed),)


def test_an_answer_to_what_was_sent_before_a_read_does_not_confirm_it() -> None:
    """Step 3, a *new* round: another may have been elected since, by the time the answer comes."""
    node = elected()
    before = appends(node)["n2"]
    ticket = node.read(NOW + A_MOMENT)
    answer(node, before)
    effects = node.take_effects()
    assert not effects.reads
    (heartbeat,) = [m for m in effects.messages if isinstance(m, AppendEntries) and m.recipient == "n2"]
    answer(node, heartbeat)
    assert [ready.ticket for ready in node.take_effects().reads] == [ticket]


def test_a_read_is_confirmed_by_a_majority() -> None:
    """Step 3: of five that is two answers, for the leader counts itself."""
    network = Network(5)
    leader = network.bootstrap()
    network.now += A_MOMENT
    ticket = leader.read(network.now)
    network.collect(["n1"])
    told = []
    for name in ("n2", "n3"):
        deliver_from(network, "n1", to=name)
        network.collect([name])
        deliver_from(network, name, to="n1")
        told.append([ready.ticket for ready in leader.take_effects().reads])
    assert told == [[], [ticket]]


def test_the_only_voter_confirms_its_reads_itself() -> None:
    """Step 3: it is a majority, and nobody's answer will come."""
    network = Network(1)
    leader = network.bootstrap()
    network.now += A_MOMENT
    ticket = leader.read(network.now)
    assert leader.take_effects().reads == (ReadReady(ticket, leader.commit_index),)


# Pre-vote (thesis 9.6)


@pytest.mark.parametrize(
    ("last", "granted"),
    [((1, 1), False), ((3, 2), False), ((4, 2), True), ((2, 3), True), ((9, 1), False)],
)
def test_a_pre_vote_goes_only_to_a_log_that_is_up_to_date(last: tuple[int, int], granted: bool) -> None:
    """The candidate's log is sufficiently up-to-date: it could win."""
    assert ask_pre_vote(follower(1, 2, 2), next_term=9, last=last) is granted


@pytest.mark.parametrize(("next_term", "granted"), [(4, False), (5, False), (6, True)])
def test_a_pre_vote_is_for_a_term_later_than_ones_own(next_term: int, granted: bool) -> None:
    """In any other the vote itself would be refused, or is given already."""
    assert ask_pre_vote(follower(term=5), next_term=next_term, last=(9, 4)) is granted


def test_a_pre_vote_is_refused_while_a_leader_may_live() -> None:
    """A voter has not heard from a valid leader for a baseline election timeout."""
    node = follower()
    append(node, term=1, prev=(1, 1), terms=[])
    assert not ask_pre_vote(node, next_term=2, last=(1, 1), now=WITHIN_TIMEOUT)
    assert ask_pre_vote(node, next_term=2, last=(1, 1), now=AFTER_TIMEOUT)


def test_a_pre_candidate_spends_no_term_and_no_vote() -> None:
    """A candidate increments its term only after it has learnt that a majority would vote for it."""
    node = follower()
    node.campaign(NOW)
    node.receive(would_vote(sender="n3", term=2, granted=False), NOW)
    assert (node.role, node.current_term, node.voted_for) == (Role.PRE_CANDIDATE, 1, None)
    assert node.take_effects().hard_state is None
    node.receive(would_vote(sender="n2", term=2), NOW)
    assert (node.role, node.current_term, node.voted_for) == (Role.CANDIDATE, 2, "n1")


@pytest.mark.parametrize(("last", "granted"), [((2, 1), True), ((1, 1), False)])
def test_to_be_asked_for_a_pre_vote_is_no_contact_and_to_grant_it_is_no_vote(
    last: tuple[int, int], granted: bool
) -> None:
    """It binds nobody: another may be told the same, a vote is free still, and the election comes when it was due."""
    node = follower(1)
    due_s = node.deadline
    for name in ("n2", "n3"):
        assert ask_pre_vote(node, sender=name, next_term=2, last=last) is granted
    assert (node.deadline, node.voted_for) == (due_s, None)
    assert ask_vote(node, sender="n3", term=2, last=(2, 1))


def test_the_answer_to_a_pre_vote_is_no_contact() -> None:
    """No leader speaks from it, so the pre-candidate votes for whoever stands first."""
    node = follower()
    node.campaign(NOW)
    node.receive(would_vote(term=2, granted=False), NOW)
    node.take_effects()
    assert ask_vote(node, sender="n3", term=2, last=(1, 1))


def test_a_pre_vote_does_not_count_as_a_vote() -> None:
    """Whoever said that it would vote may have voted for another meanwhile."""
    node = candidate()
    node.receive(would_vote(sender="n3", term=2), NOW)
    assert node.role is Role.CANDIDATE


def test_a_pre_vote_for_an_earlier_term_does_not_count() -> None:
    """It was granted for term 2; in term 4 its giver may refuse."""
    node = follower()
    node.campaign(NOW)
    node.receive(news_of_term(3), NOW)
    node.campaign(NOW)
    node.receive(would_vote(term=2), NOW)
    assert (node.role, node.current_term) == (Role.PRE_CANDIDATE, 3)


def test_a_pre_vote_that_comes_when_a_leader_was_heard_elects_nobody() -> None:
    node = follower()
    node.campaign(NOW)
    node.take_effects()
    append(node, term=1, prev=(1, 1), terms=[])
    for name in ("n2", "n3"):
        node.receive(would_vote(sender=name, term=2), NOW)
    assert (node.role, node.current_term, node.leader) == (Role.FOLLOWER, 1, "n2")


def ask_pre_vote(node: Raft, *, sender: str = "n2", next_term: int, last: tuple[int, int], now: float = NOW) -> bool:
    """Whether the node says that it would vote for a candidate whose last entry is (index, term)."""
    node.receive(
        PreVote(
            sender=sender,
            recipient="n1",
            term=next_term - 1,
            next_term=next_term,
            last_log_index=last[0],
            last_log_term=last[1],
        ),
        now,
    )
    (said,) = node.take_effects().messages
    assert isinstance(said, PreVoteResponse)
    return said.granted


def would_vote(*, sender: str = "n2", term: int, granted: bool = True) -> PreVoteResponse:
    """What n1 is answered that asked for a pre-vote for this term."""
    return PreVoteResponse(sender=sender, recipient="n1", term=term - 1, next_term=term, granted=granted)


def news_of_term(term: int) -> PreVoteResponse:
    """A message that says that its sender lives in this term, and nothing else that matters."""
    return PreVoteResponse(sender="n3", recipient="n1", term=term, next_term=term, granted=False)


def referred_by(node: Raft, now: float) -> str | None:
    """Whom a client that asks a node that does not lead is sent to."""
    with pytest.raises(NotLeaderError) as refusal:
        node.propose(b"c", now)
    return refusal.value.leader


def joining_in_vain(network: Network) -> Raft:
    """The leader that has just staged n9, which does not live."""
    leader = network.bootstrap()
    leader.join("n9", "h:9", network.now)
    assert leader.configuration.others == ("n9",)
    return leader


def deliver_from(network: Network, sender: str, *, to: str) -> None:
    """Deliver what is under way on this one link."""
    under_way: list[AnyMessage] = [m for m in network.in_flight if (m.sender, m.recipient) == (sender, to)]
    for message in under_way:
        network.in_flight.remove(message)
        network.deliver(message)
