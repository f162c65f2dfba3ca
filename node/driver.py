"""The one thread that owns the core, and the order in which it does things.

    inbox -> step everything that waits -> save once -> send -> apply -> publish -> answer -> wait for more

Everything else (the two HTTP servers, the peers' senders) talks to it through `Driver`'s public methods, which only put
something in the inbox and hand out a future. Who waits for what is in `node.pending`; what takes several rounds, in
`node.changes`; how snapshots are taken meanwhile, in `node.snapshots`. What the node says of itself is `Driver.status`,
a frozen value replaced after each round; whoever reads it never waits, and asks `Status.is_leader_at` instead of
looking at the role, because a node that was stopped may be read before its driver has noticed that its lease is over.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

from node import wire
from node.changes import Change, Join, Leave, Transfer
from node.config import SnapshotPolicy
from node.disk.storage import Storage
from node.errors import LeadershipLostError, NotInTimeError, StoppingError
from node.machine.kv import Command, Result
from node.machine.state_machine import StateMachine
from node.meters import Meters
from node.pending import Pending
from node.raft import (
    Configuration,
    Effects,
    Entry,
    MembershipChangeError,
    NotLeaderError,
    ProtocolViolationError,
    Raft,
    Role,
    TransferError,
    TransferInProgressError,
)
from node.raft.messages import AnyMessage
from node.raft.transitions import RoleChanged
from node.snapshots import Snapshots
from node.status import Status
from node.trace import Applied, Started, Stopped, Trace
from node.transport import Transport

log = logging.getLogger(__name__)

T = TypeVar("T")

POLL_S = 0.02
"""How often a change under way is looked after when nothing else happens."""


@dataclass(frozen=True)
class _Asked:
    """Something in the inbox that somebody waits for."""

    action: Callable[[Future[Any], float], None]
    future: Future[Any]

    def __call__(self, now: float) -> None:
        self.action(self.future, now)


REFUSED = (
    NotLeaderError,
    MembershipChangeError,
    TransferError,
    TransferInProgressError,
    LeadershipLostError,
    NotInTimeError,
)
"""How a change can end that was not made."""


class Driver:
    """Runs `raft` on its own thread from `start` to `stop`; `on_failure` is told when the thread dies of an error.

    `machine` holds what `raft` has handed out to be applied so far: its snapshot, if it has one.
    """

    def __init__(
        self,
        raft: Raft,
        *,
        storage: Storage,
        machine: StateMachine,
        trace: Trace,
        raft_address: str,
        http_address: str,
        transport: Callable[[Callable[[Sequence[AnyMessage]], wire.Envelope], Callable[[str], None]], Transport],
        on_failure: Callable[[], None],
        policy: SnapshotPolicy,
    ) -> None:
        self._raft = raft
        self._storage = storage
        self._machine = machine
        self._trace = trace
        self._raft_address = raft_address
        self._http_address = http_address
        self._transport = transport(self._envelope, self._on_hint)
        self._on_failure = on_failure
        self._inbox: queue.SimpleQueue[Callable[[float], None]] = queue.SimpleQueue()
        self._running = True
        self.failed = False
        self.meters = Meters(raft.id)
        self._pending = Pending()
        self._snapshots = Snapshots(
            raft,
            machine=machine,
            storage=storage,
            policy=policy,
            meters=self.meters,
            pending=self._pending,
            hand_back=self._inbox.put,
        )
        self._changes: list[Change] = []
        self._leader_changes = 0
        self._led = False
        self._heard_cluster_id = ""
        self._raft_addresses: dict[str, str] = {}
        self._http_addresses: dict[str, str] = {}
        self.status = self._describe()
        self._thread = threading.Thread(target=self._run, name="driver")

    @property
    def outcomes(self) -> dict[tuple[str, str], int]:
        """How many commands of which kind ended how; from any thread."""
        return dict(self._machine.outcomes)

    # For other threads

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End after the round under way; what is undecided is told so."""
        self._inbox.put(self._on_stop)
        self._thread.join()

    def hand_over(self) -> None:
        """As leader, let another lead before this node stops, so that nobody has to wait for its absence to be noticed.

        Does nothing where there is nobody to hand over to; a hand-over that fails costs an election time-out, no more.
        """
        if not self.status.is_leader_at(time.monotonic()):
            return
        try:
            successor = self.transfer(None).result(4 * self._raft.timing.election_timeout_s)
            log.info("handed leadership over to %s", successor)
        except (*REFUSED, StoppingError, TimeoutError) as error:
            log.info("stops without handing leadership over: %s", error)

    def bootstrap(self, configuration: Configuration) -> None:
        """Found a cluster, on a node without a history."""
        self._inbox.put(partial(self._raft.bootstrap, configuration))

    def deliver(self, envelope: wire.Envelope) -> None:
        self._inbox.put(partial(self._on_envelope, envelope))

    def write(self, command: Command) -> Future[Result]:
        """Raises, through the future: NotLeaderError, TransferInProgressError, LeadershipLostError, OverwrittenError,
        StoppingError."""
        return self._ask(partial(self._on_write, command.encode()))

    def confirm_read(self) -> Future[None]:
        """Done when a read of the store from now on is linearizable (ReadIndex). Raises like `write`."""
        return self._ask(self._on_read)

    def lease_read(self) -> Future[None]:
        """Done when a read of the store is linearizable if the lease holds still when it is answered. Raises like
        `write`."""
        return self._ask(self._on_lease_read)

    def join(self, server_id: str, address: str) -> Future[None]:
        """Done when the server votes. Raises like `write`, and MembershipChangeError and NotInTimeError."""
        return self._ask(lambda future, now: self._changes.append(Join(server_id, address, future, now)))

    def leave(self, server_id: str) -> Future[None]:
        """Done when the server is no member any more. Raises like `join`."""
        return self._ask(lambda future, now: self._changes.append(Leave(server_id, future, now)))

    def transfer(self, to: str | None) -> Future[str]:
        """Done when another server leads, with its name. Raises like `write`, and TransferError and NotInTimeError."""
        return self._ask(lambda future, now: self._changes.append(Transfer(to, future)))

    def snapshot(self) -> Future[int]:
        """Done when a snapshot of at least what is applied now is durable, with its index. Raises
        NothingToSnapshotError and StoppingError."""
        return self._ask(self._snapshots.ask)

    # The loop

    def _run(self) -> None:
        try:
            self._note_start()
            while self._running:
                self._round()
        except Exception:
            # Whatever it is (a full disk, a failed fsync, a broken invariant of ours), what is on the disk is no longer
            # known to match what the core believes, and going on could acknowledge what is lost.
            log.critical("the node stops: its driver failed", exc_info=True)
            self.failed = True
            self._on_failure()
        finally:
            self._running = False
            self.status = replace(self.status, ended=True)
            self._transport.close()
            self._pending.give_up()
            for change in self._changes:
                self._pending.refuse(change.future, LeadershipLostError("the node went down before this was decided"))
            self._snapshots.close()
            self._pending.give_answers()
            self._turn_away()

    def _turn_away(self) -> None:
        """Nobody will look into the inbox any more: whoever waits there is told so."""
        while True:
            try:
                item = self._inbox.get_nowait()
            except queue.Empty:
                return
            if isinstance(item, _Asked):
                item.future.set_exception(StoppingError("the node is going down"))

    def _round(self) -> None:
        for item in self._wait():
            item(time.monotonic())
        now = time.monotonic()
        self._raft.tick(now)
        self._poll_changes(now)
        self._carry_out(self._raft.take_effects())
        self._snapshots.proceed(now)
        self.status = self._describe()
        self._pending.give_answers()

    def _wait(self) -> list[Callable[[float], None]]:
        """Everything in the inbox, waiting for the first until somebody's deadline."""
        deadline = min(self._raft.deadline, self._snapshots.deadline)
        if self._changes:
            deadline = min(deadline, time.monotonic() + POLL_S)
        timeout = None if deadline == float("inf") else max(0.0, deadline - time.monotonic())
        items = []
        try:
            items.append(self._inbox.get(timeout=timeout))
            while True:
                items.append(self._inbox.get_nowait())
        except queue.Empty:
            return items

    def _carry_out(self, effects: Effects) -> None:
        """Save before you send, and before you apply: the order is the safety (Raft, Figure 2, persistent state).

        Applied before a lost reign is noted: a leader that let itself go learns that it was committed in the very
        round in which it ceases to lead, and whoever asked for it is to be told so.
        """
        self._save(effects)
        self._trace.write(effects.transitions)
        if self._led and self._raft.role is not Role.LEADER:
            # Before anybody is told to stand for election: from then on nobody may be told that we lead.
            self.status = self._describe()
        for message in effects.messages:
            self._send(message)
        self._apply(effects.committed)
        self._note_reign(effects)
        self._pending.confirm(effects.reads)
        self._pending.answer_reads(self._raft.last_applied)

    def _save(self, effects: Effects) -> None:
        if effects.snapshot is not None:
            # First, because one that cannot be restored would, once stored, never let the node start again.
            self._machine.restore(effects.snapshot.data)
            stored = self._storage.install(effects.hard_state, effects.snapshot, effects.entries)
            # The same snapshot, but no longer in memory.
            self._raft.compact(stored, first_kept=0)
            self.meters.restores.inc()
            log.info("installed the leader's snapshot at %d", effects.snapshot.meta.index)
            self._note_applied(effects.snapshot.meta.index)
        elif effects.must_save:
            self._storage.save(effects.hard_state, effects.entries)

    def _send(self, message: AnyMessage) -> None:
        server = self._raft.configuration.get(message.recipient)
        address = server.address if server else self._raft_addresses.get(message.recipient)
        if address is not None:
            self._transport.send(message, address)

    def _apply(self, entries: Sequence[Entry]) -> None:
        if not entries:
            return
        began_s = time.monotonic()
        for entry in entries:
            waited_s = self._pending.decide(entry, self._machine.apply(entry), began_s)
            if waited_s is not None:
                self.meters.commit_s.observe(waited_s)
        self.meters.apply_s.observe(time.monotonic() - began_s)
        self._note_applied(entries[-1].index)

    def _note_applied(self, index: int) -> None:
        digest = self._machine.digest.hex()
        self._trace.write([Applied(at_s=time.monotonic(), term=self._raft.current_term, index=index, digest=digest)])

    def _note_reign(self, effects: Effects) -> None:
        for transition in effects.transitions:
            for change in self._changes:
                if isinstance(change, Transfer):
                    change.note(transition)
            if isinstance(transition, RoleChanged):
                log.info("%s in term %d", transition.role.value, transition.term)
                if transition.role is Role.LEADER:
                    self._leader_changes += 1
        if self._led and self._raft.role is not Role.LEADER:
            self._leader_changes += 1
            self._pending.lose_leadership()
        self._led = self._raft.role is Role.LEADER

    def _describe(self) -> Status:
        raft = self._raft
        snapshot = raft.snapshot.meta if raft.snapshot else None
        return Status(
            node_id=raft.id,
            role=raft.role,
            term=raft.current_term,
            leader=raft.leader,
            lease_until_s=raft.lease_until_s,
            last_index=raft.log.last_index,
            last_term=raft.log.last_term,
            commit_index=raft.commit_index,
            applied_index=raft.last_applied,
            snapshot_index=snapshot.index if snapshot else 0,
            snapshot_term=snapshot.term if snapshot else 0,
            log_digest=self._machine.digest.hex(),
            configuration=raft.configuration,
            cluster_id=raft.configuration.cluster_id or self._heard_cluster_id,
            leader_changes=self._leader_changes,
            lag={name: raft.log.last_index - match for name, match in raft.match_indexes.items()},
            http_addresses=self._http_addresses,
            messages_sent=self._transport.attempts(),
        )

    # What arrives in the inbox

    def _note_start(self) -> None:
        raft = self._raft
        self._trace.write(
            [
                Started(
                    at_s=time.monotonic(),
                    term=raft.current_term,
                    node=raft.id,
                    pid=os.getpid(),
                    voted_for=raft.voted_for,
                    last_index=raft.log.last_index,
                )
            ]
        )
        if raft.snapshot is not None:
            self.meters.restores.inc()
            self._note_applied(raft.last_applied)

    def _on_stop(self, now: float) -> None:
        self._running = False
        self._trace.write([Stopped(at_s=now, term=self._raft.current_term)])

    def _on_hint(self, peer: str) -> None:
        """From a sender's thread: the connection to `peer` broke or came back."""
        self._inbox.put(partial(self._raft.nudge, peer))

    def _on_envelope(self, envelope: wire.Envelope, now: float) -> None:
        if not self._raft.configuration.cluster_id:
            self._heard_cluster_id = self._heard_cluster_id or envelope.cluster_id
        self._raft_addresses[envelope.sender] = envelope.raft_address
        if self._http_addresses.get(envelope.sender) != envelope.http_address:
            self._http_addresses = {**self._http_addresses, envelope.sender: envelope.http_address}
        for message in envelope.messages:
            try:
                self._raft.receive(message, now)
            except ProtocolViolationError as error:
                log.error("refused a message: %s", error)

    def _on_write(self, data: bytes, future: Future[Result], now: float) -> None:
        try:
            self._pending.await_decision(self._raft.propose(data, now), future, now)
        except (NotLeaderError, TransferInProgressError) as error:
            self._pending.refuse(future, error)

    def _on_read(self, future: Future[None], now: float) -> None:
        try:
            self._pending.await_confirmation(self._raft.read(now), future)
        except NotLeaderError as error:
            self._pending.refuse(future, error)

    def _on_lease_read(self, future: Future[None], now: float) -> None:
        try:
            self._pending.await_applied(self._raft.lease_read(now), future)
        except NotLeaderError as error:
            self._pending.refuse(future, error)

    def _poll_changes(self, now: float) -> None:
        changes, self._changes = self._changes, []
        for change in changes:
            try:
                if not change.poll(self._raft, self._pending, now):
                    self._changes.append(change)
            except REFUSED as error:
                self._pending.refuse(change.future, error)

    def _ask(self, action: Callable[[Future[T], float], None]) -> Future[T]:
        future: Future[T] = Future()
        self._inbox.put(_Asked(action, future))
        if not self._running:
            # The driver may have looked into its inbox for the last time before this was put there.
            self._turn_away()
        return future

    def _envelope(self, messages: Sequence[AnyMessage]) -> wire.Envelope:
        return wire.Envelope(
            sender=self._raft.id,
            cluster_id=self.status.cluster_id,
            raft_address=self._raft_address,
            http_address=self._http_address,
            messages=tuple(messages),
        )
