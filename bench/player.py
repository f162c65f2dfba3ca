"""Plays a case on a cluster in either world, by that world's clock, and then waits for all nodes to agree.

Every fault is a block, made by its entry in `BEGIN`. The block is entered when the fault begins and left when it is
over, so a fault ends as it does in a scenario. Actions are done one after another. Where one takes real time, as
killing a process does, the next ones are late; the timeline says when each was done.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from typing import Any

from bench.case import Case
from bench.cluster import Cluster, PromiseBrokenError, Workers
from bench.operations import (
    Freshness,
    Get,
    GetAll,
    Join,
    Leave,
    Operation,
    Outcome,
    Put,
    Question,
    Transfer,
    Writing,
    acknowledged_keys,
    with_changes,
)
from bench.schedule import (
    ROLES,
    AnyFault,
    Ask,
    Clients,
    Crash,
    Cut,
    Delay,
    Drift,
    Fault,
    FullDisk,
    JoinAstray,
    Limit,
    Move,
    Noise,
    Pause,
    SlowDisk,
)
from bench.words import question, whom
from bench.workload import Pace, Script, script_of, until_done
from faults.nodes import NodeKind, NodeState

PAUSE_S = 0.25
"""Between a client's answer and its next question, if a case names no rate: about ten operations a second from three
clients."""
RETRY_S = 0.2
"""Between two requests for the same change."""
LOOK_S = 0.05
"""Between two checks whether all nodes agree."""
LOOK_AROUND_S = 0.1
"""Between two looks at what all nodes say of themselves."""
CORRECT_AGAIN_S = 1.0
"""Between two requests to correct one node's address."""
PATIENCE = 20
"""How many election timeouts after the last fault all nodes must agree and clients be served."""
AT_ONCE = 500
"""How many keys are read in one request."""
OWED_IN_THE_END = ("all_agree_in_the_end", "clients_are_served_in_the_end")
"""The promises that take time, and that interference by the bench may break."""
LAST_WISHES = (
    Put("end", "1", client_id="last wishes", sequence=1),
    Get("end", Freshness.LINEARIZABLE),
    Get("end", Freshness.LEASE),
)
"""What clients are owed when every fault is over."""


