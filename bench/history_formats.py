"""Histories as other tools write them: text to calls, and calls to text. Pure: lines in, lines out.

Four forms are read, and told apart by what stands in them:

* Our own, JSON lines, as history.jsonl of a run is written. Reads that promise to be fresh are held to it: whether
  clocks ran alike, or requests came twice, only the run knows.
* Jepsen's EDN: maps with `:type`, `:f`, `:value`, `:process`, and perhaps `:key`, `:time` in nanoseconds and `:index`;
  one after the other, or all in one vector. In a test of independent keys each `:value` is a key and a value.
* Jepsen's log, a line for each event: `INFO  jepsen.util - 3	:invoke	:write	4`.
* Porcupine's key-value text, which is the first form with a `:key` and without times. An empty text there is no text.

A call that was `:fail` has not happened. But the log form says so too of a cas that found something else, and what we
write says it with `:error :refused`; those calls looked. One that was `:info`, or of which nothing more is heard, may
have happened. Where the times of all events grow, they are the times of the calls; where there are none, an event's
place is its time.

Nothing here trusts its input: lines are read one at a time and bounded, and so are nesting, what one event holds, how
many events there are, and the whole. What is no history raises `HistoryFormatError`, which names the line.
"""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from bench.calls import calls_of
from bench.history import HistoryLineError
from bench.history import of_lines as operations_of
from bench.models import MODELS, Call, Refused
from bench.operations import Item

T = TypeVar("T", bound=tuple[Any, ...])

LONGEST_LINE = 16 * 1024 * 1024
"""In characters: a whole vector may stand on one line."""
LARGEST = 512 * 1024 * 1024
"""Of characters."""
MOST_EVENTS = 4_000_000
MOST_LINES = 10_000_000
MOST_VALUES = 1_000_000
"""In one event."""
DEEPEST = 32
REFUSED = "refused"


class HistoryFormatError(ValueError):
    """It is no history of these forms, or cannot be said in one; the text names the line, if there is one."""

    @classmethod
    def at(cls, line: int, why: str) -> HistoryFormatError:
        """What stands in the file may be told, so nothing of it ends a line or controls a terminal."""
        return cls(f"line {line}: {''.join(letter if letter.isprintable() else '?' for letter in why)}")


class Keyword(str):
    """A name of EDN, without its colon."""

    __slots__ = ()


class Event(NamedTuple):
    line: int
    type: str
    process: int
    does: str
    value: Any
    key: str | None = None
    time_ns: int | None = None
    error: Any = None
    modify_index: int | None = None


def read(lines: Iterable[str]) -> list[Call]:
    """The calls of a history, in the order of their invocation. Raises HistoryFormatError."""
    numbered = _bounded(lines)
    first = next(((number, line) for number, line in numbered if line.strip()), None)
    if first is None:
        raise HistoryFormatError("there is nothing in it")
    rest = _chained(first, numbered)
    if _OURS.match(first[1]):
        return _of_ours(rest)
    return _calls(_key_by_key(_of_edn(rest)) if _OPENS.match(first[1]) else _of_log(rest))


def _bounded(lines: Iterable[str]) -> Iterator[tuple[int, str]]:
    total = 0
    for number, line in enumerate(lines, 1):
        total += len(line)
        if len(line) > LONGEST_LINE:
            raise HistoryFormatError.at(number, f"it is longer than {LONGEST_LINE:,} characters")
        if total > LARGEST:
            raise HistoryFormatError.at(number, f"the history is longer than {LARGEST:,} characters")
        if number > MOST_LINES:
            raise HistoryFormatError.at(number, f"the history has more than {MOST_LINES:,} lines")
        yield number, line


