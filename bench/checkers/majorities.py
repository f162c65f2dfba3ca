"""When a majority was well, which is when something is owed in time.

A node is well while it is up and no fault is in force on it, and two nodes hear each other while none is on the links
between them. What a fault has made late is waited for. A majority is one of every configuration that any node holds, be
it up or not: whichever of them is committed, these nodes can elect a leader under it, and commit. When the members
change, the time of a majority begins anew.

As long as some of its nodes are still such a majority, its time runs on, whatever becomes of the others.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from bench.evidence import SAID, STORY_OVER, Evidence
from bench.timeline import ALL, DOWN, Change, changes
from faults.links import CLIENT

Nodes = frozenset[str]
MOVED = "moved"
"""Where a moved node is reached again, no record says."""


class Majority(NamedTuple):
    since_s: float
    until_s: float
    nodes: Nodes
    """Those that were in it all the while."""
    reached: Nodes
    """Those of them that clients reached all the while."""

    @property
    def lasted_s(self) -> float:
        return self.until_s - self.since_s


class Members(NamedTuple):
    """A node holds a configuration from then on."""

    at_s: float
    node: str
    voters: Nodes
    others: Nodes


def majorities(evidence: Evidence) -> Iterator[Majority]:
    """Each majority that was well, one after the other, up to the end of the story."""
    end_s, known, found = end_of(evidence), _Known(evidence.traces), None
    told = sorted(_told(evidence), key=lambda one: one.at_s)
    for at_s, group in itertools.groupby(told, key=lambda one: one.at_s):
        if at_s > end_s:
            break
        together = list(group)
        changed = sum(map(known.take, together)) > 0
        # A node that is killed and starts at once is as it was, and yet not undisturbed.
        struck = {one.whom for one in together if isinstance(one, Change) and one.what}
        rest = known.majority_of(found.nodes - struck) if found is not None and not changed else Nodes()
        if found is not None and rest:
            found = found._replace(nodes=rest, reached=known.reached(found.reached & rest))
            continue
        if found is not None:
            yield found._replace(until_s=at_s)
        nodes = known.majority_of(known.names)
        found = Majority(known.settled_s(nodes, at_s), end_s, nodes, known.reached(nodes)) if nodes else None
    if found is not None:
        yield found


def end_of(evidence: Evidence) -> float:
    """The end of the story; without a record of that, of what is known."""
    over = (record["at_s"] for record in evidence.timeline if record["event"] == STORY_OVER)
    last = (records[-1]["at_s"] for records in (evidence.timeline, *evidence.traces.values()) if records)
    asked = (operation.completed_s for operation in evidence.history if math.isfinite(operation.completed_s))
    return next(over, max(itertools.chain(last, asked), default=0.0))


def _told(evidence: Evidence) -> Iterator[Change | Members]:
    yield from changes(evidence)
    for record in evidence.timeline:
        if record["event"] == "move":
            yield Change(record["at_s"], record["node"], MOVED, MOVED)
        elif record["event"] == "died":
            # Who was found dead may have been so ever since it last wrote something.
            wrote_s = [one["at_s"] for one in evidence.traces.get(record["node"], ()) if one["at_s"] <= record["at_s"]]
            yield Change(wrote_s[-1] if wrote_s else 0.0, record["node"], DOWN, DOWN)
    if not any(record["event"] == "membership" for trace in evidence.traces.values() for record in trace):
        yield from _said(evidence)
    for node, trace in evidence.traces.items():
        for record in trace:
            if record["event"] == "membership":
                yield Members(record["at_s"], node, Nodes(record["voters"]), Nodes(record["others"]))
            elif record["event"] == "stop":
                yield Change(record["at_s"], node, DOWN, DOWN)


def _said(evidence: Evidence) -> Iterator[Members]:
    """What nodes said when they were asked, where no trace tells it."""
    for record in evidence.timeline:
        if record["event"] == SAID:
            yield Members(record["at_s"], record["node"], Nodes(record["voters"]), Nodes(record["others"]))


class _Known:
    """What is known at an instant of the nodes, of the links, and of who belongs to the cluster."""

    def __init__(self, nodes: Iterable[str]) -> None:
        self.names = Nodes(nodes)
        self._troubles: dict[str, dict[str, str]] = {node: {DOWN: DOWN} for node in self.names}
        """The faults that are in force, by node or link and by kind."""
        self._late_s: dict[str, float] = {}
        """By how much those that have been in force together may make something late."""
        self._settled_s: dict[str, float] = {}
        """When the last of that is over, where nothing is in force any more."""
        self._members: dict[str, Members] = {}

    def take(self, told: Change | Members) -> bool:
        """Whether the members change."""
        if isinstance(told, Members):
            former, self._members[told.node] = self._members.get(told.node), told
            return former is None or former[2:] != told[2:]
        troubles = self._troubles.setdefault(told.whom, {})
        if told.what:
            troubles[told.kind] = told.what
            self._late_s[told.whom] = self._late_s.get(told.whom, 0.0) + told.late_s
            return False
        for kind in [kind for kind in troubles if told.kind in (kind, ALL)]:
            del troubles[kind]
        if not troubles:
            self._settled_s[told.whom] = told.at_s + self._late_s.pop(told.whom, 0.0)
        return False

    def majority_of(self, names: Nodes) -> Nodes:
        """The largest group of these in which all are well and hear one another, and which is a majority of every
        configuration; empty if there is none, or if none of the group knows the members."""
        troubled = {whom for whom, troubles in self._troubles.items() if troubles}
        voters = {members.voters for members in self._members.values()}
        if not voters or any(self._is_anybody(whom) for whom in troubled):
            return Nodes()
        # In each group all are voters of every configuration, so its size says whether it is a majority.
        least = max(map(len, voters)) // 2 + 1
        apart = [Nodes(whom.split("->")) for whom in sorted(troubled) if "->" in whom]
        group = _connected((names & Nodes.intersection(*voters)) - troubled, apart, least)
        return group if group & self._members.keys() else Nodes()

    def settled_s(self, nodes: Nodes, at_s: float) -> float:
        """When nothing is late any more at these nodes and between them, at the earliest from then on."""
        within = [whom for whom in self._settled_s if self._is_anybody(whom) or nodes.issuperset(whom.split("->"))]
        return max([at_s, *(self._settled_s[whom] for whom in within)])

    def reached(self, nodes: Nodes) -> Nodes:
        return Nodes(node for node in nodes if not self._troubles.get(f"{CLIENT}->{node}"))

    def _is_anybody(self, whom: str) -> bool:
        """Whether it is not known which node that is."""
        return "->" not in whom and whom not in self.names


def _connected(nodes: Nodes, apart: Iterable[Nodes], least: int) -> Nodes:
    """The most of these among whom no two are `apart`; empty if they are fewer than `least`."""
    if len(nodes) < least:
        return Nodes()
    within = [pair for pair in apart if pair <= nodes]
    if not within:
        return nodes
    return max((_connected(nodes - {end}, within, least) for end in sorted(within[0], reverse=True)), key=len)
