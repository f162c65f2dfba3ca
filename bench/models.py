"""What a sequential object does, as values: the models against which histories are judged. Pure.

A model says what one copy of the object would do if clients asked it one after the other: a state to begin with, and
`step`, which gives the state after a call, or ILLEGAL where the object could not have told the client that. So a model
of one's own is a function and a line:

    def step(state, call):
        match call.does:
            case "push":
                return (*state, call.value)
            case "pop" if state and call.told == state[-1]:
                return state[:-1]
        return ILLEGAL

    stack = Model("stack", (), step)

States are compared and remembered, so they are hashable and never changed in place. Of a call that is not `known`
nobody was told what came of it: it may have taken effect, or may yet, or never will. `step` says what its effect would
be, and ILLEGAL if it could have none; it must not look at `told` then.

Linearizability is local (Herlihy and Wing, "Linearizability: A Correctness Condition for Concurrent Objects", 1990): a
history is linearizable if its part at each object is. `partition` says which calls are of which object, and what is
judged part by part takes far less time.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from bench.operations import Item, Operation

ILLEGAL: Any = type("Illegal", (), {"__repr__": lambda _: "ILLEGAL"})()
"""In place of a state: nothing that the object does in this state fits the call."""


class Call(NamedTuple):
    """One call of one client, and what came of it."""

    client: Hashable
    does: str
    """What it asks for, by the name that the model knows."""
    value: Any = None
    """What it is asked with."""
    told: Any = None
    """What the client was told."""
    invoked_s: float = 0.0
    completed_s: float = math.inf
    """When the client gave up, if it is not `known`; infinity while it waits."""
    key: str | None = None
    known: bool = True
    """Whether it took effect before it was completed; if not, it may do so at any time since it was invoked, or never.
    A call that had no effect, and never will, is none."""
    source: Operation | None = None
    """The operation that this tells of, if there is one."""


Parts = Mapping[str, Sequence[Call]]


def as_one(calls: Sequence[Call]) -> Parts:
    """All calls are of one object."""
    return {"": calls}


def by_key(calls: Sequence[Call]) -> Parts:
    """Each key is an object of its own."""
    parts: dict[str, list[Call]] = defaultdict(list)
    for call in calls:
        parts["" if call.key is None else call.key].append(call)
    return parts


@dataclass(frozen=True)
class Model:
    name: str
    initial: Hashable
    step: Callable[[Any, Call], Any]
    """The state after the call, or ILLEGAL."""
    partition: Callable[[Sequence[Call]], Parts] = as_one
    looks: Callable[[Call], bool] = lambda _: False
    """Whether the call changes nothing, in whatever state it is legal. A search is quicker for knowing it."""
    operations: frozenset[str] = frozenset()
    """The calls that it knows; empty if that is for `step` alone to say."""
    rank: Callable[[Call], int | None] = lambda _: None
    """Where in the order of all that it did the object says that it did this; None if it says nothing of the kind, as
    of a call that only looked."""
    sees: Callable[[Any, Call], Any] | None = None
    """What a call that only looks would be told in a state, for people."""
    seen: Callable[[Call], Iterable[int]] = lambda _: ()
    """Where in that order the writes are which the call shows to have been done."""


Rule = Callable[[Any, Call], Any]
"""A `step` for one kind of call."""


def _of_rules(
    name: str,
    initial: Hashable,
    rules: Mapping[str, Rule],
    looks: Callable[[Call], bool],
    partition: Any = by_key,
    **ranks: Any,
) -> Model:
    def step(state: Any, call: Call) -> Any:
        return rules[call.does](state, call)

    return Model(name, initial, step, partition, looks, frozenset(rules), **ranks)


# A register for each key


def _read(state: Any, call: Call) -> Any:
    return state if not call.known or call.told == state else ILLEGAL


def _write(state: Any, call: Call) -> Any:
    return call.value


def _cas(state: Any, call: Call) -> Any:
    """Its value is what it expects and what it writes; it is told whether it did."""
    expected, new = call.value
    if call.known and call.told is False:
        return state if state != expected else ILLEGAL
    return new if state == expected else ILLEGAL


def _reads(call: Call) -> bool:
    return call.does in ("read", "get") or (call.does == "cas" and call.known and call.told is False)


register = _of_rules(
    "register",
    None,
    {"read": _read, "get": _read, "write": _write, "put": _write, "cas": _cas},
    _reads,
    sees=lambda state, _: state,
)
"""A value for each key; None at first."""


# A list that only grows, a counter, a set


def _grow(state: tuple[Any, ...], call: Call) -> Any:
    return (*state, call.value)


def _read_list(state: tuple[Any, ...], call: Call) -> Any:
    return state if not call.known or tuple(call.told or ()) == state else ILLEGAL


append = _of_rules(
    "append", (), {"append": _grow, "read": _read_list, "get": _read_list}, _reads, sees=lambda state, _: state
)
"""A list for each key, which is read as a whole; empty at first."""


def _add(state: int, call: Call) -> Any:
    """One that is told what the counter is then is held to it."""
    new = state + (1 if call.value is None else call.value)
    return new if not call.known or call.told is None or call.told == new else ILLEGAL


def _subtract(state: int, call: Call) -> Any:
    return _add(state, call._replace(value=-1 if call.value is None else -call.value))


def _read_number(state: int, call: Call) -> Any:
    return state if not call.known or (call.told or 0) == state else ILLEGAL


counter = _of_rules(
    "counter",
    0,
    {"add": _add, "dec": _subtract, "read": _read_number, "get": _read_number},
    _reads,
    sees=lambda state, _: state,
)
"""A number for each key; 0 at first."""


def _put_in(state: frozenset[Any], call: Call) -> Any:
    return state | {call.value}


def _take_out(state: frozenset[Any], call: Call) -> Any:
    return state - {call.value}


def _read_set(state: frozenset[Any], call: Call) -> Any:
    return state if not call.known or frozenset(call.told or ()) == state else ILLEGAL


members = _of_rules(
    "set",
    frozenset(),
    {"add": _put_in, "remove": _take_out, "read": _read_set},
    _reads,
    sees=lambda state, _: set(state),
)
"""A set for each key, which is read as a whole; empty at first."""


# A store of keys whose writes stand in a log


SHOWN = 12
"""So many characters of a value are shown."""


class Refused(NamedTuple):
    """What a write is told that the store did not do, because a key was not as expected."""

    at: int | None = None
    """The modify_index that the key had; 0 if there was none; None if nobody said. Of a batch nobody says."""


class Stands(NamedTuple):
    """A write that stands in the log, and what is still there of it."""

    kept: tuple[tuple[str, Any], ...]
    """Its keys with their values, in the order of the keys. The write's index is the modify_index of each."""
    low: int
    high: float
    """Its index, twice; or what it lies between, if nobody was told it."""

    def __str__(self) -> str:
        return f"at {self.low}" if self.low == self.high else f"after {self.low}"

    def may_be_at(self, index: int) -> bool:
        return self.low == index == self.high or self.low < index < self.high


