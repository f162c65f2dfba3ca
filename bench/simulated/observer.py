"""Observers of the simulated world: told of every step as it happens, between one event and the next.

An observer sees what no checker of a finished run can: every node's core after every round, what its disk has synced
and when, and what clients were told. It changes nothing; to stop the world it raises.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from bench.operations import Told
from bench.simulated.requests import Replied, Request
from node.machine.kv import KeyValueStore, Result
from node.machine.state_machine import Frozen
from node.raft import Effects, Entry, HardState, Message, Raft, Snapshot
from node.server import Answer, Leased, Status

if TYPE_CHECKING:
    from bench.simulated.world import VirtualWorld


class LocalClock(Protocol):
    """One node's own clock: what it reads now, and at which instant of the world it will read something."""

    def at(self, world_s: float) -> float: ...
    def when(self, local_s: float) -> float: ...


class Observer:
    """Does nothing; override what is of interest. Every `at_s` is the world's time, in seconds.

    `raft` and `clock` are the node's own objects, to be read and never changed; they stay current until it crashes.
    """

    def started(self, name: str, raft: Raft, clock: LocalClock, at_s: float) -> None:
        """The node is up with what its disk had; the first time, and after every crash."""

    def crashed(self, name: str, at_s: float) -> None:
        """The node is gone, with everything that was not synced."""

    def stopping(self, name: str) -> None:
        """The node is told to end; a leader hands over first."""

    def wiped(self, name: str) -> None:
        """The node, which is down, lost its disk, and with it whatever it had promised."""

    def copied(self, name: str) -> None:
        """The disk of the node, which is down, was copied."""

    def came_back_older(self, name: str) -> None:
        """The disk of the node, which is down, is again as it was when it was copied."""

    def excuse(self, name: str, excused: bool) -> None:
        """The node is slowed down from now on, or no longer; while it is, nothing may depend on its being in time."""

    def clocks_differ(self) -> None:
        """Some clock runs so much faster or slower than another that leases may end too late."""

    def stepped(self, name: str, raft: Raft, effects: Effects, at_s: float, inbox: Sequence[Message] = ()) -> None:
        """A round of the node is over: its effects are known, and none of them is saved or sent yet.

        `inbox` is what it had heard from its peers, in order.
        """

    def saved(
        self, name: str, hard_state: HardState | None, entries: Sequence[Entry], snapshot: Snapshot | None, at_s: float
    ) -> None:
        """This became durable; `entries` replace all from the first of them on.

        A `snapshot` came from the leader; with it, `entries` are the whole log and replace everything.
        """

    def snapshot_kept(self, name: str, snapshot: Snapshot, at_s: float) -> None:
        """A snapshot of the node's own became durable."""

    def let_go(self, name: str, first_kept: int, trailing_logs: int, at_s: float) -> None:
        """The node deletes the entries before `first_kept`; it was told to keep `trailing_logs` before its newest
        snapshot."""

    def leased(self, name: str, lease: Leased, at_s: float) -> None:
        """The node wrote in its trace until when it leads, by its own clock."""

    def published(self, name: str, status: Status, at_s: float) -> None:
        """The node says something new of itself. The observer was told before of all that is in its trace by then."""

    def applied(self, name: str, entry: Entry, digest: bytes, at_s: float) -> None:
        """The node's state machine took an entry; `digest` chains every entry up to it."""

    def performed(self, name: str, entry: Entry, result: Result, store: KeyValueStore, at_s: float) -> None:
        """The entry was a command with this result; `store`, which is only to be read, has its effect."""

    def held(self, name: str, index: int, content: Frozen, at_s: float) -> None:
        """The content of the node's state machine after `index`: told when it was restored, and when all nodes have
        agreed."""

    def asked(self, name: str, request: Request, at_s: float) -> None:
        """A request reached the node, which is up. It may come again, and its client may have given up."""

    def answered(self, name: str, request: Request, answer: Answer, at_s: float) -> None:
        """The node has an answer to a request, with a value. What the client is told, if anything, comes later."""

    def unanswered(self, name: str, request: Request, busy: bool, at_s: float) -> None:
        """A request's time ran out without an answer from the node, which is not paused. If the node is `busy`, it may
        not have taken the request in yet."""

    def replied(self, name: str, replied: Replied) -> None:
        """The node sends a reply to a request. It may be lost, and its client may have given up."""

    def told(self, client_id: str, sequence: int, answer: Told, at_s: float) -> None:
        """A client with an id was told this about a try of its write, or had no answer in time."""

    def topology(self, running: Collection[str], clear: Mapping[tuple[str, str], float], at_s: float) -> None:
        """A fault began or ended. `running` nodes are up and not paused; `clear` are the directed links, by source and
        target, on which nothing is cut, lost, or later than usual, each with when the last of what a fault has made
        late is over: what was sent on it, and what its ends save.
        """

    def at_rest(self, world: VirtualWorld, *, clocks_alike: bool) -> None:
        """Every fault is over, all nodes agree and nothing is owed any more. `clocks_alike` says whether clocks ran so
        all the time that leases ended in time."""
