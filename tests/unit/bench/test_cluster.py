"""What follows, once for all worlds, from what each world can do."""

from __future__ import annotations

import pickle

import pytest

from bench.case import plan
from bench.cluster import PromiseBrokenError, WaitTimeoutError
from bench.simulated.cluster import SimulatedCluster


def test_a_leader_whom_no_more_than_half_can_be_seen_to_follow_is_none_to_build_on() -> None:
    with SimulatedCluster(plan(4, seed=1)) as cluster:
        leader = cluster.wait_for_leader()
        for follower in [node for node in cluster.nodes if node != leader][:2]:
            cluster.pause(follower)
        with pytest.raises(WaitTimeoutError, match="a leader whom a majority follows"):
            cluster.wait_for_leader(timeout_s=0.05)
        assert cluster.leads(leader)


def test_a_promise_that_was_broken_in_another_process_is_told_as_it_was_there() -> None:
    told = pickle.loads(pickle.dumps(PromiseBrokenError("logs_match", "n1 and n2 differ")))
    assert (told.promise, told.words, str(told)) == ("logs_match", "n1 and n2 differ", "logs_match: n1 and n2 differ")
