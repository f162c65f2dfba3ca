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
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
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


Rule = Callable[[Any, Call], Any]
"""A `step` for one kind of call."""


def _of_rules(
    name: str, initial: Hashable, rules: Mapping[str, Rule], looks: Callable[[Call], bool], partition: Any = by_key
) -> Model:
    def step(state: Any, call: Call) -> Any:
        return rules[call.does](state, call)

    return Model(name, initial, step, partition, looks, frozenset(rules))


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
    "register", None, {"read": _read, "get": _read, "write": _write, "put": _write, "cas": _cas}, _reads
)
"""A value for each key; None at first."""


# A list that only grows, a counter, a set


def _grow(state: tuple[Any, ...], call: Call) -> Any:
    return (*state, call.value)


def _read_list(state: tuple[Any, ...], call: Call) -> Any:
    return state if not call.known or tuple(call.told or ()) == state else ILLEGAL


append = _of_rules("append", (), {"append": _grow, "read": _read_list, "get": _read_list}, _reads)
"""A list for each key, which is read as a whole; empty at first."""


def _add(state: int, call: Call) -> Any:
    """One that is told what the counter is then is held to it."""
    new = state + (1 if call.value is None else call.value)
    return new if not call.known or call.told is None or call.told == new else ILLEGAL


def _subtract(state: int, call: Call) -> Any:
    return _add(state, call._replace(value=-1 if call.value is None else -call.value))


def _read_number(state: int, call: Call) -> Any:
    return state if not call.known or (call.told or 0) == state else ILLEGAL


counter = _of_rules("counter", 0, {"add": _add, "dec": _subtract, "read": _read_number, "get": _read_number}, _reads)
"""A number for each key; 0 at first."""


def _put_in(state: frozenset[Any], call: Call) -> Any:
    return state | {call.value}


def _take_out(state: frozenset[Any], call: Call) -> Any:
    return state - {call.value}


def _read_set(state: frozenset[Any], call: Call) -> Any:
    return state if not call.known or frozenset(call.told or ()) == state else ILLEGAL


members = _of_rules("set", frozenset(), {"add": _put_in, "remove": _take_out, "read": _read_set}, _reads)
"""A set for each key, which is read as a whole; empty at first."""


# A store of keys whose writes stand in a log


class Kept(NamedTuple):
    """What the store has of one key."""

    value: Any = None
    """None is no key."""
    at: int = 0
    """Its modify_index; 0 is no key."""
    sure: bool = True
    """If not, nobody was told its modify_index, and it is known only to be greater than `at`."""


class Refused(NamedTuple):
    """What a write is told that the store did not do, because a key was not as expected."""

    at: int | None = None
    """The modify_index that the key had; 0 if there was none; None if nobody said."""


ABSENT = Kept()
State = tuple[int, tuple[tuple[str, Kept], ...]]
"""The last index that a write was told, and what is kept of each key that is there, in the order of the keys.

The index is that of the log, so it grows from write to write, at whatever key. That leaves acknowledged writes one
order, and the search few choices.
"""


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


def _may_be_at(kept: Kept, expected: int | None) -> bool:
    if expected is None:
        return True
    return expected == kept.at if kept.sure else expected > kept.at


def _is_surely_at(kept: Kept, expected: int | None) -> bool:
    return expected is None or (kept.sure and expected == kept.at)


def _store(state: State, call: Call) -> Any:
    """All items, or none if one is not as expected."""
    items = ITEMS[call.does](call)
    if isinstance(call.told, Refused) and call.known:
        return _refuse(state, items, call.told.at, finds_none=call.does == "delete")
    last, kept = state[0], dict(state[1])
    fits = all(_may_be_at(kept.get(item.key, ABSENT), item.expected_index) for item in items)
    if not fits or (call.does == "delete" and items[0].key not in kept):
        return ILLEGAL
    last = max(last, *(item.expected_index or 0 for item in items), 0)
    told = call.told if call.known else None
    if told is not None and told <= last:
        return ILLEGAL
    for item in items:
        if item.value is None:
            kept.pop(item.key, None)
        else:
            kept[item.key] = Kept(item.value, last, False) if told is None else Kept(item.value, told)
    return last if told is None else told, tuple(sorted(kept.items()))


def _refuse(state: State, items: tuple[Item, ...], found: int | None, *, finds_none: bool) -> Any:
    """`finds_none`: it is also refused where there is no key."""
    last, kept = state[0], dict(state[1])
    if found is None:
        differ = any(not _is_surely_at(kept.get(item.key, ABSENT), item.expected_index) for item in items)
        return state if differ else ILLEGAL
    key, before = items[0].key, kept.get(items[0].key, ABSENT)
    as_expected = items[0].expected_index in (None, found) and not (finds_none and found == 0)
    if as_expected or not _may_be_at(before, found):
        return ILLEGAL
    # What nobody had been told is known from here on.
    return state if before.sure else (max(last, found), _with(state[1], key, before._replace(at=found, sure=True)))


def _with(kept: tuple[tuple[str, Kept], ...], key: str, new: Kept) -> tuple[tuple[str, Kept], ...]:
    return tuple((each, new if each == key else old) for each, old in kept)


def _value(state: State, key: str) -> Any:
    return next((kept.value for each, kept in state[1] if each == key), None)


def _get(state: State, call: Call) -> Any:
    return state if not call.known or call.told == _value(state, _key_of(call)) else ILLEGAL


def _get_all(state: State, call: Call) -> Any:
    """Its value is the keys, and it is told those that are there, with their values."""
    found = {key: kept.value for key, kept in state[1] if key in call.value}
    return state if not call.known or dict(call.told) == found else ILLEGAL


def _lengthen(state: State, call: Call) -> Any:
    """Puts a text behind the one that is there, which may be none."""
    return _store(state, call._replace(does="put", value=(_value(state, _key_of(call)) or "") + call.value))


def _swap(state: State, call: Call) -> Any:
    """A cas by value, as a register has it."""
    expected, new = call.value
    matches = _value(state, _key_of(call)) == expected
    if call.known and call.told is False:
        return ILLEGAL if matches else state
    return _store(state, call._replace(does="put", value=new, told=None)) if matches else ILLEGAL


def _shows(call: Call) -> bool:
    return call.does in ("get", "read", "get_all") or (
        call.known and (isinstance(call.told, Refused) or (call.does == "cas" and call.told is False))
    )


def _coupled(calls: Sequence[Call]) -> Parts:
    """Each key by itself, but those together that one call names."""
    heads: dict[str, str] = {}

    def head(key: str) -> str:
        heads.setdefault(key, key)
        while heads[key] != key:
            heads[key] = key = heads[heads[key]]
        return key

    keys = [_keys(call) for call in calls]
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


def _keys(call: Call) -> tuple[str, ...]:
    match call.does:
        case "set_all" | "delete_all":
            return tuple(item.key for item in call.value) or ("",)
        case "get_all":
            return tuple(call.value) or ("",)
    return (_key_of(call),)


kv = _of_rules(
    "kv",
    (0, ()),
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
)
"""Keys with values, all absent at first. A write is told its index in the log, or `Refused`."""

MODELS: Mapping[str, Model] = {model.name: model for model in (register, kv, append, counter, members)}


def unknown_to(model: Model, calls: Iterable[Call]) -> Call | None:
    """The first call that the model does not know."""
    return next((call for call in calls if model.operations and call.does not in model.operations), None)
