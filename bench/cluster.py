"""``Cluster``: what a scenario may say, in whichever world it runs.

A scenario is a plain function of one argument, a `Cluster`. It names nodes, asks who leads, breaks things, waits for
conditions and writes through clients; it never mentions a process, a socket, a thread or a clock, so the same lines
run on real processes (`bench.live`) and in virtual time. The rules of the vocabulary:

* Roles resolve when asked: ``"leader"`` and ``"follower"`` are accepted wherever a node's name is, and mean whoever
  holds the role at that instant.
* Waits name their condition and carry a deadline; running out of it raises `WaitTimeoutError`, whose text says what was
  awaited and what was seen last. Nothing sleeps.
* What a client was told is recorded in `Cluster.history`, with OK, FAILED or UNKNOWN and never a guess.
* Faults are ``with`` blocks on `Cluster.network` and heal on every way out; kills and pauses are undone by `restart`
  and `resume`.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol, TypeVar

from bench.history import History, Operation
from bench.workload import Invocation, Item, Script, batch
from faults.network import NetworkFaults

T = TypeVar("T")


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


class Cluster(Protocol):
    @property
    def nodes(self) -> tuple[str, ...]:
        """All nodes there are, members or not."""
        ...

    @property
    def network(self) -> NetworkFaults: ...
    @property
    def history(self) -> History: ...

    def resolve(self, name: str) -> str:
        """The node a name or role means now. Raises `NoSuchNodeError`."""
        ...

    def status(self, node: str) -> NodeStatus | None:
        """What the node says of itself, None when it does not answer."""
        ...

    def leads(self, node: str) -> bool:
        """Whether the node reports itself leader at this instant."""
        ...

    def role(self, node: str) -> str | None:
        """``Follower``, ``Candidate`` or ``Leader``; None when it does not answer."""
        ...

    def term(self, node: str) -> int | None: ...

    def caught_up(self, node: str) -> bool:
        """Whether the node has applied everything that the leader had committed when this was asked."""
        ...

    def is_running(self, node: str) -> bool:
        """Neither killed nor paused."""
        ...

    def kill(self, node: str) -> str:
        """kill -9; returns the node's name once it is dead and reaped."""
        ...

    def restart(self, node: str, *, wipe: bool = False) -> str:
        """Start it again on the same data (with `wipe`, on none); kills it first if it runs."""
        ...

    def shut_down(self, node: str) -> str:
        """Have it stop by itself, as an operator does: a leader hands over first. Returns once it has ended."""
        ...

    def fill_disk(self, node: str) -> str:
        """From now on it can write nothing more, until it is started again. Returns once it has stopped because of it,
        which takes something to be written."""
        ...

    def pause(self, node: str) -> str: ...
    def resume(self, node: str) -> str: ...

    def client(self, node: str) -> Client:
        """A client that talks to this node alone, through its client link."""
        ...

    def writing(self, clients: int = 3, nodes: Collection[str] | None = None) -> AbstractContextManager[Load]:
        """Clients that each write distinct keys, one after the other, following the leader, until the block ends."""
        ...

    def working(self, scripts: Sequence[Script], nodes: Collection[str] | None = None) -> AbstractContextManager[Load]:
        """One client for each script, asking what that says, one after the other, until the block ends.

        Whoever is not served goes to the next of `nodes`.
        """
        ...

    def wait_until(self, condition: Callable[[], T], what: str, timeout_s: float = 20.0) -> T:
        """The condition's first true value. Raises `WaitTimeoutError` naming `what` and the statuses seen last."""
        ...

    def wait_for_leader(
        self,
        *,
        other_than: str | None = None,
        among: Sequence[str] | None = None,
        timeout_s: float = 20.0,
    ) -> str:
        """The node that reports itself leader and that a majority of the running members follow."""
        ...

    def wait_until_agreed(self, timeout_s: float = 20.0) -> None:
        """Until every running member has applied the same log to the same index, and all name one leader."""
        ...


class VirtualCluster(Cluster, Protocol):
    """What else can be done where clocks and disks are made up."""

    def set_clock_rate(self, node: str, rate: float) -> str:
        """From now on its clock runs so many seconds in a second."""
        ...

    def slow_disk(self, node: str, latency_ms: float) -> str:
        """From now on each of its saves takes so much longer."""
        ...


class FiledCluster(Cluster, Protocol):
    """What else can be done where a node's data are files."""

    def snapshots(self, node: str) -> int:
        """How many its data folder holds that are not known to be damaged."""
        ...

    def damage_snapshot(self, node: str) -> str:
        """Turn over a bit in the newest snapshot of a node that is down."""
        ...
