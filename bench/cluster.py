"""``Cluster``: what a scenario and a case may say, in whichever world they are played.

A scenario is a plain function of one argument, a `Cluster`. It names nodes, asks who leads, breaks things, waits for
conditions and writes through clients; it never mentions a process, a socket, a thread or a clock, so the same lines
run on real processes (`bench.live`) and in virtual time. `bench.player` plays a case in the same words. The rules:

* Roles resolve when asked: every method of a cluster that takes a node takes ``"leader"`` and ``"follower"`` too, and
  means whoever holds the role at that instant. Links are between nodes by name.
* Waits name their condition and carry a deadline; running out of it raises `WaitTimeoutError`, whose text says what was
  awaited and what was seen last. Nothing sleeps.
* What clients ask and are told is in `Cluster.history`, from before it is sent, with OK, FAILED or UNKNOWN and never a
  guess.
* Faults overlap, and each ends alone. Those on links are ``with`` blocks and commands of `Cluster.network`, those on
  nodes of `Cluster.node_faults`; `kill` and its like are commands, undone by `restart` and `resume`.
* Not every world and system can do everything. `can` says why not, by a name of `NEEDS`; who asks for it all the same
  is refused with `CannotError`.
"""

from __future__ import annotations

import abc
import contextlib
import itertools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol, Self, TypeVar

from bench.case import Plan
from bench.evidence import Record
from bench.history import Event, History
from bench.operations import (
    Cas,
    Delete,
    DeleteAll,
    Freshness,
    Get,
    GetAll,
    Item,
    Join,
    Leave,
    Operation,
    Put,
    Question,
    SetAll,
    TakeSnapshot,
    Transfer,
)
from bench.schedule import AnyFault
from bench.workload import PAUSE_S, Script, distinct_writes
from faults.network import NetworkFaults
from faults.nodes import NodeFaults, NodeKind, NodeState

T = TypeVar("T")

ROLES = {"leader": "Leader", "follower": "Follower"}
"""What stands for whoever holds the role, and what a status calls it."""

NEEDS = {
    "slow_disk": "a node's saves take longer",
    "full_disk": "a node can save nothing more",
    "torn_saves": "a node dies in the middle of a save, of which a part stays",
    "memory_limit": "a node gets no more memory",
    "clocks": "a node's clock runs fast or slow",
    "noise": "single messages are lost, doubled or overtaken",
    "moves": "a node lives at another address",
    "snapshot_files": "a node's snapshots are counted, and damaged",
    "flaws": "a node breaks a rule on purpose",
    "join": "a node is let in",
    "leave": "a node is let go",
    "transfer": "the leader hands over",
    "snapshot": "a node takes a snapshot when asked",
    "batches": "several keys are written at once",
    "identity": "a write that is asked for again takes effect once",
}
"""What not every world or system can do, by the names that `Cluster.can` is asked."""

UP_DEADLINE_S = 15.0
MOST_REDIRECTS = 5
"""As many as a client follows for one question."""

OVER_BY_RESTART = (NodeKind.DOWN, NodeKind.PAUSE, NodeKind.FULL_DISK, NodeKind.NO_MEMORY)
"""What ends with the process that it was done to."""


class WaitTimeoutError(Exception):
    """A named condition did not come true before its deadline."""


class DidNotStartError(WaitTimeoutError):
    """A node has ended instead of answering; the text has the end of what it said."""


class PromiseBrokenError(Exception):
    """The nodes were seen, while a run went on, to break a promise: its name, and what was seen."""

    def __init__(self, promise: str, words: str) -> None:
        super().__init__(f"{promise}: {words}")
        self.promise = promise
        self.words = words

    def __reduce__(self) -> tuple[type[PromiseBrokenError], tuple[str, str]]:
        return type(self), (self.promise, self.words)


class NoSuchNodeError(LookupError):
    """A name that is neither a node of this cluster nor a role somebody holds now."""


