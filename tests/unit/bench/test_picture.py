"""The links of a cluster in a few lines."""

from __future__ import annotations

import itertools
import random
from collections.abc import Collection

import pytest

from bench.picture import groups_of, picture, words_of
from faults.cuts import between, bridge, isolate, majorities_ring, one_way, split
from faults.links import CLIENT, Link, LinkState, Mode, client_links, peer_links

FIVE = ("n1", "n2", "n3", "n4", "n5")
FIFTEEN = tuple(f"n{number}" for number in range(1, 16))
WIDTH = 80


def partitions(nodes: tuple[str, ...]) -> list[tuple[tuple[str, ...], ...]]:
    """Every way to part the nodes into groups, in the order of their first nodes."""
    if not nodes:
        return [()]
    *most, last = nodes
    found = []
    for groups in partitions(tuple(most)):
        found += [(*groups[:i], (*groups[i], last), *groups[i + 1 :]) for i in range(len(groups))]
        found.append((*groups, (last,)))
    return found


def test_every_partition_is_seen_as_its_groups() -> None:
    found = {groups: groups_of(FIVE, split(*groups)) for groups in partitions(FIVE) if len(groups) > 1}
    assert len(found) == 51
    assert [groups for groups, seen in found.items() if seen != groups] == []


def test_whatever_groups_are_seen_part_exactly_the_links_that_are_cut() -> None:
    """All sets of links between three nodes, and of five nodes those a link away from a partition, and others."""
    three, rng = FIVE[:3], random.Random(1)
    sets: list[tuple[tuple[str, ...], Collection[Link]]] = []
    sets += [(three, cut) for size in range(7) for cut in itertools.combinations(peer_links(three), size)]
    links = peer_links(FIVE)
    for groups in partitions(FIVE):
        sets += [(FIVE, split(*groups) ^ {link}) for link in links]
        sets.append((FIVE, rng.sample(links, rng.randrange(len(links)))))
    for nodes, cut in sets:
        groups = groups_of(nodes, cut)
        parted = {split(*sides): sides for sides in partitions(nodes) if len(sides) > 1}
        assert groups == parted.get(frozenset(cut), ())


@pytest.mark.parametrize(
    "cut",
    [
        frozenset(),
        between("n1", "n2"),
        one_way(["n1"], FIVE[1:]),
        isolate("n3", FIVE) - {Link("n1", "n3")},
        bridge(FIVE[:2], "n3", FIVE[3:]),
        majorities_ring(FIVE),
        frozenset(client_links(FIVE)),
    ],
)
def test_what_is_no_partition_has_no_groups(cut: frozenset[Link]) -> None:
    assert groups_of(FIVE, cut) == ()


def test_a_client_that_is_cut_off_is_in_no_group() -> None:
    cut = split(FIVE[:2], FIVE[2:]) | {Link(CLIENT, "n1")}
    assert groups_of(FIVE, cut) == (FIVE[:2], FIVE[2:])


@pytest.mark.parametrize(
    ("state", "bypassed", "words"),
    [
        (LinkState(), False, []),
        (LinkState(), True, ["past"]),
        (LinkState(cut=Mode.BLACKHOLE), False, ["cut"]),
        (LinkState(cut=Mode.HOLD, latency_ms=200), False, ["hold", "200ms"]),
        (LinkState(cut=Mode.REFUSE), True, ["refuse", "past"]),
        (LinkState(latency_ms=200, jitter_ms=20, rate_kib_s=16), False, ["200±20ms", "16K"]),
        (LinkState(loss=0.5), False, ["noise"]),
    ],
)
def test_a_link_has_a_short_word_for_each_thing_that_is_wrong(
    state: LinkState, bypassed: bool, words: list[str]
) -> None:
    assert words_of(state, bypassed=bypassed) == words


def drawn(nodes: tuple[str, ...], wrong: dict[Link, list[str]], width: int = WIDTH) -> list[str]:
    return list(picture(nodes, wrong, width))


def test_nothing_is_drawn_of_links_that_are_up() -> None:
    assert drawn(FIVE, {}) == []


def test_a_partition_is_one_line_with_its_mode_where_that_is_not_the_usual_one() -> None:
    cut = split(FIVE[:2], FIVE[2:])
    assert drawn(FIVE, {link: ["cut"] for link in cut}) == ["partition: {n1 n2} | {n3 n4 n5}"]
    assert drawn(FIVE, {link: ["hold"] for link in cut}) == ["partition (hold): {n1 n2} | {n3 n4 n5}"]


def test_a_partition_of_two_modes_is_drawn_as_well() -> None:
    wrong = {Link("n1", "n2"): ["cut"], Link("n2", "n1"): ["refuse"]}
    assert drawn(FIVE[:2], wrong) == [
        "partition (cut, refuse): {n1} | {n2}",
        "from/to  n1      n2",
        "n1               cut",
        "n2       refuse",
    ]


def test_what_is_wrong_beside_a_partition_is_drawn_below_it() -> None:
    wrong = {link: ["cut"] for link in split(["n1"], ["n2", "n3"])}
    wrong |= {Link("n1", "n2"): ["cut", "200ms"], Link("n2", "n3"): ["16K"], Link(CLIENT, "n1"): ["cut"]}
    assert drawn(FIVE[:3], wrong) == [
        "partition: {n1} | {n2 n3}",
        "from/to  n1   n2     n3",
        "n1            200ms  .",
        "n2       .           16K",
        "client   cut  .      .",
    ]


def test_single_links_are_drawn_from_row_to_column_and_nodes_without_any_are_left_out() -> None:
    wrong = {Link("n1", "n2"): ["hold", "past"], Link("n4", "n1"): ["50ms"]}
    assert drawn(FIVE, wrong) == ["from/to  n1    n2", "n1             hold+past", "n4       50ms  ."]


@pytest.mark.parametrize("nodes", [FIFTEEN[:9], FIFTEEN])
@pytest.mark.parametrize("words", [["cut"], ["refuse", "10000±1000ms", "1048576K", "past"]])
@pytest.mark.parametrize("less", [0, 1])
def test_no_line_is_wider_than_the_terminal_and_no_link_is_lost(
    nodes: tuple[str, ...], words: list[str], less: int
) -> None:
    wrong = dict.fromkeys([*peer_links(nodes), *client_links(nodes)][less:], words)
    lines = drawn(nodes, wrong)
    assert [line for line in lines if len(line) > WIDTH] == []
    said_by_the_partition = len(peer_links(nodes)) if words == ["cut"] and not less else 0
    assert "\n".join(lines).count("+".join(words[1:] or words)) == len(wrong) - said_by_the_partition
    named = set(" ".join(lines).replace("{", " ").replace("}", " ").split())
    assert named >= set(nodes)
