"""One incarnation of a simulated node: `node.server.Server` with a disk, a clock and a thread in virtual time.

    inbox -> step -> save -> (time passes) -> saved -> trace, publish, send, answer

During a save, or while the process is paused, what arrives waits in the inbox, as it does while the live driver's
thread is blocked. A crash can come at any instant, also during a save, and between the save and the first message. The
rules are the server's. This module decides only when things happen, and deals with each field of `Done` in its turn.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from bench.simulated.clock import DriftingClock
from bench.simulated.disk import DiskError, Save, SimulatedDisk
from bench.simulated.engine import Engine
from bench.simulated.network import Parcel
from node.machine.state_machine import StateMachine
from node.raft import Effects, Message, Raft, Snapshot, Transition
from node.raft.messages import AnyMessage
from node.server import Answer, Server, SnapshotDraft, SnapshotWritten, Status

INBOX = 10_000
"""Beyond this many waiting items, further messages are lost, as from a full socket."""
WAKING_S = 0.0003
"""The most that passes between a save and what follows it."""
RESOLUTION_S = 0.0002
"""The least time from setting a timer to its ringing, so that time goes on even if a core always has something due."""
ENCODING_S = 0.05
"""The most time that writing a snapshot takes, in the background."""


class Surroundings(Protocol):
    """What is around a process. Each method is called at the instant at which the thing happens."""

    def saving(self, took_s: float) -> None:
        """A save has begun that takes this long."""

    def durable(self, write: Save) -> None: ...

    def trace(self, records: Sequence[Transition]) -> None: ...

    def publish(self, status: Status) -> None:
        """The process says something new of itself."""

    def send(self, messages: Sequence[AnyMessage], addresses: Mapping[str, str]) -> None:
        """`addresses` has the address to dial for each recipient."""

    def answer(self, answer: Answer) -> None: ...

    def installed(self) -> None:
        """The state machine was restored from the leader's snapshot."""

    def kept(self, snapshot: Snapshot) -> None:
        """A snapshot of its own is durable."""

    def let_go(self, first_kept: int) -> None:
        """Entries before this one are deleted from the disk."""

    def say(self, words: str) -> None: ...

    def changed(self) -> None:
        """Something may have become true that a caller waits for."""

    def ended(self, reason: str) -> None:
        """The process cannot go on, or has stopped as it was told; it must not be used any more."""


