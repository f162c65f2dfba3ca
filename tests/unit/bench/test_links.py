"""Partitions are shown as groups, and nothing else is taken for one."""

from __future__ import annotations

import random

import pytest

from bench.live.links import between, groups, matrix, partition
from faults.cuts import isolate, split
from faults.links import Link, peer_links

NODES = ("n1", "n2", "n3", "n4", "n5")


def divisions(nodes: tuple[str, ...]) -> list[list[list[str]]]:
    """Every way to divide these nodes into groups, which keep the order of the nodes."""
    if not nodes:
        return [[]]
    found = []
    for division in divisions(nodes[:-1]):
        found.append([*division, [nodes[-1]]])
        for place, group in enumerate(division):
            found.append([*division[:place], [*group, nodes[-1]], *division[place + 1 :]])
    return found


@pytest.mark.parametrize("size", [2, 3, 5])
def test_every_partition_is_found_again_as_it_was_made(size: int) -> None:
    made = [division for division in divisions(NODES[:size]) if len(division) > 1]
    assert [groups(NODES[:size], split(*division)) for division in made] == made


def test_groups_are_named_only_where_exactly_the_links_between_them_are_cut() -> None:
    rng = random.Random(1)
    links = peer_links(NODES)
    for _ in range(2000):
        cut = frozenset(rng.sample(links, rng.randrange(len(links) + 1)))
        found = groups(NODES, cut)
        assert not found or between(found) == cut


@pytest.mark.parametrize("spoiled", [True, False])
def test_one_link_more_or_less_is_no_partition(spoiled: bool) -> None:
    cut = set(isolate("n1", NODES))
    if spoiled:
        cut.add(Link("n2", "n3"))
    else:
        cut.remove(Link("n1", "n2"))
    assert groups(NODES, frozenset(cut)) == []


def cut(*links: Link, words: str = "cut (blackhole)") -> dict[str, str]:
    return {str(link): words for link in links}


def test_what_a_partition_says_is_not_said_again() -> None:
    links = cut(*split(["n1"], ["n2", "n3"]))
    assert partition(NODES[:3], links) == [["n1"], ["n2", "n3"]]
    assert matrix(NODES[:3], links) == []


def test_what_else_is_wrong_stands_in_the_row_of_its_source_and_the_column_of_its_target() -> None:
    links = {
        "n1->n2": "cut (blackhole)",
        "n2->n1": "cut (hold)",
        "n2->n3": "cut (refuse), 5ms",
        "n3->n2": "200ms±20ms, 16 KiB/s",
        "n3->n1": "up, bypassed",
        "client->n2": "16 KiB/s",
    }
    assert matrix(NODES[:3], links) == [
        ["n1", "", "cut", "."],
        ["n2", "hold", "", "refuse+"],
        ["n3", "past", "200ms+", ""],
        ["client", ".", "16K", "."],
    ]


def test_beside_a_partition_stands_what_lies_over_it() -> None:
    links = cut(*split(["n1"], ["n2", "n3"])) | {"n2->n3": "50ms", "n1->n2": "cut (blackhole), 7ms"}
    assert matrix(NODES[:3], links) == [["n1", "", "7ms", "."], ["n2", ".", "", "50ms"], ["n3", ".", ".", ""]]


def test_every_link_has_a_place() -> None:
    for link in peer_links(NODES):
        rows = {row[0]: row[1:] for row in matrix(NODES, {str(link): "50ms"})}
        assert rows[link.source][NODES.index(link.target)] == "50ms"
