"""A guess at the order of calls, where the object itself has said in which order it did what it did. Pure.

A store whose writes stand in a log tells with each acknowledgement where. So there is one order of all acknowledged
writes, and what is left to find is where the calls fit in that only look, and which of the writes that nobody was told
of took effect. That is guessed from the first write to the last, without ever going back: a call that looks is put in
as soon as it fits, and one for which there is no place unless a write of unknown outcome comes before it has that put
in too. A guess that comes to its end is an order, in as many steps as there are calls, however long the history is. One
that does not says nothing, and then a search must decide (`bench.checkers.orders`).
"""

from __future__ import annotations

import bisect
import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from bench.checkers.orders import Part
from bench.models import ILLEGAL, Call, Model


def has_order_of_ranks(part: Part, model: Model) -> bool:
    """Whether an order was found in which the known calls that have a rank are in the order of their ranks. Raises
    ModelFailedError."""
    ranks = {number: rank for number in range(part.end) if (rank := model.rank(part.calls[number])) is not None}
    writes = sorted(ranks, key=lambda number: ranks[number])
    if not writes or not _come_in_time([part.calls[number] for number in writes]):
        return False
    owed = _owed(part, model, [ranks[number] for number in writes])
    # Neither way is always right: put in at once, an unknown write may come before a call that has not seen it; put in
    # at the last moment, after a known one that it was overwritten by.
    return any(_Guess(part, writes, owed, soon=soon).succeeds() for soon in (True, False))


def _owed(part: Part, model: Model, ranks: Sequence[int]) -> Mapping[int, Sequence[int]]:
    """Calls that show that a write was done which nobody was told of, in the order of these writes' ranks, by how many
    of the known writes it comes after."""
    witnesses: dict[int, int] = {}
    for number in range(part.end):
        for rank in model.seen(part.calls[number]):
            witnesses.setdefault(rank, number)
    owed: dict[int, list[int]] = defaultdict(list)
    for rank in sorted(witnesses.keys() - set(ranks)):
        owed[bisect.bisect(ranks, rank)].append(witnesses[rank])
    return owed


def _come_in_time(order: Sequence[Call]) -> bool:
    """Whether none of them had been completed when one before it was invoked."""
    first_s = math.inf
    for call in reversed(order):
        first_s = min(first_s, call.completed_s)
        if first_s < call.invoked_s:
            return False
    return True


class _Between(NamedTuple):
    """A call that only looks, or one of unknown outcome, and between which writes it belongs."""

    number: int
    after: int
    """So many of the writes must come before it."""
    until: int
    """So many may."""


AHEAD = 12
"""So many calls that look are asked which write of unknown outcome they have seen."""


