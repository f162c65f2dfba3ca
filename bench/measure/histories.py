"""Histories of which is known beforehand whether they are linearizable, made from a seed. Pure.

`made` has a real object do each call at one instant while the call is under way. So there is an order, whatever a
checker says. `MUTATIONS` change one thing about a history of registers, and say what verdict is due then.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.models import Call
from bench.verdict import Verdict

Asked = tuple[str, Any, str | None]
"""What a call does, with which value, and at which key."""


@dataclass(frozen=True)
class Shape:
    count: int
    clients: int
    crashes: float = 0.0
    """Of how many calls, from 0 to 1, nobody was told what came of them."""


def made(
    rng: random.Random, shape: Shape, ask: Callable[[random.Random], Asked], do: Callable[[Call], Any]
) -> list[Call]:
    """Calls that are linearizable: `do` does them one after the other, and returns what is told then. Times are small
    whole numbers, so that much happens at once. A client whose call crashed goes on."""
    free = [0.0] * shape.clients
    calls: list[Call] = []
    instants: list[tuple[float, int]] = []
    for number in range(shape.count):
        client = rng.randrange(shape.clients)
        began_s = free[client] + rng.randrange(3)
        ended_s = began_s + rng.randrange(1, 6)
        free[client] = ended_s + 1
        does, value, key = ask(rng)
        known = rng.random() >= shape.crashes
        calls.append(Call(client, does, value, None, began_s, ended_s, key, known))
        # A call of which nobody heard may take effect late, or never.
        late_s = ended_s if known else ended_s + rng.choice((0, 10, math.inf))
        if late_s < math.inf:
            instants.append((began_s + rng.random() * (late_s - began_s), number))
    for _, number in sorted(instants):
        told = do(calls[number])
        if calls[number].known:
            calls[number] = calls[number]._replace(told=told)
    return calls


# Registers


class Registers:
    """A value for each key, None at first."""

    def __init__(self) -> None:
        self._values: dict[str | None, Any] = {}

    def do(self, call: Call) -> Any:
        now = self._values.get(call.key)
        if call.does == "read":
            return now
        expected, new = call.value if call.does == "cas" else (now, call.value)
        if now == expected:
            self._values[call.key] = new
        return now == expected if call.does == "cas" else None


def of_registers(seed: object, shape: Shape, keys: int = 1, values: int = 5) -> list[Call]:
    """Reads, writes and compare-and-sets in equal parts, as Jepsen's test of etcd has them: of values so few that most
    are written again and again."""

    def ask(rng: random.Random) -> Asked:
        does, key = rng.choice(("read", "write", "cas")), f"k{rng.randrange(keys)}"
        value = rng.randrange(values)
        return does, {"read": None, "write": value, "cas": (value, rng.randrange(values))}[does], key

    return made(random.Random(repr(seed)), shape, ask, Registers().do)


# One thing different

Mutation = Callable[[Sequence[Call], random.Random], list[Call] | None]
"""None if there is nothing in this history that it could change so."""


def old_read(calls: Sequence[Call], rng: random.Random) -> list[Call] | None:
    """A read tells a value that was certainly overwritten before it began, and not written again before it ended."""
    reads = [number for number, call in enumerate(calls) if call.does == "read" and call.known]
    for number in rng.sample(reads, len(reads)):
        for value in rng.sample(seen := _values(calls), len(seen)):
            if _is_gone(calls, calls[number], value):
                return _with(calls, number, told=value)
    return None


def _values(calls: Sequence[Call]) -> list[Any]:
    return list(dict.fromkeys(_written(call) for call in calls if call.does != "read"))


def _written(call: Call) -> Any:
    """What it leaves behind, if it has an effect."""
    return call.value[1] if call.does == "cas" else call.value


def _is_gone(calls: Sequence[Call], read: Call, value: Any) -> bool:
    """Whether some write of another value lies between each call that might have written this one, and the read."""
    here = [call for call in calls if call.key == read.key and call.does != "read"]
    might = [call for call in here if _written(call) == value and call.invoked_s <= read.completed_s]
    if any(not call.known for call in might):
        return False
    since_s = max((call.completed_s for call in might), default=-math.inf)
    return any(
        call.known and call.does == "write" and since_s < call.invoked_s and call.completed_s < read.invoked_s
        for call in here
    )


def odd_read(calls: Sequence[Call], rng: random.Random) -> list[Call] | None:
    """A read tells what nobody ever wrote."""
    reads = [number for number, call in enumerate(calls) if call.does == "read" and call.known]
    return _with(calls, rng.choice(reads), told=-1) if reads else None


def crash(calls: Sequence[Call], rng: random.Random) -> list[Call] | None:
    """Of one call nobody was told: it may still have taken effect when it did."""
    return _with(calls, rng.randrange(len(calls)), known=False, told=None)


def lost_read(calls: Sequence[Call], rng: random.Random) -> list[Call] | None:
    """One read is not told of at all."""
    reads = [number for number, call in enumerate(calls) if call.does == "read"]
    if not reads:
        return None
    gone = rng.choice(reads)
    return [*calls[:gone], *calls[gone + 1 :]]


def late_answer(calls: Sequence[Call], rng: random.Random) -> list[Call] | None:
    """One call is answered as late as its client's next call lets it be."""
    number = rng.randrange(len(calls))
    call = calls[number]
    later = (other.invoked_s for other in calls if other.client == call.client and other.invoked_s > call.invoked_s)
    return _with(calls, number, completed_s=min(later, default=call.completed_s + 5))


def _with(calls: Sequence[Call], number: int, **changes: Any) -> list[Call]:
    return [*calls[:number], calls[number]._replace(**changes), *calls[number + 1 :]]


MUTATIONS: Mapping[str, tuple[Mutation, Verdict]] = {
    "old read": (old_read, Verdict.INVALID),
    "odd read": (odd_read, Verdict.INVALID),
    "crash": (crash, Verdict.VALID),
    "lost read": (lost_read, Verdict.VALID),
    "late answer": (late_answer, Verdict.VALID),
}
"""What a linearizable history of registers is after it."""


def mutated(calls: Sequence[Call], name: str, seed: object) -> list[Call] | None:
    """With one thing different; None if this history has nothing that could be so."""
    return MUTATIONS[name][0](calls, random.Random(repr(seed)))