class CannotError(Exception):
    """This cluster cannot do what was asked of it; the text says why."""


@dataclass(frozen=True)
class NodeStatus:
    """What a node says of itself, asked behind the faults' back."""

    name: str
    role: str
    """``Follower``, ``Candidate``, ``Leader`` or ``Shutdown``."""
    term: int
    leader: str | None
    last_index: int
    commit_index: int
    applied_index: int
    log_digest: str
    """Hash chain over every applied entry: equal at an equal ``applied_index`` on nodes that agree."""
    addresses: Mapping[str, str] = field(default_factory=dict)
    """Of each member, where it lives."""
    staged: tuple[str, ...] = ()
    """Members that do not vote yet."""
    snapshot_index: int = 0
    """The last entry that its newest snapshot stands for, taken or installed; 0 is none."""

    @property
    def members(self) -> tuple[str, ...]:
        return tuple(self.addresses)

    @property
    def voters(self) -> tuple[str, ...]:
        return tuple(node for node in self.addresses if node not in self.staged)

    def __str__(self) -> str:
        led = "" if self.role == "Leader" else f", led by {self.leader or 'nobody'}"
        indices = f"committed {self.commit_index} and applied {self.applied_index} of {self.last_index}"
        return f"{self.role} in term {self.term}{led}, has {indices}"


def of_one_mind(statuses: Mapping[str, NodeStatus | None]) -> bool:
    """Whether one of these running nodes leads, and all the members among them follow it and have applied its log.

    All of it: a new leader and its followers may all have an acknowledged write and not yet know that it is committed.
    """
    leader = next((status for status in statuses.values() if status is not None and status.role == "Leader"), None)
    if leader is None or leader.applied_index < leader.last_index:
        return False
    members = [status for name, status in statuses.items() if name in leader.members]
    told = {(s.leader, s.last_index, s.commit_index, s.applied_index, s.log_digest) if s else None for s in members}
    return None not in told and len(told) == 1


class Client:
    """One client of one node. Each call is one recorded operation; none of them follows a redirect."""

    def __init__(self, ask: Callable[[Question], Operation]) -> None:
        self.ask = ask
        """Whatever can be asked, and what came of it."""

    def put(self, key: str, value: str) -> Operation:
        return self.ask(Put(key, value))

    def get(self, key: str, *, consistent: bool = False) -> Operation:
        return self.ask(Get(key, Freshness.LINEARIZABLE if consistent else Freshness.STALE))

    def delete(self, key: str) -> Operation:
        return self.ask(Delete(key))

    def cas(self, key: str, value: str, expected_index: int) -> Operation:
        return self.ask(Cas(key, value, expected_index))

    # Batches: all or nothing

    def set_all(self, values: Mapping[str, str], expected: Mapping[str, int] | None = None) -> Operation:
        """With `expected`, only if each key's modify_index is that; 0 is a key that is not there."""
        return self.ask(SetAll(tuple(Item(key, value, (expected or {}).get(key)) for key, value in values.items())))

    def delete_all(self, keys: Sequence[str], expected: Mapping[str, int] | None = None) -> Operation:
        return self.ask(DeleteAll(tuple(Item(key, None, (expected or {}).get(key)) for key in keys)))

    def get_all(self, keys: Sequence[str]) -> Operation:
        """A stale read of all of them at one instant; its `values` are those that are there."""
        return self.ask(GetAll(tuple(keys)))

    # What an operator asks

    def join(self, node: str) -> Operation:
        """Done when the node votes."""
        return self.ask(Join(node))

    def leave(self, node: str) -> Operation:
        """Done when the node is no member any more."""
        return self.ask(Leave(node))

    def transfer(self, to: str = "") -> Operation:
        """Done when another node leads; `to` is which, if it matters."""
        return self.ask(Transfer(to))

    def snapshot(self) -> Operation:
        """Have this node take one."""
        return self.ask(TakeSnapshot())