def _chained(first: tuple[int, str], others: Iterator[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    yield first
    yield from others


# Our own


_OURS = re.compile(r'\s*\{\s*"')


def _of_ours(lines: Iterator[tuple[int, str]]) -> list[Call]:
    try:
        found = operations_of(line.encode(errors="replace") for _, line in _few(lines))
    except HistoryLineError as error:
        raise HistoryFormatError.at(error.line, error.words) from error
    return sorted(calls_of(found), key=lambda call: call.invoked_s)


def _few(events: Iterable[T]) -> Iterator[T]:
    """Raises HistoryFormatError for too many of them, which begin with a line's number."""
    for count, event in enumerate(events, 1):
        if count > MOST_EVENTS:
            raise HistoryFormatError.at(event[0], f"the history has more than {MOST_EVENTS:,} events")
        yield event


# The log


_LOGGED = re.compile(r"jepsen\.util - (.*)$")
_LOG_EVENT = re.compile(r"(\d{1,18})\s+:(\w+)\s+:([\w-]+)\s+(.*?)\s*$")
_LOG_NEMESIS = re.compile(r":nemesis\s")


def _of_log(lines: Iterator[tuple[int, str]]) -> Iterator[Event]:
    """What other parts of the test have logged is passed over."""
    found = False
    for number, line in lines:
        logged = _LOGGED.search(line)
        if logged is None:
            continue
        found = True
        event = _LOG_EVENT.match(logged[1])
        if event is not None:
            process, kind, does, value = event.groups()
            told = next((value for _, value in _values(iter([(number, value)]))), None)
            refused = Keyword(REFUSED) if kind == "fail" and does == "cas" and isinstance(told, tuple) else None
            yield Event(number, kind, int(process), does, told, error=refused)
        elif not _LOG_NEMESIS.match(logged[1]):
            raise HistoryFormatError.at(number, f"this is no event: {_short(logged[1])}")
    if not found:
        raise HistoryFormatError.at(1, "this is neither EDN nor a line of Jepsen's log")


# EDN


_OPENS = re.compile(r"\s*[\[({#;]")
_TOKEN = re.compile(r'[\s,]+|;.*|"(?:[^"\\]|\\.)*+"|#\{|#[A-Za-z][\w./-]*|[()\[\]{}]|[^\s,;()\[\]{}"]+')
_CLOSES = {"{": "}", "[": "]", "(": ")", "#{": "}"}
_CONSTANTS = {"nil": None, "true": True, "false": False}
_INTEGER = re.compile(r"[+-]?\d{1,40}N?")
_DECIMAL = re.compile(r"[+-]?\d{1,40}(\.\d{0,40})?([eE][+-]?\d{1,4})?M?")


def _of_edn(lines: Iterator[tuple[int, str]]) -> Iterator[Event]:
    last = -1
    for number, value in _values(lines, spread=True):
        if not isinstance(value, dict):
            raise HistoryFormatError.at(number, f"an event is a map, and this is {_short(repr(value))}")
        process, index = value.get("process"), value.get("index")
        if not isinstance(process, int):
            if process is None:
                raise HistoryFormatError.at(number, "this map has no :process, so it is no event")
            continue  # The nemesis, which is no client.
        if index is not None:
            if not isinstance(index, int) or index <= last:
                raise HistoryFormatError.at(number, f"index {index} comes after {last}: events are out of order")
            last = index
        yield _event(number, process, value, exact=index is not None)


def _event(number: int, process: int, found: Mapping[str, Any], *, exact: bool) -> Event:
    for field, kinds in (("type", Keyword), ("f", Keyword), ("time", int | None), ("modify-index", int | None)):
        if not isinstance(found.get(field), kinds):
            raise HistoryFormatError.at(number, f"this event has :{field} {found.get(field)!r}")
    key, value = found.get("key"), found.get("value")
    if key is not None and not exact and value == "":
        value = None
    named = None if key is None else str(key)
    told = found.get("time"), found.get("error"), found.get("modify-index")
    return Event(number, str(found["type"]), process, str(found["f"]), value, named, *told)


class _Open(NamedTuple):
    bracket: str
    line: int
    items: list[Any]


def _values(lines: Iterator[tuple[int, str]], *, spread: bool = False) -> Iterator[tuple[int, Any]]:
    """Each value of EDN, and the line where it begins; with `spread`, those in an outermost vector one by one."""
    stack: list[_Open] = []
    number = held = 0
    for number, line in lines:
        at = 0
        while at < len(line):
            token = _TOKEN.match(line, at)
            if token is None:
                raise HistoryFormatError.at(number, f"this text does not end: {_short(line[at:])}")
            at, text = token.end(), token[0]
            if text[0] in " \t\r\n\f\v,;" or (text[0] == "#" and text != "#{"):
                continue  # Between values, a remark, or the name of a record, whose map says all that matters.
            began = number
            if text in _CLOSES:
                if len(stack) >= DEEPEST:
                    raise HistoryFormatError.at(number, f"more than {DEEPEST} brackets are open")
                stack.append(_Open(text, number, []))
                continue
            if text in "}])":
                if not stack or _CLOSES[stack[-1].bracket] != text:
                    raise HistoryFormatError.at(number, f"{text} closes what is not open")
                ended = stack.pop()
                if spread and not stack and ended.bracket in "[(":
                    continue
                began, value = ended.line, _closed(ended, outermost=_outermost(stack, spread))
            else:
                value = _atom(number, text)
            if _outermost(stack, spread):
                held = 0
                yield began, value
                continue
            held += 1
            if held > MOST_VALUES:
                raise HistoryFormatError.at(number, f"an event has more than {MOST_VALUES:,} values")
            stack[-1].items.append(value)
    if stack:
        raise HistoryFormatError.at(number, f"it ends, and {stack[-1].bracket} of line {stack[-1].line} is not closed")


def _outermost(stack: Sequence[_Open], spread: bool) -> bool:
    return not stack or (spread and len(stack) == 1 and stack[0].bracket in "[(")


def _closed(ended: _Open, *, outermost: bool) -> Any:
    """As values that can be compared and remembered; only an event's own map is a dictionary."""
    items = ended.items
    if ended.bracket in "[(":
        return tuple(items)
    if ended.bracket == "#{":
        return frozenset(items)
    if len(items) % 2:
        raise HistoryFormatError.at(ended.line, "this map has a key without a value")
    pairs = list(zip(items[::2], items[1::2], strict=True))
    if len({key for key, _ in pairs}) < len(pairs):
        raise HistoryFormatError.at(ended.line, "this map has a key twice")
    return dict(pairs) if outermost else frozenset(pairs)


def _atom(number: int, text: str) -> Any:
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if text.startswith('"'):
        try:
            return json.loads(text, strict=False)
        except ValueError:
            raise HistoryFormatError.at(number, f"this text cannot be read: {_short(text)}") from None
    if text.startswith(":") and len(text) > 1:
        return Keyword(text[1:])
    if _INTEGER.fullmatch(text):
        return int(text.rstrip("N"))
    if _DECIMAL.fullmatch(text):
        return float(text.rstrip("M"))
    raise HistoryFormatError.at(number, f"this is no value of EDN: {_short(text)}")


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:60]}..."


