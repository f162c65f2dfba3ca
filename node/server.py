"""`Server`: a whole server process without its I/O. Items go in; what to save comes out; once that is saved, the rest.

    items -> step -> Effects: save these -> saved -> Done: trace, publish, send, answer, draft, forget, in this order

The live driver (`node.driver`) gives it a thread, a queue, a disk and sockets. The bench's simulated process gives it
virtual ones. Neither adds a rule of its own. `node.pending` knows who waits for what, `node.changes` what takes several
rounds, `node.snapshots` when a snapshot is due, and `node.questions` what is asked and answered.

The rules
---------
1. *Save before anything else.* `step` returns what the core wants durable. What follows from the round comes only from
   `saved`, so that nobody can send, publish or answer it early.
2. *One round at a time.* A second `step` without `saved` in between is the owner's mistake, and fails an assertion. So
   do a snapshot that nobody drafted, and a step of a server that has ended.
3. *Answers rest on what is applied.* `saved` applies what is committed before it decides what to answer. So a client
   whose write was committed in the very round in which its leader handed over is told that.
4. *The status is of one instant* and says no more than the trace: its lease is the last one written down.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec

from node.changes import CHANGES, REFUSED, Change, Transferring
from node.machine.state_machine import Frozen, StateMachine
from node.pending import Pending
from node.questions import (
    ANSWER_TIMEOUT_S,
    MEANINGS,
    PATIENCE_S,
    AddServer,
    Answer,
    Consistency,
    MakeSnapshot,
    Question,
    Read,
    RemoveServer,
    TransferLeadership,
    Write,
)
from node.raft import (
    FROM_LEADERS,
    Configuration,
    Effects,
    Entry,
    LogPosition,
    NotLeaderError,
    ProtocolViolationError,
    Raft,
    Role,
    Snapshot,
    TransferInProgressError,
    Transition,
)
from node.raft.messages import AnyMessage
from node.raft.transitions import RoleChanged
from node.records import Applied, Leased, Started, Stopped
from node.snapshots import SnapshotDraft, SnapshotPolicy, Snapshots, SnapshotWritten
from node.status import NOBODY, Status, lets_in

__all__ = [
    "ANSWER_TIMEOUT_S",
    "MEANINGS",
    "PATIENCE_S",
    "AddServer",
    "Answer",
    "Applied",
    "Asked",
    "Consistency",
    "Done",
    "Found",
    "Hint",
    "Item",
    "Leased",
    "MakeSnapshot",
    "Origin",
    "Question",
    "Read",
    "RemoveServer",
    "Server",
    "SnapshotDraft",
    "SnapshotPolicy",
    "SnapshotWritten",
    "Started",
    "Status",
    "Stop",
    "Stopped",
    "TransferLeadership",
    "Write",
]

POLL_S = 0.02
"""How often a change under way is polled when nothing else happens."""
LEASE_STEP = 1 / 2
"""A longer lease is written down, and published, once it is longer by this part of the heartbeat interval."""


class Origin(NamedTuple):
    """The sender of messages, and what the core has no use for: its cluster, and where it can be reached."""

    sender: str
    cluster_id: str
    """Empty as long as the sender knows none."""
    raft_address: str
    http_address: str


def is_placed(configuration: Configuration, origin: Origin) -> bool:
    """Whether this comes from where the configuration has the sender."""
    member = configuration.get(origin.sender)
    return member is not None and member.address == origin.raft_address


class Delivery(Protocol):
    """Messages from one server to another."""

    @property
    def origin(self) -> Origin: ...

    @property
    def messages(self) -> Sequence[AnyMessage]: ...


class Asked(NamedTuple):
    """A client's question; `to` comes back in the answer, and means nothing to the server."""

    question: Question
    to: Any


class Hint(NamedTuple):
    """The connection to `peer` broke, or is possible again."""

    peer: str


class Found(NamedTuple):
    """Found a cluster with this configuration; a server that has a history goes on with that history instead."""

    configuration: Configuration


class Stop(NamedTuple):
    """Hand over, if another server could lead, and end."""


Item = Delivery | Asked | Hint | Found | SnapshotWritten | Stop


