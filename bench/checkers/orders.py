"""Whether calls of one object can be put in an order that its model allows. Pure.

Each call must take effect between its invocation and its completion, so an order is a choice of instants. Both searches
here look only at completions, one after the other, and put a call in order when its completion forces them to ("just in
time": Lowe, "Testing for linearizability", 2017). Between two completions a *configuration* is all that matters: the
model's state, which of the open calls have taken effect already, and which of the calls that are not known to have
taken effect were used.

* `in_depth` goes on with the first order that fits, and remembers configurations that led nowhere (Wing and Gong,
  "Testing and Verifying Concurrent Objects", 1993, with Lowe's memory). It is quick where many orders fit.
* `in_breadth` goes from completion to completion with all configurations at once. Of those that differ only in the
  unknown calls that they used it keeps the least: who has used fewer can still do all that the other can. It is quick
  where much is unknown, and where in depth the same mistake would be made again in each order.

Neither is quick everywhere (to decide this is NP-complete: Gibbons and Korach, "Testing Shared Memories", 1997), so
whoever searches takes turns between them. Each is a generator that yields what it has spent, and returns None where it
has found an order, or where it is stuck.

Three rules save most of the work, and change no answer. A call that only looks is put in order as soon as it fits,
because it stands in nobody's way; but not one that might have had an effect. An unknown call that would change nothing
is not used. And of unknown calls that do the same, the one that was invoked first is used first.

The completion at which the last configuration dies ends the shortest part of the history that is illegal: up to the one
before, an order exists. So nothing has to be searched twice to tell what went wrong.
"""

from __future__ import annotations

import heapq
from bisect import insort
from collections import deque
from collections.abc import Generator, Hashable, Iterator, Sequence
from typing import Any, NamedTuple

from bench.models import ILLEGAL, Call, Model

PATIENCE = 256
"""After about so many steps it is told what was spent."""


class ModelFailedError(Exception):
    """The model is no model; the text says how it failed, and at which call."""


class Spent(NamedTuple):
    steps: int
    """How often the model was asked since this was told last."""
    remembered: int
    """How many configurations are kept now."""


Order = tuple[int, int, Any]
"""How many calls are in order, the number of the last one, and the order before it."""
NOTHING: Order = (0, -1, None)
Configuration = tuple[int, int, Any, Order]
"""The known calls in order among the open ones, the unknown calls that were used, the state, and one way there."""


class Stuck(NamedTuple):
    """No order fits."""

    at: int
    """The number of the call whose completion cannot be reached."""
    order: Order
    """The longest order found that reaches the completion before it."""
    state: Any
    """After that order."""


Search = Generator[Spent, None, Stuck | None]


class Part:
    """The calls of one object, prepared for a search. Calls are numbered: the known ones in the order of their
    completion, and behind them the others in the order of their invocation."""

    def __init__(self, model: Model, calls: Sequence[Call]) -> None:
        self._model = model
        self.initial = model.initial
        known = sorted((call for call in calls if call.known), key=lambda call: (call.completed_s, call.invoked_s))
        unknown = (call for call in calls if not call.known and not model.looks(call))
        self.calls = [*known, *sorted(unknown, key=lambda call: call.invoked_s)]
        self.end = len(known)
        self.steps = 0
        self.bits = [0] * self.end + [1 << number for number in range(len(self.calls) - self.end)]
        """A known call has a place among those open, and an unknown one among all such."""
        self.twins = self._twins()
        """For each unknown call the bit of the one before it that does the same, 0 if there is none."""
        self.looks = [model.looks(call) for call in known]
        self.open, self.lookers, self.available = self._at_completions()

    def _twins(self) -> list[int]:
        former: dict[Hashable, int] = {}
        twins = [0] * len(self.calls)
        for number in range(self.end, len(self.calls)):
            call = self.calls[number]
            does = (call.does, call.key, call.value if _is_hashable(call.value) else number)
            twins[number] = former.get(does, 0)
            former[does] = self.bits[number]
        return twins

    def _at_completions(self) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]], list[int]]:
        """At each completion: the known calls that are open, those of them that only look, and up to which number
        unknown calls have been invoked. What is invoked at the instant of a completion counts as before it.

        Of the open calls the one that must be comes first, and then those that otherwise wait longest: the others are
        forced soon anyway. In measured histories of 50 clients that saves nine steps of ten."""
        calls, end = self.calls, self.end
        arriving = sorted(range(end), key=lambda number: calls[number].invoked_s, reverse=True)
        open_: list[int] = []
        free = list(range(end))
        available = end
        found: tuple[list[tuple[int, ...]], list[tuple[int, ...]], list[int]] = ([], [], [])
        for at in range(end):
            now_s = calls[at].completed_s
            while arriving and calls[arriving[-1]].invoked_s <= now_s:
                number = arriving.pop()
                insort(open_, number)
                self.bits[number] = 1 << heapq.heappop(free)
            while available < len(calls) and calls[available].invoked_s <= now_s:
                available += 1
            found[0].append((at, *reversed(open_[1:])))
            found[1].append(tuple(number for number in open_ if self.looks[number]))
            found[2].append(available)
            open_.remove(at)
            heapq.heappush(free, self.bits[at].bit_length() - 1)
        return found

    def step(self, number: int, state: Any) -> Any:
        """Raises ModelFailedError."""
        self.steps += 1
        try:
            new = self._model.step(state, self.calls[number])
            hash(new)
        # One that ends the program has judged nothing.
        except (Exception, SystemExit) as error:
            call = self.calls[number]
            what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            raise ModelFailedError(
                f"the model {self._model.name} failed at {call.does} of client {call.client}: {what}"
            ) from error
        return new

    def spent(self, remembered: int) -> Spent:
        steps, self.steps = self.steps, 0
        return Spent(steps, remembered)

    def settled(self, at: int, mask: int, state: Any, order: Order) -> tuple[int, Order]:
        """With all open calls that only look, and see what is there, put in order."""
        for number in self.lookers[at]:
            if not mask & self.bits[number] and self.step(number, state) == state:
                mask |= self.bits[number]
                order = (order[0] + 1, number, order)
        return mask, order

    def children(self, at: int, mask: int, used: int, state: Any, order: Order) -> Iterator[Configuration]:
        """All that one more call can make of it, before the completion of `at`."""
        for number in self.open[at]:
            bit = self.bits[number]
            if not mask & bit and (new := self.step(number, state)) is not ILLEGAL:
                yield mask | bit, used, new, (order[0] + 1, number, order)
        for number in range(self.end, self.available[at]):
            bit, twin = self.bits[number], self.twins[number]
            if used & bit or twin & ~used:
                continue
            new = self.step(number, state)
            if new is not ILLEGAL and new != state:
                yield mask, used | bit, new, (order[0] + 1, number, order)

    def in_order(self, order: Order) -> tuple[Call, ...]:
        numbers: list[int] = []
        while order[0]:
            numbers.append(order[1])
            order = order[2]
        return tuple(self.calls[number] for number in reversed(numbers))


