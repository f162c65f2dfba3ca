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

from bench.checkers.orders import Part, Stuck, in_breadth, in_depth
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


def of_kv(state: Any, call: Call) -> Outcomes:
    """The state is the last index, and of each key its value and index. A write takes any greater index: the one that
    its client was told, or one that somebody else may be told of, or one that nobody is."""
    last: float = state[0] if state else 0
    kept: dict[str, tuple[str | None, Any]] = state[1] if state else {}
    if call.does == "get":
        yield state, kept.get(call.key or "", (None, 0))[0]
        return
    match call.does:
        case "put":
            items = [Item(call.key or "", call.value)]
        case "cas_index":
            items = [Item(call.key or "", *call.value)]
        case "delete":
            items = [Item(call.key or "", None, call.value)]
        case _:
            items = call.value
    found = [kept.get(item.key, (None, 0))[1] for item in items]
    if any(item.expected_index not in (None, at) for item, at in zip(items, found, strict=True)):
        yield state, Refused(None if call.does == "set_all" else found[0])
    elif call.does == "delete" and not found[0]:
        yield state, Refused(0)
    else:
        free: list[float]
        if isinstance(call.told, int):
            free = [call.told] if call.told > last else []
        else:
            free = [*range(math.floor(last) + 1, 13), last + A_LITTLE]
        for at in free:
            new = kept | {item.key: (item.value, at) for item in items}
            yield (at, {key: one for key, one in new.items() if one[0] is not None}), at


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
                if (not call.known or told == call.told) and has_an_order(name, left, optional, new):
                    return True
    return False


def _asked(name: str, rng: random.Random, key: str) -> tuple[str, Any]:
    value = rng.randrange(3)
    does = rng.choice(
        {
            "register": ["read", "write", "cas"],
            "append": ["read", "append"],
            "counter": ["read", "add"],
            "set": ["read", "add", "remove"],
            "kv": ["get", "get", "put", "cas_index", "delete"],
        }[name]
    )
    match name, does:
        case _, "cas":
            return does, (value, rng.randrange(3))
        case _, "cas_index":
            return does, (str(value), rng.randrange(5))
        case _, "delete":
            return does, rng.choice([None, None, 0, 1, 2, 3])
        case _, "put":
            return does, str(value)
        case "counter", "add":
            return does, value - 1
        case _, "read" | "get":
            return does, None
    return does, value


def history(name: str, rng: random.Random, count: int, *, clients: int = 3, crashes: float = 0.3) -> list[Call]:
    """One that is linearizable: each call takes effect at a random instant on a real object."""
    free = [0.0] * clients
    calls, instants = [], []
    for _ in range(count):
        client = rng.randrange(clients)
        began_s = free[client] + rng.randrange(3)
        ended_s = began_s + rng.randrange(1, 6)
        free[client] = ended_s + 1
        does, value = _asked(name, rng, "k")
        key = "k" if name == "kv" else None
        calls.append(Call(client, does, value, None, began_s, ended_s, key, rng.random() > crashes))
        # A call of which nobody heard may take effect late, or never.
        late_s = ended_s if calls[-1].known else ended_s + rng.choice([0, 10, math.inf])
        instants.append(min(began_s + rng.random() * (late_s - began_s), 1e9) if late_s < math.inf else math.inf)
    state: Any = None
    for number in sorted(range(count), key=lambda number: instants[number]):
        if instants[number] < math.inf:
            outcomes = list(REAL[name](state, calls[number]))
            state, told = rng.choice(outcomes[:2])
            if calls[number].known:
                calls[number] = calls[number]._replace(told=told)
    return calls


def mutated(name: str, rng: random.Random, calls: list[Call]) -> list[Call]:
    """With one thing different: what somebody was told, when, or whether."""
    number = rng.randrange(len(calls))
    call = calls[number]
    told: Any = {
        "read": {"append": [0], "set": [1]}.get(name, rng.randrange(3)),
        "get": rng.choice([None, "0", "1", "2"]),
        "cas": call.told is False,
    }.get(call.does, call.told)
    if name == "kv" and call.does != "get" and call.known:
        told = rng.choice([1, 2, 3, 4, 5, Refused(rng.randrange(5))])
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


def compared(name: str, calls: list[Call]) -> bool:
    """Whether it is linearizable; asserts that both searches say what trying everything says, and at which call; up to
    the one before it, it was."""
    expected = has_an_order(name, [call for call in calls if call.known], [call for call in calls if not call.known])
    part = Part(MODELS[name], calls)
    depth, breadth = (ended(search(part)) for search in (in_depth, in_breadth))
    assert [depth is None, breadth is None] == [expected, expected], (name, calls)
    if depth is not None and breadth is not None:
        assert depth.at == breadth.at, (name, calls)
        must, may = part.calls[: depth.at + 1], part.calls[depth.at + 1 :]
        assert not has_an_order(name, must, may), (name, calls)
        assert has_an_order(name, must[:-1], [must[-1], *may]), (name, calls)
    return expected


def compare(count: int, seed: int) -> Counter[tuple[str, bool]]:
    """How many of so many histories of each model were linearizable."""
    rng, found = random.Random(seed), Counter[tuple[str, bool]]()
    for number in range(count):
        name = list(REAL)[number % len(REAL)]
        calls = history(name, rng, rng.randrange(1, 7))
        for _ in range(rng.choice([0, 1, 1, 2, 3])):
            calls = mutated(name, rng, calls)
        found[name, compared(name, calls)] += 1
    return found


if __name__ == "__main__":
    for (model, legal), times in sorted(compare(int(sys.argv[1]), seed=1).items()):
        print(f"{times:7} {model} {'linearizable' if legal else 'not linearizable'}")