def _key_by_key(events: Iterator[Event]) -> Iterator[Event]:
    """Jepsen's independent tests have a key and a value in each `:value`, which shows at the first read: it asks with a
    key and nil."""
    before: list[Event] = []
    for event in events:
        before.append(event)
        if event.type == "invoke" and event.does in READS:
            if _pair(event.value) and event.value[1] is None and event.key is None:
                yield from map(_unpaired, itertools.chain(before, events))
                return
            break
    yield from itertools.chain(before, events)


def _pair(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) == 2


def _unpaired(event: Event) -> Event:
    """Raises HistoryFormatError."""
    if not _pair(event.value):
        why = f"this test is one of independent keys, and {_short(repr(event.value))} is no pair of a key and a value"
        raise HistoryFormatError.at(event.line, why)
    key, value = event.value
    return event._replace(key=str(key), value=value)


# From events to calls


class _Under(NamedTuple):
    """A call that is under way."""

    event: Event
    place: int


def _calls(events: Iterable[Event]) -> list[Call]:
    open_: dict[int, _Under] = {}
    found: list[tuple[_Under, Event | None, int]] = []
    former: Event | None = None
    timed = True
    for place, event in enumerate(_few(events)):
        if former is not None and event.time_ns is not None and former.time_ns is not None:
            if event.time_ns < former.time_ns:
                raise HistoryFormatError.at(event.line, "time goes back: events are out of order")
            timed = timed and event.time_ns > former.time_ns
        timed, former = timed and event.time_ns is not None, event
        if event.type == "invoke":
            if event.process in open_:
                since = open_[event.process].event.line
                raise HistoryFormatError.at(
                    event.line, f"client {event.process} asks, and its call of line {since} is open"
                )
            open_[event.process] = _Under(event, place)
            continue
        _check(event, open_.get(event.process))
        found.append((open_.pop(event.process), event, place))
    found += [(under, None, 0) for under in open_.values()]
    calls = [call for under, end, place in found if (call := _call(under, end, place, timed=timed)) is not None]
    return sorted(calls, key=lambda call: call.invoked_s)


def _check(event: Event, under: _Under | None) -> None:
    """Raises HistoryFormatError for a completion that does not complete what is under way."""
    if event.type not in ("ok", "fail", "info"):
        raise HistoryFormatError.at(event.line, f"{event.type} is no type of event")
    if under is None:
        why = f"client {event.process} is told what came of a call, and has none under way"
        raise HistoryFormatError.at(event.line, why)
    asked = under.event
    same = (asked.does, asked.key) == (event.does, event.key)
    if not same or (event.type == "ok" and event.does in WRITES and event.value not in (None, asked.value)):
        raise HistoryFormatError.at(
            event.line, f"this tells of another call than client {event.process} made in line {asked.line}"
        )


READS = ("read", "get", "get_all")
"""What these are told stands where others say what they were asked with."""
WRITES = frozenset().union(*(model.operations for model in MODELS.values())) - set(READS)
"""When one of these is done, what it was asked with is said again. Of any other call, which a model of one's own knows,
it may be what it was told."""


