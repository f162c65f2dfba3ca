"""A guess at the order of calls, where the object itself has said in which order it did what it did. Pure.

A store whose writes stand in a log tells with each acknowledgement where. So there is one order of all acknowledged
writes, and what is left to find is where the calls fit in that only look, and which of the writes that nobody was told
of took effect. That is guessed from the first write to the last: a call that looks is put in as soon as it fits, and
one for which there is no place unless a write of unknown outcome comes before it has that put in too. Where that comes
to no end, the guess goes back a little and guesses otherwise, a few times. A guess that comes to its end is an order,
after some steps for each call, however long the history is. One that does not says nothing, and then a search must
decide (`bench.checkers.orders`).
"""

from __future__ import annotations

import bisect
import heapq
import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from typing import Any, NamedTuple

from bench.checkers.orders import Part
from bench.models import ILLEGAL, ITEMS, Call, Model, Refused, keys_of


def has_order_of_ranks(part: Part, model: Model) -> bool:
    """Whether an order was found in which the known calls that have a rank are in the order of their ranks. Raises
    ModelFailedError."""
    ranks = {number: rank for number in range(part.end) if (rank := model.rank(part.calls[number])) is not None}
    writes = sorted(ranks, key=lambda number: ranks[number])
    if not writes or not _come_in_time([part.calls[number] for number in writes]):
        return False
    owed = _owed(part, model, [ranks[number] for number in writes])
    return _Guess(part, writes, owed, model).succeeds()


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
MOST_TRIED = 40
"""So many writes of unknown outcome are tried two by two."""
BACK = (0, 1, 3, 10, 30, 100, 300)
"""So many writes a guess goes back to guess otherwise."""


class _At(NamedTuple):
    """How far a guess is, between one write and the next."""

    state: Any
    waiting: tuple[_Between, ...]
    """Calls that look and may be put in now, in the order of their invocation."""
    begun: int
    """So many of the calls that look have begun to wait."""
    unknown: tuple[_Between, ...]
    """The writes of unknown outcome that were not put in."""


