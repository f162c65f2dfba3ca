"""A summary of many timings: count, median, 99th percentile, worst. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


def percentile(values: Sequence[float], percent: float) -> float:
    """By nearest rank: the smallest value that at least `percent` of 100 values do not exceed.

    It is always one that was measured; with 20 values the 99th percentile is the worst. Raises ValueError if there are
    none, or for a `percent` outside 0 to 100.
    """
    if not values or not 0 <= percent <= 100:
        raise ValueError(f"no {percent}th percentile of {len(values)} values")
    rank = max(1, math.ceil(percent * len(values) / 100))
    return sorted(values)[rank - 1]


@dataclass(frozen=True)
class Summary:
    """`n` values; the others in the unit of the values."""

    n: int
    p50: float
    p99: float
    max: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Summary:
        return cls(len(values), percentile(values, 50), percentile(values, 99), max(values))