class Player:
    """Plays `case` on `cluster`, which is open and has no running node yet. `play` raises any promise that the world
    sees broken meanwhile."""

    def __init__(self, cluster: Cluster, case: Case) -> None:
        self.cluster = cluster
        self.case = case
        self._chances = self._random("player")
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        """What is to be done, on the cluster's clock."""
        self._turns = itertools.count()
        self._clients = itertools.count()
        self._at_work: list[Workers] = []
        """All workers that were ever started."""
        self._began_s = 0.0

    def play(self) -> None:
        """Found the cluster, let every fault begin and end, and wait until all nodes agree and clients are served.
        Raises PromiseBrokenError."""
        cluster, schedule = self.cluster, self.case.schedule
        self._began_s = cluster.now_s
        with ExitStack() as lasting:
            for fault in schedule.faults:
                self._at(fault.at_s, partial(self._begin, fault, lasting))
            # After the faults that are there from the beginning, which may keep a node down.
            self._at(0.0, self._start_all)
            self._at(LOOK_AROUND_S, partial(self._look_around, LOOK_AROUND_S))
            self._pass_time(schedule.length_s)
        self._settle()

    # Time

    def _at(self, at_s: float, action: Callable[[], None]) -> None:
        """Have this done so many seconds from the beginning."""
        heapq.heappush(self._due, (self._began_s + at_s, next(self._turns), action))

    def _pass_time(self, until_s: float) -> None:
        """Do everything that is due by then, each at its time."""
        cluster, due = self.cluster, self._due
        until_s += self._began_s
        while due and due[0][0] <= until_s:
            at_s, _, action = heapq.heappop(due)
            if at_s > cluster.now_s:
                cluster.pass_time(at_s)
            action()
        cluster.pass_time(until_s)

    def _look_around(self, at_s: float) -> None:
        """Have the nodes asked what they say of themselves, now and again."""
        self.cluster.look()
        again_s = max(at_s + LOOK_AROUND_S, self.cluster.now_s - self._began_s)
        self._at(again_s, partial(self._look_around, again_s))

    def _start_all(self) -> None:
        for node in dict.fromkeys((*self.cluster.plan.members, *self.cluster.nodes)):
            self.cluster.start(node)

    # Faults

    def _begin(self, fault: AnyFault, lasting: ExitStack) -> None:
        self.cluster.tell(fault)
        block = lasting.enter_context(ExitStack())
        block.enter_context(BEGIN[type(fault)](self, fault))

        def end() -> None:
            self.cluster.tell(fault, over=True)
            block.close()

        self._at(fault.at_s + fault.for_s, end)

    def _meant(self, name: str) -> str:
        """The node that a name or a role means now, with a remark in the timeline; any node if none has the role."""
        if name not in ROLES:
            return name
        leader = self._leader()
        others = [other for other in self.cluster.nodes if other != leader]
        meant = (
            leader if leader is not None and name == "leader" else self._chances.choice(others or self.cluster.nodes)
        )
        self.cluster.remark(f"{whom(name)} is {meant}")
        return meant

    def _leader(self) -> str | None:
        """The node of the latest term among those that report themselves leader."""
        leaders = [status for status in self.cluster.statuses().values() if status and status.role == "Leader"]
        return max(leaders, key=lambda status: status.term).name if leaders else None

    def crash(self, fault: Crash) -> AbstractContextManager[None]:
        node = self._meant(fault.node)
        if fault.torn:
            return self.cluster.torn(node)
        return self.cluster.node_faults.lasting(node, NodeKind.DOWN, NodeState(down=True))

    def on_node(self, fault: Pause | SlowDisk | FullDisk | Drift) -> AbstractContextManager[None]:
        kind, does = ON_NODES[type(fault)]
        return self.cluster.node_faults.lasting(self._meant(fault.node), kind, does(fault))

    def on_links(self, fault: Cut | Delay | Limit) -> AbstractContextManager[None]:
        network, links = self.cluster.network, fault.links(self.cluster.nodes, self._meant)
        match fault:
            case Cut(mode=mode):
                return network.cutting(links, mode)
            case Delay(latency_ms=latency_ms, jitter_ms=jitter_ms):
                return network.delayed(links, latency_ms, jitter_ms)
            case Limit(rate_kib_s=rate_kib_s):
                return network.limited(links, rate_kib_s)

    def noise(self, fault: Noise) -> AbstractContextManager[None]:
        return self.cluster.noise(loss=fault.loss, duplication=fault.duplication, reordering=fault.reordering)

    # What is asked

    def _workers(self, scripts: Sequence[Script], nodes: Sequence[str], pace: Pace) -> Workers:
        workers = self.cluster.workers(scripts, nodes, pace)
        self._at_work.append(workers)
        return workers

    def _look(self) -> None:
        """Let a little time pass. Raises the error that ended a client early, which is no mistake of a node's."""
        self.cluster.look()
        self.cluster.pass_time(self.cluster.now_s + LOOK_S)
        for workers in self._at_work:
            _ = workers.idle

    @contextmanager
    def clients(self, fault: Clients) -> Iterator[None]:
        case = self.case
        numbers = list(itertools.islice(self._clients, fault.number))
        scripts = [
            script_of(case.workload, number, self._random(f"client/{number}"), retries=case.retries)
            for number in numbers
        ]
        workers = self._workers(scripts, self.cluster.nodes, Pace(PAUSE_S, case.rate_per_s))
        workers.start()
        try:
            yield
        finally:
            workers.stop()

    def ask(self, fault: Ask) -> AbstractContextManager[None]:
        # Another node may lead at the next try.
        whom = fault.node if fault.node == "leader" else self._meant(fault.node)
        return self._asking(whom, self._resolved(fault.what), self._end_of(fault))

    @contextmanager
    def join_astray(self, fault: JoinAstray) -> Iterator[None]:
        node = self._meant(fault.node)
        with self.cluster.astray(node) as address, self._asking("leader", Join(node, address), self._end_of(fault)):
            yield

    @contextmanager
    def move(self, fault: Move) -> Iterator[None]:
        node = self._meant(fault.node)
        with self.cluster.moved(node), self._asking("leader", Join(node), self._end_of(fault)):
            yield

    def _end_of(self, fault: Fault) -> float:
        return self._began_s + fault.at_s + fault.for_s

    @contextmanager
    def _asking(self, whom: str, asked: Question, until_s: float) -> Iterator[None]:
        """Ask at once, and again until it is done, the block ends, or the time comes near `until_s`."""
        script = until_done(asked, lambda: self.cluster.now_s + RETRY_S < until_s)
        workers = self._workers([script], [whom], Pace(RETRY_S))
        workers.start(at_once=True)
        try:
            yield
        finally:
            workers.stop()

    def _resolved(self, asked: Question) -> Question:
        """The question with nodes in the place of roles."""
        match asked:
            case Join(node=node) | Leave(node=node):
                return with_changes(asked, node=self._meant(node))
            case Transfer(to=to) if to:
                return with_changes(asked, to=self._meant(to))
            case _:
                return asked

    # The end

    def _settle(self) -> None:
        deadline_s = self.cluster.now_s + PATIENCE * self.case.settings.election_timeout_s + self._late_s()
        read_back = -1
        # A write that is still under way may be acknowledged meanwhile.
        while read_back != (acknowledged := self._acknowledged()):
            read_back = acknowledged
            self._wait_until_agreed(deadline_s)
            self._read_back(deadline_s)
        for wish in LAST_WISHES:
            self._wait_until_served(wish, deadline_s)
        self.cluster.at_rest()

    def _late_s(self) -> float:
        """How late messages and saves that began under faults may still be when the faults are over."""
        faults = self.case.schedule.faults
        saves_ms = sum(fault.latency_ms for fault in faults if isinstance(fault, SlowDisk))
        messages_ms = sum(fault.latency_ms + fault.jitter_ms for fault in faults if isinstance(fault, Delay))
        return (saves_ms + messages_ms) / 1000

    def _wait_until_agreed(self, deadline_s: float) -> None:
        """Convergence: with every fault over, all members come to hold and to have applied the same log, whose
        configuration has their real addresses."""
        cluster = self.cluster
        with ExitStack() as asking:
            corrected_s: dict[str, float] = {}
            while self._elsewhere() or not cluster.agreed():
                if cluster.now_s >= deadline_s:
                    states = "; ".join(f"{node}: {status or 'silent'}" for node, status in cluster.statuses().items())
                    raise PromiseBrokenError("all_agree_in_the_end", states)
                for node in self._elsewhere():
                    # Again after a while: an earlier request may have arrived only after this one.
                    if cluster.now_s - corrected_s.get(node, -math.inf) >= CORRECT_AGAIN_S:
                        corrected_s[node] = cluster.now_s
                        asking.enter_context(self._asking("leader", Join(node), deadline_s))
                self._look()

    def _acknowledged(self) -> int:
        """How many writes are acknowledged."""
        history = self.cluster.history
        return sum(one.outcome is Outcome.OK and isinstance(one.asked, Writing) for one in history)

    def _read_back(self, deadline_s: float) -> None:
        """Have every member read all acknowledged keys, for the check that they are there."""
        keys = acknowledged_keys(self.cluster.history)
        leader = self._leader()
        status = self.cluster.status(leader) if leader is not None else None
        for node in status.members if status else ():
            for start in range(0, len(keys), AT_ONCE):
                self._wait_until_served(GetAll(tuple(keys[start : start + AT_ONCE])), deadline_s, node)

    def _elsewhere(self) -> list[str]:
        """Members whose address is not the one in the leader's configuration."""
        leader = self._leader()
        status = self.cluster.status(leader) if leader is not None else None
        return [node for node, said in status.addresses.items() if said != self.cluster.address(node)] if status else []

    def _wait_until_served(self, asked: Question, deadline_s: float, by: str = "leader") -> None:
        """Liveness as clients see it: with every fault over, the leader takes writes and answers reads."""
        cluster = self.cluster
        heard: list[Operation] = []
        workers = self._workers([_until_heard(asked, heard)], [by], Pace(RETRY_S))
        workers.start(at_once=True)
        while not heard or heard[-1].outcome is not Outcome.OK:
            if cluster.now_s >= deadline_s:
                reason = heard[-1].reason if heard else "no answer"
                raise PromiseBrokenError("clients_are_served_in_the_end", f"{question(asked)}: {reason}")
            self._look()
        workers.stop()

    def _random(self, name: str) -> random.Random:
        """One part's own random numbers, which stay the same when another part draws more or fewer."""
        return random.Random(f"{self.case.seed}/{name}")


