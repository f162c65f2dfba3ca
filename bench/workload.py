"""What clients do, from a seed: one generator, driven by threads on real nodes and by events in virtual time.

A *script* is a generator that yields its client's next question and is sent what came of it; `retrying` makes one that
asks each question until it is decided. A `Talker` is one client at work: its script, and the node it talks to, which
it changes when it is not served. `WORKLOADS` are the scripts that a case may name.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Generator, Sequence

from bench.history import as_one
from bench.operations import (
    Cas,
    Delete,
    DeleteAll,
    Freshness,
    Get,
    GetAll,
    Item,
    Operation,
    Outcome,
    Put,
    Question,
    Reading,
    SetAll,
    Writing,
    with_changes,
)

PAUSE_S = 0.005
"""Between an answer and the next question."""

Script = Generator[Question, Operation, None]


def distinct_writes(series: int, client: int) -> Script:
    """Keys that are never written twice, so that each can be looked for afterwards."""
    for count in itertools.count():
        yield Put(f"w{series}-{client}-{count}", f"{client}-{count}")


def retrying(script: Script, client_id: str) -> Script:
    """`script` with each question asked until it is decided. Its writes are numbered, so that each takes effect once
    even if answers are lost (thesis 6.3), and `script` is told of all tries as one operation; each try of a read is an
    operation of its own. No other client of the cluster may be called `client_id`."""
    sequence, asked = 0, next(script)
    while True:
        is_write = isinstance(asked, Writing)
        if is_write:
            sequence += 1
            asked = with_changes(asked, client_id=client_id, sequence=sequence)
        told = yield asked
        while not told.decided:
            again = yield asked
            told = as_one(told, again) if is_write else again
        asked = script.send(told)


def until_done(asked: Question, may_go_on: Callable[[], bool]) -> Script:
    """Ask until it is done, as long as `may_go_on` allows it."""
    told = yield asked
    while told.outcome is not Outcome.OK and may_go_on():
        told = yield asked


class Talker:
    """One client at work. It goes to the next node when its node did not serve it."""

    def __init__(self, script: Script, nodes: Sequence[str], first: int = 0) -> None:
        self._script = script
        turn = first % len(nodes)
        self._nodes = itertools.cycle([*nodes[turn:], *nodes[:turn]])
        self.node = next(self._nodes)
        self.asks: Question | None = next(script, None)
        """What it asks next, None when its script has ended."""
        self.acknowledged = 0
        """How many writes and operators' requests."""

    def told(self, operation: Operation) -> None:
        """Take what came of `asks` into account; after that `asks` and `node` say what comes next."""
        if operation.outcome is Outcome.OK:
            self.acknowledged += not isinstance(operation.asked, Reading)
        elif not operation.decided:
            self.move_on()
        try:
            self.asks = self._script.send(operation)
        except StopIteration:
            self.asks = None

    def move_on(self) -> None:
        """Talk to the next node."""
        self.node = next(self._nodes)


# What a case may name

SIZES = (0,) * 17 + (300, 1500, 6000)
"""How many bytes a value is padded by: most values fit many times into what a link or a message takes, some do not."""


def mixed(client: int, rng: random.Random) -> Script:
    """Every kind of write and read, over few keys, each asked for until it is decided."""
    return retrying(_mixed(rng), f"client-{client}")


def _mixed(rng: random.Random) -> Script:
    """A retried write must not take effect twice: a second put would undo what was written in between, and a second CAS
    or delete would be told that it failed. Batches share a key."""
    seen: dict[str, int] = {}
    """The modify_index of each key, 0 when it is not there, as this client knows it."""
    for count in itertools.count(1):
        chance, key = rng.random(), f"k{rng.randrange(4)}"
        value = f"{count}{'.' * rng.choice(SIZES)}"
        if chance < 0.25:
            seen[key] = (yield Put(key, value)).modify_index or 0
        elif chance < 0.45:
            seen[key] = (yield Cas(key, value, seen.get(key, 0))).modify_index or 0
        elif chance < 0.5:
            yield Delete(key)
            seen[key] = 0
        elif chance < 0.55:
            yield Delete(key, seen.get(key, 0))
        elif chance < 0.6:
            pair, expects = (key, "both"), rng.random() < 0.5
            items = tuple(Item(each, value, seen.get(each, 0) if expects else None) for each in pair)
            seen |= dict.fromkeys(pair, (yield SetAll(items)).modify_index or 0)
        elif chance < 0.62:
            yield DeleteAll((Item(key), Item("both")))
            seen |= {key: 0, "both": 0}
        elif chance < 0.65:
            yield GetAll((key, "both"))
        elif chance < 0.8:
            yield Get(key, Freshness.LINEARIZABLE)
        elif chance < 0.95:
            yield Get(key, Freshness.LEASE)
        else:
            yield Get(key)


def keys(client: int, rng: random.Random) -> Script:
    """Keys that are never written twice, each write asked for until it is decided."""
    return retrying(distinct_writes(0, client), f"client-{client}")


WORKLOADS: dict[str, Callable[[int, random.Random], Script]] = {"mixed": mixed, "keys": keys}
"""By name: the script of a client, from its number and its random numbers."""
