"""All that the bench knows of a system, and needs to know to put it on the bench.

A system is known by what its nodes are started with, where they listen, what they can be asked, and what they say of
themselves; never by its code. `bench.live` and `bench.measure` use this and name no system.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bench.case import Plan
from bench.cluster import NodeStatus
from bench.operations import Question, Told
from faults.links import Address
from faults.processes import ManagedProcess


@dataclass(frozen=True)
class NodePlan:
    """Where a node lives."""

    name: str
    http: Address
    """The node's own port for clients; only the bench asks there, past the links and their faults."""
    client: Address
    """Its client link, which is the address that people and clients are given."""
    raft: Address
    folder: Path
    """The node's own folder, in the run's folder."""
    trace: Path
    """Where it writes its trace, if the system knows of one."""
    zero_s: float
    """The reading of the monotonic clock that the times of this run are counted from."""
    dial: Mapping[Address, Address]
    """For each peer's address, the listener of this node's link to it."""

    @property
    def data(self) -> Path:
        return self.folder / "data"


class Running(Protocol):
    """One incarnation of a node, with its log."""

    process: ManagedProcess

    def tell_stacks(self) -> None:
        """Have it write down what it is doing, to show why it says nothing."""
        ...

    def printed(self) -> str:
        """What it has printed since it was started: why it does not start, for example."""
        ...

    def ended(self) -> None:
        """Call this once the process is dead: takes in the rest of its log."""
        ...


class Connection(Protocol):
    """One client's connection to one node, for one thread at a time."""

    def ask(self, asked: Question) -> Told:
        """The node's answer. Whatever is not certain is UNKNOWN, and so is a broken connection. Never raises for what
        the node or the network does."""
        ...

    def close(self) -> None: ...


class System(Protocol):
    @property
    def name(self) -> str:
        """The name that a case gives it."""
        ...

    def can(self, need: str) -> str | None:
        """None if its real nodes can do what `need`, one of `bench.cluster.NEEDS`, stands for; otherwise the reason why
        not."""
        ...

    def prepare(self) -> None:
        """Prepare so that nodes start quickly. Must be called before any other process is started."""
        ...

    def start(self, node: NodePlan, cluster: Plan, *, founders: Sequence[NodePlan], stream: logging.Handler) -> Running:
        """Start the node. With `founders`, which are then all first members, it founds a cluster unless it has data.
        Its log goes to `stream` too."""
        ...

    def connect(self, node: NodePlan, peers: Mapping[str, NodePlan], timeout_s: float) -> Connection:
        """A connection to the node's client link. `peers` has every node, for one that is to join."""
        ...

    def examples(self, node: NodePlan) -> Sequence[str]:
        """Commands with which a person may try a node, through its client link."""
        ...

    def status(self, node: NodePlan) -> NodeStatus | None:
        """What the node says of itself, asked past the links and their faults; None if it says nothing in time."""
        ...

    def messages_sent(self, node: NodePlan) -> Mapping[Address, int] | None:
        """How many messages this incarnation has sent to each address that it dialled, those included that were refused
        there; None when it does not say so in time."""
        ...

    def snapshot_files(self, node: NodePlan) -> list[Path]:
        """Oldest first, without those that the node knows to be damaged."""
        ...

    def data_files(self, node: NodePlan) -> Mapping[str, list[Path]]:
        """The files of its data by kind, such as ``log`` and ``snapshots``."""
        ...

    def disk_bytes(self, node: NodePlan) -> Mapping[str, int]:
        """How much it has on its disk of each kind: ``log``, ``snapshots``."""
        ...

    # For the load generator: whole HTTP/1.1 requests, answered with a Content-Length

    def put_request(self, key: str, value: str) -> bytes: ...

    def read_request(self, key: str) -> bytes:
        """A linearizable read."""
        ...

    def is_acknowledged(self, status: int) -> bool:
        """Whether an answer with this HTTP status says that the request was done."""
        ...
