from __future__ import annotations

from collections.abc import Mapping

from bench.live.traffic import Traffic
from faults.links import CLIENT, Address, Link

N1_N2 = Link("n1", "n2")
TO_N2, TO_N3, PAST = (Address("127.0.0.1", port) for port in (17000, 17001, 7002))
LISTENS = {N1_N2: TO_N2, Link("n1", "n3"): TO_N3, Link("n3", "n2"): Address("127.0.0.1", 17002)}


class Nodes:
    """What each node would say; one that is missing says nothing."""

    def __init__(self) -> None:
        self.said: dict[str, Mapping[Address, int]] = {}
        self.traffic = Traffic(self.said.get, LISTENS)


def test_a_count_goes_on_over_a_restart() -> None:
    nodes = Nodes()
    nodes.said["n1"] = {TO_N2: 5}
    nodes.traffic.ends("n1")
    nodes.said["n1"] = {TO_N2: 2, TO_N3: 9}
    assert nodes.traffic.on([N1_N2]) == {N1_N2: 7}


def test_a_node_that_says_nothing_counts_as_it_said_last() -> None:
    nodes = Nodes()
    nodes.said["n1"] = {TO_N2: 5}
    nodes.traffic.read("n1")
    del nodes.said["n1"]
    assert nodes.traffic.on([N1_N2]) == {N1_N2: 5}
    nodes.traffic.ends("n1")
    assert nodes.traffic.on([N1_N2]) == {N1_N2: 5}


def test_a_link_never_used_counts_nothing_and_clients_are_not_counted() -> None:
    nodes = Nodes()
    nodes.said["n1"] = {}
    assert nodes.traffic.on([N1_N2, Link(CLIENT, "n1")]) == {N1_N2: 0}


def test_what_went_to_a_peer_by_another_way_did_not_go_over_the_link() -> None:
    nodes = Nodes()
    nodes.said["n1"] = {PAST: 7, TO_N3: 3}
    nodes.said["n3"] = {TO_N2: 2}
    assert list(nodes.traffic.on([N1_N2, Link("n1", "n3"), Link("n3", "n2")]).values()) == [0, 3, 0]
    for node in ("n1", "n3"):
        nodes.traffic.ends(node)
    nodes.said.clear()
    assert list(nodes.traffic.on([N1_N2, Link("n1", "n3"), Link("n3", "n2")]).values()) == [0, 3, 0]
