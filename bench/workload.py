"""What clients ask, and what they do from a seed: one generator, driven by threads on real nodes and by events in
virtual time.

A *script* is a generator that yields what its client asks next and is sent what came of it; `retrying` makes one whose
writes are asked for until they are decided. A `Session` is one client at work: its script, and the node it talks to,
which it changes when it is not served.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from typing import NamedTuple

from bench.history import History, Operation, Outcome, as_one

PAUSE_S = 0.005
"""Between an answer and the next question."""


class Item(NamedTuple):
    """One key of a batch."""

    key: str
    value: str | None = None
    modify_index: int | None = None
    """What is expected of it, None for anything."""


class Invocation(NamedTuple):
    kind: str
    """``put``, ``get``, ``delete``, ``cas``; ``batch_set``, ``batch_delete``, ``batch_get``; or what an operator asks:
    ``join``, ``leave``, ``transfer``, ``snapshot``."""
    key: str
    """Of a batch all keys; of what an operator asks, the node meant."""
    value: str | None = None
    consistent: bool = False
    """A ``get`` that must not be stale."""
    modify_index: int | None = None
    """What a ``cas`` expects, or a ``delete``."""
    items: tuple[Item, ...] = ()
    """Of a batch."""
    client_id: str = ""
    """Whose write it is, when it may be asked for again."""
    sequence: int = 0
    """Counts the writes of `client_id` from 1."""


def batch(kind: str, items: Sequence[Item]) -> Invocation:
    return Invocation(kind, ",".join(item.key for item in items), items=tuple(items))


WRITES = ("put", "cas", "delete", "batch_set", "batch_delete")

PARTS: dict[str, Callable[[Item], str]] = {
    "batch_set": lambda item: "put" if item.modify_index is None else "cas",
    "batch_delete": lambda item: "delete",
    "batch_get": lambda item: "get",
}
"""What the history calls each part of a batch."""


def recorded(history: History, invocation: Invocation, operation: Operation) -> Operation:
    """`operation`, which came of `invocation`, once it is in the history: of a batch, each of its parts.

    That a batch took effect at one instant makes its parts operations of their keys like any other, so whoever judges
    one key need not know of batches. The `result` of a ``batch_get`` is JSON, the keys that were found.
    """
    part_kind = PARTS.get(invocation.kind)
    if part_kind is None:
        return history.record(operation)
    found = found_in(operation)
    for item in invocation.items:
        kind = part_kind(item)
        history.record(replace(operation, kind=kind, key=item.key, value=item.value, result=found.get(item.key)))
    return operation


def found_in(batch_get: Operation) -> dict[str, str]:
    """The keys that a ``batch_get`` found, with their values."""
    found: dict[str, str] = json.loads(batch_get.result or "{}")
    return found


Script = Generator[Invocation, Operation, None]


def distinct_writes(series: int, client: int) -> Script:
    """Keys that are never written twice, so that each can be looked for afterwards."""
    for count in itertools.count():
        yield Invocation("put", f"w{series}-{client}-{count}", f"{client}-{count}")


def retrying(script: Script, client_id: str) -> Script:
    """`script` with each of its questions asked until it is decided. Its writes are counted, so that each takes effect
    once, whatever becomes of its answers (thesis 6.3), and `script` is told of all tries as of one operation; a read is
    a new one each time. No other client of the cluster may be called `client_id`.
    """
    sequence, asked = 0, next(script)
    while True:
        if asked.kind in WRITES:
            sequence += 1
            asked = asked._replace(client_id=client_id, sequence=sequence)
        told = yield asked
        while not told.decided:
            again = yield asked
            told = as_one(told, again) if asked.sequence else again
        asked = script.send(told)


class Session:
    """One client at work. It goes to the next node when the one it talks to did not serve it."""

    def __init__(self, script: Script, nodes: Sequence[str], first: int = 0) -> None:
        self._script = script
        turn = first % len(nodes)
        self._nodes = itertools.cycle([*nodes[turn:], *nodes[:turn]])
        self.node = next(self._nodes)
        self.invocation = next(script)
        self.acknowledged = 0
        """How many writes."""

    def told(self, operation: Operation) -> None:
        """Take what came of `invocation` into account; it and `node` are then what comes next."""
        if operation.outcome is Outcome.OK:
            self.acknowledged += operation.kind != "get"
        elif not operation.decided:
            self.node = next(self._nodes)
        self.invocation = self._script.send(operation)
