"""Linearizability: whether each call can have taken effect at one instant between its invocation and its completion.

`check_linearizable` judges any calls by any model (`bench.models`), and needs no run. The calls are taken apart by
object. Where an object says in which order it did what it did, an order is guessed (`bench.checkers.guess`). The parts
that are left are searched in turns, each by both searches of `bench.checkers.orders` in turns: so the search ends at
the first illegal part, however long another may take, and neither search's weakness decides. What it may spend is a
`Budget`. When that is used up the answer is UNKNOWN, never a guess, and so it is where the calls are no history
that a verdict can rest on.

`linearizable` asks it of a run. A write that was acknowledged says where it stands in the log, which leaves the search
little to try. `stale_reads_are_true` asks of the reads that may be old what is left of their promise.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from bench import words
from bench.calls import calls_of
from bench.checkers.clocks import fresh_reads
from bench.checkers.faults import requests_that_may_come_twice
from bench.checkers.guess import has_order_of_ranks
from bench.checkers.orders import ModelFailedError, Part, Search, Spent, Stuck, in_breadth, in_depth
from bench.checkers.stable import rests_on_stable_storage
from bench.evidence import Evidence
from bench.models import Call, Model, kv, unknown_to
from bench.operations import Cas, Freshness, Get, Operation, Outcome, Put
from bench.timeline import line
from bench.verdict import Finding, Verdict

FIRST_TURN = 4096
"""How many steps a search takes in its first turn; each further turn is twice as long."""
SHOWN = 8
"""So many calls are shown of those that may be many."""
SEEN = " " * 12
LONGEST = 200
"""So many characters of a state are shown."""


@dataclass(frozen=True)
class Budget:
    """What a check may spend."""

    steps: int = 2_000_000
    """How often the model may be asked: some microseconds each."""
    remembered: int = 1_000_000
    """How many configurations may be kept at once: some hundred bytes each."""
    seconds: float = math.inf
    """As counted by `clock`. A check whose findings are to be the same each time has no use for it."""
    clock: Callable[[], float] | None = None

    def __post_init__(self) -> None:
        if self.clock is None and math.isfinite(self.seconds):
            raise ValueError("seconds need a clock")


@dataclass(frozen=True)
class Counterexample:
    """Why a part is illegal: up to the completion before that of `call` an order exists, and with it none does."""

    part: str
    call: Call
    completed: int
    """How many calls of the part were completed by then, this one included."""
    overlapping: tuple[Call, ...]
    """Those that could have taken effect before it or after it."""
    order: tuple[Call, ...]
    """The longest order found of what was to come before it."""
    state: Any
    """The model's, after that order."""
    could_see: tuple[tuple[Call, tuple[Any, ...]], ...] = ()
    """Of the call, and of each of those that overlap it and look: what it could have been told, along that order."""

    def lines(self) -> Iterator[str]:
        """For people, a line each."""
        of = f" of {words.short(self.part)}" if self.part else ""
        yield f"the first {self.completed} completed calls{of} have no order; those before the last of them have"
        yield "completed last, and fitting nowhere:"
        yield from self._told(self.call)
        yield from self._some("at the same time:", self.overlapping[:SHOWN], len(self.overlapping) - SHOWN)
        yield from self._some("an order that fits without it ends:", self.order[-SHOWN:], len(self.order) - SHOWN)
        yield f"after which the state is {_shown(self.state)}"

    def _some(self, about: str, calls: Sequence[Call], more: int) -> Iterator[str]:
        if calls:
            yield f"{about}{f' ({more} more)' if more > 0 else ''}"
        for call in calls:
            yield from self._told(call)

    def _told(self, call: Call) -> Iterator[str]:
        yield f"  {told(call)}"
        for one, seen in self.could_see:
            if one is call:
                yield f"{SEEN}it could have been told {', '.join(map(_shown, seen)) or 'nothing'}"


