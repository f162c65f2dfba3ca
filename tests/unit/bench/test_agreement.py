"""When a cluster is of one mind."""

from __future__ import annotations

from dataclasses import replace

from bench.cluster import NodeStatus, of_one_mind

FOLLOWER = NodeStatus(
    name="n2",
    role="Follower",
    term=2,
    leader="n1",
    last_index=9,
    commit_index=9,
    applied_index=9,
    log_digest="ab",
    addresses={"n1": "127.0.0.1:7001", "n2": "127.0.0.1:7002"},
)
LEADER = replace(FOLLOWER, name="n1", role="Leader")


def test_members_that_follow_one_leader_and_have_applied_its_log_are_of_one_mind() -> None:
    assert of_one_mind({"n1": LEADER, "n2": FOLLOWER})


def test_who_is_no_member_need_not_agree() -> None:
    stranger = replace(FOLLOWER, name="n3", leader=None, applied_index=0, addresses={})
    assert of_one_mind({"n1": LEADER, "n2": FOLLOWER, "n3": stranger, "n4": None})


def test_a_member_that_is_silent_or_behind_or_follows_nobody_does_not_agree() -> None:
    for other in (None, replace(FOLLOWER, applied_index=8), replace(FOLLOWER, leader=None)):
        assert not of_one_mind({"n1": LEADER, "n2": other})


def test_where_nobody_leads_nobody_agrees() -> None:
    assert not of_one_mind({"n1": replace(LEADER, role="Follower"), "n2": FOLLOWER})


def test_an_entry_that_all_have_and_nobody_knows_to_be_committed_is_not_agreed_on() -> None:
    """Whoever reads now finds it nowhere, though it may have been acknowledged by the leader before this one."""
    leader, follower = (replace(status, commit_index=8, applied_index=8) for status in (LEADER, FOLLOWER))
    assert not of_one_mind({"n1": leader, "n2": follower})