def _call(under: _Under, end: Event | None, place: int, *, timed: bool) -> Call | None:
    asked = under.event
    refused = end is not None and end.type == "fail" and end.error == REFUSED
    if end is not None and end.type == "fail" and not refused:
        return None
    ended = math.inf if end is None else _time(end, place, timed)
    told = None if end is None or end.type == "info" else _told(asked, end, refused)
    known = end is not None and end.type != "info"
    value = None if asked.does in ("read", "get") else _asked(asked)
    return Call(asked.process, asked.does, value, told, _time(asked, under.place, timed), ended, asked.key, known)


def _asked(event: Event) -> Any:
    if event.does not in ("set_all", "delete_all"):
        return event.value
    try:
        return tuple(Item(*item) for item in event.value)
    except TypeError:
        raise HistoryFormatError.at(event.line, "this batch is no vector of [key value expected-index]") from None


def _told(asked: Event, end: Event, refused: bool) -> Any:
    if asked.does == "cas":
        return not refused
    if refused:
        return Refused(end.modify_index)
    return end.modify_index if asked.does in WRITES else end.value


def _time(event: Event, place: int, timed: bool) -> float:
    return event.time_ns / 1e9 if timed and event.time_ns is not None else float(place)


# From calls to text


def jepsen(calls: Iterable[Call]) -> Iterator[str]:
    """As Jepsen's EDN, a map on each line. Reading it gives the same calls, if no two things happened at once."""
    for index, (time_s, kind, process, call) in enumerate(_in_order(calls)):
        fields: dict[str, Any] = {"index": index, "time": round(time_s * 1e9), "process": process}
        fields |= {"type": Keyword(kind), "f": Keyword(call.does)} | ({} if call.key is None else {"key": call.key})
        fields["value"] = call.told if kind == "ok" and call.does in READS else call.value
        if kind == "fail":
            fields["error"] = Keyword(REFUSED)
        at = call.told.at if isinstance(call.told, Refused) else call.told
        if kind in ("ok", "fail") and call.does not in (*READS, "cas") and at is not None:
            fields["modify-index"] = at
        yield _line(fields)


def porcupine(calls: Iterable[Call]) -> Iterator[str]:
    """As Porcupine's key-value text. Raises HistoryFormatError for a call that cannot be said there."""
    for _, kind, process, call in _in_order(calls):
        if call.does not in ("get", "put", "append"):
            raise HistoryFormatError(f"{call.does} cannot be said in Porcupine's text, which knows get, put and append")
        if kind == "info":
            continue
        value = (call.told or "") if kind == "ok" and call.does == "get" else call.value
        fields = {
            "process": process,
            "type": Keyword(kind),
            "f": Keyword(call.does),
            "key": call.key or "",
            "value": value,
        }
        yield _line(fields)


FORMS: Mapping[str, Callable[[Iterable[Call]], Iterator[str]]] = {"jepsen": jepsen, "porcupine": porcupine}


def _in_order(calls: Iterable[Call]) -> Iterator[tuple[float, str, int, Call]]:
    """Each event: when, of what type, and of which process. A client whose call has no outcome goes on as another
    process, as these forms have it."""
    events: list[tuple[float, int, int, Call]] = []
    for number, call in enumerate(calls):
        events.append((call.invoked_s, 0, number, call))
        if math.isfinite(call.completed_s):
            events.append((call.completed_s, 1, number, call))
    processes: dict[Any, int] = {}
    of_call: dict[int, int] = {}
    fresh = 0
    for time_s, ends, number, call in sorted(events, key=lambda event: event[:3]):
        if not ends:
            if call.client not in processes:
                processes[call.client], fresh = fresh, fresh + 1
            of_call[number] = processes.pop(call.client)
            yield time_s, "invoke", of_call[number], call
            continue
        kind = "info" if not call.known else "fail" if call.told is False or isinstance(call.told, Refused) else "ok"
        yield time_s, kind, of_call[number], call
        if call.known:
            processes.setdefault(call.client, of_call[number])


def _line(fields: Mapping[str, Any]) -> str:
    return _as_edn({Keyword(name): value for name, value in fields.items()})


def _as_edn(value: Any) -> str:
    if isinstance(value, Keyword):
        return f":{value}"
    if value is None or isinstance(value, bool):
        return {None: "nil", True: "true", False: "false"}[value]
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, Item):
        return _as_edn((value.key, value.value, value.expected_index))
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{_as_edn(key)} {_as_edn(each)}' for key, each in value.items())}}}"
    if isinstance(value, frozenset | set):
        return f"#{{{' '.join(sorted(map(_as_edn, value)))}}}"
    if isinstance(value, tuple | list):
        return f"[{' '.join(map(_as_edn, value))}]"
    return repr(value)
