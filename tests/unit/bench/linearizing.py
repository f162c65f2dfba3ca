"""Random histories, and what they are by trying everything: a second opinion on `bench.checkers.linearizability`.

By hand: `python -m tests.unit.bench.linearizing 100000` compares that many histories, and prints how many of each model
were linearizable.
"""

from __future__ import annotations

import math
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from bench.checkers.guess import has_order_of_ranks
from bench.checkers.orders import Part, Stuck, in_breadth, in_depth
from bench.measure.histories import Asked, Shape, made
from bench.models import MODELS, Call, Refused
from bench.operations import Item

Outcomes = Iterator[tuple[Any, Any]]
"""Each state that a call may leave, with what its client is told then."""


def of_register(state: Any, call: Call) -> Outcomes:
    match call.does:
        case "read":
            yield state, state
        case "write":
            yield call.value, None
        case "cas":
            yield (call.value[1], True) if call.value[0] == state else (state, False)


def of_append(state: Any, call: Call) -> Outcomes:
    yield (state, list(state or ())) if call.does == "read" else ([*(state or ()), call.value], None)


def of_counter(state: Any, call: Call) -> Outcomes:
    number = state or 0
    yield (number, number) if call.does == "read" else (number + call.value, None)


def of_set(state: Any, call: Call) -> Outcomes:
    now = set(state or ())
    match call.does:
        case "read":
            yield now, sorted(now)
        case "add":
            yield now | {call.value}, None
        case "remove":
            yield now - {call.value}, None


A_LITTLE = 1e-9


def items_of(call: Call) -> Sequence[Item]:
    match call.does:
        case "put":
            return [Item(call.key or "", call.value)]
        case "cas_index":
            return [Item(call.key or "", *call.value)]
        case "delete":
            return [Item(call.key or "", None, call.value)]
    batch: Sequence[Item] = call.value
    return batch


def of_kv(state: Any, call: Call) -> Outcomes:
    """The state is the last index, and of each key its value and index. A write takes any greater index: the one that
    its client was told, or one that somebody else may be told of, or one that nobody is."""
    last: float = state[0] if state else 0
    kept: dict[str, tuple[str | None, Any]] = state[1] if state else {}
    if call.does == "get":
        yield state, kept.get(call.key or "", (None, 0))[0]
        return
    if call.does == "get_all":
        yield state, {key: kept[key][0] for key in call.value if key in kept}
        return
    items = items_of(call)
    found = [kept.get(item.key, (None, 0))[1] for item in items]
    if any(item.expected_index not in (None, at) for item, at in zip(items, found, strict=True)):
        yield state, Refused(None if call.does in ("set_all", "delete_all") else found[0])
    elif call.does == "delete" and not found[0]:
        yield state, Refused(0)
    else:
        free: list[float]
        if call.known and isinstance(call.told, int):
            free = [call.told] if call.told > last else []
        else:
            free = [*range(math.floor(last) + 1, 13), last + A_LITTLE]
        for at in free:
            new = kept | {item.key: (item.value, at) for item in items}
            yield (at, {key: one for key, one in new.items() if one[0] is not None}), at


def fits(call: Call, told: Any) -> bool:
    """Whether a client may be told this call's outcome where the object tells `told`. Clients of the store may be left
    without an index."""
    if not call.known or told == call.told:
        return True
    left_out = {None: int | float, Refused(): Refused}
    is_write = call.does in ("put", "cas_index", "delete", "set_all", "delete_all")
    return is_write and call.told in left_out and isinstance(told, left_out[call.told])


REAL: dict[str, Callable[[Any, Call], Outcomes]] = {
    "register": of_register,
    "append": of_append,
    "counter": of_counter,
    "set": of_set,
    "kv": of_kv,
}


def has_an_order(name: str, must: Sequence[Call], may: Sequence[Call] = (), state: Any = None) -> bool:
    """Whether some order of what must have taken effect, and of any of what may have, keeps to real time and tells what
    was told."""
    if not must:
        return True
    first_s = min(call.completed_s for call in must)
    for which in (must, may):
        for number, call in enumerate(which):
            if call.invoked_s > first_s:
                continue
            rest = [*which[:number], *which[number + 1 :]]
            left, optional = (rest, may) if which is must else (must, rest)
            for new, told in REAL[name](state, call):
                if fits(call, told) and has_an_order(name, left, optional, new):
                    return True
    return False


ASKING = {
    "register": ["read", "write", "cas"],
    "append": ["read", "append"],
    "counter": ["read", "add"],
    "set": ["read", "add", "remove"],
    "kv": ["get", "get", "put", "cas_index", "delete"],
    "batches": ["get", "get_all", "put", "cas_index", "delete", "set_all", "set_all", "delete_all"],
    "guesses": ["put", "set_all", "set_all", "set_all"],
}
"""By what histories of which kind ask. Those with batches are of the store too; in those of
guesses nobody is told an index, and many ask for one."""
OF_KV = ("kv", "batches", "guesses")
MODEL_OF = {kind: "kv" if kind in OF_KV else kind for kind in ASKING}
KEYS = {"kv": "k", "batches": "kji", "guesses": "kj"}
EXPECTED = {"guesses": [None, 1, 2, 2]}


