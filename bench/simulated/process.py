"""One incarnation of a simulated node: the loop of `node.driver`, step by step, in virtual time.

    inbox -> step everything that waits -> save -> (time passes) -> send -> apply -> answer

While a save is under way, or the process is stopped, what arrives waits in the inbox, as it does while the live
driver's thread is blocked. A crash can come at any instant: during a save, and between the save and the first message.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from bench.history import Outcome
from bench.simulated import requests
from bench.simulated.disk import DiskFullError, Write
from bench.simulated.network import Envelope, Hint
from bench.simulated.requests import Answer, Request
from bench.workload import Invocation
from node.machine.kv import Batch, Command, Delete, KeyValueStore, Put, Result
from node.machine.state_machine import Frozen, StateMachine
from node.raft import (
    Configuration,
    Effects,
    Entry,
    Log,
    MembershipChangeError,
    NotLeaderError,
    ProtocolViolationError,
    Raft,
    Role,
    Snapshot,
    TransferError,
    TransferInProgressError,
)
from node.raft.messages import AnyMessage
from node.raft.snapshot import SnapshotMeta

if TYPE_CHECKING:
    from bench.simulated.node import SimulatedNode

INBOX = 10_000
"""What waits beyond this is lost, as from a full socket."""
WAKING_S = 0.0003
"""The most that passes between a save and what follows it."""
RESOLUTION_S = 0.0002
"""A timer rings no sooner than this after it was set: a core that is never done with what is due keeps its node busy,
and time goes on."""
SERVER_TIMEOUT_S = 5.0
CHANGE_TIMEOUT_S = 10.0
"""How long a change of membership is asked for."""
POLL_S = 0.02
ENCODING_S = 0.05
"""The most that the writing of a snapshot takes, in the background."""


class SnapshotWritten(NamedTuple):
    """Put into the inbox by whoever wrote it in the background."""

    snapshot: Snapshot


@dataclass(slots=True)
class _Change:
    """A change that is asked for until it is done."""

    request: Request
    deadline_s: float
    """On the node's own clock."""
    stood: bool = False
    """Of a join, whether the address has been in the configuration."""


