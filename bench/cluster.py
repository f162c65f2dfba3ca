"""``Cluster``: what scenarios and cases may say, in either world.

A scenario is a plain function of one argument, a `Cluster`. It names nodes, asks who leads, breaks things, waits for
conditions and writes through clients; it never mentions a process, a socket, a thread or a clock, so the same lines
run on real processes (`bench.live`) and in virtual time. `bench.player` plays a case in the same words. The rules:

* Roles resolve when asked: every method of a cluster that takes a node takes ``"leader"`` and ``"follower"`` too, and
  means a node that has the role at that instant. Links are between nodes by name.
* A wait names its condition and has a deadline. After that it raises `WaitTimeoutError`, whose text says what was
  awaited and what was seen last. Nothing sleeps.
* `Cluster.history` has every question, from before it is sent, and its outcome: OK, FAILED or UNKNOWN, never a guess.
* Faults overlap, and each ends independently of the others. Faults on links are ``with`` blocks and commands of
  `Cluster.network`, those on nodes of `Cluster.node_faults`. `kill` and its like are commands, undone by `restart` and
  `resume`.
* Not every world or system can do everything. `can` takes a name from `NEEDS` and says why not; asking for it all the
  same raises `CannotError`.
"""

from __future__ import annotations

import abc
import contextlib
import itertools
import random
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol, Self, TypeVar

from bench.case import Plan
from bench.evidence import ERROR, SAID, Record, Said
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
from bench.words import Hindered, hindrances, nobody
from bench.workload import BRISK, Pace, Script, distinct_writes, script_of
from faults.links import CLIENT, Link
from faults.network import NetworkFaults
from faults.nodes import NodeFaults, NodeKind, NodeState
from faults.stillness import Stillness

T = TypeVar("T")

ROLES = {"leader": "Leader", "follower": "Follower"}
"""The names that stand for a node with that role, and what a status calls the role."""

NEEDS = {
    "slow_disk": "a node's saves take longer",
    "full_disk": "a node can save nothing more",
    "failed_save": "one save of a node fails, and those after it succeed",
    "older_disk": "a node comes back with an older copy of its disk",
    "lost_files": "a node comes back without some of its files",
    "torn_saves": "a node dies in the middle of a save, and part of it stays",
    "memory_limit": "a node gets no more memory",
    "clocks": "a node's clock runs fast or slow",
    "noise": "single messages are lost, duplicated or reordered",
    "moves": "a node lives at another address",
    "snapshot_files": "a node's snapshots are counted, and damaged",
    "flaws": "a node breaks a rule on purpose",
    "join": "a node joins",
    "leave": "a node leaves",
    "transfer": "the leader hands over",
    "snapshot": "a node takes a snapshot when asked",
    "batches": "several keys are written at once",
    "identity": "a write that is asked for again takes effect once",
}
"""What some world or system cannot do, by the name that `Cluster.can` is asked."""

UP_DEADLINE_S = 15.0
MOST_REDIRECTS = 5
"""How many a client follows for one question."""

OVER_BY_RESTART = (NodeKind.DOWN, NodeKind.PAUSE, NodeKind.FULL_DISK, NodeKind.FAILED_SAVE, NodeKind.NO_MEMORY)
"""Faults that end with the process they were done to."""


class WaitTimeoutError(Exception):
    """A named condition did not come true before its deadline."""


class DidNotStartError(WaitTimeoutError):
    """A node ended instead of answering; the text has the end of its output."""


class PromiseBrokenError(Exception):
    """The nodes were seen to break a promise during the run: the promise's name, and what was seen."""

    def __init__(self, promise: str, words: str, *, indexes: tuple[int, ...] = (), at_s: float | None = None) -> None:
        super().__init__(f"{promise}: {words}")
        self.promise = promise
        self.words = words
        self.indexes = indexes
        """Where in the log it was broken."""
        self.at_s = at_s
        """When it was seen, on the clock of the run."""

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.promise, self.words), {"indexes": self.indexes, "at_s": self.at_s}


class NoSuchNodeError(LookupError):
    """A name that is neither a node of this cluster nor a role that some node has now."""


