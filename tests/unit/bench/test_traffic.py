from __future__ import annotations

from collections.abc import Mapping

from bench.live.traffic import Traffic
from faults.links import CLIENT, Link

N1_N2 = Link("n1", "n2")


class Nodes:
    """What each node would say; one that is missing says nothing."""

    def __init__(self) -> None:
        self.said: dict[str, Mapping[str, int]] = {}
        self.traffic = Traffic(self.said.get)


def test_a_count_goes_on_over_a_restart() -> None:
    nodes = Nodes()
    nodes.said["n1"] = {"n2": 5}
    nodes.traffic.ends("n1")
    nodes.said["n1"] = {"n2": 2, "n3": 9}
    assert nodes.traffic.on([N1_N2]) == {N1_N2: 7}


def test_a_node_that_says_nothing_counts_as_it_said_last() -> None:
    nodes = Nodes()
    nodes.said["n1"] = {"n2": 5}
    nodes.traffic.read("n1")
    del nodes.said["n1"]
    assert nodes.traffic.on([N1_N2]) == {N1_N2: 5}
    nodes.traffic.ends("n1")
    assert nodes.traffic.on([N1_N2]) == {N1_N2: 5}


def test_a_link_never_used_counts_nothing_and_clients_are_not_counted() -> None:
    nodes = Nodes()
    nodes.said["n1"] = {}
    assert nodes.traffic.on([N1_N2, Link(CLIENT, "n1")]) == {N1_N2: 0}