@dataclass(frozen=True)
class Checked:
    verdict: Verdict
    reason: str
    """In one line."""
    parts: Mapping[str, int] = field(default_factory=dict)
    """How many calls each part has."""
    counterexample: Counterexample | None = None
    steps: int = 0
    """How often the model was asked."""


def _shown(state: Any) -> str:
    try:
        shown = repr(state)
        return shown if len(shown) <= LONGEST else f"{shown[:LONGEST]}... ({len(shown)} characters)"
    except Exception as error:  # noqa: BLE001  Whatever a user's state raises.
        return f"one that cannot be shown: {type(error).__name__}"


def told(call: Call) -> str:
    """A call in a line, as other lines of a run have it if it is one of a run."""
    if call.source is not None:
        return line(call.source)
    of = f" {call.key}" if call.key is not None else ""
    value = f" {call.value}" if call.value is not None else ""
    came = f"told {call.told}" if call.known else "unknown"
    return f"{call.invoked_s:9.4f}  client {call.client} {call.does}{of}{value}: {came}, {call.completed_s:.4f}"


def check_linearizable(calls: Sequence[Call], model: Model, budget: Budget | None = None) -> Checked:
    """Whether the calls are linearizable by this model (Herlihy and Wing, 1990). Raises nothing that the model does not
    raise on purpose to end everything, such as KeyboardInterrupt.

    The budget is looked at between two steps. A step that does not return is for the caller to stop, as the command
    `check` and `bench.judging` do (`bench.limits.time_limit`). That can be done in the main thread alone: nothing
    interrupts Python in another one."""
    wrong = why_no_history(calls, model)
    if wrong:
        return Checked(Verdict.UNKNOWN, wrong)
    try:
        parts = {name: Part(model, found) for name, found in model.partition(calls).items()}
        return _Check(parts, budget or Budget(), model).result()
    except Exception as error:  # noqa: BLE001  Whatever a user's model raises, or its states when they are compared.
        return Checked(Verdict.UNKNOWN, f"the model {model.name} failed: {type(error).__name__}: {error}")


def why_no_history(calls: Sequence[Call], model: Model) -> str:
    """Which assumption about the calls does not hold; empty if all do."""
    for call in calls:
        if not math.isfinite(call.invoked_s) or math.isnan(call.completed_s):
            return f"{_named(call)} has no time: from {call.invoked_s} to {call.completed_s}"
        if call.completed_s < call.invoked_s:
            return f"{_named(call)} was completed at {call.completed_s:g}, before it was invoked at {call.invoked_s:g}"
        if call.known and not math.isfinite(call.completed_s):
            return f"{_named(call)} took effect, it says, and was never completed"
    strange = unknown_to(model, calls)
    if strange is not None:
        known = ", ".join(sorted(model.operations))
        return f"{_named(strange)} is nothing that the model {model.name} knows; it knows {known}"
    busy: dict[object, Call] = {}
    for call in sorted(calls, key=lambda call: (call.invoked_s, call.completed_s)):
        former = busy.get(call.client)
        if former is not None and former.completed_s > call.invoked_s:
            at = f"{_named(former)} at {former.invoked_s:g} and {call.does} at {call.invoked_s:g}"
            return f"one client has two calls under way: {at}"
        busy[call.client] = call
    return ""


def _named(call: Call) -> str:
    return f"{call.does} of client {call.client}"


class _OverBudgetError(Exception):
    """The text says what is used up."""


class _Trial:
    """One part, with the searches that are still at it."""

    def __init__(self, part: Part) -> None:
        self.part = part
        self.remembered: dict[Search, int] = {in_depth(part): 0, in_breadth(part): 0}