class CannotError(Exception):
    """This cluster cannot do what was asked of it; the text says why."""


@dataclass(frozen=True, repr=False)
class NodeStatus:
    """What a node says of itself, asked on a path that faults do not touch."""

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
    """Each member's address."""
    staged: tuple[str, ...] = ()
    """Members that do not vote yet."""
    snapshot_index: int = 0
    """The last entry that its newest snapshot includes, taken or installed; 0 if it has none."""

    @property
    def members(self) -> tuple[str, ...]:
        return tuple(self.addresses)

    @property
    def voters(self) -> tuple[str, ...]:
        return tuple(node for node in self.addresses if node not in self.staged)

    def __repr__(self) -> str:
        """In a line, as a failed assertion shows it."""
        return f"<{self.name}: {self}>"

    def __str__(self) -> str:
        led = "" if self.role == "Leader" else f", led by {self.leader or 'nobody'}"
        indices = f"committed {self.commit_index} and applied {self.applied_index} of {self.last_index}"
        return f"{self.role} in term {self.term}{led}, has {indices}"


def of_one_mind(statuses: Mapping[str, NodeStatus | None]) -> bool:
    """Whether one of these running nodes leads, and all the members among them follow it and have applied its whole
    log.

    The whole log: a new leader and its followers may all hold an acknowledged write and not yet know that it is
    committed.
    """
    leader = next((status for status in statuses.values() if status is not None and status.role == "Leader"), None)
    if leader is None or leader.applied_index < leader.last_index:
        return False
    members = [status for name, status in statuses.items() if name in leader.members]
    told = {(s.leader, s.last_index, s.commit_index, s.applied_index, s.log_digest) if s else None for s in members}
    return None not in told and len(told) == 1


def members_of(statuses: Iterable[NodeStatus | None]) -> dict[str, str]:
    """Each member as ``voter`` or ``staged``, as the newest leader sees it; where nobody leads, as who has the highest
    term and the longest log does."""
    knowing = [status for status in statuses if status is not None and status.members]
    if not knowing:
        return {}
    newest = max(knowing, key=lambda status: (status.role == "Leader", status.term, status.last_index))
    return {node: "staged" if node in newest.staged else "voter" for node in newest.members}


class Client:
    """One client of one node. Each call is one recorded operation, and none follows a redirect."""

    def __init__(self, ask: Callable[[Question], Operation]) -> None:
        self.ask = ask
        """Asks any question, and returns what came of it."""

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
        """With `expected`, only if each key has that modify_index; 0 means that the key is absent."""
        return self.ask(SetAll(tuple(Item(key, value, (expected or {}).get(key)) for key, value in values.items())))

    def delete_all(self, keys: Sequence[str], expected: Mapping[str, int] | None = None) -> Operation:
        return self.ask(DeleteAll(tuple(Item(key, None, (expected or {}).get(key)) for key in keys)))

    def get_all(self, keys: Sequence[str]) -> Operation:
        """A stale read of all keys at one instant; its `values` are those that exist."""
        return self.ask(GetAll(tuple(keys)))

    # What an operator asks

    def join(self, node: str) -> Operation:
        """Done when the node votes."""
        return self.ask(Join(node))

    def leave(self, node: str) -> Operation:
        """Done when the node is no member any more."""
        return self.ask(Leave(node))

    def transfer(self, to: str = "") -> Operation:
        """Done when another node leads; `to` says which, if it matters."""
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
        """How many of their writes and operators' requests have been acknowledged so far."""
        ...

    def start(self, *, at_once: bool = False) -> None:
        """Begin to ask: after a pause, or `at_once`."""
        ...

    def stop(self) -> None:
        """Ask nothing more; questions under way still get their answers. Returns at once."""
        ...


class Recorder(Protocol):
    """Writes down what happens, as it happens, from any thread."""

    def event(self, event: Event) -> None:
        """Write an event of the history."""
        ...

    def note(self, record: Record) -> None:
        """Write a record of the timeline."""
        ...