class Process:
    """Runs one `Raft` on what its node's disk holds, until `die`."""

    __slots__ = (
        "_addresses",
        "_busy",
        "_changes",
        "_clock",
        "_configuration",
        "_deadline_s",
        "_engine",
        "_heard",
        "_inbox",
        "_leader",
        "_led",
        "_links",
        "_node",
        "_reads",
        "_reads_waiting",
        "_snapshot_under_way",
        "_stalled",
        "_stepped",
        "_timer_s",
        "_world",
        "_writes",
        "dead",
        "machine",
        "paused",
        "raft",
    )

    def __init__(self, node: SimulatedNode, rng: random.Random) -> None:
        world = self._world = node.world
        self._node = node
        self._engine = world.engine
        self._clock = node.clock
        self._links = node.links
        self._stepped = world.observer.stepped
        content = node.disk.load()
        self.machine = StateMachine()
        if content.snapshot is not None:
            self._restore(node.name, content.snapshot)
        self.raft: Raft = world.settings.core(
            node.name,
            log=Log(content.entries, base_index=content.base_index, base_term=content.base_term),
            hard_state=content.hard_state,
            snapshot=content.snapshot,
            timing=world.settings.timing,
            limits=world.settings.limits,
            rng=rng,
            now=node.clock.at(world.engine.now),
        )
        self.dead = False
        self.paused = False
        self._busy = False
        self._stalled: Effects | None = None
        self._inbox: list[Any] = []
        self._timer_s = self._deadline_s = math.inf
        self._led = False
        self._leader: str | None = None
        self._configuration: Configuration | None = None
        self._addresses: dict[str, str] = {}
        """What the configuration says of where its servers live."""
        self._heard: dict[str, str] = {}
        """What servers have said of where they live."""
        self._writes: dict[int, tuple[int, Request]] = {}
        self._reads: dict[int, Request] = {}
        self._reads_waiting: list[tuple[int, str, Request]] = []
        self._changes: list[_Change] = []
        self._snapshot_under_way = False

    # What happens to the process

    def begin(self, first: Configuration | None) -> None:
        """Take the first step; with `first`, found a cluster by it."""
        if first is not None:
            self.raft.bootstrap(first, self._clock.at(self._engine.now))
        self._round(())

    def die(self) -> None:
        """Whatever was under way ends here. Nobody is told; the connections of its clients break."""
        self.dead = True

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False
        stalled, self._stalled = self._stalled, None
        if stalled is not None:
            self._go_on(stalled)
        elif not self._busy:
            self._wake()

    def look_at_the_clock(self) -> None:
        """The clock's rate changed: what it is to read when is no longer true."""
        self._timer_s = math.inf
        if not self._busy:
            self._arm()

    def deliver(self, item: Any) -> None:
        """A message, a client's request, or a snapshot that was written."""
        if self._busy or self.paused:
            if len(self._inbox) < INBOX:
                self._inbox.append(item)
        else:
            self._round((item,))

    # The loop

    def _wake(self) -> None:
        items, self._inbox = self._inbox, []
        self._round(items)

    def _round(self, items: Sequence[Any]) -> None:
        raft, world_s = self.raft, self._engine.now
        now = self._clock.at(world_s)
        heard = []
        for item in items:
            if type(item) is not Envelope:
                HANDLERS[type(item)](self, item, now)
                if self.dead:
                    return
                continue
            message, self._heard[message.sender] = item
            heard.append(message)
            try:
                raft.receive(message, now)
            except ProtocolViolationError as error:
                self._world.say(raft.id, f"refused a message: {error}")
        if now >= self._deadline_s:
            raft.tick(now)
        if self._changes:
            self._poll_changes(now)
        effects = raft.take_effects()
        self._stepped(raft.id, raft, effects, world_s, heard)
        if effects.hard_state is not None or effects.entries or effects.snapshot is not None:
            self._save(effects)
        else:
            self._carry_out(effects)

    def _save(self, effects: Effects) -> None:
        self._busy = True
        try:
            took_s = self._node.disk.begin(Write(effects.hard_state, effects.entries, effects.snapshot))
        except DiskFullError as error:
            self._node.stop(str(error))
            return
        self._engine.after(took_s, self._on_synced, effects)
        if self._node.in_next_save is not None:
            self._engine.after(took_s * self._node.random(), self._on_saving, self._node.in_next_save)

    def _on_saving(self, action: Callable[[], None]) -> None:
        if self._node.in_next_save is action and not self.dead:
            action()

    def _on_synced(self, effects: Effects) -> None:
        if self.dead:
            return
        engine = self._engine
        for write in self._node.disk.sync():
            self._node.note_durable(write)
        engine.after(WAKING_S * self._node.random(), self._on_saved, effects)

    def _on_saved(self, effects: Effects) -> None:
        if self.dead:
            return
        if self.paused:
            self._stalled = effects
        else:
            self._go_on(effects)

    def _go_on(self, effects: Effects) -> None:
        self._busy = False
        self._carry_out(effects)
        if self._inbox:
            self._wake()

    def _carry_out(self, effects: Effects) -> None:
        """What the live driver does once the save has returned, in its order."""
        raft, transitions = self.raft, effects.transitions
        if transitions:
            self._node.note(transitions)
        if effects.messages:
            self._send(effects.messages)
        if effects.snapshot is not None:
            self._restore(raft.id, effects.snapshot)
        if effects.committed:
            self._apply(effects.committed)
        if transitions:
            self._note_reign()
        if effects.reads or self._reads_waiting:
            self._answer_reads(effects)
        leader = raft.leader
        if transitions or effects.committed or effects.entries or leader is not self._leader:
            self._leader = leader
            self._world.changed = True
        self._arm()

    def _send(self, messages: Sequence[AnyMessage]) -> None:
        """A member is dialled where the configuration says, a stranger where it said itself; whoever does not live
        there is not reached."""
        if self._configuration is not self.raft.configuration:
            self._configuration = self.raft.configuration
            self._addresses = {server.id: server.address for server in self._configuration.servers}
        nodes, links, here = self._world.nodes, self._links, self._node.address
        for message in messages:
            recipient = message.recipient
            link = links.get(recipient)
            address = self._addresses.get(recipient) or self._heard.get(recipient)
            if link is not None and address in nodes[recipient].addresses:
                link.send(Envelope(message, here))

    def _note_reign(self) -> None:
        leads = self.raft.role is Role.LEADER
        if self._led and not leads:
            for _, request in self._writes.values():
                self._answer(request, requests.LEADERSHIP_LOST)
            self._writes.clear()
        self._led = leads

    # Time

    def _arm(self) -> None:
        """One timer, set anew only when it must ring earlier; one that rings too early is set again."""
        deadline_s = self._deadline_s = self.raft.deadline
        if self._changes:
            deadline_s = min(deadline_s, self._clock.at(self._engine.now) + POLL_S)
        when_s = self._clock.when(deadline_s)
        if when_s < self._timer_s:
            # Rounding may put the clock a hair before the deadline when the timer rings; time must move on then.
            self._timer_s = max(when_s, self._engine.now + RESOLUTION_S)
            self._engine.at(self._timer_s, self._on_timer, self._timer_s)

    def _on_timer(self, when_s: float) -> None:
        if self.dead or when_s != self._timer_s:
            return
        self._timer_s = math.inf
        if self._busy or self.paused:
            return
        if self._changes or self._clock.at(when_s) >= self._deadline_s:
            self._round(())
        else:
            self._arm()

    # The state machine

    def _apply(self, entries: Sequence[Entry]) -> None:
        world, raft, machine = self._world, self.raft, self.machine
        for entry in entries:
            result = machine.apply(entry)
            world.observer.applied(raft.id, entry, machine.digest, world.engine.now)
            if result is not None:
                world.observer.performed(raft.id, entry, result, machine.store, world.engine.now)
            if self._writes:
                self._answer_write(entry, result)
        self._node.note_applied(raft.current_term, entries[-1].index, machine.digest)
        threshold = world.settings.snapshot_threshold
        if threshold and raft.last_applied - (raft.snapshot.meta.index if raft.snapshot else 0) >= threshold:
            self.take_snapshot()

    def _restore(self, name: str, snapshot: Snapshot) -> None:
        self.machine.restore(snapshot.data)
        self._world.observer.held(name, snapshot.meta.index, self.machine.freeze(), self._engine.now)

    def take_snapshot(self) -> None:
        """Freeze what is applied, and have it written in the background; one at a time."""
        if self._snapshot_under_way or not self.raft.last_applied:
            return
        self._snapshot_under_way = True
        frozen = (self.raft.describe_snapshot(), self.machine.freeze())
        self._engine.after(ENCODING_S * self._node.random(), self._on_frozen, frozen)

    def _on_frozen(self, frozen: tuple[SnapshotMeta, Frozen]) -> None:
        if not self.dead:
            meta, content = frozen
            self.deliver(SnapshotWritten(Snapshot(meta, content.encode())))

    def _on_snapshot_written(self, written: SnapshotWritten, now: float) -> None:
        self._snapshot_under_way = False
        snapshot, held = written.snapshot, self.raft.snapshot
        if held is not None and held.meta.index >= snapshot.meta.index:
            return
        first_kept = snapshot.meta.index + 1 - self._world.settings.trailing_entries
        try:
            self._node.disk.compact(snapshot, first_kept)
        except DiskFullError as error:
            self._node.stop(str(error))
            return
        self.raft.compact(snapshot, first_kept=first_kept)
        self._world.observer.compacted(self.raft.id, snapshot, first_kept, self._engine.now)

    def _on_hint(self, hint: Hint, now: float) -> None:
        self.raft.nudge(hint.peer, now)

    # What clients ask

    def _on_request(self, request: Request, now: float) -> None:
        # Also one whose client has given up: it waited in a socket, and nobody knows here. It may take effect yet.
        self._engine.after(SERVER_TIMEOUT_S, self._on_late, request)
        try:
            ASKED[request.invocation.kind](self, request, now)
        except NotLeaderError as error:
            self._answer(request, requests.NOT_LEADER if error.leader else requests.NO_LEADER)
        except TransferInProgressError:
            self._answer(request, requests.TRANSFERRING)
        except (MembershipChangeError, TransferError) as error:
            self._answer(request, Answer(Outcome.FAILED, str(error)))

    def _on_write(self, request: Request, now: float) -> None:
        position = self.raft.propose(command_of(request).encode(), now)
        self._writes[position.index] = (position.term, request)

    def _on_read(self, request: Request, now: float) -> None:
        if request.invocation.consistent:
            self._reads[self.raft.read(now)] = request
        else:
            self._serve(request, "stale")

    def _on_lease_read(self, request: Request, now: float) -> None:
        self._reads_waiting.append((self.raft.lease_read(now), "leader", request))

    def _on_change(self, request: Request, now: float) -> None:
        if self.raft.role is not Role.LEADER or now >= self.raft.lease_until_s:
            raise NotLeaderError(self.raft.leader)
        self._changes.append(_Change(request, now + CHANGE_TIMEOUT_S))

    def _on_transfer(self, request: Request, now: float) -> None:
        self.raft.transfer_leadership(request.invocation.key or None, now)
        self._changes.append(_Change(request, now + CHANGE_TIMEOUT_S))

    def _on_snapshot(self, request: Request, now: float) -> None:
        self.take_snapshot()
        self._answer(request, requests.OK)

    def _on_late(self, request: Request) -> None:
        if not (self.dead or self.paused or request.settled) and request.invocation.kind not in CHANGES:
            self._answer(request, requests.TOO_LATE)

    # What they are told

    def _answer(self, request: Request, answer: Answer) -> None:
        if not request.answered:
            request.answered = True
            self._node.answers.send((request, answer))

    def _serve(self, request: Request, kind: str) -> None:
        result = READ[request.invocation.kind](self.machine.store, request.invocation)
        self._world.tell_read(self.raft.id, kind, self.raft.last_applied, request.required_index)
        self._answer(request, Answer(Outcome.OK, result=result))

    def _answer_write(self, entry: Entry, result: Result | None) -> None:
        term, request = self._writes.pop(entry.index, (0, None))
        if request is None:
            return
        if term != entry.term:
            self._answer(request, requests.OVERWRITTEN)
            return
        if not request.answered:
            self._world.tell_write(self.raft.id, entry, request.required_index)
        self._answer(request, requests.OK if result is None else requests.decided(result))

    def _answer_reads(self, effects: Effects) -> None:
        for ready in effects.reads:
            request = self._reads.pop(ready.ticket)
            if ready.index is None:
                self._answer(request, requests.LEADERSHIP_LOST)
            else:
                self._reads_waiting.append((ready.index, "consistent", request))
        waiting, self._reads_waiting = self._reads_waiting, []
        now = self._clock.at(self._engine.now)
        for index, kind, request in waiting:
            if kind == "leader" and now >= self.raft.lease_until_s:
                # Time has passed since the lease was looked at: a save, or a SIGSTOP.
                self._answer(request, requests.LEADERSHIP_LOST)
            elif index <= self.raft.last_applied:
                self._serve(request, kind)
            else:
                self._reads_waiting.append((index, kind, request))

    def _poll_changes(self, now: float) -> None:
        changes, self._changes = self._changes, []
        for change in changes:
            request = change.request
            try:
                if CHANGES[request.invocation.kind](self, change, now):
                    continue
                if now >= change.deadline_s and request.invocation.kind == "join":
                    self.raft.abandon_join(request.invocation.key, now)
            except MembershipChangeError as error:
                self._answer(request, Answer(Outcome.FAILED, str(error)))
                continue
            except (NotLeaderError, TransferInProgressError) as error:
                # A step of the change may have been made before: a server may be staged.
                self._answer(request, Answer(Outcome.UNKNOWN, str(error)))
                continue
            if now < change.deadline_s:
                self._changes.append(change)
            else:
                self._answer(request, requests.TOO_LATE)

    def _joined(self, change: _Change, now: float) -> bool:
        raft, name, address = self.raft, change.request.invocation.key, change.request.invocation.value or ""
        server = raft.configuration.get(name)
        if change.stood and server is not None and server.address != address and raft.role is Role.LEADER:
            raise MembershipChangeError(f"{name} was given another address than {address} since")
        joined = raft.join(name, address, now)
        server = raft.configuration.get(name)
        change.stood = change.stood or (server is not None and server.address == address)
        if joined:
            self._answer(change.request, requests.OK)
        return joined

    def _left(self, change: _Change, now: float) -> bool:
        position = self.raft.leave(change.request.invocation.key, now)
        if position is None:
            return False
        self._writes[position.index] = (position.term, change.request)
        return True

    def _transferred(self, change: _Change, now: float) -> bool:
        request = change.request
        if self.raft.role is not Role.LEADER:
            self._answer(request, requests.OK)
        elif self.raft.transfer_target is None:
            self._answer(request, Answer(Outcome.FAILED, "transfer failed"))
        else:
            return False
        return True


