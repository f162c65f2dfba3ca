"""How long servers have heard one another, and what each leader had a while ago: the basis for judging progress amid
faults."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection, Mapping
from typing import NamedTuple

LOOK_S = 0.1
"""A leader is looked at this often. To judge each of its rounds would cost a tenth of an exploration."""
KEPT = 256


class Mark(NamedTuple):
    """What a leader had at some instant of its reign."""

    at_s: float
    term: int
    configuration_index: int
    last_index: int
    commit_index: int


class Progress:
    __slots__ = ("_marks", "_since")

    def __init__(self) -> None:
        self._since: dict[tuple[str, str], float] = {}
        self._marks: dict[str, deque[Mark]] = {}

    def topology(self, in_time: Collection[str], clear: Mapping[tuple[str, str], float], at_s: float) -> None:
        """`in_time` are the servers that run and are not excused; `clear` the links without trouble, each with when
        the last of what was late on it or at its ends is over."""
        former = self._since
        self._since = {
            (one, other): former.get((one, other), max(at_s, settled_s, clear[other, one]))
            for (one, other), settled_s in clear.items()
            if one in in_time and other in in_time and (other, one) in clear
        }

    def in_touch_since(self, one: str, other: str) -> float:
        """Since when they have heard each other without a break; infinity if they do not."""
        return self._since.get((one, other), math.inf)

    def is_due(self, leader: str, at_s: float) -> bool:
        """Whether it is to be looked at again."""
        marks = self._marks.get(leader)
        return not marks or at_s >= marks[-1].at_s + LOOK_S

    def before(self, leader: str, at_s: float, *, term: int, configuration_index: int) -> Mark | None:
        """What it had at the last look before then, if that was in this reign and with these members: whoever has
        joined since has nothing yet."""
        marks = self._marks.get(leader, ())
        found = next((mark for mark in reversed(marks) if mark.at_s <= at_s), None)
        same = found is not None and (found.term, found.configuration_index) == (term, configuration_index)
        return found if same else None

    def remember(self, leader: str, mark: Mark) -> None:
        self._marks.setdefault(leader, deque(maxlen=KEPT)).append(mark)
