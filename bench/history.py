"""A history: what clients asked and were told, as events in the order in which they happened.

*Invoked* is written before anything is sent, *completed* once the answer is there. So a bench that is killed loses at
most the line it was writing, and a question under way is in the history as under way. Both worlds write the same JSON
lines (`encode`), on the clock of their run. `operations` makes operations of events: each question with its outcome,
UNKNOWN while there is none, and the tries of one write as one.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping

import msgspec

from bench.operations import NO_ANSWER, Operation, Outcome, Question, Told


class Invoked(
    msgspec.Struct,
    frozen=True,
    tag_field="event",
    tag="invoked",
    forbid_unknown_fields=True,
    omit_defaults=True,
    gc=False,
):
    at_s: float
    number: int
    """The question's number, counted from 0 in each history."""
    client: int
    node: str
    asked: Question
    monotonic_s: float | None = None
    """What the machine's monotonic clock read then; virtual time has none."""


class Completed(
    msgspec.Struct,
    frozen=True,
    tag_field="event",
    tag="completed",
    forbid_unknown_fields=True,
    omit_defaults=True,
    gc=False,
):
    at_s: float
    number: int
    outcome: Outcome
    reason: str = ""
    result: str | dict[str, str] | None = None
    modify_index: int | None = None
    message: str = ""
    elsewhere: str = ""
    monotonic_s: float | None = None

    @property
    def told(self) -> Told:
        return Told(self.outcome, self.reason, self.result, self.modify_index, self.message, self.elsewhere)


Event = Invoked | Completed

encode = msgspec.json.Encoder().encode
"""An event as one line of JSON, without its end."""
decode: Callable[[bytes], Event] = msgspec.json.Decoder(Event).decode
"""The event of such a line. Raises msgspec.MsgspecError."""


class HistoryError(ValueError):
    """These events cannot be one history."""


class HistoryLineError(HistoryError):
    """The line is no event, or cannot be the next one."""

    def __init__(self, line: int, words: str) -> None:
        super().__init__(f"line {line}: {words}")
        self.line = line
        self.words = words


class History:
    """Takes events from any thread, and makes operations of them; each event goes to `write` as it happens."""

    def __init__(self, write: Callable[[Event], None] | None = None) -> None:
        self._write = write
        self._numbers = itertools.count()
        self._open: dict[int, Invoked] = {}
        self._finished: list[Operation] = []

    def invoked(self, client: int, node: str, asked: Question, at_s: float) -> int:
        """Call this before anything is sent; returns the question's number."""
        number = next(self._numbers)
        event = self._open[number] = Invoked(at_s, number, client, node, asked)
        if self._write is not None:
            self._write(event)
        return number

    def completed(self, number: int, told: Told, at_s: float) -> Operation:
        """Call this once, when the client knows all that it will ever know of the outcome."""
        if self._write is not None:
            result = dict(told.result) if isinstance(told.result, Mapping) else told.result
            self._write(Completed(at_s, number, told.outcome, told.reason, result, *told[3:]))
        operation = _operation(self._open[number], told, at_s)
        # In this order, so that a reader in between finds the question twice rather than not at all.
        self._finished.append(operation)
        del self._open[number]
        return operation

    def __iter__(self) -> Iterator[Operation]:
        """The operations so far: completed ones in the order of their completion, then those under way."""
        under_way = [_operation(event, NO_ANSWER, math.inf) for event in tuple(self._open.values())]
        return joined([*self._finished, *under_way])


def operations(events: Iterable[Event]) -> tuple[Operation, ...]:
    """What `History` has after these events. Raises HistoryError for a question asked twice, and for an answer to none
    or from before it was asked."""
    open_: dict[int, Invoked] = {}
    finished: list[Operation] = []
    for event in events:
        if isinstance(event, Invoked):
            if event.number in open_:
                raise HistoryError(f"question {event.number} is asked twice")
            open_[event.number] = event
        elif event.number not in open_:
            raise HistoryError(f"question {event.number} is answered, and nobody is waiting for that")
        elif event.at_s < (asked := open_.pop(event.number)).at_s:
            raise HistoryError(f"question {event.number} is answered at {event.at_s:g}, and asked at {asked.at_s:g}")
        else:
            finished.append(_operation(asked, event.told, event.at_s))
    return tuple(joined([*finished, *(_operation(event, NO_ANSWER, math.inf) for event in open_.values())]))


def of_lines(lines: Iterable[bytes]) -> tuple[Operation, ...]:
    """What `History` has after the events of these lines. Raises HistoryLineError."""
    number = 0

    def events() -> Iterator[Event]:
        nonlocal number
        for line in lines:
            number += 1
            yield decode(line)

    try:
        return operations(events())
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise HistoryLineError(number, str(error)) from error


def _operation(event: Invoked, told: Told, at_s: float) -> Operation:
    return Operation(event.client, event.node, event.asked, told, event.at_s, at_s)


def as_one(first: Operation, second: Operation) -> Operation:
    """Two tries of one write, which takes effect once, as one operation: from the first question to the answer that
    decided it, or to the last.

    A state machine's answer to either try holds for both. Without one, the write FAILED only if every try did: a client
    that is told "overwritten" may yet see an earlier try committed, whose answer was lost.
    """
    decisive = first if first.decided else second
    told = decisive.told
    if not told.decided and Outcome.UNKNOWN in (first.outcome, second.outcome):
        told = told._replace(outcome=Outcome.UNKNOWN)
    tries = first.questions + second.questions
    return msgspec.structs.replace(decisive, told=told, invoked_s=first.invoked_s, tries=tries)


def joined(tries: Iterable[Operation]) -> Iterator[Operation]:
    """The tries of each write as one operation, in the place of the last try."""
    found: dict[object, Operation] = {}
    for number, one in enumerate(tries):
        sequence = getattr(one.asked, "sequence", 0)
        write = one.asked if sequence else number
        former = found.pop(write, None)
        found[write] = one if former is None else as_one(former, one)
    return iter(found.values())