HANDLERS: dict[type, Callable[[Process, Any, float], None]] = {
    Request: Process._on_request,
    SnapshotWritten: Process._on_snapshot_written,
    Hint: Process._on_hint,
}
ASKED: dict[str, Callable[[Process, Request, float], None]] = {
    "put": Process._on_write,
    "cas": Process._on_write,
    "delete": Process._on_write,
    "batch_set": Process._on_write,
    "batch_delete": Process._on_write,
    "get": Process._on_read,
    "batch_get": Process._on_read,
    "lease_get": Process._on_lease_read,
    "join": Process._on_change,
    "leave": Process._on_change,
    "transfer": Process._on_transfer,
    "snapshot": Process._on_snapshot,
}
CHANGES: dict[str, Callable[[Process, _Change, float], bool]] = {
    "join": Process._joined,
    "leave": Process._left,
    "transfer": Process._transferred,
}
"""What is asked for again until it is done."""


def command_of(request: Request) -> Command:
    asked = request.invocation
    return Command(COMMANDS[asked.kind](asked), asked.client_id, asked.sequence)


def _read_one(store: KeyValueStore, asked: Invocation) -> str | None:
    value = store.get(asked.key)
    return value.value if value else None


def _read_all(store: KeyValueStore, asked: Invocation) -> str:
    found = store.get_all(item.key for item in asked.items)
    return json.dumps({key: value.value for key, value in found.items() if value})


READ: dict[str, Callable[[KeyValueStore, Invocation], str | None]] = {
    "get": _read_one,
    "lease_get": _read_one,
    "batch_get": _read_all,
}
COMMANDS: dict[str, Callable[[Invocation], Put | Delete | Batch]] = {
    "put": lambda asked: Put(asked.key, asked.value or ""),
    "cas": lambda asked: Put(asked.key, asked.value or "", cas=asked.modify_index),
    "delete": lambda asked: Delete(asked.key, asked.modify_index),
    "batch_set": lambda asked: Batch(tuple(Put(key, value or "", cas=cas) for key, value, cas in asked.items)),
    "batch_delete": lambda asked: Batch(tuple(Delete(key, cas) for key, _, cas in asked.items)),
}
