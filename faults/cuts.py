"""Cuts by name: pure functions from nodes' names to the set of directed links that the cut takes away.

What a cut does to the traffic (swallow, refuse, hold) is not its business; see `faults.network`.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Sequence

from faults.links import CLIENT, Link


def isolate(node: str, nodes: Iterable[str]) -> frozenset[Link]:
    """`node` from every other, both ways. Its clients still reach it. Raises ValueError when there is no other."""
    others = [other for other in nodes if other != node]
    if not others:
        raise ValueError(f"{node} is alone; there is nobody to isolate it from")
    return split([node], others)


def split(*groups: Collection[str]) -> frozenset[Link]:
    """Every group from every other, both ways. Raises ValueError for a node in two groups."""
    named = list(itertools.chain.from_iterable(groups))
    twice = sorted({node for node in named if named.count(node) > 1})
    if twice:
        raise ValueError(f"{', '.join(twice)} cannot be on two sides of one split")
    return frozenset(
        Link(source, target) for near, far in itertools.permutations(groups, 2) for source in near for target in far
    )


def between(a: str, b: str) -> frozenset[Link]:
    """Both directions between two nodes; a client's link has one."""
    if a == b:
        raise ValueError(f"there is no link from {a} to itself")
    return frozenset({Link(a, b), Link(b, a)} if CLIENT not in (a, b) else {Link(CLIENT, b if a == CLIENT else a)})


def one_way(sources: Collection[str], targets: Collection[str]) -> frozenset[Link]:
    """What `sources` send to `targets` is lost; the other direction is untouched."""
    both = sorted(set(sources) & set(targets))
    if both:
        raise ValueError(f"{', '.join(both)} cannot be cut off from itself")
    return frozenset(Link(source, target) for source in sources for target in targets)


def bridge(left: Collection[str], middle: str, right: Collection[str]) -> frozenset[Link]:
    """Two sides that see each other only through `middle`, which sees both."""
    if middle in left or middle in right:
        raise ValueError(f"{middle} is the bridge and cannot be on a side")
    return split(left, right)


def majorities_ring(nodes: Sequence[str]) -> frozenset[Link]:
    """Each node sees a majority, itself included, and no two see the same one (Jepsen's idea).

    The nodes stand in a ring and each sees the nearest, so with an odd number each majority is another.
    """
    size = len(nodes)
    reach = (size // 2 + 1) // 2
    near = {(nodes[i], nodes[(i + step) % size]) for i in range(size) for step in range(-reach, reach + 1) if step}
    return frozenset(Link(a, b) for a, b in itertools.permutations(nodes, 2) if (a, b) not in near)
