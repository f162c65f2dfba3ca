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

from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol, TypeVar

from bench.history import History, Operation
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


class Client(Protocol):
    """One client of one node. Each call is one recorded operation; none of them follows a redirect."""

    def put(self, key: str, value: str) -> Operation: ...
    def get(self, key: str, *, consistent: bool = False) -> Operation: ...
    def delete(self, key: str) -> Operation: ...
    def cas(self, key: str, value: str, modify_index: int) -> Operation: ...


class Load(Protocol):
    """Writers in the background; see `Cluster.writing`."""

    def acknowledged(self) -> int:
        """How many writes have been acknowledged up to now."""
        ...


class Cluster(Protocol):
    @property
    def nodes(self) -> tuple[str, ...]: ...
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

    def pause(self, node: str) -> str: ...
    def resume(self, node: str) -> str: ...

    def client(self, node: str) -> Client:
        """A client that talks to this node alone, through its client link."""
        ...

    def writing(self, clients: int = 3, nodes: Collection[str] | None = None) -> AbstractContextManager[Load]:
        """Clients that each write distinct keys, one after the other, following the leader, until the block ends."""
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
        """Until every running node has applied the same log to the same index, and all name one leader."""
        ...