class _Guess:
    """Neither way of putting in a write of unknown outcome is always right. Put in as soon as a call needs it, it may
    come before a call that has not seen it; put in at the last moment, after a known one that it was overwritten by. So
    where the first way comes to no end, the guess goes back a little, and takes the other one from there."""

    def __init__(self, part: Part, writes: Sequence[int], owed: Mapping[int, Sequence[int]], model: Model) -> None:
        self._part = part
        self._writes = writes
        self._owed = owed
        self._soon = True
        ranked = set(writes)
        place = _Places([part.calls[number] for number in writes])
        looks = (number for number in range(part.end) if number not in ranked)
        self._looks = _looks(part, model, [model.rank(part.calls[number]) or 0 for number in writes], looks, place)
        unknown = (_Between(number, *place.of(part.calls[number])) for number in range(part.end, len(part.calls)))
        self._at = _At(part.initial, (), 0, tuple(unknown))
        self._values = {call.told for call in part.calls[: part.end] if call.does == "get"} - {None}

    def succeeds(self) -> bool:
        passed = [self._at]
        while len(passed) <= len(self._writes) + 1:
            done = len(passed) - 1
            if not self._passes(done) and not self._passes_otherwise(done, passed):
                return False
            passed.append(self._at)
        return not self._at.waiting and self._at.begun == len(self._looks)

    def _passes_otherwise(self, done: int, passed: list[_At]) -> bool:
        self._soon = False
        for start in dict.fromkeys(max(done - back, 0) for back in BACK):
            self._at = passed[start]
            again = [self._at]
            while len(again) <= done - start + 1 and self._passes(start + len(again) - 1):
                again.append(self._at)
            if len(again) > done - start + 1:
                passed[start:] = again[:-1]
                break
        else:
            return False
        self._soon = True
        return True

    def _passes(self, done: int) -> bool:
        """Put in all that belongs between the write before and this one, and this one."""
        begun, waiting = self._at.begun, list(self._at.waiting)
        while begun < len(self._looks) and self._looks[begun].after <= done:
            waiting.append(self._looks[begun])
            begun += 1
        self._at = self._at._replace(waiting=tuple(waiting), begun=begun)
        self._put_in_owed(done)
        if not self._put_in_looks(done):
            return False
        return done == len(self._writes) or self._put_in(self._writes[done], done, at_any_price=True)

    def _put_in_owed(self, done: int) -> None:
        """Put in the writes that must have been done just here, each after the calls that fit before it."""
        for witness in self._owed.get(done, ()):
            while self._put_in_some(done, at_any_price=False):
                pass
            state = self._at.state
            between = ((helper, self._part.step(helper.number, state)) for helper in self._helpers(witness, done))
            fitting = [one for one in between if one[1] is not ILLEGAL]
            new = self._chosen([one for one in fitting if self._part.step(witness, one[1]) is not ILLEGAL])
            self._at = self._at._replace(state=state if new is ILLEGAL else new)

    def _put_in_looks(self, done: int) -> bool:
        """Put in those that fit here; whether none is left that must be here."""
        while self._put_in_some(done, at_any_price=True):
            pass
        return not any(look.until <= done for look in self._at.waiting)

    def _put_in_some(self, done: int, *, at_any_price: bool) -> bool:
        left: list[_Between] = []
        first_s = math.inf
        """When the first of those that are left had been completed: what was invoked later has to wait for it."""
        for look in self._at.waiting:
            call = self._part.calls[look.number]
            in_turn = call.invoked_s <= first_s
            if in_turn and self._put_in(
                look.number, done, at_any_price=at_any_price and (self._soon or look.until <= done)
            ):
                continue
            left.append(look)
            first_s = min(first_s, call.completed_s)
        some = len(left) < len(self._at.waiting)
        self._at = self._at._replace(waiting=tuple(left))
        return some

    def _put_in(self, number: int, done: int, *, at_any_price: bool) -> bool:
        new = self._part.step(number, self._at.state)
        if new is ILLEGAL and at_any_price:
            new = self._with_help(number, done)
        if new is ILLEGAL:
            return False
        self._at = self._at._replace(state=new)
        return True

    def _with_help(self, number: int, done: int) -> Any:
        """The state after this call, with one of unknown outcome before it; ILLEGAL if none helps."""
        fitting: list[tuple[_Between, Any]] = []
        for helper in self._helpers(number, done):
            between = self._part.step(helper.number, self._at.state)
            new = ILLEGAL if between is ILLEGAL else self._part.step(number, between)
            if new is not ILLEGAL:
                fitting.append((helper, new))
        if not fitting and not self._soon and not isinstance(self._part.calls[number].told, Refused):
            return self._with_two(number, done)
        return self._chosen(fitting)

    def _with_two(self, number: int, done: int) -> Any:
        """As one that expected no key, and was done after a deletion that nobody was told of either."""
        step, calls = self._part.step, self._part.calls
        keys = set(keys_of(calls[number]))
        near = [helper for helper in self._helpers(number, done) if keys.intersection(keys_of(calls[helper.number]))]
        deletions = [helper for helper in near if calls[helper.number].does.startswith("delete")]
        for first, second in itertools.product(deletions[:MOST_TRIED], near[:MOST_TRIED]):
            if first is second:
                continue
            one = step(first.number, self._at.state)
            two = ILLEGAL if one is ILLEGAL else step(second.number, one)
            new = ILLEGAL if two is ILLEGAL else step(number, two)
            if new is not ILLEGAL:
                left = tuple(each for each in self._at.unknown if each not in (first, second))
                self._at = self._at._replace(unknown=left)
                return new
        return ILLEGAL

    def _chosen(self, fitting: Sequence[tuple[_Between, Any]]) -> Any:
        """The state after the one of these that suits most of the calls that look next; ILLEGAL if there is none."""
        if not fitting:
            return ILLEGAL
        at = self._at
        ahead = [*at.waiting, *self._looks[at.begun : at.begun + AHEAD]][:AHEAD] if len(fitting) > 1 else []
        helper, state = max(
            fitting, key=lambda one: sum(self._part.step(look.number, one[1]) is not ILLEGAL for look in ahead)
        )
        self._at = at._replace(unknown=tuple(one for one in at.unknown if one is not helper))
        return state

    def _is_due(self, helper: _Between, values: Set[object]) -> bool:
        """Whether nobody ever read what it left, or one of these calls does: what is read later is needed later."""
        call = self._part.calls[helper.number]
        left = {item.value for item in ITEMS[call.does](call)} & self._values if call.does in ITEMS else set()
        return not left or not left.isdisjoint(values)

    def _helpers(self, number: int, done: int) -> Iterator[_Between]:
        """Those of unknown outcome that may come here, before this call. Most take effect soon, if they do, so those
        that were asked for last come first."""
        calls, call = self._part.calls, self._part.calls[number]
        waiting_s = min(
            (calls[look.number].completed_s for look in self._at.waiting if look.number != number), default=math.inf
        )
        at = self._at
        near = (*at.waiting, *self._looks[at.begun : at.begun + AHEAD])
        values = {calls[look.number].told for look in near if calls[look.number].does == "get"} | {
            call.told if call.does == "get" else None
        }
        deletions: list[_Between] = []
        for helper in reversed(at.unknown):
            invoked_s = calls[helper.number].invoked_s
            in_time = helper.after <= done and invoked_s <= min(call.completed_s, waiting_s)
            if in_time and self._is_due(helper, values):
                if calls[helper.number].does.startswith("delete"):
                    deletions.append(helper)
                else:
                    yield helper
        yield from deletions


def _looks(
    part: Part, model: Model, ranks: Sequence[int], numbers: Iterable[int], place: _Places
) -> Sequence[_Between]:
    """The calls that look, in the order in which they may be put in: each after the writes that it has seen, and after
    whatever a call has seen that had been completed before it was asked for."""
    by_start = sorted(numbers, key=lambda number: part.calls[number].invoked_s)
    ended: list[tuple[float, int]] = []
    least = 0
    found: list[_Between] = []
    for number in by_start:
        call = part.calls[number]
        while ended and ended[0][0] < call.invoked_s:
            least = max(least, heapq.heappop(ended)[1])
        after, until = place.of(call)
        seen = [bisect.bisect(ranks, rank) for rank in model.seen(call)]
        found.append(_Between(number, max(after, least, *seen), until))
        heapq.heappush(ended, (call.completed_s, found[-1].after))
    return sorted(found, key=lambda look: look.after)


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