def _is_hashable(value: object) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


def in_depth(part: Part) -> Search:
    """Raises ModelFailedError."""
    seen: set[tuple[int, int, int, Any]] = set()
    farthest = Stuck(0, NOTHING, part.initial)
    stack: list[tuple[int, Iterator[Configuration]]] = [(0, iter([(0, 0, part.initial, NOTHING)]))]
    while stack:
        if part.steps >= PATIENCE:
            yield part.spent(len(seen) + len(stack))
        at, children = stack[-1]
        child = next(children, None)
        if child is None:
            stack.pop()
            continue
        mask, used, state, order = child
        while at < part.end:
            if not mask & part.bits[at]:
                mask, order = part.settled(at, mask, state, order)
                if not mask & part.bits[at]:
                    break
            mask ^= part.bits[at]
            at += 1
        else:
            return None
        if (at, order[0]) > (farthest.at, farthest.order[0]):
            farthest = Stuck(at, order, state)
        if (at, mask, used, state) not in seen:
            seen.add((at, mask, used, state))
            stack.append((at, part.children(at, mask, used, state, order)))
    return farthest


Sets = dict[tuple[Any, int], dict[int, Order]]
"""For each state and set of open calls in order, the least sets of unknown calls that lead there, each with a way."""


def in_breadth(part: Part) -> Search:
    """Raises ModelFailedError."""
    alive: Sets = {(part.initial, 0): {0: NOTHING}}
    for at in range(part.end):
        bit = part.bits[at]
        passed: Sets = {}
        before: Sets = {}
        kept = len(alive)
        farthest = Stuck(at, NOTHING, part.initial)
        waiting = deque(
            (mask, used, state, order) for (state, mask), ways in alive.items() for used, order in ways.items()
        )
        while waiting:
            if part.steps >= PATIENCE:
                yield part.spent(kept + len(waiting))
            mask, used, state, order = waiting.popleft()
            if not mask & bit:
                mask, order = part.settled(at, mask, state, order)
            if mask & bit:
                _keep_least(passed, (state, mask ^ bit), used, order)
            elif _keep_least(before, (state, mask), used, order):
                kept += 1
                if order[0] >= farthest.order[0]:
                    farthest = Stuck(at, order, state)
                waiting.extend(part.children(at, mask, used, state, order))
        if not passed:
            return farthest
        alive = passed
    return None


def _keep_least(sets: Sets, key: tuple[Any, int], used: int, order: Order) -> bool:
    """Add it, unless no more was used to come there already; and drop what has used more."""
    ways = sets.setdefault(key, {})
    if any(fewer & ~used == 0 for fewer in ways):
        return False
    for more in [more for more in ways if used & ~more == 0]:
        del ways[more]
    ways[used] = order
    return True