class Log(NamedTuple):
    """What the store has. The index grows from write to write, at whatever key: that leaves acknowledged writes one
    order, and the search few choices."""

    last: int = 0
    """The greatest index that a write is known to have. The next one has a greater one."""
    writes: tuple[Stands, ...] = ()
    """In the order of the log; those of which something is still there. Between two known indexes there is room for any
    number of writes whose indexes nobody was told: that an index is a whole number is not counted on."""
    doubts: frozenset[frozenset[tuple[str, int]]] = frozenset()
    """Of each of these not all is so: that the write with this first key stands at this index."""

    def __repr__(self) -> str:
        """What is there, for people; a long value by its beginning."""
        found = {key: (value, write) for write in self.writes for key, value in write.kept}
        told = (f"{key} = {str(value)[:SHOWN]} {write}" for key, (value, write) in sorted(found.items()))
        return f"<{', '.join(told) or 'nothing'}>"

    def of(self, key: str) -> Stands | None:
        return next((write for write in self.writes if any(each == key for each, _ in write.kept)), None)

    def value(self, key: str) -> Any:
        return next((value for write in self.writes for each, value in write.kept if each == key), None)

    def at(self, key: str, index: int | None) -> Log | None:
        """The same, now that the key is known to have this modify_index, 0 being no key; None if it cannot have it."""
        write = self.of(key)
        if index is None or write is None:
            return None if index else self
        if not write.may_be_at(index):
            return None
        number = self.writes.index(write)
        before, after = self.writes[:number], self.writes[number + 1 :]
        found = (
            *(each._replace(high=min(each.high, index)) for each in before),
            write._replace(low=index, high=index),
            *(each._replace(low=max(each.low, index)) for each in after),
        )
        return self._replace(last=max(self.last, index), writes=found)

    def as_expected(self, items: Iterable[Item]) -> Log | None:
        """The same, now that each key is known to be as expected; None if one cannot be."""
        found: Log | None = self
        for item in items:
            found = found and found.at(item.key, item.expected_index)
        return found

    def doubting(self, doubts: Iterable[frozenset[tuple[str, int]]]) -> Log | None:
        """With these doubts as far as they are still open; None if one is refuted."""
        still = set()
        for doubt in doubts:
            if (found := self.as_expected(Item(key, None, index) for key, index in doubt)) == self:
                return None
            if found is not None:
                still.add(frozenset(fact for fact in doubt if self.at(*fact) != self))
        return self._replace(doubts=frozenset(still))

    def doubting_all(self, items: Sequence[Item]) -> Log | None:
        """With the doubt whether all of them are as expected; None if they surely are."""
        if self.as_expected(items) is None:
            return self
        facts = ((self.of(item.key), item.expected_index) for item in items)
        doubt = frozenset((write.kept[0][0], index) for write, index in facts if write and index is not None)
        return self.doubting({*self.doubts, doubt})

    def written(self, items: Iterable[Item], told: int | None) -> Log | None:
        """With one more write; None if it cannot be at the index that was told."""
        if told is not None and told <= self.last:
            return None
        new = {item.key: item.value for item in items}
        left = [write._replace(kept=tuple(pair for pair in write.kept if pair[0] not in new)) for write in self.writes]
        names = {write.kept[0][0]: now.kept[0][0] for write, now in zip(self.writes, left, strict=True) if now.kept}
        # Of a write that is gone nobody can learn where it stood.
        doubts = frozenset(
            frozenset((names[key], index) for key, index in doubt)
            for doubt in self.doubts
            if all(key in names for key, _ in doubt)
        )
        kept = tuple(sorted((key, value) for key, value in new.items() if value is not None))
        here = Stands(kept, self.last, math.inf) if told is None else Stands(kept, told, told)
        writes = (write._replace(high=min(write.high, here.high)) for write in (*left, here) if write.kept)
        return Log(self.last if told is None else told, tuple(writes), doubts)


