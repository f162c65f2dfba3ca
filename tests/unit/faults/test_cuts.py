from __future__ import annotations

import itertools

import pytest

from faults.cuts import between, bridge, isolate, majorities_ring, one_way, split
from faults.links import CLIENT, Address, Link, client_links, peer_links

FIVE = ["n1", "n2", "n3", "n4", "n5"]


def seen_by(node: str, cut: frozenset[Link]) -> set[str]:
    """Whom a node still reaches and is reached by, itself included."""
    return {other for other in FIVE if Link(node, other) not in cut and Link(other, node) not in cut}


def test_an_isolated_node_sees_nobody_and_the_others_see_one_another() -> None:
    cut = isolate("n1", FIVE)
    assert seen_by("n1", cut) == {"n1"}
    assert seen_by("n2", cut) == set(FIVE) - {"n1"}


def test_a_node_that_is_alone_cannot_be_isolated() -> None:
    with pytest.raises(ValueError, match="n1 is alone"):
        isolate("n1", ["n1"])


def test_a_split_parts_the_groups_and_nothing_else() -> None:
    cut = split(["n1", "n2"], ["n3", "n4", "n5"])
    assert seen_by("n2", cut) == {"n1", "n2"}
    assert seen_by("n4", cut) == {"n3", "n4", "n5"}


def test_a_bridge_sees_both_sides_that_do_not_see_each_other() -> None:
    cut = bridge(["n1", "n2"], "n3", ["n4", "n5"])
    assert seen_by("n3", cut) == set(FIVE)
    assert seen_by("n1", cut) == {"n1", "n2", "n3"}


def test_in_a_ring_each_node_sees_a_majority_and_no_two_the_same() -> None:
    cut = majorities_ring(FIVE)
    views = [frozenset(seen_by(node, cut)) for node in FIVE]
    assert all(len(view) == 3 for view in views)
    assert all(a != b for a, b in itertools.combinations(views, 2))


def test_one_way_takes_one_direction() -> None:
    assert one_way(["n1"], ["n2", "n3"]) == {Link("n1", "n2"), Link("n1", "n3")}


def test_a_clients_link_has_one_direction() -> None:
    assert between(CLIENT, "n1") == between("n1", CLIENT) == {Link(CLIENT, "n1")}


def test_a_node_cannot_be_cut_off_from_itself() -> None:
    with pytest.raises(ValueError, match="itself"):
        between("n1", "n1")
    with pytest.raises(ValueError, match="itself"):
        one_way(["n1", "n2"], ["n2"])


def test_groups_of_a_split_do_not_overlap() -> None:
    with pytest.raises(ValueError, match="n2 cannot be on two sides"):
        split(["n1", "n2"], ["n2", "n3"])


def test_every_node_has_a_link_to_every_other_and_one_from_clients() -> None:
    assert len(set(peer_links(FIVE))) == 20
    assert len(client_links(FIVE)) == 5


@pytest.mark.parametrize("text", ["7001", "host:", ":1", "h:0", "h:70000", "h:x"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="host:port"):
        Address.parse(text)