class _Guess:
    def __init__(self, part: Part, writes: Sequence[int], owed: Mapping[int, Sequence[int]], *, soon: bool) -> None:
        self._part = part
        self._writes = writes
        self._owed = owed
        self._soon = soon
        self._state: Any = part.initial
        ranked = set(writes)
        place = _Places([part.calls[number] for number in writes])
        looks = (number for number in range(part.end) if number not in ranked)
        ordered = sorted(looks, key=lambda number: part.calls[number].invoked_s)
        self._coming = [_Between(number, *place.of(part.calls[number])) for number in ordered]
        self._coming.reverse()
        self._waiting: list[_Between] = []
        """Calls that look and may be put in now, in the order of their invocation."""
        self._unknown = [_Between(number, *place.of(part.calls[number])) for number in range(part.end, len(part.calls))]

    def succeeds(self) -> bool:
        for done, number in enumerate([*self._writes, None]):
            while self._coming and self._coming[-1].after <= done:
                self._waiting.append(self._coming.pop())
            self._put_in_owed(done)
            if not self._put_in_looks(done):
                return False
            if number is not None and not self._put_in(number, done, at_any_price=True):
                return False
        return not self._waiting and not self._coming

    def _put_in_owed(self, done: int) -> None:
        """Put in the writes that must have been done just here, each after the calls that fit before it."""
        for witness in self._owed.get(done, ()):
            while self._put_in_some(done, at_any_price=False):
                pass
            between = ((helper, self._part.step(helper.number, self._state)) for helper in self._helpers(witness, done))
            fitting = [one for one in between if one[1] is not ILLEGAL]
            new = self._chosen([one for one in fitting if self._part.step(witness, one[1]) is not ILLEGAL])
            self._state = self._state if new is ILLEGAL else new

    def _put_in_looks(self, done: int) -> bool:
        """Put in those that fit here; whether none is left that must be here."""
        while self._put_in_some(done, at_any_price=True):
            pass
        return not any(look.until <= done for look in self._waiting)

    def _put_in_some(self, done: int, *, at_any_price: bool) -> bool:
        left: list[_Between] = []
        first_s = math.inf
        """When the first of those that are left had been completed: what was invoked later has to wait for it."""
        for look in self._waiting:
            call = self._part.calls[look.number]
            in_turn = call.invoked_s <= first_s
            if in_turn and self._put_in(
                look.number, done, at_any_price=at_any_price and (self._soon or look.until <= done)
            ):
                continue
            left.append(look)
            first_s = min(first_s, call.completed_s)
        some = len(left) < len(self._waiting)
        self._waiting = left
        return some

    def _put_in(self, number: int, done: int, *, at_any_price: bool) -> bool:
        new = self._part.step(number, self._state)
        if new is ILLEGAL and at_any_price:
            new = self._with_help(number, done)
        if new is ILLEGAL:
            return False
        self._state = new
        return True

    def _with_help(self, number: int, done: int) -> Any:
        """The state after this call, with one of unknown outcome before it; ILLEGAL if none helps."""
        fitting: list[tuple[_Between, Any]] = []
        for helper in self._helpers(number, done):
            between = self._part.step(helper.number, self._state)
            new = ILLEGAL if between is ILLEGAL else self._part.step(number, between)
            if new is not ILLEGAL:
                fitting.append((helper, new))
        return self._chosen(fitting)

    def _chosen(self, fitting: Sequence[tuple[_Between, Any]]) -> Any:
        """The state after the one of these that suits most of the calls that look next; ILLEGAL if there is none."""
        if not fitting:
            return ILLEGAL
        ahead = [*self._waiting, *reversed(self._coming[-AHEAD:])][:AHEAD] if len(fitting) > 1 else []
        helper, state = max(
            fitting, key=lambda one: sum(self._part.step(look.number, one[1]) is not ILLEGAL for look in ahead)
        )
        self._unknown.remove(helper)
        return state

    def _helpers(self, number: int, done: int) -> Iterator[_Between]:
        """Those of unknown outcome that may come here, before this call. Most take effect soon, if they do, so those
        that were asked for last come first."""
        calls, call = self._part.calls, self._part.calls[number]
        waiting_s = min(
            (calls[look.number].completed_s for look in self._waiting if look.number != number), default=math.inf
        )
        for helper in reversed(self._unknown):
            invoked_s = calls[helper.number].invoked_s
            if helper.after <= done and invoked_s <= min(call.completed_s, waiting_s):
                yield helper


class _Places:
    """Where among writes in order a call may come."""

    def __init__(self, writes: Sequence[Call]) -> None:
        completed = sorted((call.completed_s, place) for place, call in enumerate(writes))
        invoked = sorted((call.invoked_s, place) for place, call in enumerate(writes))
        self._completed_s = [at_s for at_s, _ in completed]
        self._last = list(_running(max, [place + 1 for _, place in completed], 0))
        self._invoked_s = [at_s for at_s, _ in invoked]
        self._first = list(_running(min, [place for _, place in reversed(invoked)], len(writes)))[::-1]

    def of(self, call: Call) -> tuple[int, int]:
        """How many of the writes must come before it, and how many may."""
        after = self._last[bisect.bisect_left(self._completed_s, call.invoked_s)]
        return after, self._first[bisect.bisect_right(self._invoked_s, call.completed_s)]


def _running(best: Callable[[int, int], int], values: Sequence[int], found: int) -> Iterator[int]:
    yield found
    for value in values:
        found = best(found, value)
        yield found