def _key_of(call: Call) -> str:
    return "" if call.key is None else call.key


ITEMS: Mapping[str, Callable[[Call], tuple[Item, ...]]] = {
    "put": lambda call: (Item(_key_of(call), call.value),),
    "write": lambda call: (Item(_key_of(call), call.value),),
    "cas_index": lambda call: (Item(_key_of(call), *call.value),),
    "delete": lambda call: (Item(_key_of(call), None, call.value),),
    "set_all": lambda call: call.value,
    "delete_all": lambda call: call.value,
}
"""What each kind of write leaves at which keys, and what it expects there. The value of a `cas_index` is what it writes
and the modify_index that it expects, that of a `delete` what it expects, if anything."""
BATCHES = ("set_all", "delete_all")


def _or_illegal(log: Log | None) -> Any:
    return ILLEGAL if log is None else log


def _store(log: Log, call: Call) -> Any:
    """All items, or none if one is not as expected."""
    items = ITEMS[call.does](call)
    if call.known and isinstance(call.told, Refused):
        return _or_illegal(_refused(log, call, items, call.told.at))
    before = log.as_expected(items)
    if before is None or (call.does == "delete" and log.of(items[0].key) is None):
        return ILLEGAL
    known = before.doubting(log.doubts)
    return _or_illegal(known and known.written(items, call.told if call.known else None))


