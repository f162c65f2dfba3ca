"""The one thread that owns the core, and the order in which it does things.

    inbox -> step everything that waits -> save once -> send -> apply -> publish -> answer -> wait for more

Everything else (the two HTTP servers, the peers' senders) talks to it through `Driver`'s public methods, which only put
something in the inbox and hand out a future. What the node says of itself is `Driver.status`, a frozen value replaced
after each round; whoever reads it never waits, and asks `Status.is_leader_at` instead of looking at the role, because a
node that was stopped may be read before its driver has noticed that its lease is over.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from node import wire
from node.kv import Command, Result
from node.raft import (
    Configuration,
    Effects,
    Entry,
    LogPosition,
    MembershipChangeError,
    NotLeaderError,
    ProtocolViolationError,
    Raft,
    Role,
)
from node.raft.messages import AnyMessage
from node.raft.transitions import RoleChanged
from node.state_machine import StateMachine
from node.storage import Storage
from node.trace import Applied, Started, Stopped, Trace
from node.transport import Transport

log = logging.getLogger(__name__)

T = TypeVar("T")

JOIN_TIMEOUT_S = 10.0
JOIN_POLL_S = 0.02


class LeadershipLostError(Exception):
    """The node ceased to lead before this was decided: it may have taken effect, or may yet, or may not."""


class OverwrittenError(Exception):
    """Another leader's entry stands where this one stood: it has not taken effect and never will."""


class StoppingError(Exception):
    """The node is going down; nothing was proposed."""


class JoinTimeoutError(Exception):
    """The server did not catch up in time, so it was let go again."""


@dataclass(frozen=True)
class Status:
    """What the node says of itself after a round of its driver."""

    node_id: str
    role: Role
    term: int
    leader: str | None
    lease_until_s: float
    last_index: int
    last_term: int
    commit_index: int
    applied_index: int
    log_digest: str
    configuration: Configuration
    cluster_id: str
    leader_changes: int
    http_addresses: dict[str, str] = field(default_factory=dict)
    """Where each peer that was heard from serves its clients."""
    messages_sent: dict[str, int] = field(default_factory=dict)
    """How many messages this process tried to send to each peer; a cut link shows here as any other does."""

    def is_leader_at(self, now: float) -> bool:
        """Whether this node may call itself leader at `now`: the role alone is not enough, the lease must hold."""
        return self.role is Role.LEADER and now < self.lease_until_s

    def leader_at(self, now: float) -> str | None:
        """Whom to send a client to."""
        if self.role is Role.LEADER:
            return self.node_id if self.is_leader_at(now) else None
        return self.leader


@dataclass
class _Join:
    server_id: str
    address: str
    deadline_s: float
    future: Future[None]