def _until_heard(asked: Question, heard: list[Operation]) -> Script:
    """Asks until the answer is OK; `heard` gets what came of each try."""
    while not heard or heard[-1].outcome is not Outcome.OK:
        heard.append((yield asked))


Begin = Callable[[Player, Any], AbstractContextManager[None]]

BEGIN: dict[type[Fault], Begin] = {
    Crash: Player.crash,
    Pause: Player.on_node,
    Drift: Player.on_node,
    SlowDisk: Player.on_node,
    FullDisk: Player.on_node,
    Cut: Player.on_links,
    Delay: Player.on_links,
    Limit: Player.on_links,
    Noise: Player.noise,
    Clients: Player.clients,
    Ask: Player.ask,
    JoinAstray: Player.join_astray,
    Move: Player.move,
}
"""Each fault as a block; the fault is over when the block ends."""

ON_NODES: dict[type[Fault], tuple[NodeKind, Callable[[Any], NodeState]]] = {
    Pause: (NodeKind.PAUSE, lambda _: NodeState(paused=True)),
    Drift: (NodeKind.CLOCK, lambda fault: NodeState(clock_rate=fault.rate)),
    SlowDisk: (NodeKind.SLOW_DISK, lambda fault: NodeState(disk_latency_ms=fault.latency_ms)),
    FullDisk: (NodeKind.FULL_DISK, lambda _: NodeState(disk_full=True)),
}
