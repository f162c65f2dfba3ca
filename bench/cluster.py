"""``Cluster``: what a scenario may say, in whichever world it runs.

A scenario is a plain function of one argument, a `Cluster`. It names nodes, asks who leads, breaks things, waits for
conditions and writes through clients; it never mentions a process, a socket, a thread or a clock, so the same lines
run on real processes (`bench.live`) and in virtual time. The rules of the vocabulary:

* Roles resolve when asked: ``"leader"`` and ``"follower"`` are accepted wherever a node's name is, and mean whoever
  holds the role at that instant.
* Waits name their condition and carry a deadline; running out of it raises `WaitTimeoutError`, whose text says what was
  awaited and what was seen last. Nothing sleeps.
* What a client was told is recorded in `Cluster.history`, with OK, FAILED or UNKNOWN and never a guess.
* Faults are ``with`` blocks on `Cluster.network`. They may overlap; each ends alone, on every way out (`faults`).
  Kills and pauses are undone by `restart` and `resume`.
"""

from __future__ import annotations

import abc
import itertools
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol, TypeVar

from bench.history import History, Operation
from bench.workload import Invocation, Item, Script, batch, distinct_writes
from faults.network import NetworkFaults

T = TypeVar("T")

ROLES = {"leader": "Leader", "follower": "Follower"}
"""What stands for whoever holds the role, and what a status calls it."""


class WaitTimeoutError(Exception):
    """A named condition did not come true before its deadline."""


class PromiseBrokenError(Exception):
    """The world itself saw, while the story went on, that the nodes broke a promise."""


class NoSuchNodeError(LookupError):
    """A name that is neither a node of this cluster nor a role somebody holds now."""


@dataclass(frozen=True)
class NodeStatus:
    """What a node says of itself, from ``GET /cluster/status``, asked behind the faults' back."""

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
    members: tuple[str, ...]
    snapshot_index: int
    """The last entry that its newest snapshot stands for, taken or installed; 0 is none."""


@dataclass(frozen=True)
class Setup:
    """What a cluster is made of besides its size and its timeouts."""

    spare: int = 0
    """How many nodes run beside the members and belong to no cluster, until they are joined."""
    snapshot_threshold: int = 8192
    """A snapshot is taken after so many entries."""
    trailing_logs: int = 10240
    """How many entries are kept behind a snapshot."""


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


class Client(abc.ABC):
    """One client of one node. Each call is one recorded operation; none of them follows a redirect."""

    @abc.abstractmethod
    def ask(self, invocation: Invocation) -> Operation:
        """Whatever can be asked, and what came of it."""

    def put(self, key: str, value: str) -> Operation:
        return self.ask(Invocation("put", key, value))

    def get(self, key: str, *, consistent: bool = False) -> Operation:
        return self.ask(Invocation("get", key, consistent=consistent))

    def delete(self, key: str) -> Operation:
        return self.ask(Invocation("delete", key))

    def cas(self, key: str, value: str, modify_index: int) -> Operation:
        return self.ask(Invocation("cas", key, value, modify_index=modify_index))

    # Batches: all or nothing

    def set_all(self, values: Mapping[str, str], expected: Mapping[str, int] | None = None) -> Operation:
        """With `expected`, only if each key's modify_index is that; 0 is a key that is not there."""
        return self.ask(batch("batch_set", [Item(k, v, (expected or {}).get(k)) for k, v in values.items()]))

    def delete_all(self, keys: Sequence[str], expected: Mapping[str, int] | None = None) -> Operation:
        return self.ask(batch("batch_delete", [Item(key, None, (expected or {}).get(key)) for key in keys]))

    def get_all(self, keys: Sequence[str]) -> Operation:
        """A stale read of all of them at one instant; `bench.workload.found_in` has the values."""
        return self.ask(batch("batch_get", [Item(key) for key in keys]))

    # What an operator asks

    def join(self, node: str) -> Operation:
        """Done when the node votes."""
        return self.ask(Invocation("join", node))

    def leave(self, node: str) -> Operation:
        """Done when the node is no member any more."""
        return self.ask(Invocation("leave", node))

    def transfer(self, to: str = "") -> Operation:
        """Done when another node leads; `to` is which, if it matters."""
        return self.ask(Invocation("transfer", to))

    def snapshot(self) -> Operation:
        """Have this node take one."""
        return self.ask(Invocation("snapshot", ""))


