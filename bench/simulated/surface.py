"""The HTTP threads of a simulated node: what becomes of a request from its arrival to the reply, and when.

    arrives -> read -> turned away, or answered from the store, or asked -> (a while) -> replied to

What is decided on this way is the node's own (`node.web.endpoints`, `node.web.replies`), by the clock and the status of
the moment at which it is decided. While the process is paused nothing goes on here either: what arrives is read later,
and an answer that the server gave before the pause becomes a reply after it.

This differs from `node.web`: there is always a thread for a request, whoever is to join is not asked who it is, and a
read of the store takes no time.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from bench.operations import Freshness, Get, GetAll, Told
from bench.simulated import requests
from bench.simulated.clock import DriftingClock
from bench.simulated.process import Process
from bench.simulated.requests import Replied, Request, arriving
from bench.simulated.stage import Stage
from node.raft import LogPosition
from node.server import PATIENCE_S, Answer, Asked, Read
from node.web.endpoints import asks_nobody, reply_to
from node.web.replies import Reply, turned_away

LATE_S = 0.5
"""The most time until a thread goes on with an answer that it waited for. Half of them take some millionths of a
second, one in ten takes more than a tenth: now and then a lease has to end meanwhile."""
SQUARINGS = 4
"""How rare it is that a thread is late: a chance is squared so often."""


class Surface:
    """Those of one `process`, until it ends; `send` takes the client's request and what it is told."""

    __slots__ = ("_chance", "_clock", "_in_hand", "_name", "_process", "_send", "_stage", "_stopped", "_waiting")

    def __init__(
        self,
        name: str,
        process: Process,
        *,
        stage: Stage,
        clock: DriftingClock,
        chance: Callable[[], float],
        send: Callable[[tuple[Request, Told]], None],
    ) -> None:
        self._name = name
        self._process = process
        self._stage = stage
        self._clock = clock
        self._chance = chance
        self._send = send
        self._waiting: dict[int, Request] = {}
        """Requests without an answer."""
        self._in_hand: dict[int, Answer] = {}
        """Answers that no client has been told yet."""
        self._stopped: list[tuple[Callable[[Any], None], Any]] = []
        """What goes on when the process is resumed."""

    @property
    def unanswered(self) -> Request | None:
        """A request that still waits for an answer, if there is one."""
        return next((request for request in self._waiting.values() if not request.answered), None)

    def receive(self, request: Request) -> None:
        """Take a request, even if its client has given up: it waited in a socket, and the node cannot know. It may
        still take effect."""
        stage = self._stage
        self._waiting[id(request)] = request
        request.applied_index = min(request.applied_index, self._process.raft.last_applied)
        stage.observer.asked(self._name, request, stage.engine.now)
        self._unless_paused(self._read, request)

    def resume(self) -> None:
        """Go on with what was stopped, before the process does: it still says of itself what it said before."""
        stopped, self._stopped = self._stopped, []
        for go_on, what in stopped:
            go_on(what)

    def answer(self, answer: Answer) -> None:
        """The thread that waits for this goes on: a little later, if the answer is not good for ever. To all others it
        makes no difference, and an event for each would be a hundredth of an exploration."""
        request: Request = answer.to
        if self._waiting.pop(id(request), None) is None or request.answered:
            return
        stage = self._stage
        if answer.error is None:
            stage.observer.answered(self._name, request, answer, stage.engine.now)
        if answer.position is not None:
            self._note_position(request, answer.position)
        if answer.until_s == math.inf:
            self._tell(answer)
            return
        self._in_hand[id(request)] = answer
        late = self._chance()
        for _ in range(SQUARINGS):
            late *= late
        stage.engine.after(LATE_S * late, self._on_woken, answer)

    def finish(self) -> None:
        """The process ends as it was told: whoever has an answer is told before."""
        for answer in list(self._in_hand.values()):
            self._tell(answer)

    # What a thread does

    def _unless_paused(self, go_on: Callable[[Any], None], what: Any) -> None:
        if self._process.paused:
            self._stopped.append((go_on, what))
        else:
            go_on(what)

    def _read(self, request: Request) -> None:
        process, engine = self._process, self._stage.engine
        _, _, read, question = arriving(request.asked)
        if isinstance(question, Reply):
            self._turn_away(request, question)
            return
        away = turned_away(read, question, process.status, self._clock.at(engine.now))
        if away is not None:
            self._turn_away(request, away)
            return
        engine.after(PATIENCE_S[type(question)], self._on_late, request)
        if asks_nobody(question):
            self.answer(self._from_store(request, question))
        else:
            process.deliver(Asked(question, request))

    def _turn_away(self, request: Request, reply: Reply) -> None:
        self._waiting.pop(id(request), None)
        self._reply(request, None, reply)

    def _from_store(self, request: Request, read: Read) -> Answer:
        status = self._process.status
        values = self._process.machine.store.get_all(read.keys)
        return Answer(request, values, position=LogPosition(status.applied_index, status.term))

    def _on_woken(self, answer: Answer) -> None:
        if not self._process.dead:
            self._unless_paused(self._tell, answer)

    def _on_late(self, request: Request) -> None:
        stage, process = self._stage, self._process
        if process.dead or request.answered or id(request) not in self._waiting:
            return
        if not process.paused:
            stage.observer.unanswered(self._name, request, process.busy, stage.engine.now)
        self._unless_paused(self._give_up, request)

    def _give_up(self, request: Request) -> None:
        if self._waiting.pop(id(request), None) is not None:
            self._tell(Answer(request, error=TimeoutError()))

    def _tell(self, answer: Answer) -> None:
        request: Request = answer.to
        self._in_hand.pop(id(request), None)
        _, endpoint, read, _ = arriving(request.asked)
        now = self._clock.at(self._stage.engine.now)
        self._reply(request, answer, reply_to(endpoint, read, answer, self._process.status, now))

    def _reply(self, request: Request, answer: Answer | None, reply: Reply) -> None:
        if request.answered:
            return
        request.answered = True
        stage = self._stage
        told = requests.told_by(reply, request.asked, stage.served_at)
        replied = Replied(request, answer, self._process.status, reply, told, stage.engine.now)
        stage.observer.replied(self._name, replied)
        self._send((request, told))

    def _note_position(self, request: Request, position: LogPosition) -> None:
        """Remember the highest index that a client was told of, except by a read that may be stale."""
        if not isinstance(request.asked, Get | GetAll) or request.freshness is not Freshness.STALE:
            self._stage.told_index = max(self._stage.told_index, position.index)
