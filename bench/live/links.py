"""How the links of a cluster are shown: a partition as its groups, all else that is wrong as a small matrix. Pure."""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Mapping, Sequence

from faults.links import CLIENT, Link

UP = "."
ITSELF = ""
SHORT = (
    (re.compile(r"cut \(blackhole\)"), "cut"),
    (re.compile(r"cut \((\w+)\)"), r"\1"),
    (re.compile(r"(\d+ms)±.*"), r"\1"),
    (re.compile(r"(\d+) KiB/s"), r"\1K"),
    (re.compile(r"bypassed"), "past"),
)
"""What is wrong with a link, in a word."""


def groups(nodes: Sequence[str], cut: Collection[Link]) -> list[list[str]]:
    """The groups of nodes such that exactly the links between different groups are cut; none if there are no such
    groups, or only one."""
    found: list[list[str]] = []
    for node in nodes:
        group = next((group for group in found if Link(node, group[0]) not in cut), None)
        found.append([node]) if group is None else group.append(node)
    return found if len(found) > 1 and between(found) == cut else []


def between(found: Sequence[Sequence[str]]) -> frozenset[Link]:
    """The links between different groups."""
    return frozenset(
        Link(source, target)
        for one, other in itertools.permutations(found, 2)
        for source, target in itertools.product(one, other)
    )


def partition(nodes: Sequence[str], links: Mapping[str, str]) -> list[list[str]]:
    """The same, by what is said of each link that is not simply up."""
    cut = {link_of(name) for name, words in links.items() if _is_cut(words)}
    return groups(nodes, frozenset(link for link in cut if link.source != CLIENT))


def matrix(nodes: Sequence[str], links: Mapping[str, str]) -> list[list[str]]:
    """A row for each node, from which the links go, and one for clients if one of theirs is faulty; a cell for each
    node to which they go. Nothing if a partition says it all."""
    split = bool(partition(nodes, links))
    wrong = {link_of(name): _short(words, split=split) for name, words in links.items()}
    if not any(wrong.values()):
        return []
    sources = [*nodes, *([CLIENT] if any(link.source == CLIENT and words for link, words in wrong.items()) else [])]
    return [[source, *(_cell(source, target, wrong) for target in nodes)] for source in sources]


def _cell(source: str, target: str, wrong: Mapping[Link, str]) -> str:
    return ITSELF if source == target else wrong.get(Link(source, target)) or UP


def link_of(name: str) -> Link:
    source, _, target = name.partition("->")
    return Link(source, target)


def _is_cut(words: str) -> bool:
    return words.startswith("cut ")


def _short(words: str, *, split: bool) -> str:
    """The first that is wrong with it, and a + if there is more; without the cut, where that is the partition's."""
    parts = [part for part in words.split(", ") if part != "up" and not (split and _is_cut(part))]
    if not parts:
        return ""
    first = next((pattern.sub(short, parts[0]) for pattern, short in SHORT if pattern.match(parts[0])), parts[0])
    return f"{first}{'+' * (len(parts) > 1)}"
