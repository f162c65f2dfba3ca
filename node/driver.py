"""The one thread around `node.server.Server`: an inbox, the disk, the transport, the trace, and futures.

    inbox -> step -> save -> saved -> trace, publish, send, answer -> wait for more

Everything else (the two HTTP servers, the peers' senders) talks to it through `Driver`'s public methods, which only put
something in the inbox and hand out a future. `Driver.status` is what the node says of itself, a frozen value replaced
after each round. Its readers never wait. They ask `Status.is_leader_at` instead of looking at the role, because a node
that was stopped may be read before its driver has noticed that its lease is over.

A snapshot is encoded, written and synced by a thread of its own, beside the rounds. The stored log is then deleted in
portions, one a round, so that no write waits for the deletion of ten thousand rows. A disk error there stops the node,
as it does anywhere: the error is raised on the driver's thread.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple

from node import wire
from node.disk.storage import Storage
from node.errors import LeadershipLostError, StoppingError
from node.meters import Meters
from node.questions import Answer, Question
from node.raft import Configuration, Effects, Snapshot, Transition
from node.raft.messages import AnyMessage
from node.raft.transitions import RoleChanged, SnapshotInstalled
from node.server import Asked, Done, Found, Hint, Item, Server, SnapshotDraft, SnapshotWritten, Status, Stop
from node.trace import Trace
from node.transport import Transport

log = logging.getLogger(__name__)

ROWS_PER_ROUND = 500
"""How many stored entries are deleted at once."""
LOGGED: dict[type[Transition], Callable[[Any], str]] = {
    RoleChanged: lambda record: f"{record.role.value} in term {record.term}",
    SnapshotInstalled: lambda record: f"installed the leader's snapshot at {record.index}",
}
"""The records of the trace that an operator should find in the log too."""


class _Drafted(NamedTuple):
    """From the thread that wrote a snapshot: what it wrote, or what went wrong."""

    snapshot: Snapshot | None
    error: Exception | None
    took_s: float


class Driver:
    """Runs `server` on its own thread from `start` to `stop`; calls `on_failure` when the thread dies of an error."""

    def __init__(
        self,
        server: Server,
        *,
        storage: Storage,
        outcomes: Callable[[], Mapping[tuple[str, str], int]],
        trace: Trace,
        raft_address: str,
        http_address: str,
        transport: Callable[[Callable[[Sequence[AnyMessage]], wire.Envelope], Callable[[str], None]], Transport],
        on_failure: Callable[[], None],
    ) -> None:
        self._server = server
        self._storage = storage
        self.outcomes = outcomes
        """How many commands of each kind ended in each way; may be called from any thread."""
        self._trace = trace
        self._raft_address = raft_address
        self._http_address = http_address
        self._transport = transport(self._envelope, self._on_hint)
        self._on_failure = on_failure
        self._inbox: queue.SimpleQueue[Item | _Drafted] = queue.SimpleQueue()
        self._running = True
        self._taken: Sequence[Item | _Drafted] = ()
        """What was last taken from the inbox. If its round fails, the clients may still be waiting."""
        self._owed: Sequence[Answer] = ()
        """The answers of the round under way that nobody has been told yet."""
        self._writer: threading.Thread | None = None
        self._first_kept = 0
        self._letting_go = False
        """Whether stored entries before `_first_kept` are still to be deleted."""
        self.failed = False
        self.meters = Meters(server.status.node_id)
        self.meters.restores.inc(1 if server.status.snapshot_index else 0)
        self.status: Status = server.status
        self._thread = threading.Thread(target=self._run, name="driver")

    # For other threads

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End, after handing leadership over if possible. Clients whose requests are still undecided are told so."""
        self._inbox.put(Stop())
        self._thread.join()

    def found(self, configuration: Configuration) -> None:
        """Found a cluster, on a node without a history."""
        self._inbox.put(Found(configuration))

    def deliver(self, envelope: wire.Envelope) -> None:
        self._inbox.put(envelope)

    def ask(self, question: Question) -> Future[Answer]:
        """A future of the answer, which has a value; the future raises one of `node.questions.MEANINGS`."""
        future: Future[Answer] = Future()
        self._inbox.put(Asked(question, future))
        if not self._running:
            # The driver may have looked into its inbox for the last time before this was put there.
            self._turn_away()
        return future

    def messages_sent(self) -> dict[str, int]:
        """How many messages this process has sent to each address that it dialled; what a link swallows counts too."""
        return self._transport.messages_sent()

    # The loop

    def _run(self) -> None:
        try:
            self._round(())
            while self._running:
                self._round(self._wait())
        except Exception:
            # Whatever the error is (a full disk, a failed fsync, a broken invariant of ours), the disk is no longer
            # known to match what the core believes, and going on could acknowledge a write that is lost.
            log.critical("the node stops: its driver failed", exc_info=True)
            self.failed = True
            self._on_failure()
        finally:
            self._running = False
            answers = self._server.give_up()
            self.status = self._server.status
            self._transport.close()
            _hand_out([*self._owed, *answers])
            self._tell_who_was_taken()
            self._turn_away()
            if self._writer is not None:
                self._writer.join()

    def _round(self, items: Iterable[Item]) -> None:
        """Save before anything is sent, applied or told: safety rests on this order (Raft, Figure 2, persistent
        state)."""
        effects = self._server.step(items, time.monotonic())
        stored = self._save(effects)
        began_s = time.monotonic()
        done = self._server.saved(began_s, stored)
        if effects.committed:
            self.meters.apply_s.observe(time.monotonic() - began_s)
        self._carry_out(done)

    def _save(self, effects: Effects) -> Snapshot | None:
        if effects.snapshot is not None:
            self.meters.restores.inc()
            return self._storage.install(effects.hard_state, effects.snapshot, effects.entries)
        if effects.must_save:
            self._storage.save(effects.hard_state, effects.entries)
        return None

    def _carry_out(self, done: Done) -> None:
        """Deal with the fields of `done` in their order."""
        self._owed = done.answers
        self._trace.write(done.trace)
        self.status = done.status
        for message in done.messages:
            if (address := done.addresses.get(message.recipient)) is not None:
                self._transport.send(message, address)
        self._owed = ()
        _hand_out(done.answers)
        if done.draft is not None:
            self._writer = threading.Thread(target=self._write, args=(done.draft,), name="snapshot")
            self._writer.start()
        self._let_go(done.first_kept)
        for record in done.trace:
            if (logged := LOGGED.get(type(record))) is not None:
                log.info("%s", logged(record))
        for words in done.said:
            log.info("%s", words)
        for waited_s in done.waited_s:
            self.meters.commit_s.observe(waited_s)
        self._running = not done.ended

    def _wait(self) -> Iterable[Item]:
        """Everything in the inbox; waits for the first item until the server's deadline."""
        deadline_s = self._server.deadline
        if self._letting_go:
            timeout: float | None = 0.0
        else:
            timeout = None if deadline_s == float("inf") else max(0.0, deadline_s - time.monotonic())
        taken: list[Item | _Drafted] = []
        self._taken = taken
        try:
            taken.append(self._inbox.get(timeout=timeout))
            while True:
                taken.append(self._inbox.get_nowait())
        except queue.Empty:
            return [self._taken_in(item) for item in taken]

    def _tell_who_was_taken(self) -> None:
        """Tell the clients of a round that failed half way; nobody knows how much of it took effect."""
        for item in self._taken:
            if isinstance(item, Asked) and not item.to.done():
                item.to.set_exception(LeadershipLostError("the node failed before this was decided"))

    def _turn_away(self) -> None:
        """Nobody will look into the inbox any more: tell the clients that still wait there."""
        while True:
            try:
                item = self._inbox.get_nowait()
            except queue.Empty:
                return
            if isinstance(item, Asked):
                item.to.set_exception(StoppingError("the node is going down"))

    # Snapshots

    def _write(self, draft: SnapshotDraft) -> None:
        began_s = time.monotonic()
        snapshot, failed = None, None
        try:
            snapshot = self._storage.write_snapshot(draft.meta, draft.content.lines())
        except Exception as error:  # noqa: BLE001
            # A file that reads back differently means a failing disk, as does one that cannot be written. The driver
            # raises any other error too: swallowed here, it would mean that there is never a snapshot again.
            failed = error
        self._inbox.put(_Drafted(snapshot, failed, time.monotonic() - began_s))

    def _taken_in(self, item: Item | _Drafted) -> Item:
        if not isinstance(item, _Drafted):
            return item
        if item.snapshot is None:
            assert item.error is not None
            raise item.error
        self.meters.snapshot_s.observe(item.took_s)
        self.meters.snapshots.inc()
        meta = item.snapshot.meta
        log.info("took a snapshot at %d, %d bytes", meta.index, len(item.snapshot.data))
        return SnapshotWritten(item.snapshot, self._storage.keep_snapshot(item.snapshot))

    def _let_go(self, first_kept: int) -> None:
        if first_kept:
            self._first_kept, self._letting_go = first_kept, True
        if self._letting_go:
            self._letting_go = self._storage.compact(self._first_kept, at_most=ROWS_PER_ROUND)

    # What the transport asks

    def _on_hint(self, peer: str) -> None:
        """From a sender's thread: the connection to `peer` broke or came back."""
        self._inbox.put(Hint(peer))

    def _envelope(self, messages: Sequence[AnyMessage]) -> wire.Envelope:
        status = self.status
        return wire.Envelope(
            sender=status.node_id,
            cluster_id=status.cluster_id,
            raft_address=self._raft_address,
            http_address=self._http_address,
            messages=tuple(messages),
        )


def _hand_out(answers: Iterable[Answer]) -> None:
    for answer in answers:
        if answer.error is None:
            answer.to.set_result(answer)
        else:
            answer.to.set_exception(answer.error)