class Cluster(abc.ABC):
    """What differs between worlds is abstract; what follows from that is here, once for all worlds.

    Entering a cluster starts every node, and returns when each has been told of the others: a node cut off before that
    would know of no cluster. `opened` starts no node, for callers that decide when each starts. Whatever goes wrong on
    the way in or out, nothing stays behind.
    """

    network: NetworkFaults
    broken: PromiseBrokenError | None = None
    """The first broken promise that was raised, in case a story swallows it."""

    def __init__(self, plan: Plan, recorder: Recorder | None) -> None:
        self.plan = plan
        self.history = History(recorder.event if recorder is not None else None)
        self.failed_s: float | None = None
        """When an error last ended a fault's block."""
        self.timeline: list[Record] = []
        """What was done to the cluster, in order."""
        self.still = Stillness(self._note_error)
        """Whether faults outlast the blocks that an error ends."""
        self.node_faults = NodeFaults(plan.nodes, self._enforce, self.still)
        self._recorder = recorder
        self._exits = contextlib.ExitStack()
        self._said: dict[str, Said] = {}
        """What each node said of itself when it was looked at last."""
        self._wiped: set[str] = set()
        self._copied: set[str] = set()
        """The nodes of whose disk there is a copy."""
        self._series = itertools.count()
        self._client_numbers = itertools.count()

    def __repr__(self) -> str:
        """Short, as a failed assertion shows it."""
        return f"<cluster of {', '.join(self.plan.nodes)}>"

    # From beginning to end

    @abc.abstractmethod
    def opened(self) -> AbstractContextManager[Self]:
        """Everything is there except running nodes; at the end, everything that was started is stopped."""

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
        """Start the node, unless it runs or a fault keeps it from running."""
        with self.node_faults.lock:
            if self.node_faults.state(node).may_start and not self._has_process(node):
                self._start(node, founds=node == self.plan.members[0] and node not in self._wiped)

    def at_rest(self) -> None:
        """Called at the end of a case, once all nodes agree: checks what can only be checked then. Raises
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
        """Whether the node answers by now. Raises DidNotStartError if it never will."""
        return self.status(node) is not None

    # What each world has of its own

    @property
    @abc.abstractmethod
    def now_s(self) -> float:
        """The time, on the clock of the whole run."""

    @abc.abstractmethod
    def pass_time(self, until_s: float) -> None:
        """Let things happen until then. For players of cases; a scenario waits for conditions."""

    @abc.abstractmethod
    def can(self, need: str) -> str | None:
        """None if the cluster can do what `need`, one of `NEEDS`, stands for; otherwise the reason why not."""

    @abc.abstractmethod
    def status(self, node: str) -> NodeStatus | None:
        """What the node says of itself; None if it does not answer."""

    @abc.abstractmethod
    def is_running(self, node: str) -> bool:
        """Neither killed nor paused."""

    @abc.abstractmethod
    def address(self, node: str) -> str:
        """Where its peers reach it, as the node itself says."""

    @abc.abstractmethod
    def ask(self, client: int, node: str, asked: Question) -> Operation:
        """Have this client ask, and wait for the outcome."""

    @abc.abstractmethod
    def workers(self, scripts: Sequence[Script], nodes: Sequence[str], pace: Pace = BRISK) -> Workers:
        """One client for each script. Each asks its script's questions in turn, at this pace, until it is stopped or
        its script ends.

        A client that is not served goes to the next of `nodes` and asks its script's next question there: the same
        write again if the script is `bench.workload.retrying`. A role means the node that has it when asked.
        """

    @abc.abstractmethod
    def wait_until(self, condition: Callable[[], T | None], what: str, timeout_s: float = 20.0) -> T:
        """The condition's first true value. Raises `WaitTimeoutError` naming `what` and the statuses seen last."""

    @abc.abstractmethod
    def _has_process(self, node: str) -> bool:
        """Whether the node has a process, or is about to have one."""

    @abc.abstractmethod
    def _start(self, node: str, *, founds: bool) -> None:
        """Start its process; with `founds`, it founds the cluster unless it has data."""

    @abc.abstractmethod
    def _wipe(self, node: str) -> None:
        """Delete the data of a node that is down."""

    def _copy_disk(self, node: str) -> None:
        """Keep a copy of the data of a node that is down."""
        raise CannotError(self.can("older_disk"))

    def _bring_back_disk(self, node: str) -> None:
        """Put that copy in the place of its data."""
        raise CannotError(self.can("older_disk"))

    def _kinds_of_files(self, node: str) -> Collection[str]:
        """Which kinds of files its data have."""
        raise CannotError(self.can("lost_files"))

    def _lose_files(self, node: str, kind: str) -> None:
        """Delete the files of this kind of a node that is down."""
        raise CannotError(self.can("lost_files"))

    @abc.abstractmethod
    def _ask_to_stop(self, node: str) -> None:
        """Have it end by itself; returns once it has."""

    @abc.abstractmethod
    def _enforce(self, node: str, former: NodeState, state: NodeState) -> None:
        """Bring into force what now lasts on the node."""

    # What is done to nodes

    def kill(self, node: str) -> str:
        """kill -9; returns the node's name once it is dead and reaped."""
        node = self.resolve(node)
        self.node_faults.command(node, NodeKind.DOWN, NodeState(down=True))
        return node

    def restart(self, node: str, *, wipe: bool = False, older: bool = False, without: str = "") -> str:
        """Kill the node if it runs, start it on the same data, and wait until it answers.

        With `wipe` its data are gone; with `older` they are as they were at `copy_disk`; `without` names a kind of
        files that is gone (`log` or `snapshots` of our node). No promise that rests on stable storage (Raft, Figure 2)
        is judged to be broken after that. Raises DidNotStartError, and ValueError if there is no copy or no such kind.
        """
        node = self.resolve(node)
        self._check_disk(node, wipe=wipe, older=older, without=without)
        self.kill(node)
        self._change_disk(node, wipe=wipe, older=older, without=without)
        self.node_faults.heal(node, OVER_BY_RESTART)
        self.note("restart", node=node, wipe=wipe, older=older, without=without)
        if self.node_faults.state(node).may_start:
            self.wait_until(lambda: self._answers(node), f"{node} answers after it was started", UP_DEADLINE_S)
        return node

    def copy_disk(self, node: str) -> str:
        """Keep a copy of the data of a node that is down, in place of any former copy, for `restart` with `older`."""
        self._must_can("older_disk")
        node = self.resolve(node)
        if self._has_process(node):
            raise ValueError(f"{node} runs, and may be writing; kill it before its disk is copied")
        self._copy_disk(node)
        self._copied.add(node)
        return node

    def _check_disk(self, node: str, *, wipe: bool, older: bool, without: str) -> None:
        """Before anything is done to the node. Raises ValueError and CannotError."""
        if wipe + older + bool(without) > 1:
            raise ValueError("wipe, older and without exclude one another; nothing was done")
        if older:
            self._must_can("older_disk")
            if node not in self._copied:
                raise ValueError(f"there is no copy of the disk of {node}; kill {node} and copy its disk first")
        if without:
            self._must_can("lost_files")
            kinds = self._kinds_of_files(node)
            if without not in kinds:
                raise ValueError(f"{node} has no files called {without}; there are {', '.join(kinds)}")

    def _change_disk(self, node: str, *, wipe: bool, older: bool, without: str) -> None:
        if wipe:
            self._wipe(node)
            self._wiped.add(node)
        elif older:
            self._bring_back_disk(node)
        elif without:
            self._lose_files(node, without)

    def fail_save(self, node: str) -> str:
        """The node's next save fails, and those after it succeed. Returns once the node has stopped because of that,
        which takes something to write: who goes on has taken for written what is not."""
        self._must_can("failed_save")
        return self._starve(node, NodeKind.FAILED_SAVE, NodeState(save_fails=True), "a save has failed")

    def shut_down(self, node: str) -> str:
        """Have the node stop by itself, as an operator would; a leader hands over first. Returns once it has ended."""
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
        """From now on the node can write nothing more, until it is started again. Returns once it has stopped because
        of that, which takes something to write."""
        self._must_can("full_disk")
        return self._starve(node, NodeKind.FULL_DISK, NodeState(disk_full=True), "its disk is full")

    def exhaust_memory(self, node: str) -> str:
        """From now on the node gets no more memory, until it is started again. Returns once it has stopped because of
        that, which takes something to write."""
        self._must_can("memory_limit")
        return self._starve(node, NodeKind.NO_MEMORY, NodeState(memory_full=True), "its memory is used up")

    def slow_disk(self, node: str, latency_ms: float) -> str:
        """From now on each of its saves takes this much longer; 0 ends that."""
        self._must_can("slow_disk")
        node = self.resolve(node)
        self.node_faults.command(node, NodeKind.SLOW_DISK, NodeState(disk_latency_ms=latency_ms))
        self.note("slow_disk", node=node, latency_ms=latency_ms)
        return node

    def set_clock_rate(self, node: str, rate: float) -> str:
        """From now on its clock runs at `rate` seconds a second, in place of any earlier rate; at 0 it stands still."""
        self._must_can("clocks")
        node = self.resolve(node)
        self.node_faults.command(node, NodeKind.CLOCK, NodeState(clock_rate=rate))
        return node

    def noise(
        self, *, loss: float = 0.0, duplication: float = 0.0, reordering: float = 0.0
    ) -> AbstractContextManager[None]:
        """Until the block ends, each message between nodes is lost, duplicated or reordered with these probabilities,
        and each client request duplicated too. Raises ValueError for what is not a probability."""
        self._must_can("noise")
        return self.network.noisy(loss=loss, duplication=duplication, reordering=reordering)

    def torn(self, node: str) -> AbstractContextManager[None]:
        """Kills the node in the middle of its next save, part of which stays, and keeps it down until the block ends.
        If it saves nothing by then, nothing happens."""
        raise CannotError(self.can("torn_saves"))

    def moved(self, node: str) -> AbstractContextManager[None]:
        """Stops the node and brings it back at another address. The former one leads nowhere until the block ends."""
        raise CannotError(self.can("moves"))

    def astray(self, node: str) -> AbstractContextManager[str]:
        """An address that leads nowhere until the block ends, and then to the node."""
        raise CannotError(self.can("moves"))

    def snapshots(self, node: str) -> int:
        """How many snapshots its data folder holds that are not known to be damaged."""
        raise CannotError(self.can("snapshot_files"))

    def damage_snapshot(self, node: str) -> str:
        """Flip a bit in the newest snapshot of a node that is down."""
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
        """All nodes, members or not."""
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
        raise NoSuchNodeError(nobody(name, self.nodes, self.hindered()))

    def hindered(self) -> Hindered:
        """What keeps nodes from leading and from following: who does not run, and between whom a link is cut."""
        wanted = self.network.wanted()
        return Hindered(
            paused=tuple(node for node in self.nodes if self.node_faults.state(node).paused),
            down=tuple(node for node in self.nodes if not self._has_process(node)),
            cut=tuple(link for link, state in wanted.items() if state.cut and CLIENT not in (link.source, link.target)),
        )

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
        """A client that asks this node first, and then follows redirects. Each question on the way is an operation of
        its own in the history, with the node that the client was sent to."""
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
        """A client number that has not been used before."""
        return next(self._client_numbers)

    @contextlib.contextmanager
    def working(
        self, scripts: Sequence[Script], nodes: Collection[str] | None = None, pace: Pace = BRISK
    ) -> Iterator[Workers]:
        """`workers` at work until the block ends, and then until each has its last answer."""
        workers = self.workers(scripts, list(nodes or self.nodes), pace)
        workers.start()
        try:
            yield workers
        finally:
            workers.stop()
            self.wait_until(lambda: workers.idle, "the workers' last answers", self.plan.settings.client_timeout_s + 20)

    def writing(self, clients: int = 3, nodes: Collection[str] | None = None) -> AbstractContextManager[Workers]:
        """Clients that each write distinct keys, one after another, to whichever node leads, until the block ends."""
        series = next(self._series)
        return self.working([distinct_writes(series, turn) for turn in range(clients)], nodes)

    def workload(
        self,
        name: str,
        clients: int = 3,
        nodes: Collection[str] | None = None,
        *,
        retries: bool = True,
        pace: Pace = BRISK,
    ) -> AbstractContextManager[Workers]:
        """Clients at work as a workload says (`bench.workload.WORKLOADS`), until the block ends. With `retries` each
        question is asked until it is decided, and each write takes effect once. Raises LookupError for a name that
        there is none of."""
        numbers = [next(self._series) for _ in range(clients)]
        random_of = {number: random.Random(f"{self.plan.seed}/workload/{number}") for number in numbers}
        scripts = [script_of(name, number, rng, retries=retries) for number, rng in random_of.items()]
        return self.working(scripts, nodes, pace)

    # Waiting

    def wait_for_leader(
        self, *, other_than: str | None = None, among: Sequence[str] | None = None, timeout_s: float = 20.0
    ) -> str:
        """The node that reports itself leader and that a majority of the members follow, each of them knowing the
        members."""

        def elected() -> str | None:
            statuses = {node: status for node, status in self.statuses().items() if status}
            for node, status in statuses.items():
                if status.role != "Leader" or node == other_than or node not in (among or self.nodes):
                    continue
                # A follower without a log knows no members. If the founder were killed before a majority knew them, no
                # node left could tell what a majority is, and none would ever stand for election.
                followers = [s for s in statuses.values() if s.leader == node and s.term == status.term and s.members]
                if len(followers) * 2 > len(status.members):
                    return node
            return None

        try:
            return self.wait_until(elected, "a leader that a majority follows", timeout_s)
        except WaitTimeoutError as error:
            why = hindrances(self.hindered())
            raise WaitTimeoutError(f"{error}\n  {why}" if why else str(error)) from None

    def wait_until_agreed(self, timeout_s: float = 20.0) -> None:
        """Until every running member has applied the same log to the same index, and all name one leader."""

        self.wait_until(self.agreed, "all running members have applied one log and follow one leader", timeout_s)

    def wait_until_met(self, links: Collection[Link] | None = None, timeout_s: float = 20.0) -> None:
        """Until a message has gone the way of one of these links between nodes, or of all, since it became faulty: a
        fault that meets nothing proves nothing, and a cut of half a second may fall between two elections. Raises
        ValueError if none of them is faulty."""
        faulty = self.network.met(links)
        if not faulty:
            raise ValueError("no link between nodes is faulty, so there is nothing that a message could meet")
        what = f"a message goes the way of a faulty link: {', '.join(map(str, faulty))}"
        self.wait_until(lambda: any(self.network.met(links).values()), what, timeout_s)

    def agreed(self) -> bool:
        """Whether that is so now. If so, all of them have everything that was acknowledged before the call, and the
        timeline says so for the check of later reads."""
        since_s = self.now_s
        statuses = {node: self.status(node) for node in self.nodes if self.is_running(node)}
        found = of_one_mind(statuses)
        if found:
            members = next(status.members for status in statuses.values() if status and status.role == "Leader")
            self.note("agreed", since_s=since_s, nodes=[node for node in members if node in statuses])
        return found

    def look(self) -> None:
        """Ask each node what it says of itself, and note in the timeline what is new, and who says that it leads."""
        for node in self.nodes:
            since_s, said = self.now_s, self._says(node)
            if said is not None and (said.role == "Leader" or self._said.get(node) != said):
                self._said[node] = said
                self.note(SAID, node=node, since_s=since_s, **said._asdict())

    def _says(self, node: str) -> Said | None:
        """What the node says of itself; None if it does not answer."""
        status = self.status(node)
        if status is None:
            return None
        return Said(status.role, status.term, status.applied_index, status.log_digest, status.voters, status.staged)

    # What was done

    def _note_error(self) -> None:
        self.failed_s = self.now_s
        self.note(ERROR, at_s=self.failed_s)

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
        """A sentence for the reader of the timeline."""
        self.note("remark", words=words)
