"""A node's own clock, which agrees with no other."""

from __future__ import annotations

import math


class DriftingClock:
    """Advances by `rate` seconds for every second of the world's."""

    __slots__ = ("_local_s", "_world_s", "rate")

    def __init__(self, *, reads_s: float, rate: float = 1.0) -> None:
        self.rate = rate
        self._world_s = 0.0
        self._local_s = reads_s

    def at(self, world_s: float) -> float:
        """What the clock reads when the world's time is `world_s`."""
        return self._local_s + (world_s - self._world_s) * self.rate

    def when(self, local_s: float) -> float:
        """The world's time when the clock reads `local_s`; infinity for never."""
        if not self.rate:
            return self._world_s if local_s <= self._local_s else math.inf
        return self._world_s + (local_s - self._local_s) / self.rate

    def set_rate(self, rate: float, world_s: float) -> None:
        """Go on at another rate from now on, or stand still at 0; the reading does not jump."""
        assert rate >= 0, "a monotonic clock never goes back"
        self._local_s, self._world_s, self.rate = self.at(world_s), world_s, rate