def _refused(log: Log, call: Call, items: Sequence[Item], found: int | None) -> Log | None:
    key, expected = (items[0].key, items[0].expected_index) if items else ("", None)
    # It is refused where there is no key, whatever it expects.
    nothing_there = call.does == "delete" and log.of(key) is None
    if found is None or call.does in BATCHES:
        return log if nothing_there else log.doubting_all(items)
    if expected in (None, found) and not (nothing_there and found == 0):
        return None
    known = log.at(key, found)
    return known and known.doubting(log.doubts)


def _get(log: Log, call: Call) -> Any:
    return log if not call.known or call.told == log.value(_key_of(call)) else ILLEGAL


def _get_all(log: Log, call: Call) -> Any:
    """Its value is the keys, and it is told those that are there, with their values."""
    found = {key: value for write in log.writes for key, value in write.kept if key in call.value}
    return log if not call.known or dict(call.told) == found else ILLEGAL


def _lengthen(log: Log, call: Call) -> Any:
    """Puts a text behind the one that is there, which may be none."""
    return _store(log, call._replace(does="put", value=(log.value(_key_of(call)) or "") + call.value))


def _swap(log: Log, call: Call) -> Any:
    """A cas by value, as a register has it."""
    expected, new = call.value
    matches = log.value(_key_of(call)) == expected
    if call.known and call.told is False:
        return ILLEGAL if matches else log
    return _store(log, call._replace(does="put", value=new, told=None)) if matches else ILLEGAL


def _shows(call: Call) -> bool:
    return call.does in ("get", "read", "get_all") or (
        call.known and (isinstance(call.told, Refused) or (call.does == "cas" and call.told is False))
    )


def _what_is_there(log: Log, call: Call) -> Any:
    keys = keys_of(call)
    if call.does not in ITEMS:
        found = {key: log.value(key) for key in keys}
        return found[keys[0]] if call.does in ("get", "read") else found
    return ", ".join(_where(log, key) for key in keys)


def _where(log: Log, key: str) -> str:
    write = log.of(key)
    return f"no {key}" if write is None else f"{key} {write}"


def _index_of(call: Call) -> int | None:
    return call.told if call.does in ITEMS and isinstance(call.told, int) else None


def _indexes_seen(call: Call) -> Iterator[int]:
    if not call.known or call.does not in ITEMS:
        return
    if not isinstance(call.told, Refused):
        yield from (item.expected_index for item in ITEMS[call.does](call) if item.expected_index)
    elif call.told.at and call.does not in BATCHES:
        yield call.told.at


def _coupled(calls: Sequence[Call]) -> Parts:
    """Each key by itself, but those together that one call names."""
    heads: dict[str, str] = {}

    def head(key: str) -> str:
        heads.setdefault(key, key)
        while heads[key] != key:
            heads[key] = key = heads[heads[key]]
        return key

    keys = [keys_of(call) for call in calls]
    for first, *others in keys:
        for other in others:
            heads[head(other)] = head(first)
    parts: dict[str, list[Call]] = defaultdict(list)
    for (first, *_), call in zip(keys, calls, strict=True):
        parts[head(first)].append(call)
    together: dict[str, list[str]] = defaultdict(list)
    for key in sorted(heads):
        together[head(key)].append(key)
    return {", ".join(together[part]): found for part, found in parts.items()}


def keys_of(call: Call) -> tuple[str, ...]:
    """The keys that a call of the model `kv` names."""
    match call.does:
        case does if does in BATCHES:
            return tuple(item.key for item in call.value) or ("",)
        case "get_all":
            return tuple(call.value) or ("",)
    return (_key_of(call),)


kv = _of_rules(
    "kv",
    Log(),
    {
        **dict.fromkeys(ITEMS, _store),
        "get": _get,
        "read": _get,
        "get_all": _get_all,
        "append": _lengthen,
        "cas": _swap,
    },
    _shows,
    _coupled,
    rank=_index_of,
    sees=_what_is_there,
    seen=_indexes_seen,
)
"""Keys with values, all absent at first. A write is told its index in the log, or `Refused`."""

MODELS: Mapping[str, Model] = {model.name: model for model in (register, kv, append, counter, members)}


def unknown_to(model: Model, calls: Iterable[Call]) -> Call | None:
    """The first call that the model does not know."""
    return next((call for call in calls if model.operations and call.does not in model.operations), None)