class Done(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What follows from a round that is saved. Each field is to be dealt with before the next."""

    trace: Sequence[Transition] = ()
    """Write these down first: a node that is killed leaves a true trace behind, at worst without its last lines."""
    status: Status
    """Publish it, in one piece, before anything is sent. A server told to stand for election may lead at once, and from
    then on nobody may be told that this node leads."""
    messages: Sequence[AnyMessage]
    """Send them. They may be lost; they must not be sent before what they promise is saved."""
    addresses: Mapping[str, str]
    """Where to send them, by recipient. A recipient that is not here cannot be reached."""
    answers: Sequence[Answer] = ()
    """Hand these out, each before its `until_s`."""
    draft: SnapshotDraft | None = None
    """Write it, beside further rounds, and put `SnapshotWritten` among the items once it is durable."""
    first_kept: int = 0
    """Stored entries before this one may be deleted, in portions; nothing depends on it. 0 means nothing new."""
    said: Sequence[str] = ()
    """What an operator should find in the log, besides what the trace has."""
    waited_s: Sequence[float] = ()
    """How long each write decided in this round had waited."""
    ended: bool = False
    """Whether the server takes in nothing more; `Server.give_up` then answers the clients that still wait."""
    more: bool = False
    """Whether there is anything besides the messages and the status: a shortcut for most rounds, not a duty."""


class Server:
    """One server over its `raft` and its `machine`, which has applied what `raft` has handed out so far.

    Observers may read `raft` and `machine`, but must tell them nothing.

    `process` tells this process from the others that ran on the same disk. `step` raises ValueError for a snapshot that
    cannot be restored; the owner must then stop.
    """

    __slots__ = (
        "_addresses",
        "_changes",
        "_configuration",
        "_due_s",
        "_ended",
        "_farewell",
        "_first_kept",
        "_heard",
        "_heard_anew",
        "_heard_cluster_id",
        "_http_addresses",
        "_leader_changes",
        "_lease_s",
        "_lease_step_s",
        "_led",
        "_let_in",
        "_news",
        "_pending",
        "_placed",
        "_polled",
        "_restoring",
        "_said",
        "_snapshots",
        "_trace",
        "_under_way",
        "_unplaced_leader",
        "deadline",
        "machine",
        "raft",
        "status",
    )

    def __init__(self, raft: Raft, machine: StateMachine, *, policy: SnapshotPolicy, process: int, now: float) -> None:
        self.raft = raft
        self.machine = machine
        self._pending = Pending()
        self._snapshots = Snapshots(raft, machine, policy, self._pending, now)
        self._changes: list[Change] = []
        self._farewell: Change | None = None
        """The hand-over after which the server ends."""
        self._polled = False
        """Whether a change or that hand-over is under way."""
        self._ended = False
        self._under_way: Effects | None = None
        self._restoring: Frozen | None = None
        self._trace: list[Transition] = []
        self._said: list[str] = []
        self.deadline = self._due_s = -math.inf
        """When `step` is next due, with or without items; and when the core's `tick` is."""
        self._first_kept = 0
        self._led = False
        self._leader_changes = 0
        self._lease_s = -math.inf
        """Until when the trace says that this server leads."""
        self._lease_step_s = LEASE_STEP * raft.timing.heartbeat_interval_s
        self._heard_cluster_id = ""
        self._heard: dict[str, Origin] = {}
        """What each other node last said of itself."""
        self._placed: dict[str, Origin] = {}
        """What each member last said of itself from where the configuration has it."""
        self._unplaced_leader: Origin | None = None
        """What last spoke as the leader of its term, of those that are not placed."""
        self._let_in: dict[str, Origin] = {}
        """The nodes let in since the configuration last changed."""
        self._http_addresses: Mapping[str, str] = {}
        self._addresses: Mapping[str, str] = {}
        self._configuration = raft.configuration
        self._heard_anew = self._news = True
        """Whether a node has said something new of itself, and whether there is anything new to publish."""
        self._note_start(process, now)
        self.status = self._describe()
        """What was published last."""

    # What its owner does

    def step(self, items: Iterable[Item], now: float) -> Effects:
        """Take in everything that waits; returns what to save, all or nothing, before `saved` is called: hard state,
        entries (in place of all from the first of them on) and the leader's snapshot. The rest of the effects is for
        observers."""
        assert self._under_way is None, "a round begins before the last one was saved"
        assert not self._ended, "a server that has ended is told something"
        raft = self.raft
        for item in items:
            HANDLERS.get(type(item), _ON_ENVELOPE)(self, item, now)
        if now >= self._due_s:
            raft.tick(now)
        if self._polled:
            self._poll_changes(now)
        effects = self._under_way = raft.take_effects()
        if effects.snapshot is not None:
            # Before it is stored: with a stored snapshot that cannot be restored, the node would never start again.
            self._restoring = Frozen.decode(effects.snapshot.data)
        return effects

    def saved(self, now: float, stored: Snapshot | None = None) -> Done:
        """What `step` returned last is durable; `stored` is its snapshot as it is to be kept, with its data on disk."""
        effects = self._under_way
        assert effects is not None, "saved, and there was nothing to save"
        self._under_way = None
        raft, snapshots, pending = self.raft, self._snapshots, self._pending
        if effects.news:
            self._follow(effects, stored, now)
        if self._led:
            self._note_lease(now)
        if pending.reads:
            self._answer_reads(now)
        draft = snapshots.begin(now) if now >= snapshots.deadline and not self._ended else None
        self._due_s = due_s = raft.deadline
        self.deadline = due_s if due_s < snapshots.deadline else snapshots.deadline
        if self._polled:
            self.deadline = min(self.deadline, now + POLL_S)
        if self._news or raft.leader != self.status.leader:
            self._publish()
        elif draft is None and not (pending.answers or self._said):
            return Done(status=self.status, messages=effects.messages, addresses=self._addresses)
        return self._done(effects, draft)

    def _done(self, effects: Effects, draft: SnapshotDraft | None) -> Done:
        pending = self._pending
        trace, self._trace = self._trace, []
        said, self._said = self._said, []
        first_kept, self._first_kept = self._first_kept, 0
        return Done(
            more=True,
            trace=trace,
            status=self.status,
            messages=effects.messages,
            addresses=self._addresses,
            answers=pending.take_answers(),
            draft=draft,
            first_kept=first_kept,
            said=said,
            waited_s=pending.take_waits(),
            ended=self._ended,
        )

    def _follow(self, effects: Effects, stored: Snapshot | None, now: float) -> None:
        """Apply before noting that leadership is lost. A leader that removed itself learns that its removal is
        committed in the very round in which it ceases to lead, and its client must be told that."""
        self._news = True
        self._trace += effects.transitions
        if effects.snapshot is not None:
            self._install(stored or effects.snapshot, now)
        if effects.committed:
            self._apply(effects.committed, now)
        if effects.reads:
            self._pending.confirm(effects.reads)
        if effects.transitions:
            self._note_reign(effects.transitions, now)

    def give_up(self) -> list[Answer]:
        """There will be no further round, because the server has ended or its owner could not save. The status says so
        from now on, and everybody who waits is answered."""
        self._ended = True
        self.status = msgspec.structs.replace(self.status, ended=True)
        self._pending.give_up()
        for change in self._changes:
            self._pending.interrupt(change.to)
        self._snapshots.give_up()
        return self._pending.take_answers()

    # What its owner tells it

    def _on_envelope(self, envelope: Delivery, now: float) -> None:
        origin = envelope.origin
        if origin != self._let_in.get(origin.sender) and not self._lets_in(origin):
            self._said.append(f"refused messages: {origin.sender} does not belong to this cluster")
            return
        receive = self.raft.receive
        for message in envelope.messages:
            try:
                receive(message, now)
            except ProtocolViolationError as error:
                self._said.append(f"refused a message: {error}")
        if origin.sender not in self._placed:
            self._note_unplaced(origin, envelope.messages)

    def _lets_in(self, origin: Origin) -> bool:
        """Whether the sender is listened to; if so, remember what it says of itself."""
        known = self._cluster_id()
        if not lets_in(self.raft.configuration, known, origin.sender, origin.cluster_id):
            return False
        if not known and origin.cluster_id:
            # Those let in while this server knew no cluster are checked again.
            self._heard_cluster_id, self._let_in = origin.cluster_id, {}
        self._heard[origin.sender] = self._let_in[origin.sender] = origin
        if is_placed(self.raft.configuration, origin):
            self._placed[origin.sender] = origin
        self._news = self._heard_anew = True
        return True

    def _note_unplaced(self, origin: Origin, messages: Iterable[AnyMessage]) -> None:
        """Whoever leads the current term has the votes of those who dial it where the configuration says, so it is who
        it says, be it a member under another spelling or one of whom this server's log does not tell yet."""
        term = self.raft.current_term
        if origin != self._unplaced_leader and any(type(m) in FROM_LEADERS and m.term == term for m in messages):
            self._unplaced_leader = origin
            self._news = self._heard_anew = True

    def _publish(self) -> None:
        raft = self.raft
        if self._heard_anew or self._configuration is not raft.configuration or raft.leader != self.status.leader:
            self._look_up()
        self._news = False
        self.status = self._describe()

    def _look_up(self) -> None:
        """Where each node is reached: a member where the configuration says, a stranger where it says itself. A new
        configuration decides anew who is let in.

        Clients are told of no stranger, which may be a second process on a copy of a member's data: they are sent where
        a member says that it serves them, if it says so from its place in the configuration, and to the leader."""
        if self._configuration is not self.raft.configuration:
            self._configuration, self._let_in = self.raft.configuration, {}
            known = (*self._heard.items(), *self._placed.items())
            self._placed = {name: origin for name, origin in known if is_placed(self._configuration, origin)}
        self._heard_anew = False
        members = {server.id: server.address for server in self._configuration.servers}
        self._addresses = {name: origin.raft_address for name, origin in self._heard.items()} | members
        leader, told = self._unplaced_leader, self._placed
        if leader is not None and leader.sender == self.raft.leader:
            told = {leader.sender: leader} | told
        self._http_addresses = {name: origin.http_address for name, origin in told.items()}

    def _cluster_id(self) -> str:
        """The cluster this server belongs to; before it knows any, the one that spoke to it first."""
        return self.raft.configuration.cluster_id or self._heard_cluster_id

    def _on_hint(self, hint: Hint, now: float) -> None:
        self.raft.nudge(hint.peer, now)

    def _on_found(self, found: Found, now: float) -> None:
        if self.raft.current_term or self.raft.log.last_index:
            self._said.append("founds no cluster, because it has a history; it goes on with that")
        else:
            self.raft.bootstrap(found.configuration, now)

    def _on_written(self, written: SnapshotWritten, now: float) -> None:
        self._first_kept = self._snapshots.keep(written)

    def _on_stop(self, stop: Stop, now: float) -> None:
        if self.status.is_leader_at(now) and self._farewell is None:
            self._farewell = Transferring(TransferLeadership(), None, now)
            self._polled = True
        else:
            self._end(now)

    def _end(self, now: float) -> None:
        self._ended = self._news = True
        self._trace.append(Stopped(at_s=now, term=self.raft.current_term))

    # What is asked

    def _on_asked(self, asked: Asked, now: float) -> None:
        question, to = asked
        try:
            ASKED[type(question)](self, question, to, now)
        except (NotLeaderError, TransferInProgressError) as error:
            self._pending.refuse(to, error)

    def _on_write(self, write: Write, to: Any, now: float) -> None:
        self._pending.await_decision(self.raft.propose(write.command, now), to, now)

    def _on_read(self, read: Read, to: Any, now: float) -> None:
        if read.consistency is Consistency.CONSISTENT:
            self._pending.await_confirmation(self.raft.read(now), read, to)
        elif read.consistency is Consistency.LEADER:
            self._pending.await_applied(self.raft.lease_read(now), read, to)
        else:
            # The live HTTP surface asks the store itself, from a thread of its own: a read that may be stale need not
            # wait for a round.
            self._pending.await_applied(0, read, to)

    def _on_change(self, question: AddServer | RemoveServer | TransferLeadership, to: Any, now: float) -> None:
        self._changes.append(CHANGES[type(question)](question, to, now))
        self._polled = True

    def _on_snapshot(self, question: MakeSnapshot, to: Any, now: float) -> None:
        self._snapshots.ask(to)

    def _poll_changes(self, now: float) -> None:
        changes, self._changes = self._changes, []
        for change in changes:
            try:
                if not change.poll(self.raft, self._pending, now):
                    self._changes.append(change)
            except REFUSED as error:
                self._pending.refuse(change.to, error)
        if self._farewell is not None:
            self._poll_farewell(self._farewell, now)
        self._polled = bool(self._changes or self._farewell)

    def _poll_farewell(self, farewell: Change, now: float) -> None:
        """Only the end of this server waits for the farewell, so its `Pending` is one that nobody reads. A hand-over
        that fails costs an election timeout, and one that a client asked for earlier ends first."""
        if any(isinstance(change, Transferring) for change in self._changes):
            return
        try:
            if not farewell.poll(self.raft, Pending(), now):
                return
            self._said.append(f"handed leadership over to {self.raft.leader}")
        except REFUSED as error:
            self._said.append(f"stops without handing leadership over: {error}")
        self._farewell = None
        self._end(now)

    # What follows

    def _answer_reads(self, now: float) -> None:
        applied = LogPosition(self.raft.last_applied, self.raft.current_term)
        self._pending.answer_reads(applied, self.machine.store.get_all, self._lease_s, now)

    def _install(self, snapshot: Snapshot, now: float) -> None:
        assert self._restoring is not None
        self.machine.restore(self._restoring)
        self._restoring = None
        self.raft.compact(snapshot, first_kept=0)
        self._note_applied(snapshot.meta.index, now)

    def _apply(self, entries: Sequence[Entry], now: float) -> None:
        machine, pending = self.machine, self._pending
        for entry in entries:
            pending.decide(entry, machine.apply(entry), now)
        self._snapshots.note_applied()
        self._note_applied(entries[-1].index, now)

    def _note_applied(self, index: int, now: float) -> None:
        digest = self.machine.digest.hex()
        self._trace.append(Applied(at_s=now, term=self.raft.current_term, index=index, digest=digest))

    def _note_start(self, process: int, now: float) -> None:
        raft = self.raft
        self._trace.append(
            Started(
                at_s=now,
                term=raft.current_term,
                node=raft.id,
                pid=process,
                voted_for=raft.voted_for,
                last_index=raft.log.last_index,
            )
        )
        if raft.snapshot is not None:
            self._note_applied(raft.last_applied, now)
        if raft.configuration_index:
            # What the last process saved last it may not have written down.
            self._trace.append(raft.membership())

    def _note_reign(self, transitions: Iterable[Transition], now: float) -> None:
        changes = [*self._changes, self._farewell] if self._farewell else self._changes
        for transition in transitions:
            for change in changes:
                change.note(transition)
            if isinstance(transition, RoleChanged):
                self._leader_changes += transition.role is Role.LEADER
        leads = self.raft.role is Role.LEADER
        if self._led and not leads:
            self._leader_changes += 1
            self._lease_s = -math.inf
            self._answer_reads(now)
            self._pending.lose_leadership()
        self._led = leads

    def _note_lease(self, now: float) -> None:
        """A lease becomes longer with every answer, and may become shorter when the voters change."""
        until_s, noted_s = self.raft.lease_until_s, self._lease_s
        if until_s < noted_s or (until_s > noted_s and until_s - noted_s >= self._lease_step_s):
            self._lease_s = until_s
            ends_s = None if until_s == math.inf else until_s
            self._trace.append(Leased(at_s=now, term=self.raft.current_term, until_s=ends_s))
            self._news = True

    def _describe(self) -> Status:
        raft, log = self.raft, self.raft.log
        snapshot = raft.snapshot.meta if raft.snapshot else None
        return Status(
            node_id=raft.id,
            role=raft.role,
            term=raft.current_term,
            leader=raft.leader,
            lease_until_s=self._lease_s,
            last_index=log.last_index,
            last_term=log.last_term,
            commit_index=raft.commit_index,
            applied_index=raft.last_applied,
            snapshot_index=snapshot.index if snapshot else 0,
            snapshot_term=snapshot.term if snapshot else 0,
            digest=self.machine.digest,
            configuration=raft.configuration,
            cluster_id=self._cluster_id(),
            leader_changes=self._leader_changes,
            matched=raft.match_indexes if self._led else NOBODY,
            http_addresses=self._http_addresses,
        )


_ON_ENVELOPE = Server._on_envelope
HANDLERS: dict[type, Callable[[Server, Any, float], None]] = {
    Asked: Server._on_asked,
    Hint: Server._on_hint,
    Found: Server._on_found,
    SnapshotWritten: Server._on_written,
    Stop: Server._on_stop,
}
"""An item of any other type is an envelope."""
ASKED: dict[type, Callable[[Server, Any, Any, float], None]] = {
    Write: Server._on_write,
    Read: Server._on_read,
    AddServer: Server._on_change,
    RemoveServer: Server._on_change,
    TransferLeadership: Server._on_change,
    MakeSnapshot: Server._on_snapshot,
}
