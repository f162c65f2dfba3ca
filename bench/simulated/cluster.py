"""`SimulatedCluster`: a `Cluster` in virtual time. What a scenario waits for makes time pass; nothing else does."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeVar

import durationpy

from bench.cluster import NodeStatus, NoSuchNodeError, Setup, VirtualCluster, WaitTimeoutError
from bench.evidence import Evidence, Record
from bench.history import Operation
from bench.simulated.clients import SimulatedClient, Workers
from bench.simulated.network import SimulatedNetwork
from bench.simulated.node import SimulatedNode, recorded
from bench.simulated.node_faults import NodeFaults, NodeKind, NodeState
from bench.simulated.observer import Observer
from bench.simulated.settings import Settings
from bench.simulated.world import World
from bench.systems.konsul import PROFILES
from bench.workload import Invocation, Script
from node.raft import Raft, Timing
from node.server import SnapshotPolicy

T = TypeVar("T")

BOOT_S = 0.3
"""From a start to the first step, at least; at most twice as long."""
UP_DEADLINE_S = 15.0
LOOK_AGAIN_S = 0.02
"""A condition is looked at when anything happened, and at least so often."""

OVER_BY_RESTART = (NodeKind.DOWN, NodeKind.PAUSE, NodeKind.FULL_DISK)
"""What ends with the process that it was done to, as on real ones."""


def timing_of(profile: str) -> Timing:
    """The timeouts of one of the systems' profiles."""
    heartbeat_s, election_s, lease_s = (durationpy.from_str(text).total_seconds() for text in PROFILES[profile])
    return Timing(heartbeat_s, election_s, lease_s)


