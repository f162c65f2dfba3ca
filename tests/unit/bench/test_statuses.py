"""What nodes say of themselves when they are asked is no contradiction."""

from __future__ import annotations

import contextlib
import math

import pytest

from bench.checkers import nodes_say_one_thing
from bench.cluster import PromiseBrokenError
from bench.evidence import SAID, Evidence, Record
from bench.player import Player
from bench.search.explore import case_of
from bench.simulated.cluster import SimulatedCluster
from bench.verdict import Verdict
from node.raft import Raft, Role


def said(
    at_s: float, node: str, role: str = "Follower", term: int = 2, since_s: float = -1, **fields: object
) -> Record:
    known = {"applied_index": 5, "digest": "5a", "voters": ("n1", "n2", "n3"), "others": ()}
    began_s = at_s if since_s < 0 else since_s
    return {
        "event": SAID,
        "at_s": at_s,
        "since_s": began_s,
        "node": node,
        "role": role,
        "term": term,
        **known,
        **fields,
    }


def verdict(*timeline: Record) -> Verdict:
    return nodes_say_one_thing(Evidence((), {}, timeline)).verdict


def test_two_nodes_that_have_applied_as_much_have_applied_the_same() -> None:
    assert verdict(said(1, "n1"), said(2, "n2", digest="5b")) is Verdict.INVALID
    assert verdict(said(1, "n1"), said(2, "n2", digest="6b", applied_index=6)) is Verdict.VALID


def test_one_node_leads_in_a_term() -> None:
    assert verdict(said(1, "n1", "Leader"), said(9, "n2", "Leader")) is Verdict.INVALID
    assert verdict(said(1, "n1", "Leader"), said(9, "n2", "Leader", term=3)) is Verdict.VALID


def test_a_term_never_goes_back_also_not_by_a_restart() -> None:
    started = {"event": "restart", "at_s": 1.5, "node": "n1"}
    assert verdict(said(1, "n1", term=4), started, said(2, "n1", term=3)) is Verdict.INVALID


def test_a_node_that_came_back_without_its_disk_is_held_to_nothing() -> None:
    wiped = {"event": "restart", "at_s": 1.5, "node": "n1", "wipe": True}
    assert verdict(said(1, "n1", term=4), wiped, said(2, "n1", term=3)) is Verdict.UNKNOWN


def test_two_led_at_once_if_one_said_so_before_and_after_the_other() -> None:
    before, after = said(1, "n1", "Leader"), said(3, "n1", "Leader")
    assert verdict(before, said(2, "n2", "Leader", term=3), after) is Verdict.INVALID
    assert verdict(before, after, said(4, "n2", "Leader", term=3)) is Verdict.VALID


@pytest.mark.parametrize(("since_s", "at_s"), [(0.5, 2), (2, 3.5)])
def test_who_may_have_led_before_or_after_the_other_did_not_lead_at_once_for_certain(
    since_s: float, at_s: float
) -> None:
    other = said(at_s, "n2", "Leader", term=3, since_s=since_s)
    assert verdict(said(1, "n1", "Leader"), other, said(3, "n1", "Leader")) is Verdict.VALID


def test_what_rests_on_clocks_is_not_asked_where_they_differ() -> None:
    fast = {"event": "clock_rate", "at_s": 0.5, "node": "n2", "rate": 10.0}
    leaders = said(1, "n1", "Leader"), said(2, "n2", "Leader", term=3), said(3, "n1", "Leader")
    assert verdict(fast, *leaders) is Verdict.VALID


class Boastful(Raft):
    """Says that it leads for as long as nobody has deposed it, whether a majority hears it or not."""

    @property
    def lease_until_s(self) -> float:
        return math.inf if self.role is Role.LEADER else -math.inf


def test_nodes_that_call_themselves_leaders_for_too_long_are_convicted_by_what_they_say() -> None:
    assert Verdict.INVALID in (nodes_say_one_thing(asked(seed, Boastful)).verdict for seed in range(20))


def test_nodes_that_do_not_are_acquitted() -> None:
    found = nodes_say_one_thing(asked(0, Raft))
    assert found.verdict is Verdict.VALID
    assert "answers of nodes" in found.reason


def asked(seed: int, core: type[Raft]) -> Evidence:
    case = case_of(seed, 5)
    cluster = SimulatedCluster(case.plan, core=core)
    with contextlib.suppress(PromiseBrokenError), cluster.opened():
        Player(cluster, case).play()
    return cluster.seen_from_outside()
