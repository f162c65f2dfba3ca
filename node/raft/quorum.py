"""Majorities: pure arithmetic over sets of names."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from itertools import repeat
from typing import TypeVar

N = TypeVar("N", int, float)


def majority(size: int) -> int:
    """The smallest number of `size` voters of which any two sets share a member."""
    return size // 2 + 1


def has_majority(names: Collection[str], voters: Collection[str]) -> bool:
    """Whether `names` holds a majority of `voters`. Names that are no voters do not count, and none counts twice."""
    return bool(voters) and len(set(names) & set(voters)) >= majority(len(voters))


def reached_by_majority(values: Mapping[str, N], voters: Collection[str], floor: N) -> N:
    """The largest value that a majority of `voters` has reached; a voter without a value has `floor`.

    With match indexes it is what may be committed (§5.3), with send times it is when the lease began (thesis 6.4.1).
    """
    if not voters:
        return floor
    reached = sorted(map(values.get, voters, repeat(floor)))
    return reached[-majority(len(voters))]