class Process:
    """Runs `server` on `disk`, by `clock`, until `die`; `chance` is between 0 and 1."""

    __slots__ = (
        "_around",
        "_busy",
        "_chance",
        "_clock",
        "_deadline_s",
        "_disk",
        "_engine",
        "_inbox",
        "_published",
        "_stalled",
        "_timer_s",
        "_watch",
        "dead",
        "paused",
        "server",
    )

    def __init__(
        self,
        server: Server,
        *,
        engine: Engine,
        clock: DriftingClock,
        disk: SimulatedDisk,
        chance: Callable[[], float],
        watch: Callable[[Raft, Effects, float, Sequence[Message]], None],
        around: Surroundings,
    ) -> None:
        """`watch` is told of each round before it is saved: the core, its effects, the time, and what peers had
        said."""
        self.server = server
        self._engine = engine
        self._clock = clock
        self._disk = disk
        self._chance = chance
        self._watch = watch
        self._around = around
        self.dead = False
        self.paused = False
        self._busy = False
        self._stalled: Effects | None = None
        self._inbox: list[Any] = []
        self._timer_s = self._deadline_s = math.inf
        self._published: Status | None = None

    @property
    def busy(self) -> bool:
        """Whether there is something that it has not taken in."""
        return self._busy or bool(self._inbox)

    @property
    def status(self) -> Status:
        """What it says of itself: what was published last."""
        return self.server.status

    @property
    def raft(self) -> Raft:
        return self.server.raft

    @property
    def machine(self) -> StateMachine:
        return self.server.machine

    # What happens to the process

    def begin(self, items: Sequence[Any] = ()) -> None:
        """Take the first step."""
        self._round(items)

    def die(self) -> None:
        """Whatever was under way ends here. Nobody is told; the connections of its clients break."""
        self.dead = True

    def _end(self, reason: str) -> None:
        self.die()
        self._around.ended(reason)

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
        """The clock's rate has changed, and with it the time at which the timer must ring."""
        self._timer_s = math.inf
        if not self._busy:
            self._arm()

    def deliver(self, item: Any) -> None:
        """Take in one `node.server.Item`."""
        if self._busy or self.paused:
            if len(self._inbox) < INBOX or type(item) is not Parcel:
                self._inbox.append(item)
        else:
            self._round((item,))

    # The loop

    def _wake(self) -> None:
        items, self._inbox = self._inbox, []
        self._round(items)

    def _round(self, items: Sequence[Any]) -> None:
        now = self._clock.at(self._engine.now)
        server = self.server
        effects = server.step(items, now)
        heard: Sequence[Message]
        if len(items) == 1 and type(items[0]) is Parcel:
            # Most rounds are like this.
            heard = items[0].messages
        else:
            heard = [item.messages[0] for item in items if type(item) is Parcel]
        self._watch(server.raft, effects, self._engine.now, heard)
        if effects.news and effects.must_save:
            self._save(effects)
        else:
            self._carry_out(effects, now)

    def _save(self, effects: Effects) -> None:
        self._busy = True
        try:
            took_s = self._disk.begin(Save(effects.hard_state, effects.entries, effects.snapshot))
        except DiskError as error:
            self._end(str(error))
            return
        self._engine.after(took_s, self._on_synced, effects)
        self._around.saving(took_s)

    def _on_synced(self, effects: Effects) -> None:
        if self.dead:
            return
        for write in self._disk.sync():
            self._around.durable(write)
        self._engine.after(WAKING_S * self._chance(), self._on_saved, effects)

    def _on_saved(self, effects: Effects) -> None:
        if self.dead:
            return
        if self.paused:
            self._stalled = effects
        else:
            self._go_on(effects)

    def _go_on(self, effects: Effects) -> None:
        self._busy = False
        self._carry_out(effects, self._clock.at(self._engine.now))
        if self._inbox and not self.dead:
            self._wake()

    def _carry_out(self, effects: Effects, now: float) -> None:
        """Act on a durable round, in the order of `Done`."""
        around = self._around
        done = self.server.saved(now)
        if not done.more:
            if done.messages:
                around.send(done.messages, done.addresses)
            self._arm()
            return
        if effects.snapshot is not None:
            around.installed()
        if done.trace:
            around.trace(done.trace)
            around.changed()
        if done.status is not self._published:
            self._published = done.status
            around.publish(done.status)
        if done.messages:
            around.send(done.messages, done.addresses)
        for answer in done.answers:
            around.answer(answer)
        if done.draft is not None:
            self._engine.after(ENCODING_S * self._chance(), self._on_drafted, done.draft)
        if done.first_kept:
            around.let_go(done.first_kept)
            self._disk.forget(done.first_kept)
        for words in done.said:
            around.say(words)
        if done.ended:
            for answer in self.server.give_up():
                around.answer(answer)
            self._end("")
        else:
            self._arm()

    # Time

    def _arm(self) -> None:
        """One timer, set anew only if it must ring earlier; if it rings too early, it is set again."""
        deadline_s = self._deadline_s = self.server.deadline
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
        if self._clock.at(when_s) >= self._deadline_s:
            self._round(())
        else:
            self._arm()

    # Snapshots

    def _on_drafted(self, draft: SnapshotDraft) -> None:
        """Encode and write the snapshot; a process that is paused meanwhile is told when it resumes."""
        if self.dead:
            return
        snapshot = Snapshot(draft.meta, draft.content.encode())
        try:
            fallback_index = self._disk.keep(snapshot)
        except DiskError as error:
            self._end(str(error))
            return
        self._around.kept(snapshot)
        self.deliver(SnapshotWritten(snapshot, fallback_index))