class Workers(Protocol):
    """Clients in the background, one for each script; see `Cluster.workers`."""

    @property
    def idle(self) -> bool:
        """Whether nothing is being asked any more."""
        ...

    def acknowledged(self) -> int:
        """How many of their writes, and of what they asked as operators, have been acknowledged up to now."""
        ...

    def start(self, *, at_once: bool = False) -> None:
        """Begin to ask: after a pause, or `at_once`."""
        ...

    def stop(self) -> None:
        """Ask nothing more; what is under way still gets its answer. Returns at once."""
        ...


class Recorder(Protocol):
    """Who writes down what happens, as it happens, and from any thread."""

    def event(self, event: Event) -> None:
        """Of the history."""
        ...

    def note(self, record: Record) -> None:
        """Of the timeline."""
        ...


class Cluster(abc.ABC):
    """What each world has of its own is abstract; what follows from that is here, once for all worlds.

    Entering it starts every node, and returns when each has been told of the others: one that is cut off before would
    know of no cluster. `opened` is the same without that, for who decides when each starts. Whatever goes wrong on the
    way, and on every way out, nothing stays behind.
    """

    network: NetworkFaults
    broken: PromiseBrokenError | None = None
    """What was raised for a broken promise first, in case that a story keeps it to itself."""

    def __init__(self, plan: Plan, recorder: Recorder | None) -> None:
        self.plan = plan
        self.history = History(recorder.event if recorder is not None else None)
        self.timeline: list[Record] = []
        """What was done to the cluster, in order."""
        self.node_faults = NodeFaults(plan.nodes, self._enforce)
        self._recorder = recorder
        self._exits = contextlib.ExitStack()
        self._wiped: set[str] = set()
        self._series = itertools.count()
        self._client_numbers = itertools.count()

    # From beginning to end

    @abc.abstractmethod
    def opened(self) -> AbstractContextManager[Self]:
        """Everything is there but running nodes; in the end all is stopped that was started."""

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as exits:
            exits.enter_context(self.opened())
            self.start_all()
            self._exits = exits.pop_all()
        return self

    def __exit__(self, *failure: Any) -> None:
        self._exits.__exit__(*failure)

    def stop(self) -> None:
        """Stop everything; harmless when done before."""
        self._exits.close()

    def start_all(self) -> None:
        """Start every node, and wait until each has been told of the others."""
        for node in self.nodes:
            self.start(node)
        what = "every node has been told of the others"
        self.wait_until(lambda: all(map(self._is_up, self.nodes)), what, UP_DEADLINE_S)

    def start(self, node: str) -> None:
        """Unless it runs, or a fault keeps it from running."""
        with self.node_faults.lock:
            if self.node_faults.state(node).may_start and not self._has_process(node):
                self._start(node, founds=node == self.plan.members[0] and node not in self._wiped)

    def at_rest(self) -> None:
        """To be called when a case has come to its end and all are agreed: what can still be looked at then. Raises
        PromiseBrokenError."""
        for node in self.nodes:
            if not self.is_running(node):
                raise PromiseBrokenError("nothing_fails", f"{node} has stopped by itself")

    def _is_up(self, node: str) -> bool:
        if not self._answers(node):
            return False
        status = self.status(node)
        return status is not None and (bool(status.members) or node not in self.plan.members)

    def _answers(self, node: str) -> bool:
        """Whether it does by now. Raises DidNotStartError if it never will."""
        return self.status(node) is not None

    # What each world has of its own

    @property
    @abc.abstractmethod
    def now_s(self) -> float:
        """On the clock that the whole run is told on."""

    @abc.abstractmethod
    def pass_time(self, until_s: float) -> None:
        """Let things happen until then. For players of cases; a scenario waits for conditions."""

    @abc.abstractmethod
    def can(self, need: str) -> str | None:
        """None if the cluster can do this, one of `NEEDS`; else the reason why not."""

    @abc.abstractmethod
    def status(self, node: str) -> NodeStatus | None:
        """What the node says of itself, None when it does not answer."""

    @abc.abstractmethod
    def is_running(self, node: str) -> bool:
        """Neither killed nor paused."""

    @abc.abstractmethod
    def address(self, node: str) -> str:
        """Where its peers reach it, as it says of itself."""

    @abc.abstractmethod
    def ask(self, client: int, node: str, asked: Question) -> Operation:
        """Have this client ask, and wait for what comes of it."""

    @abc.abstractmethod
    def workers(self, scripts: Sequence[Script], nodes: Sequence[str], pause_s: float = PAUSE_S) -> Workers:
        """One client for each script, which asks what that says, one after the other, with so long a pause between on
        average, until it is stopped or its script ends.

        Whoever is not served goes to the next of `nodes`, and there asks what its script says next: the same write
        again if it is `bench.workload.retrying`. A role is whoever holds it when asked.
        """

    @abc.abstractmethod
    def wait_until(self, condition: Callable[[], T | None], what: str, timeout_s: float = 20.0) -> T:
        """The condition's first true value. Raises `WaitTimeoutError` naming `what` and the statuses seen last."""

    @abc.abstractmethod
    def _has_process(self, node: str) -> bool:
        """Whether there is one, or is about to be one."""

    @abc.abstractmethod
    def _start(self, node: str, *, founds: bool) -> None:
        """Start its process; one that `founds` the cluster does so unless it has data."""

    @abc.abstractmethod
    def _wipe(self, node: str) -> None:
        """Delete the data of a node that is down."""

    @abc.abstractmethod
    def _ask_to_stop(self, node: str) -> None:
        """Have it end by itself; returns once it has."""

    @abc.abstractmethod
    def _enforce(self, node: str, former: NodeState, state: NodeState) -> None:
        """Bring into force what lasts on the node now."""

    # What is done to nodes

    def kill(self, node: str) -> str:
        """kill -9; returns the node's name once it is dead and reaped."""
        node = self.resolve(node)
        self.node_faults.command(node, NodeKind.DOWN, NodeState(down=True))
        return node

    def restart(self, node: str, *, wipe: bool = False) -> str:
        """Start it again on the same data (with `wipe`, on none), and wait until it answers; kills it first if it runs.
        Raises DidNotStartError."""
        node = self.kill(node)
        if wipe:
            self._wipe(node)
            self._wiped.add(node)
        self.node_faults.heal(node, OVER_BY_RESTART)
        self.note("restart", node=node, wipe=wipe)
        if self.node_faults.state(node).may_start:
            self.wait_until(lambda: self._answers(node), f"{node} answers after it was started", UP_DEADLINE_S)
        return node

    def shut_down(self, node: str) -> str:
        """Have it stop by itself, as an operator does: a leader hands over first. Returns once it has ended."""
        node = self._running(node)
        self._ask_to_stop(node)
        return self.kill(node)

    def pause(self, node: str) -> str:
        node = self._running(node)
        self.node_faults.command(node, NodeKind.PAUSE, NodeState(paused=True))
        return node

    def resume(self, node: str) -> str:
        node = self._running(node)
        self.node_faults.heal(node, [NodeKind.PAUSE])
        return node

    def fill_disk(self, node: str) -> str:
        """From now on it can write nothing more, until it is started again. Returns once it has stopped because of it,
        which takes something to be written."""
        self._must_can("full_disk")
        return self._starve(node, NodeKind.FULL_DISK, NodeState(disk_full=True), "its disk is full")

    def exhaust_memory(self, node: str) -> str:
        """From now on it gets no more memory, until it is started again. Returns once it has stopped because of it,
        which takes something to be written."""
        self._must_can("memory_limit")
        return self._starve(node, NodeKind.NO_MEMORY, NodeState(memory_full=True), "its memory is used up")

    def slow_disk(self, node: str, latency_ms: float) -> str:
        """From now on each of its saves takes so much longer than by itself; 0 is over."""
        self._must_can("slow_disk")
        node = self.resolve(node)
        self.node_faults.command(node, NodeKind.SLOW_DISK, NodeState(disk_latency_ms=latency_ms))
        self.note("slow_disk", node=node, latency_ms=latency_ms)
        return node

    def set_clock_rate(self, node: str, rate: float) -> str:
        """From now on its clock runs so many seconds in a second, whatever it was told before; at 0 it stands still."""
        self._must_can("clocks")
        node = self.resolve(node)
        self.node_faults.command(node, NodeKind.CLOCK, NodeState(clock_rate=rate))
        return node

    def noise(
        self, *, loss: float = 0.0, duplication: float = 0.0, reordering: float = 0.0
    ) -> AbstractContextManager[None]:
        """Until the block ends each message between nodes is lost, doubled or overtaken with these probabilities, and
        each request of a client doubled. Raises ValueError for what is no probability."""
        self._must_can("noise")
        return self.network.noisy(loss=loss, duplication=duplication, reordering=reordering)

    def torn(self, node: str) -> AbstractContextManager[None]:
        """Killed in the middle of its next save, of which a part stays, and down until the block ends; if it saves
        nothing by then, nothing happens."""
        raise CannotError(self.can("torn_saves"))

    def moved(self, node: str) -> AbstractContextManager[None]:
        """It is stopped and comes back at another address. Its former one leads nowhere until the block ends."""
        raise CannotError(self.can("moves"))

    def astray(self, node: str) -> AbstractContextManager[str]:
        """An address that leads nowhere until the block ends, and then to the node."""
        raise CannotError(self.can("moves"))

    def snapshots(self, node: str) -> int:
        """How many its data folder holds that are not known to be damaged."""
        raise CannotError(self.can("snapshot_files"))

    def damage_snapshot(self, node: str) -> str:
        """Turn over a bit in the newest snapshot of a node that is down."""
        raise CannotError(self.can("snapshot_files"))

    def _starve(self, node: str, kind: NodeKind, does: NodeState, reason: str) -> str:
        node = self._running(node)
        self.node_faults.command(node, kind, does)
        self.note(kind.value.replace(" ", "_"), node=node)
        self.wait_until(lambda: not self._has_process(node), f"{node} stops because {reason}")
        return self.kill(node)

    def _must_can(self, need: str) -> None:
        reason = self.can(need)
        if reason is not None:
            raise CannotError(reason)

    def _running(self, node: str) -> str:
        """Its name. Raises NoSuchNodeError if it is down."""
        node = self.resolve(node)
        if not self._has_process(node):
            raise NoSuchNodeError(f"{node} is down; start it with: restart {node}")
        return node

    # What can be seen

    @property
    def nodes(self) -> tuple[str, ...]:
        """All nodes there are, members or not."""
        return self.plan.nodes

    def resolve(self, name: str) -> str:
        """The node a name or role means now. Raises `NoSuchNodeError`."""
        if name in self.nodes:
            return name
        if name not in ROLES:
            raise NoSuchNodeError(f"there is no node {name}; there are {', '.join(self.nodes)}, leader and follower")
        for node in self.nodes:
            if self.role(node) == ROLES[name]:
                return node
        raise NoSuchNodeError(f"nobody is {name} right now; try again, or name one of {', '.join(self.nodes)}")

    def statuses(self) -> dict[str, NodeStatus | None]:
        return {node: self.status(node) for node in self.nodes}

    def leads(self, node: str) -> bool:
        """Whether the node reports itself leader at this instant."""
        return self.role(node) == "Leader"

    def role(self, node: str) -> str | None:
        """``Follower``, ``Candidate`` or ``Leader``; None when it does not answer."""
        status = self.status(node)
        return status.role if status else None

    def term(self, node: str) -> int | None:
        status = self.status(node)
        return status.term if status else None

    def caught_up(self, node: str) -> bool:
        """Whether the node has applied everything that the leader had committed when this was asked."""
        leader = next((status for status in self.statuses().values() if status and status.role == "Leader"), None)
        status = self.status(node)
        return bool(leader and status and status.applied_index >= leader.commit_index)

    # Clients

    def client(self, node: str) -> Client:
        """A client that talks to this node alone, through its client link."""
        number, name = self.new_client(), self.resolve(node)
        return Client(lambda asked: self.ask(number, name, asked))

    def follower_of_redirects(self, node: str) -> Client:
        """A client that asks this node first, and then whom it is sent to. Each question on the way is an operation of
        its own in the history, with where the client was sent."""
        number, first = self.new_client(), self.resolve(node)

        def ask(asked: Question) -> Operation:
            told = self.ask(number, first, asked)
            for _ in range(MOST_REDIRECTS):
                if told.told.elsewhere not in self.nodes:
                    break
                told = self.ask(number, told.told.elsewhere, asked)
            return told

        return Client(ask)

    def new_client(self) -> int:
        """The number of a client that there has not been before."""
        return next(self._client_numbers)

    @contextlib.contextmanager
    def working(self, scripts: Sequence[Script], nodes: Collection[str] | None = None) -> Iterator[Workers]:
        """`workers` at work until the block ends, and then until each has its last answer."""
        workers = self.workers(scripts, list(nodes or self.nodes))
        workers.start()
        try:
            yield workers
        finally:
            workers.stop()
            self.wait_until(lambda: workers.idle, "the workers' last answers", self.plan.settings.client_timeout_s + 20)

    def writing(self, clients: int = 3, nodes: Collection[str] | None = None) -> AbstractContextManager[Workers]:
        """Clients that each write distinct keys, one after the other, following the leader, until the block ends."""
        series = next(self._series)
        return self.working([distinct_writes(series, turn) for turn in range(clients)], nodes)

    # Waiting

    def wait_for_leader(
        self, *, other_than: str | None = None, among: Sequence[str] | None = None, timeout_s: float = 20.0
    ) -> str:
        """The node that reports itself leader and that a majority of the members follow, and know of."""

        def elected() -> str | None:
            statuses = {node: status for node, status in self.statuses().items() if status}
            for node, status in statuses.items():
                if status.role != "Leader" or node == other_than or node not in (among or self.nodes):
                    continue
                # A follower without a log knows no members. Were the founder killed before a majority does, nobody
                # left could tell what a majority is, and nobody would ever stand for election.
                followers = [s for s in statuses.values() if s.leader == node and s.term == status.term and s.members]
                if len(followers) * 2 > len(status.members):
                    return node
            return None

        return self.wait_until(elected, "a leader whom a majority follows", timeout_s)

    def wait_until_agreed(self, timeout_s: float = 20.0) -> None:
        """Until every running member has applied the same log to the same index, and all name one leader."""

        self.wait_until(self.agreed, "all running members have applied one log and follow one leader", timeout_s)

    def agreed(self) -> bool:
        """Whether that is so now. What was acknowledged before this was asked is then on every one of them, and the
        timeline says so, for who judges what they read later."""
        since_s = self.now_s
        statuses = {node: self.status(node) for node in self.nodes if self.is_running(node)}
        found = of_one_mind(statuses)
        if found:
            members = next(status.members for status in statuses.values() if status and status.role == "Leader")
            self.note("agreed", since_s=since_s, nodes=[node for node in members if node in statuses])
        return found

    # What was done

    def note(self, event: str, **fields: object) -> None:
        """Write this in the timeline, now."""
        record = {"at_s": self.now_s, "event": event, **fields}
        self.timeline.append(record)
        if self._recorder is not None:
            self._recorder.note(record)

    def tell(self, fault: AnyFault, *, over: bool = False) -> None:
        """A fault of a case begins, or is over."""
        self.note("over" if over else "begins", fault=fault)

    def remark(self, words: str) -> None:
        """For whoever reads what happened."""
        self.note("remark", words=words)
