"""When what of a case is played, on a cluster whose clock has run before."""

from __future__ import annotations

import pytest

from bench.case import Case, Settings
from bench.cluster import PromiseBrokenError
from bench.operations import Get, Join, Leave, Operating, TakeSnapshot, Transfer, Writing
from bench.player import Player
from bench.schedule import AnyFault, Ask, Clients, Crash, Schedule
from bench.simulated.cluster import SimulatedCluster

THREE = ("n1", "n2", "n3")
BEFORE_S = 3.0


def played(*faults: AnyFault, kind: type[SimulatedCluster] = SimulatedCluster) -> SimulatedCluster:
    schedule = Schedule(nodes=THREE, members=THREE, length_s=3.0, faults=faults)
    case = Case(schedule=schedule, settings=Settings(start_s=0.0), seed=3)
    cluster = kind(case.plan)
    with cluster.opened():
        cluster.pass_time(BEFORE_S)
        Player(cluster, case).play()
    return cluster


def test_a_fault_begins_and_ends_at_its_time_from_when_the_case_begins() -> None:
    crash, clients = Crash(at_s=1.0, for_s=0.5, node="n2"), Clients(at_s=0.5, for_s=1.5, number=1)
    cluster = played(crash, clients)
    told = [(r["event"], r["fault"], r["at_s"]) for r in cluster.timeline if r["event"] in ("begins", "over")]
    assert told == [
        ("begins", clients, pytest.approx(BEFORE_S + 0.5)),
        ("begins", crash, pytest.approx(BEFORE_S + 1.0)),
        ("over", crash, pytest.approx(BEFORE_S + 1.5)),
        ("over", clients, pytest.approx(BEFORE_S + 2.0)),
    ]


def test_an_operator_asks_again_until_their_time_is_over_and_no_longer() -> None:
    asks = Ask(at_s=0.5, for_s=1.5, node="n2", what=TakeSnapshot())
    cluster = played(Crash(at_s=0.0, for_s=3.0, node="n2"), asks)
    asked_s = [one.invoked_s - BEFORE_S for one in cluster.history if one.asked == TakeSnapshot()]
    assert len(asked_s) > 3
    assert (asked_s[0], asked_s[-1] < 2.0) == (0.5, True)


def test_clients_ask_nothing_more_when_their_time_is_over() -> None:
    cluster = played(Clients(at_s=0.5, for_s=1.5, number=4))
    writes = [one for one in cluster.history if isinstance(one.asked, Writing) and one.asked.client_id != "last wishes"]
    of_clients = [one.invoked_s - BEFORE_S for one in writes]
    assert 0.5 < min(of_clients) < max(of_clients) < 2.0


def test_all_who_wish_something_in_the_end_are_served() -> None:
    last = [one.asked for one in played().history if one.outcome == "ok"][-2:]
    assert [asked.freshness for asked in last if isinstance(asked, Get)] == ["linearizable", "lease"]


@pytest.mark.parametrize("what", [Leave("leader"), Leave("follower"), Join("follower"), Transfer("follower")])
def test_whom_an_operator_names_by_a_role_is_a_node_when_it_is_asked_for(what: Operating) -> None:
    cluster = played(Ask(at_s=2.0, for_s=1.0, node="leader", what=what))
    (asked,) = {one.asked for one in cluster.history if isinstance(one.asked, type(what))}
    (named,) = {getattr(asked, field) for field in ("node", "to") if hasattr(asked, field)}
    assert named in THREE


def test_a_crash_at_the_beginning_is_a_node_that_starts_later() -> None:
    cluster = played(Crash(at_s=0.0, for_s=1.0, node="n1"))
    starts_s = [record["at_s"] for record in cluster.evidence().traces["n1"] if record["event"] == "start"]
    assert len(starts_s) == 1
    assert starts_s[0] > BEFORE_S + 1.0
    assert "kill" not in [record["event"] for record in cluster.timeline]


class Mortal(SimulatedCluster):
    """Of which a node ends by itself once all are agreed, and clients served."""

    def at_rest(self) -> None:
        self.world.nodes["n2"].ended("it has had enough")
        super().at_rest()


def test_a_node_that_has_stopped_by_itself_is_a_promise_broken() -> None:
    with pytest.raises(PromiseBrokenError, match="nothing_fails: n2 has stopped by itself"):
        played(kind=Mortal)
