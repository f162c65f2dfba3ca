"""Faults that last, and their sum: the one record of which faults are on which link or node. Pure.

Each fault is a thing of its own from its beginning to its end. Each link and each node has a list of the faults that
last there, oldest first, and what is in force there is their sum. When a fault ends, it is left out and the sum is
taken anew. So it takes nothing from another fault, not even from one that does the same, in whatever order they began
and end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar


class Summable(Protocol):
    """What a fault does. The sum of two is both at once."""

    def __add__(self: S, other: S, /) -> S: ...


S = TypeVar("S", bound=Summable)


@dataclass(frozen=True, eq=False)
class Lasting(Generic[S]):
    """A fault that has begun. Two faults that do the same are still two."""

    kind: str
    does: S
    by_command: bool = False
    """Whether it lasts until a command ends it or replaces it with another of its kind."""


Change = Callable[[tuple[Lasting[S], ...]], tuple[Lasting[S], ...]]
"""From the faults that lasted on a link or node to those that last there now."""


def total(faults: Iterable[Lasting[S]], nothing: S) -> S:
    """What all of these do together; `nothing` is what no fault does."""
    return sum((fault.does for fault in faults), nothing)


def with_also(fault: Lasting[S]) -> Change[S]:
    """Add a fault. A command's fault replaces that of the former command of its kind."""

    def change(faults: tuple[Lasting[S], ...]) -> tuple[Lasting[S], ...]:
        kept = (other for other in faults if not (fault.by_command and other.by_command and other.kind == fault.kind))
        return (*kept, fault)

    return change


def without(over: Lasting[S]) -> Change[S]:
    return lambda faults: tuple(fault for fault in faults if fault is not over)


def without_kinds(kinds: Iterable[str]) -> Change[S]:
    """Drop every fault of these kinds, whoever began it."""
    over = frozenset(kinds)
    return lambda faults: tuple(fault for fault in faults if fault.kind not in over)