class Load(Protocol):
    """Clients in the background; see `Cluster.working`."""

    def acknowledged(self) -> int:
        """How many of their writes, and of what they asked as operators, have been acknowledged up to now."""
        ...


class Cluster(abc.ABC):
    """What each world has of its own is abstract; what follows from that is here, once for all worlds."""

    network: NetworkFaults
    history: History

    def __init__(self) -> None:
        self._series = itertools.count()

    # What each world has of its own

    @property
    @abc.abstractmethod
    def nodes(self) -> tuple[str, ...]:
        """All nodes there are, members or not."""

    @abc.abstractmethod
    def status(self, node: str) -> NodeStatus | None:
        """What the node says of itself, None when it does not answer."""

    @abc.abstractmethod
    def is_running(self, node: str) -> bool:
        """Neither killed nor paused."""

    @abc.abstractmethod
    def kill(self, node: str) -> str:
        """kill -9; returns the node's name once it is dead and reaped."""

    @abc.abstractmethod
    def restart(self, node: str, *, wipe: bool = False) -> str:
        """Start it again on the same data (with `wipe`, on none); kills it first if it runs."""

    @abc.abstractmethod
    def shut_down(self, node: str) -> str:
        """Have it stop by itself, as an operator does: a leader hands over first. Returns once it has ended."""

    @abc.abstractmethod
    def fill_disk(self, node: str) -> str:
        """From now on it can write nothing more, until it is started again. Returns once it has stopped because of it,
        which takes something to be written."""

    @abc.abstractmethod
    def pause(self, node: str) -> str: ...

    @abc.abstractmethod
    def resume(self, node: str) -> str: ...

    @abc.abstractmethod
    def client(self, node: str) -> Client:
        """A client that talks to this node alone, through its client link."""

    @abc.abstractmethod
    def working(self, scripts: Sequence[Script], nodes: Collection[str] | None = None) -> AbstractContextManager[Load]:
        """One client for each script, asking what that says, one after the other, until the block ends.

        Whoever is not served goes to the next of `nodes`, and there asks what its script says next: the same write
        again if it is `bench.workload.retrying`.
        """

    @abc.abstractmethod
    def wait_until(self, condition: Callable[[], T | None], what: str, timeout_s: float = 20.0) -> T:
        """The condition's first true value. Raises `WaitTimeoutError` naming `what` and the statuses seen last."""

    # What follows from it

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

    def writing(self, clients: int = 3, nodes: Collection[str] | None = None) -> AbstractContextManager[Load]:
        """Clients that each write distinct keys, one after the other, following the leader, until the block ends."""
        series = next(self._series)
        return self.working([distinct_writes(series, turn) for turn in range(clients)], nodes)

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

        def agreed() -> bool:
            running = [node for node in self.nodes if self.is_running(node)]
            return of_one_mind({node: self.status(node) for node in running})

        self.wait_until(agreed, "all running members have applied one log and follow one leader", timeout_s)


class VirtualCluster(Cluster):
    """What else can be done where clocks, disks and links are made up."""

    @abc.abstractmethod
    def set_clock_rate(self, node: str, rate: float) -> str:
        """From now on its clock runs so many seconds in a second, whatever it was told before."""

    @abc.abstractmethod
    def slow_disk(self, node: str, latency_ms: float) -> str:
        """From now on each of its saves takes so much longer than by itself; 0 is over."""

    @abc.abstractmethod
    def noise(
        self, *, loss: float = 0.0, duplication: float = 0.0, reordering: float = 0.0
    ) -> AbstractContextManager[None]:
        """Until the block ends each message between nodes is lost, doubled or overtaken with these probabilities, and
        each request of a client doubled. Raises ValueError for what is no probability."""


class FiledCluster(Cluster):
    """What else can be done where a node is a process and its data are files."""

    @abc.abstractmethod
    def exhaust_memory(self, node: str) -> str:
        """From now on it gets no more memory, until it is started again. Returns once it has stopped because of it,
        which takes something to be written."""

    @abc.abstractmethod
    def snapshots(self, node: str) -> int:
        """How many its data folder holds that are not known to be damaged."""

    @abc.abstractmethod
    def damage_snapshot(self, node: str) -> str:
        """Turn over a bit in the newest snapshot of a node that is down."""
