"""Seeds as they are asked for and told: numbers and ranges, such as 0, 5, 7-9, which include both ends. Pure.

They are kept as ranges, so that a hundred million take no more room than ten.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

DIGITS = 18
"""So that a seed fits into 64 bits, wherever it is kept."""
MOST_TOLD = 10
"""Of many seeds so many are told, a range counting as one."""


class SeedsError(ValueError):
    """These are no seeds; the text says why."""


@dataclass(frozen=True)
class Seeds:
    """Each once, the lowest first. There is at least one."""

    ranges: tuple[range, ...]
    """Apart from one another."""

    @classmethod
    def of(cls, text: str) -> Seeds:
        """Those of a text such as 7, 0-99 or 0,5,7-9. Raises SeedsError."""
        ranges: list[range] = []
        for part in sorted(map(_range, text.split(",")), key=lambda part: part.start):
            if ranges and part.start <= ranges[-1].stop:
                before = ranges.pop()
                part = range(before.start, max(before.stop, part.stop))
            ranges.append(part)
        return cls(tuple(ranges))

    def __iter__(self) -> Iterator[int]:
        return itertools.chain.from_iterable(self.ranges)

    def __len__(self) -> int:
        return sum(map(len, self.ranges))

    def __str__(self) -> str:
        return in_words(self.ranges)


@dataclass
class Counted:
    """Seeds that come one by one, the lowest first; only the first few are kept."""

    count: int = 0
    _first: list[range] = field(default_factory=list)
    _more: int = 0

    def add(self, seed: int) -> None:
        self.count += 1
        if not self._more and self._first and self._first[-1].stop == seed:
            self._first[-1] = range(self._first[-1].start, seed + 1)
        elif len(self._first) < MOST_TOLD:
            self._first.append(range(seed, seed + 1))
        else:
            self._more += 1

    def __str__(self) -> str:
        return in_words(self._first) + (f" and {self._more} more" if self._more else "")


def in_words(ranges: Iterable[range]) -> str:
    return ", ".join(f"{one.start}-{one.stop - 1}" if len(one) > 1 else str(one.start) for one in ranges)


def _range(text: str) -> range:
    first, dash, last = (part.strip() for part in text.partition("-"))
    last = last if dash else first
    if not all(part.isascii() and part.isdigit() for part in (first, last)):
        raise SeedsError(f"{text!r} is no seed; write 7, or several as 0-99 or 0,5,7-9")
    if max(len(first), len(last)) > DIGITS:
        raise SeedsError(f"{text!r} has a seed of more than {DIGITS} digits")
    if int(last) < int(first):
        raise SeedsError(f"{text!r} ends before it begins")
    return range(int(first), int(last) + 1)
