"""How much is under way and taken on at once, and what is done when something was lost."""

from __future__ import annotations

from collections.abc import Sequence

from node.raft import AppendEntries, AppendEntriesResponse, FlowLimits, Raft, Role
from node.raft.messages import AnyMessage
from tests.unit.raft.harness import Network


def founded(limits: FlowLimits) -> tuple[Network, Raft]:
    network = Network(3, limits=limits)
    return network, network.bootstrap()


def append(network: Network, leader: Raft, *sizes: int) -> None:
    """Have the leader append entries of these sizes, and send what it may."""
    for size in sizes:
        leader.propose(b"x" * size, network.now)
        network.collect([leader.id])


def sizes_sent(messages: Sequence[AnyMessage], to: str) -> list[int]:
    """Of the entries that are under way to one follower."""
    return [
        len(entry.data)
        for message in messages
        if isinstance(message, AppendEntries) and message.recipient == to
        for entry in message.entries
    ]


def test_no_more_entries_are_under_way_than_may_be() -> None:
    network, leader = founded(FlowLimits(entries_in_flight=2))
    append(network, leader, 1, 2, 3, 4)
    assert sizes_sent(network.in_flight, "n2") == [1, 2]


def test_no_more_bytes_are_under_way_than_may_be_and_one_message() -> None:
    network, leader = founded(FlowLimits(bytes_in_flight=100))
    append(network, leader, 60, 60, 1)
    assert sizes_sent(network.in_flight, "n2") == [60, 60]


def test_what_was_answered_makes_room_for_more() -> None:
    network, leader = founded(FlowLimits(bytes_in_flight=100))
    append(network, leader, 60, 60, 1)
    network.settle()
    assert {node.log.last_index for node in network.nodes.values()} == {leader.log.last_index}
    append(network, leader, 60, 60, 1)
    assert sizes_sent(network.in_flight, "n2") == [60, 60]


def test_a_follower_that_is_looked_for_anew_has_nothing_under_way() -> None:
    """Lost bytes would otherwise count for ever, and the leader would send it nothing more."""
    network, leader = founded(FlowLimits(bytes_in_flight=100))
    leader.propose(b"x" * 60, network.now)
    leader.propose(b"x" * 60, network.now)
    network.collect(["n1"])
    # Both in one message, so that the first alone, once it is known to match, does not account for what was lost.
    network.in_flight = []
    network.advance(0.2)
    assert {node.log.last_index for node in network.nodes.values()} == {leader.log.last_index}


def test_what_is_committed_is_handed_out_in_portions_that_leave_time_for_messages() -> None:
    """As etcd's MaxCommittedSizePerReady: a follower that applies all it has missed at once takes in nothing meanwhile
    and has fallen behind again when it is done."""
    network, leader = founded(FlowLimits(entries_applied_at_once=2))
    for _ in range(5):
        leader.propose(b"x", network.now)
    network.collect(["n1"])
    applied = leader.last_applied
    for name in ("n2", "n3"):
        for message in [message for message in network.in_flight if message.recipient == name]:
            network.deliver(message)
    network.in_flight = []
    network.collect(["n2", "n3"])
    for message in network.in_flight:
        network.deliver(message)
    handed_out = []
    while leader.deadline <= network.now:
        handed_out.append(len(leader.take_effects().committed))
    assert handed_out == [2, 2, 1]
    assert leader.last_applied == applied + 5 == leader.commit_index


def test_a_leader_hands_over_when_everything_committed_can_be_handed_out() -> None:
    """Whoever asked for what is committed would else be told that leadership was lost, and nobody knows."""
    network, leader = founded(FlowLimits(entries_applied_at_once=1))
    for _ in range(3):
        leader.propose(b"x", network.now)
    leader.transfer_leadership("n2", network.now)
    while leader.role is Role.LEADER:
        network.collect(["n2", "n3"])
        while network.in_flight:
            network.deliver(network.in_flight.pop(0))
        network.collect(["n1"])
    assert leader.last_applied == leader.commit_index


def test_what_a_broken_connection_may_have_lost_is_sent_again_without_being_asked_for() -> None:
    network, leader = founded(FlowLimits())
    append(network, leader, 1, 2, 3)
    network.in_flight = []
    for name in ("n2", "n3"):
        leader.nudge(name, network.now)
    network.collect()
    refusals = 0
    while network.in_flight:
        message = network.in_flight.pop(0)
        refusals += isinstance(message, AppendEntriesResponse) and not message.success
        network.deliver(message)
        network.collect()
    assert {node.log.last_index for node in network.nodes.values()} == {leader.log.last_index}
    assert refusals == 0


def test_of_many_refusals_of_what_was_sent_before_only_the_first_backs_the_leader_up() -> None:
    """Found by measuring: a link that had held everything back for 12 s was healed, and 450 refusals came in, each of
    which made the leader look again for a place that it had found."""
    network, leader = founded(FlowLimits())
    append(network, leader, 1)
    network.in_flight = []
    for _ in range(3):
        network.now += 0.001
        append(network, leader, 1)
    for message in [message for message in network.in_flight if message.recipient == "n2"]:
        network.deliver(message)
    network.in_flight = []
    network.collect(["n2"])
    first, *others = network.in_flight
    network.in_flight = []
    network.now += 0.001
    network.deliver(first)
    network.collect(["n1"])
    assert sizes_sent(network.in_flight, "n2") == [1]
    for refusal in others:
        network.deliver(refusal)
        network.collect(["n1"])
    assert len(others) == 2
    assert sizes_sent(network.in_flight, "n2") == [1]


def test_a_leader_that_lets_itself_go_hands_over_however_much_is_asked_of_it_meanwhile() -> None:
    network, leader = founded(FlowLimits(entries_applied_at_once=1))
    leader.leave("n1", network.now)
    for _ in range(20):
        if leader.role is Role.LEADER:
            leader.propose(b"x", network.now)
            leader.propose(b"x", network.now)
        network.collect()
        for message in network.in_flight[:]:
            network.in_flight.remove(message)
            network.deliver(message)
    assert leader.role is Role.FOLLOWER


def test_a_broken_connection_is_no_reason_for_a_snapshot() -> None:
    """The follower may have what is gone from the leader's log: its answers were under way."""
    network, leader = founded(FlowLimits())
    append(network, leader, 1, 1, 1)
    for name in ("n2", "n3"):
        for message in [message for message in network.in_flight if message.recipient == name]:
            network.deliver(message)
    network.collect(["n2", "n3"])
    answers = [message for message in network.in_flight if message.sender in ("n2", "n3")]
    network.in_flight = []
    for answer in answers:
        if answer.sender == "n2":
            network.deliver(answer)
    network.collect(["n1"])
    network.in_flight = []
    network.compact("n1")
    leader.nudge("n3", network.now)
    network.collect(["n1"])
    assert [type(message) for message in network.in_flight if message.recipient == "n3"] == [AppendEntries]
    network.settle()
    assert leader.match_indexes["n3"] == leader.log.last_index