class Driver:
    """Runs `raft` on its own thread from `start` to `stop`; `on_failure` is told when the thread dies of an error."""

    def __init__(
        self,
        raft: Raft,
        *,
        storage: Storage,
        machine: StateMachine,
        trace: Trace,
        raft_address: str,
        http_address: str,
        transport: Callable[[Callable[[Sequence[AnyMessage]], wire.Envelope]], Transport],
        on_failure: Callable[[], None],
    ) -> None:
        self._raft = raft
        self._storage = storage
        self._machine = machine
        self._trace = trace
        self._raft_address = raft_address
        self._http_address = http_address
        self._transport = transport(self._envelope)
        self._on_failure = on_failure
        self._inbox: queue.SimpleQueue[Callable[[float], None]] = queue.SimpleQueue()
        self._running = True
        self.failed = False
        self._writes: dict[int, tuple[int, Future[Result]]] = {}
        self._reads: dict[int, Future[None]] = {}
        self._reads_waiting: list[tuple[int, Future[None]]] = []
        self._joins: list[_Join] = []
        self._answers: list[Callable[[], None]] = []
        self._leader_changes = 0
        self._heard_cluster_id = ""
        self._raft_addresses: dict[str, str] = {}
        self._http_addresses: dict[str, str] = {}
        self.status = self._describe()
        self._thread = threading.Thread(target=self._run, name="driver")

    # For other threads

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End after the round under way; what is undecided is told so."""
        self._inbox.put(self._on_stop)
        self._thread.join()

    def bootstrap(self, configuration: Configuration) -> None:
        """Found a cluster, on a node without a history."""
        self._inbox.put(partial(self._raft.bootstrap, configuration))

    def deliver(self, envelope: wire.Envelope) -> None:
        self._inbox.put(partial(self._on_envelope, envelope))

    def write(self, command: Command) -> Future[Result]:
        """Raises, through the future: NotLeaderError, LeadershipLostError, OverwrittenError, StoppingError."""
        return self._ask(partial(self._on_write, command))

    def confirm_read(self) -> Future[None]:
        """Done when a read of the store from now on is linearizable. Raises like `write`."""
        return self._ask(self._on_read)

    def join(self, server_id: str, address: str) -> Future[None]:
        """Done when the server votes. Raises like `write`, and MembershipChangeError and JoinTimeoutError."""
        return self._ask(partial(self._on_join, server_id, address))

    # The loop

    def _run(self) -> None:
        try:
            self._restore()
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
            self._transport.close()
            self._refuse_all()
            self._give_answers()

    def _round(self) -> None:
        for item in self._wait():
            item(time.monotonic())
        now = time.monotonic()
        self._raft.tick(now)
        self._poll_joins(now)
        self._carry_out(self._raft.take_effects())
        self.status = self._describe()
        self._give_answers()

    def _give_answers(self) -> None:
        """Only now that the status is published: who is told "not leader" looks there for whom to turn to."""
        answers, self._answers = self._answers, []
        for answer in answers:
            answer()

    def _wait(self) -> list[Callable[[float], None]]:
        """Everything in the inbox, waiting for the first until the core's deadline."""
        deadline = self._raft.deadline
        if self._joins:
            deadline = min(deadline, time.monotonic() + JOIN_POLL_S)
        timeout = None if deadline == float("inf") else max(0.0, deadline - time.monotonic())
        items = []
        try:
            items.append(self._inbox.get(timeout=timeout))
            while True:
                items.append(self._inbox.get_nowait())
        except queue.Empty:
            return items

    def _carry_out(self, effects: Effects) -> None:
        """Save before you send, and before you apply: the order is the safety (Raft, Figure 2, persistent state)."""
        if effects.hard_state is not None or effects.entries:
            self._storage.save(effects.hard_state, effects.entries)
        self._trace.write(effects.transitions)
        for message in effects.messages:
            self._send(message)
        self._note_reign(effects)
        self._apply(effects.committed)
        self._answer_reads(effects)

    def _send(self, message: AnyMessage) -> None:
        server = self._raft.configuration.get(message.recipient)
        address = server.address if server else self._raft_addresses.get(message.recipient)
        if address is not None:
            self._transport.send(message, address)

    def _note_reign(self, effects: Effects) -> None:
        for transition in effects.transitions:
            if isinstance(transition, RoleChanged):
                log.info("%s in term %d", transition.role.value, transition.term)
                if transition.role is Role.LEADER:
                    self._leader_changes += 1
        if self.status.role is Role.LEADER and self._raft.role is not Role.LEADER:
            self._leader_changes += 1
            self._lose_leadership()

    def _apply(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            self._answer_write(entry, self._machine.apply(entry))
        if entries:
            self._trace.write(
                [
                    Applied(
                        at_s=time.monotonic(),
                        term=self._raft.current_term,
                        index=entries[-1].index,
                        digest=self._machine.digest.hex(),
                    )
                ]
            )

    def _describe(self) -> Status:
        raft = self._raft
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
            log_digest=self._machine.digest.hex(),
            configuration=raft.configuration,
            cluster_id=raft.configuration.cluster_id or self._heard_cluster_id,
            leader_changes=self._leader_changes,
            http_addresses=self._http_addresses,
            messages_sent=self._transport.attempts(),
        )

    # What arrives in the inbox

    def _restore(self) -> None:
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

    def _on_stop(self, now: float) -> None:
        self._running = False
        self._trace.write([Stopped(at_s=now, term=self._raft.current_term)])

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

    def _on_write(self, command: Command, future: Future[Result], now: float) -> None:
        try:
            position: LogPosition = self._raft.propose(command.encode(), now)
        except NotLeaderError as error:
            self._answers.append(partial(future.set_exception, error))
        else:
            self._writes[position.index] = (position.term, future)

    def _on_read(self, future: Future[None], now: float) -> None:
        try:
            self._reads[self._raft.read(now)] = future
        except NotLeaderError as error:
            self._answers.append(partial(future.set_exception, error))

    def _on_join(self, server_id: str, address: str, future: Future[None], now: float) -> None:
        self._joins.append(_Join(server_id, address, now + JOIN_TIMEOUT_S, future))

    # Answers

    def _ask(self, action: Callable[[Future[T], float], None]) -> Future[T]:
        future: Future[T] = Future()
        if self._running:
            self._inbox.put(partial(action, future))
        else:
            future.set_exception(StoppingError("the node is going down"))
        return future

    def _answer_write(self, entry: Entry, result: Result | None) -> None:
        term, future = self._writes.pop(entry.index, (0, None))
        if future is None:
            return
        if term == entry.term and result is not None:
            self._answers.append(partial(future.set_result, result))
        else:
            error = OverwrittenError(f"another leader's entry stands at index {entry.index}")
            self._answers.append(partial(future.set_exception, error))

    def _answer_reads(self, effects: Effects) -> None:
        for ready in effects.reads:
            future = self._reads.pop(ready.ticket)
            if ready.index is None:
                error = LeadershipLostError("leadership was lost before the read was confirmed")
                self._answers.append(partial(future.set_exception, error))
            else:
                self._reads_waiting.append((ready.index, future))
        waiting, self._reads_waiting = self._reads_waiting, []
        for index, future in waiting:
            if index <= self._raft.last_applied:
                self._answers.append(partial(future.set_result, None))
            else:
                self._reads_waiting.append((index, future))

    def _poll_joins(self, now: float) -> None:
        joins, self._joins = self._joins, []
        for join in joins:
            try:
                if self._raft.join(join.server_id, join.address, now):
                    self._answers.append(partial(join.future.set_result, None))
                elif now < join.deadline_s:
                    self._joins.append(join)
                else:
                    self._raft.abandon_join(join.server_id, now)
                    raise JoinTimeoutError(
                        f"{join.server_id} at {join.address} did not catch up within {JOIN_TIMEOUT_S:g} s"
                    )
            except (NotLeaderError, MembershipChangeError, JoinTimeoutError) as error:
                self._answers.append(partial(join.future.set_exception, error))

    def _lose_leadership(self) -> None:
        error = LeadershipLostError("leadership was lost before this was decided; it may or may not take effect")
        for _, future in self._writes.values():
            self._answers.append(partial(future.set_exception, error))
        self._writes.clear()

    def _refuse_all(self) -> None:
        undecided = LeadershipLostError("the node went down before this was decided; it may or may not take effect")
        futures: list[Future[Result] | Future[None]] = [future for _, future in self._writes.values()]
        futures += [*self._reads.values(), *(future for _, future in self._reads_waiting)]
        futures += [join.future for join in self._joins]
        for future in futures:
            self._answers.append(partial(future.set_exception, undecided))

    def _envelope(self, messages: Sequence[AnyMessage]) -> wire.Envelope:
        return wire.Envelope(
            sender=self._raft.id,
            cluster_id=self.status.cluster_id,
            raft_address=self._raft_address,
            http_address=self._http_address,
            messages=tuple(messages),
        )
