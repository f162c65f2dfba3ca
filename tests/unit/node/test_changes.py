"""Changes that take several rounds: what may be said of one that ends in the middle."""

from __future__ import annotations

import pytest

from node.changes import Joining
from node.errors import LeadershipLostError
from node.pending import Pending
from node.questions import AddServer
from node.raft import MembershipChangeError, NotLeaderError
from tests.unit.raft.harness import Network


def test_a_join_that_no_leader_has_begun_has_not_happened() -> None:
    network = Network(3)
    network.bootstrap()
    join = Joining(AddServer("n9", "h:9"), None, network.now)
    with pytest.raises(NotLeaderError):
        join.poll(network.nodes["n2"], Pending(), network.now)


def test_a_join_whose_leader_was_lost_may_still_happen() -> None:
    """The server is staged, and the next leader may see it through: not to be told as refused."""
    network = Network(3)
    leader = network.bootstrap()
    join = Joining(AddServer("n9", "h:9"), None, network.now)
    assert not join.poll(leader, Pending(), network.now)
    with pytest.raises(LeadershipLostError):
        join.poll(leader, Pending(), network.now + 4)


def test_of_two_joins_of_a_server_under_two_addresses_the_later_one_counts() -> None:
    """Found by exploring: they undid one another for ten seconds, in thousands of configurations."""
    network = Network(3)
    leader = network.bootstrap()
    network.advance(1.0)
    before = leader.log.last_index
    wrong, right = (Joining(AddServer("n9", address), None, network.now) for address in ("h:8", "h:9"))
    refused = False
    for _ in range(20):
        if not refused:
            try:
                assert not wrong.poll(leader, Pending(), network.now)
            except MembershipChangeError as error:
                refused = "another address than h:8" in str(error)
        assert not right.poll(leader, Pending(), network.now)
        network.advance(0.1)
    assert refused
    server = leader.configuration.get("n9")
    assert server is not None
    assert server.address == "h:9"
    assert leader.log.last_index == before + 2
