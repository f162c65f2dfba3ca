"""Who watches the simulated world: told of every step as it happens, between one event and the next.

An observer sees what no checker of a finished run can: every node's core after every round, what its disk has synced
and when, and what clients were told. It changes nothing; to stop the world it raises.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from bench.simulated.requests import Told
from node.machine.kv import KeyValueStore, Result
from node.machine.state_machine import Frozen
from node.raft import Effects, Entry, HardState, Message, Raft, Snapshot


class LocalClock(Protocol):
    """One node's own clock: what it reads now, and at which instant of the world it will read something."""

    def at(self, world_s: float) -> float: ...
    def when(self, local_s: float) -> float: ...


class Observer:
    """Does nothing; override what is of interest. Every `at_s` is the world's time, in seconds.

    `raft` and `clock` are the node's own objects, to be read and never called: they stay true until it crashes.
    """

    def started(self, name: str, raft: Raft, clock: LocalClock, at_s: float) -> None:
        """The node is up with what its disk had; the first time, and after every crash."""

    def crashed(self, name: str, at_s: float) -> None:
        """The node is gone, with everything that was not synced."""

    def wiped(self, name: str) -> None:
        """The node, which is down, lost its disk, and with it whatever it had promised."""

    def excuse(self, name: str, excused: bool) -> None:
        """The node is slowed down from now on, or no more: nobody may wait for it."""

    def stepped(self, name: str, raft: Raft, effects: Effects, at_s: float, inbox: Sequence[Message] = ()) -> None:
        """A round of the node is over: its effects were taken, and nothing of them is saved or sent yet.

        `inbox` is what it had heard from its peers, in order.
        """

    def saved(
        self, name: str, hard_state: HardState | None, entries: Sequence[Entry], snapshot: Snapshot | None, at_s: float
    ) -> None:
        """This became durable, `entries` in the place of all from the first of them on.

        A snapshot came from the leader; beside it `entries` are the whole log, in the place of everything.
        """

    def compacted(self, name: str, snapshot: Snapshot, first_kept: int, at_s: float) -> None:
        """A snapshot of the node's own became durable; entries before `first_kept` are no longer in its log."""

    def applied(self, name: str, entry: Entry, digest: bytes, at_s: float) -> None:
        """The node's state machine took an entry; `digest` chains every entry up to it."""

    def performed(self, name: str, entry: Entry, result: Result, store: KeyValueStore, at_s: float) -> None:
        """The entry was a command, with this result, and `store`, which is to be read only, has what came of it."""

    def held(self, name: str, index: int, content: Frozen, at_s: float) -> None:
        """What the node's state machine is after `index`: told when it was restored, and when all have agreed."""

    def acknowledged(self, name: str, index: int, term: int, required_index: int, at_s: float) -> None:
        """A client was told that its write stands at `index`.

        `required_index` is the highest index that anybody had been told of, as acknowledged or as read linearizably,
        when this write was invoked: `index` must be beyond it.
        """

    def told(self, client_id: str, sequence: int, answer: Told, at_s: float) -> None:
        """A client that names itself heard this of a try of its write, or nothing in time."""

    def read_served(self, name: str, kind: str, served_index: int, required_index: int, at_s: float) -> None:
        """A client was told what a state machine held after `served_index`; `kind` is a
        `Consistency`: default, consistent or leader.

        But for a default one, `served_index` must not be below `required_index` (as for `acknowledged`).
        """

    def topology(self, running: Collection[str], clear: Collection[tuple[str, str]], at_s: float) -> None:
        """A fault began or ended. `running` nodes are up and not paused; `clear` are the directed links, by source and
        target, on which nothing is cut, lost, or later than usual.
        """