def _asked(kind: str, rng: random.Random) -> Asked:
    value, does = rng.randrange(3), rng.choice(ASKING[kind])
    key = rng.choice(KEYS[kind]) if kind in OF_KV else None
    match kind, does:
        case _, "cas":
            return does, (value, rng.randrange(3)), key
        case _, "cas_index":
            return does, (str(value), rng.choice(EXPECTED.get(kind, range(5)))), key
        case _, "delete":
            return does, rng.choice([None, None, 0, 1, 2, 3]), key
        case _, "put":
            return does, str(value), key
        case _, "get_all":
            return does, _several(kind, rng), None
        case _, "set_all" | "delete_all":
            to = str(value) if does == "set_all" else None
            expected = EXPECTED.get(kind, [None, None, 0, 1, 2, 3, 4])
            return does, tuple(Item(each, to, rng.choice(expected)) for each in _several(kind, rng)), None
        case "counter", "add":
            return does, value - 1, key
        case _, "read" | "get":
            return does, None, key
    return does, value, key


def _several(kind: str, rng: random.Random) -> tuple[str, ...]:
    return tuple(rng.sample(KEYS[kind], rng.randrange(1, len(KEYS[kind]) + 1)))


def history(kind: str, rng: random.Random, count: int, *, clients: int = 3, crashes: float = 0.3) -> list[Call]:
    """One that is linearizable."""
    state: Any = None

    def do(call: Call) -> Any:
        nonlocal state
        state, told = rng.choice(list(REAL[MODEL_OF[kind]](state, call))[:2])
        if kind == "guesses":
            return Refused() if isinstance(told, Refused) else None
        return told

    return made(rng, Shape(count, clients, crashes), lambda rng: _asked(kind, rng), do)


def mutated(kind: str, rng: random.Random, calls: list[Call]) -> list[Call]:
    """With one thing different: what somebody was told, when, or whether."""
    number = rng.randrange(len(calls))
    call = calls[number]
    told: Any = {
        "read": {"append": [0], "set": [1]}.get(kind, rng.randrange(3)),
        "get": rng.choice([None, "0", "1", "2"]),
        "get_all": {key: rng.choice("012") for key in _several(kind, rng)} if call.does == "get_all" else None,
        "cas": call.told is False,
    }.get(call.does, call.told)
    if kind in OF_KV and not call.does.startswith("get") and call.known:
        refused = Refused(None if call.does.endswith("_all") else rng.randrange(5))
        told = rng.choice([None, Refused()] if kind == "guesses" else [1, 2, 3, 4, 5, None, refused, Refused()])
    changes = [{"told": told}, {"told": told}, {"completed_s": call.invoked_s}, {"known": False, "told": None}]
    return [*calls[:number], call._replace(**rng.choice(changes)), *calls[number + 1 :]]


def ended(search: Any) -> Stuck | None:
    """What a search comes to without a limit."""
    while True:
        try:
            next(search)
        except StopIteration as end:
            found: Stuck | None = end.value
            return found


def compared(kind: str, calls: list[Call]) -> bool:
    """Whether it is linearizable; asserts that both searches say what trying everything says, and at which call; up to
    the one before it, it was. No order is guessed where there is none."""
    name = MODEL_OF[kind]
    expected = has_an_order(name, [call for call in calls if call.known], [call for call in calls if not call.known])
    part = Part(MODELS[name], calls)
    depth, breadth = (ended(search(part)) for search in (in_depth, in_breadth))
    assert [depth is None, breadth is None] == [expected, expected], (name, calls)
    assert expected or not has_order_of_ranks(part, MODELS[name]), (name, calls)
    if depth is not None and breadth is not None:
        assert depth.at == breadth.at, (name, calls)
        must, may = part.calls[: depth.at + 1], part.calls[depth.at + 1 :]
        assert not has_an_order(name, must, may), (name, calls)
        assert has_an_order(name, must[:-1], [must[-1], *may]), (name, calls)
    return expected


def compare(count: int, seed: int, kinds: Sequence[str] = tuple(ASKING)) -> Counter[tuple[str, bool]]:
    """How many of so many histories, of each kind in turn, were linearizable."""
    rng, found = random.Random(seed), Counter[tuple[str, bool]]()
    for number in range(count):
        kind = kinds[number % len(kinds)]
        calls = history(kind, rng, rng.randrange(1, 7))
        for _ in range(rng.choice([0, 1, 1, 2, 3])):
            calls = mutated(kind, rng, calls)
        found[kind, compared(kind, calls)] += 1
    return found


if __name__ == "__main__":
    kinds = sys.argv[2:] or list(ASKING)
    for (kind, legal), times in sorted(compare(int(sys.argv[1]), 1, kinds).items()):
        print(f"{times:7} {kind} {'linearizable' if legal else 'not linearizable'}")