class _Check:
    def __init__(self, parts: Mapping[str, Part], budget: Budget, model: Model) -> None:
        self._sizes = {name: len(part.calls) for name, part in parts.items()}
        self._trials = {name: _Trial(part) for name, part in parts.items()}
        self._budget = budget
        self._model = model
        self._began_s = budget.clock() if budget.clock is not None else 0.0
        self._steps = 0

    def result(self) -> Checked:
        try:
            found = self._search()
        except ModelFailedError as error:
            return Checked(Verdict.UNKNOWN, str(error), self._sizes, None, self._steps)
        except _OverBudgetError as error:
            open_ = f"{len(self._trials)} of {len(self._sizes)} parts undecided"
            return Checked(Verdict.UNKNOWN, f"{error}, with {open_}", self._sizes, None, self._steps)
        count = sum(self._sizes.values())
        if found is None:
            keys = f", part by part in {len(self._sizes)} parts" if len(self._sizes) > 1 else ""
            calls = "1 call has" if count == 1 else f"{count} calls have"
            return Checked(Verdict.VALID, f"{calls} an order{keys}", self._sizes, None, self._steps)
        key = found.call.key or found.part
        of = f" of {words.short(key)}" if key else ""
        reason = f"{found.call.does}{of} by client {found.call.client}, completed at {found.call.completed_s:.4f}, "
        return Checked(Verdict.INVALID, f"{reason}fits into no order", self._sizes, found, self._steps)

    def _search(self) -> Counterexample | None:
        self._guess()
        turn = FIRST_TURN
        while self._trials:
            for name, trial in tuple(self._trials.items()):
                decided, stuck = self._turns(trial, turn)
                if stuck is not None:
                    return _counterexample(name, trial.part, stuck, self._model)
                if decided:
                    del self._trials[name]
            turn *= 2
        return None

    def _guess(self) -> None:
        """Have done with the parts whose order can be guessed."""
        for name, trial in tuple(self._trials.items()):
            if has_order_of_ranks(trial.part, self._model):
                del self._trials[name]
            self._steps += trial.part.spent(0).steps

    def _turns(self, trial: _Trial, turn: int) -> tuple[bool, Stuck | None]:
        """Whether a search has come to its end in its turn, and where it is stuck."""
        for search in tuple(trial.remembered):
            left = turn
            try:
                while left > 0:
                    spent = next(search)
                    left -= spent.steps
                    trial.remembered[search] = spent.remembered
                    self._spend(spent, trial)
                    if search not in trial.remembered:
                        break
            except StopIteration as ended:
                self._steps += trial.part.spent(0).steps
                return True, ended.value
            self._steps += trial.part.spent(0).steps
        return False, None

    def _spend(self, spent: Spent, trial: _Trial) -> None:
        """Raises _OverBudgetError. Where too much is remembered, the search of this part that remembers more is given
        up, as long as there is another."""
        budget = self._budget
        self._steps += spent.steps
        if self._steps > budget.steps:
            raise _OverBudgetError(f"not decided within {budget.steps:,} steps")
        if budget.clock is not None and budget.clock() - self._began_s > budget.seconds:
            raise _OverBudgetError(f"not decided within {budget.seconds:g} s")
        if sum(sum(each.remembered.values()) for each in self._trials.values()) > budget.remembered:
            del trial.remembered[max(trial.remembered, key=lambda search: trial.remembered[search])]
            if not trial.remembered:
                raise _OverBudgetError(f"not decided with {budget.remembered:,} configurations in memory")


def _counterexample(name: str, part: Part, stuck: Stuck, model: Model) -> Counterexample:
    call = part.calls[stuck.at]
    overlapping = tuple(
        other
        for number, other in enumerate(part.calls)
        if number != stuck.at
        and other.invoked_s <= call.completed_s
        and (not other.known or other.completed_s >= call.invoked_s)
    )
    order = part.in_order(stuck.order)
    looks = [one for one in (call, *overlapping) if model.sees is not None and one.known and model.looks(one)]
    could_see = tuple((one, _could_see(one, order, model)) for one in looks)
    return Counterexample(name, call, stuck.at + 1, overlapping, order, stuck.state, could_see)