class SimulatedCluster(VirtualCluster):
    """A `Cluster` of `nodes` in a world of its own; entering it starts them all, as with real ones."""

    def __init__(
        self,
        *,
        nodes: int,
        seed: int,
        profile: str = "default",
        setup: Setup | None = None,
        observer: Observer | None = None,
        core: type[Raft] = Raft,
    ) -> None:
        super().__init__()
        setup = setup or Setup()
        names = tuple(f"n{number}" for number in range(1, nodes + setup.spare + 1))
        self._founders = names[:nodes]
        self._timeline: list[Record] = []
        settings = Settings(
            timing=timing_of(profile),
            core=core,
            snapshots=SnapshotPolicy(threshold=setup.snapshot_threshold, trailing_logs=setup.trailing_logs),
        )
        self.world = World(seed, names, settings=settings, observer=observer, on_event=self._note)
        self.network: SimulatedNetwork = self.world.network
        self.history = self.world.history
        self._faults = NodeFaults(self.world, lambda node: self._boot(node.name))
        self._boot_random = self.world.engine.random("boots")
        self._booting: dict[str, int] = {}
        """Nodes on their way up, and the number of the start that counts."""
        self._boots = itertools.count()
        self._client_numbers = itertools.count()

    def __enter__(self) -> SimulatedCluster:
        for name in self.nodes:
            self._boot(name)
        self.wait_until(
            lambda: all(map(self._is_up, self.nodes)), "every node has been told of the others", UP_DEADLINE_S
        )
        return self

    def __exit__(self, *_: object) -> None:
        """There is nothing to stop."""

    # What can be seen

    @property
    def nodes(self) -> tuple[str, ...]:
        return tuple(self.world.nodes)

    def is_running(self, node: str) -> bool:
        found = self._node(node)
        return node in self._booting or found.running

    def status(self, node: str) -> NodeStatus | None:
        found = self._node(node)
        return _status_of(found, self.world.engine.now) if found.running else None

    # What can be done

    def kill(self, node: str) -> str:
        node = self.resolve(node)
        was_up = self._booting.pop(node, None) is not None or self._node(node).process is not None
        self._faults.command(node, NodeKind.DOWN, NodeState(down=True))
        if was_up:
            self._note("kill", {"node": node})
        return node

    def restart(self, node: str, *, wipe: bool = False) -> str:
        node = self.kill(node)
        if wipe:
            self._node(node).wipe()
        self._faults.heal(node, OVER_BY_RESTART)
        self._note("restart", {"node": node, "wipe": wipe})
        return node

    def shut_down(self, node: str) -> str:
        node = self.resolve(node)
        self._must_run(node)
        found = self._node(node)
        found.stop()
        self.wait_until(lambda: found.process is None, f"{node} has handed over and stopped")
        self._faults.command(node, NodeKind.DOWN, NodeState(down=True))
        self._note("kill", {"node": node})
        return node

    def fill_disk(self, node: str) -> str:
        node = self.resolve(node)
        found = self._node(node)
        self._faults.command(node, NodeKind.FULL_DISK, NodeState(disk_full=True))
        self._note("fill_disk", {"node": node})
        self.wait_until(lambda: found.process is None, f"{node} stops because its disk is full")
        self._note("kill", {"node": node})
        return node

    def set_clock_rate(self, node: str, rate: float) -> str:
        node = self.resolve(node)
        self._faults.command(node, NodeKind.CLOCK, NodeState(clock_rate=rate))
        self._note("set_clock_rate", {"node": node, "rate": rate})
        return node

    def slow_disk(self, node: str, latency_ms: float) -> str:
        node = self.resolve(node)
        self._faults.command(node, NodeKind.SLOW_DISK, NodeState(disk_latency_ms=latency_ms))
        self._note("slow_disk", {"node": node, "latency_ms": latency_ms})
        return node

    def noise(
        self, *, loss: float = 0.0, duplication: float = 0.0, reordering: float = 0.0
    ) -> AbstractContextManager[None]:
        return self.network.noisy(loss=loss, duplication=duplication, reordering=reordering)

    def pause(self, node: str) -> str:
        node = self.resolve(node)
        self._must_run(node)
        self._faults.command(node, NodeKind.PAUSE, NodeState(paused=True))
        self._note("pause", {"node": node})
        return node

    def resume(self, node: str) -> str:
        node = self.resolve(node)
        self._must_run(node)
        self._note("resume", {"node": node})
        self._faults.heal(node, [NodeKind.PAUSE])
        return node

    def client(self, node: str) -> SimulatedClient:
        return SimulatedClient(next(self._client_numbers), self.resolve(node), self.perform)

    @contextlib.contextmanager
    def working(self, scripts: Sequence[Script], nodes: Collection[str] | None = None) -> Iterator[Workers]:
        numbered = [(next(self._client_numbers), script) for script in scripts]
        workers = Workers(self.world, numbered, list(nodes or self.nodes))
        workers.start()
        try:
            yield workers
        finally:
            workers.stop()
            self.wait_until(lambda: workers.idle, "the workers' last answers")

    def perform(self, client: int, node: str, invocation: Invocation) -> Operation:
        """Let a client ask this, and time pass until it has an answer or gives up."""
        came: list[Operation] = []
        self.world.ask(client, node, invocation, came.append)
        return self.wait_until(lambda: came[0] if came else None, f"an answer to {invocation}")

    # Waiting

    def wait_until(self, condition: Callable[[], T | None], what: str, timeout_s: float = 20.0) -> T:
        world, engine = self.world, self.world.engine
        deadline_s = engine.now + timeout_s
        while True:
            world.changed = False
            found = condition()
            if found:
                return found
            if engine.now >= deadline_s:
                seen = "; ".join(f"{node}: {status}" for node, status in self.statuses().items())
                raise WaitTimeoutError(f"not within {timeout_s:g} s: {what}. Seen last: {seen}")
            look_again_s = min(deadline_s, engine.now + LOOK_AGAIN_S)
            while not world.changed and engine.step(look_again_s):
                pass

    # What is left behind

    def evidence(self) -> Evidence:
        traces = {name: tuple(map(recorded, node.records)) for name, node in self.world.nodes.items()}
        return Evidence(tuple(self.history), traces, tuple(self._timeline))

    def _note(self, event: str, fields: Mapping[str, Any]) -> None:
        if event in ("kill", "restart", "pause", "resume"):
            self.world.say("bench", f"{event} {fields['node']}")
        self._timeline.append({"at_s": self.world.engine.now, "event": event, **fields})

    # Starting

    def _boot(self, name: str) -> None:
        """Have it start in a moment; on the very first start the first node founds the cluster."""
        self._booting[name] = boot = next(self._boots)
        self.world.engine.after(BOOT_S * (1 + self._boot_random.random()), self._start, (name, boot))

    def _start(self, started: tuple[str, int]) -> None:
        name, boot = started
        if self._booting.get(name) != boot:
            return
        del self._booting[name]
        node = self._node(name)
        founds = name == self.nodes[0] and not node.started
        node.start(self.world.found(self._founders) if founds else None)

    def _is_up(self, name: str) -> bool:
        status = self.status(name)
        return status is not None and (bool(status.members) or name not in self._founders)

    def _node(self, name: str) -> SimulatedNode:
        return self.world.nodes[name]

    def _must_run(self, node: str) -> None:
        if self._node(node).process is None:
            raise NoSuchNodeError(f"{node} is down; start it with: restart {node}")


def _status_of(node: SimulatedNode, now_s: float) -> NodeStatus:
    """What the node would answer to GET /cluster/status."""
    assert node.process is not None
    status, now = node.process.status, node.clock.at(now_s)
    return NodeStatus(
        name=node.name,
        role=status.state_at(now),
        term=status.term,
        leader=status.leader_at(now),
        last_index=status.last_index,
        commit_index=status.commit_index,
        applied_index=status.applied_index,
        log_digest=status.digest.hex(),
        members=status.configuration.names,
        snapshot_index=status.snapshot_index,
    )
