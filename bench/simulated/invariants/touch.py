"""Which servers hear one another, and since when they are owed a leader: the basis for judging liveness."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Mapping, Sequence

from node.raft.quorum import has_majority, majority

Voters = tuple[str, ...]


class Touch:
    """A majority whose members hear one another without trouble is a core, and is owed a leader in time."""

    __slots__ = ("_clear", "_excused", "_running", "core", "since_s")

    def __init__(self) -> None:
        self._running: tuple[str, ...] = ()
        self._excused: set[str] = set()
        self._clear: frozenset[tuple[str, str]] = frozenset()
        self.core: frozenset[str] = frozenset()
        self.since_s = math.inf
        """When there last was a leader, or when the core began, if that is later; infinity without a core."""

    def topology(self, running: Collection[str], clear: Collection[tuple[str, str]]) -> None:
        self._running, self._clear = tuple(sorted(running)), frozenset(clear)

    @property
    def in_time(self) -> frozenset[str]:
        """The running servers from which something may be expected in time."""
        return frozenset(self._running) - self._excused

    def excuse(self, name: str, excused: bool) -> None:
        (self._excused.add if excused else self._excused.discard)(name)

    def led(self, at_s: float) -> None:
        """A server leads at this instant."""
        if self.core:
            self.since_s = at_s

    def reconsider(self, committed: Voters, counted: Mapping[str, Voters], at_s: float) -> None:
        """Something that decides what is owed has changed: the voters of the newest `committed` configuration, those
        `counted` by each server that is up, the topology, or who is excused. As long as some of the core are still a
        connected majority, their time runs on, whatever becomes of the others; the time of a new core starts when it
        begins."""
        up = [name for name in self._running if name in counted and name not in self._excused]
        rest = self._connected_majority([name for name in up if name in self.core], committed, counted)
        if rest:
            self.core = rest
            return
        self.core = self._connected_majority(up, committed, counted)
        self.since_s = at_s if self.core else math.inf

    def _connected_majority(
        self, names: Sequence[str], committed: Voters, counted: Mapping[str, Voters]
    ) -> frozenset[str]:
        """The largest group of `names` in which each pair hear each other, and that is a majority of the newest
        committed voters and of the voters that each of those in it counts; empty if there is none. Of several the
        first."""
        for size in range(len(names), majority(len(committed)) - 1, -1):
            for group in itertools.combinations(names, size):
                if self._hear_one_another(group) and _are_quorum(group, committed, counted):
                    return frozenset(group)
        return frozenset()

    def _hear_one_another(self, group: Sequence[str]) -> bool:
        return self._clear.issuperset(itertools.permutations(group, 2))


def _are_quorum(group: Sequence[str], committed: Voters, counted: Mapping[str, Voters]) -> bool:
    return has_majority(group, committed) and all(
        has_majority(group, counted[name]) for name in group if name in committed
    )
