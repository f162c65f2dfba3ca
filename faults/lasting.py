"""Faults that last, and what they come to together: the one bookkeeping of who suffers what. Pure.

A fault is a thing of its own from its beginning to its end. On each link and each node those that last are kept, oldest
first, and what is in force there is their sum. An end is that fault left out and the sum taken anew: so it takes
nothing from another, not even from one that does the same, in whatever order they began and end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar


class Summable(Protocol):
    """What can be done to something. The sum of two is both at once."""

    def __add__(self: S, other: S, /) -> S: ...


S = TypeVar("S", bound=Summable)


@dataclass(frozen=True, eq=False)
class Lasting(Generic[S]):
    """A fault that has begun. Two that do the same are two."""

    kind: str
    does: S
    by_command: bool = False
    """Whether it lasts until a command ends it or puts another of its kind in its place."""


Change = Callable[[tuple[Lasting[S], ...]], tuple[Lasting[S], ...]]
"""From what lasted somewhere to what lasts there now."""


def total(faults: Iterable[Lasting[S]], nothing: S) -> S:
    """What all of these do together; `nothing` is what none does."""
    return sum((fault.does for fault in faults), nothing)


def with_also(fault: Lasting[S]) -> Change[S]:
    """A command takes the place of the former one of its kind; any other fault is one more."""

    def change(faults: tuple[Lasting[S], ...]) -> tuple[Lasting[S], ...]:
        kept = (other for other in faults if not (fault.by_command and other.by_command and other.kind == fault.kind))
        return (*kept, fault)

    return change


def without(over: Lasting[S]) -> Change[S]:
    return lambda faults: tuple(fault for fault in faults if fault is not over)


def without_kinds(kinds: Iterable[str]) -> Change[S]:
    """Whoever began them."""
    over = frozenset(kinds)
    return lambda faults: tuple(fault for fault in faults if fault.kind not in over)