def _could_see(call: Call, order: Sequence[Call], model: Model) -> tuple[Any, ...]:
    """What the call would have been told at each place in the order where its time allows it to stand, each once."""
    after = max((place for place, one in enumerate(order, 1) if one.completed_s < call.invoked_s), default=0)
    until = min((place for place, one in enumerate(order) if one.invoked_s > call.completed_s), default=len(order))
    states = list(itertools.accumulate(order, model.step, initial=model.initial))
    assert model.sees is not None
    found: list[Any] = []
    for state in states[after : until + 1]:
        if (seen := model.sees(state, call)) not in found:
            found.append(seen)
    return tuple(found)


# Of a run

CHECK = "linearizable"
BUDGET = Budget(steps=500_000, remembered=300_000)
"""Of a run: some seconds at the most, where a usual one takes milliseconds."""
STEPS_A_CALL = 10
"""So many more for each call, of which a long run has a million."""


@rests_on_stable_storage
def linearizable(evidence: Evidence) -> Finding:
    """Writes, and the reads that promise to be fresh, took effect one after the other, each while it was under way, and
    writes in the order in which they stand in the log."""
    fresh = fresh_reads(evidence)
    calls = list(calls_of(evidence.history, fresh, doubled=requests_that_may_come_twice(evidence)))
    if not calls:
        return Finding(CHECK, Verdict.UNKNOWN, "nothing was asked that has to be linearizable")
    if astray := _out_of_log_order(calls):
        earlier, later = astray
        reason = f"index {later.told} was acknowledged at {later.completed_s:.4f}, and index {earlier.told} "
        reason += f"to a write that was asked for at {earlier.invoked_s:.4f}"
        return Finding(CHECK, Verdict.INVALID, reason, earlier.completed_s, (told(later), told(earlier)))
    checked = check_linearizable(calls, kv, replace(BUDGET, steps=BUDGET.steps + STEPS_A_CALL * len(calls)))
    found = checked.counterexample
    if found is None:
        return Finding(CHECK, checked.verdict, checked.reason)
    return Finding(CHECK, checked.verdict, checked.reason, found.call.completed_s, tuple(found.lines()))


def _out_of_log_order(calls: Sequence[Call]) -> tuple[Call, Call] | None:
    """Two writes, at whatever keys, of which the one that was asked for when the other had been acknowledged does not
    stand behind it in the log; the one asked for later first."""
    writes = [call for call in calls if call.known and isinstance(call.told, int) and call.does != "get"]
    done = sorted(writes, key=lambda call: call.completed_s)
    last, number = None, 0
    for call in sorted(writes, key=lambda call: call.invoked_s):
        while number < len(done) and done[number].completed_s < call.invoked_s:
            last = done[number] if last is None or done[number].told > last.told else last
            number += 1
        if last is not None and call.told <= last.told:
            return call, last
    return None


def stale_reads_are_true(evidence: Evidence) -> Finding:
    """A read that may be old shows a value that somebody wrote, and had asked for before the read was completed: none
    from the future, and none out of nothing."""
    check = "stale_reads_are_true"
    doubled = requests_that_may_come_twice(evidence)
    written: dict[tuple[str, str], float] = {}
    reads: list[tuple[str, Operation]] = []
    for part in evidence.parts:
        match part.asked:
            case Get(key=key, freshness=Freshness.STALE) if part.outcome is Outcome.OK:
                reads.append((key, part))
            case Put(key=key, value=value) | Cas(key=key, value=value):
                if part.outcome is not Outcome.FAILED or doubled(part):
                    written[key, value] = min(part.invoked_s, written.get((key, value), math.inf))
    for key, read in reads:
        asked_s = -math.inf if read.value is None else written.get((key, read.value), math.inf)
        if asked_s > read.completed_s:
            why = "nobody wrote" if math.isinf(asked_s) else f"was only asked for at {asked_s:.4f}"
            what = f"{read.node} read {key} = {words.short(read.value or '')!r} at {read.completed_s:.4f}"
            return Finding(check, Verdict.INVALID, f"{what}, which {why}", read.completed_s, (line(read),))
    return Finding(check, Verdict.VALID, f"{len(reads)} reads that may be old, each of what was written before")
