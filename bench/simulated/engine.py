"""Virtual time: a heap of what is to happen, and the seed of all randomness."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from typing import Any

Event = tuple[float, int, Callable[[Any], None], Any]


class Engine:
    """Makes calls in the order of their times, and those due at the same time in the order in which they were added.

    Everything is on one thread, nothing reads the machine's clock, and no order depends on a hash. So the same seed
    gives the same events.
    """

    __slots__ = ("_heap", "_sequence", "now", "seed")

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.now = 0.0
        """Seconds since the world began."""
        self._heap: list[Event] = []
        self._sequence = 0

    def at(self, when_s: float, callback: Callable[[Any], None], argument: Any = None) -> None:
        """Have `callback(argument)` called at `when_s`, which must not be in the past."""
        self._sequence += 1
        heapq.heappush(self._heap, (when_s, self._sequence, callback, argument))

    def after(self, seconds: float, callback: Callable[[Any], None], argument: Any = None) -> None:
        self._sequence += 1
        heapq.heappush(self._heap, (self.now + seconds, self._sequence, callback, argument))

    def step(self, until_s: float) -> bool:
        """Let the next event happen. If none is due by `until_s`, move time on to that, and return False."""
        heap = self._heap
        if not heap or heap[0][0] > until_s:
            self.now = max(self.now, until_s)
            return False
        self.now, _, callback, argument = heapq.heappop(heap)
        callback(argument)
        return True

    def run(self, until_s: float) -> None:
        """Let everything happen that is due by `until_s`."""
        heap, pop = self._heap, heapq.heappop
        while heap and heap[0][0] <= until_s:
            self.now, _, callback, argument = pop(heap)
            callback(argument)
        self.now = max(self.now, until_s)

    def random(self, name: str) -> random.Random:
        """One part's own random numbers, which stay the same when another part draws more or fewer."""
        return random.Random(f"{self.seed}/{name}")
