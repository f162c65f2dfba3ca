"""Changes that take several rounds: what may be said of one that ends in the middle."""

from __future__ import annotations

from concurrent.futures import Future

import pytest

from node.changes import Join
from node.errors import LeadershipLostError
from node.pending import Pending
from node.raft import NotLeaderError
from tests.unit.raft.harness import Network


def test_a_join_that_no_leader_has_begun_has_not_happened() -> None:
    network = Network(3)
    network.bootstrap()
    join = Join("n9", "h:9", Future(), network.now)
    with pytest.raises(NotLeaderError):
        join.poll(network.nodes["n2"], Pending(), network.now)


def test_a_join_whose_leader_was_lost_may_still_happen() -> None:
    """The server is staged, and the next leader may see it through: not to be told as refused."""
    network = Network(3)
    leader = network.bootstrap()
    join = Join("n9", "h:9", Future(), network.now)
    assert not join.poll(leader, Pending(), network.now)
    with pytest.raises(LeadershipLostError):
        join.poll(leader, Pending(), network.now + 4)
