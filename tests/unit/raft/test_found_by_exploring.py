"""What `explore` found in the core, told again in a few steps."""

from __future__ import annotations

from node.raft import AppendEntries, AppendEntriesResponse, PreVoteResponse, RequestVote, Role, Suffrage

from .harness import TIMING, Network


def test_a_refusal_that_a_late_entry_has_overtaken_is_no_sign_of_a_wiped_disk() -> None:
    network = Network(3)
    leader = network.bootstrap()
    network.advance(1.0)
    for data in (b"x", b"y"):
        leader.propose(data, network.now)
        network.collect(["n1"])
        network.now += 0.001
    late, early = (m for m in network.in_flight if isinstance(m, AppendEntries) and m.recipient == "n2")
    for message in (early, late):
        network.in_flight.remove(message)
        network.deliver(message)
    network.collect(["n2"])
    refused, accepted = (m for m in network.in_flight if isinstance(m, AppendEntriesResponse) and m.sender == "n2")
    assert (refused.success, accepted.success) == (False, True)
    network.deliver(accepted)
    network.deliver(refused)
    assert leader.match_indexes["n2"] == accepted.match_index


def test_a_leader_may_leave_and_come_back_before_it_has_handed_over() -> None:
    network = Network(3)
    leader = network.bootstrap()
    address = next(server.address for server in leader.configuration.servers if server.id == "n1")
    assert leader.leave("n1", network.now) is not None
    network.collect(["n1"])
    for message in [m for m in network.in_flight if m.sender == "n1"]:
        network.in_flight.remove(message)
        network.deliver(message)
    network.collect(["n2", "n3"])
    for message in [m for m in network.in_flight if m.recipient == "n1"]:
        network.in_flight.remove(message)
        network.deliver(message)
    assert not leader.join("n1", address, network.now)
    network.advance(10.0)
    successor = network.leader()
    assert successor.role is Role.LEADER
    assert successor.id != "n1"
    server = successor.configuration.get("n1")
    assert server is not None
    assert server.suffrage is Suffrage.VOTER


def test_a_term_learnt_from_another_message_lets_no_candidate_in_while_a_leader_may_live() -> None:
    """It was adopted from an answer, a moment after the leader was heard; a request in that term found the way open."""
    network = Network(3)
    network.bootstrap()
    network.advance(1.0)
    voter = network.nodes["n2"]
    late = PreVoteResponse(sender="n3", recipient="n2", term=9, next_term=9, granted=False)
    request = RequestVote(
        sender="n3",
        recipient="n2",
        term=9,
        last_log_index=voter.log.last_index,
        last_log_term=voter.log.last_term,
        sent_at_s=0.0,
    )
    voter.receive(late, network.now)
    voter.receive(request, network.now)
    assert (voter.current_term, voter.voted_for) == (9, None)
    voter.receive(request, network.now + TIMING.heartbeat_timeout_s)
    assert voter.voted_for == "n3", "but later it does: the leader's lease is over"
