"""A simulated node: what outlives a crash (a disk, a clock, a place in the network), and the process that may run."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from bench.simulated import requests
from bench.simulated.clock import DriftingClock
from bench.simulated.disk import SimulatedDisk, Write
from bench.simulated.network import Hint, first_address
from bench.simulated.process import Process
from bench.simulated.requests import Request
from node.raft import Configuration, Raft, Transition

if TYPE_CHECKING:
    from bench.simulated.world import World

OFFSET_S = 1000.0
"""Two nodes' clocks may be this far apart: nothing may compare them."""


class SimulatedNode:
    __slots__ = (
        "_incarnations",
        "address",
        "addresses",
        "answers",
        "clock",
        "disk",
        "in_next_save",
        "links",
        "name",
        "process",
        "random",
        "records",
        "started",
        "world",
    )

    def __init__(self, name: str, world: World) -> None:
        rng = world.engine.random(f"node/{name}")
        self.name = name
        self.world = world
        self.random = rng.random
        low, high = world.settings.clock_rates
        self.clock = DriftingClock(reads_s=OFFSET_S * rng.random(), rate=rng.uniform(low, high))
        self.disk = SimulatedDisk(world.engine.random(f"disk/{name}"))
        self.address = first_address(name)
        """Where it says that it lives."""
        self.addresses = frozenset((self.address,))
        """Every address that leads to it."""
        self.links = world.network.from_node[name]
        self.answers = world.network.answers[name]
        self.process: Process | None = None
        self.started = False
        """Whether it was ever started."""
        self.in_next_save: Callable[[], None] | None = None
        """What is done in the middle of the node's next save, unless it is taken back before."""
        self.records: list[tuple[float, Any]] = []
        """The node's trace: the world's time and a transition, or (term, index, digest) of what was applied."""
        self._incarnations = 0

    @property
    def running(self) -> bool:
        """Up, and not paused."""
        return self.process is not None and not self.process.paused

    def start(self, first: Configuration | None = None) -> None:
        """Start it on what its disk holds; with `first`, found a cluster."""
        assert self.process is None, f"{self.name} runs already"
        world = self.world
        self._incarnations += 1
        self.started = True
        process = self.process = Process(self, world.engine.random(f"raft/{self.name}/{self._incarnations}"))
        self._record_start(process.raft)
        world.observer.started(self.name, process.raft, self.clock, world.engine.now)
        world.topology_changed()
        process.begin(first)

    def crash(self, *, torn: bool = False) -> None:
        """Gone at this instant; what its disk has not synced is lost, and a save under way may be `torn`."""
        process, self.process = self.process, None
        if process is None:
            return
        process.die()
        left = self.disk.crash(torn=torn)
        # In this order: what was left of a round that its owner did not live to act upon is no round.
        self.world.observer.crashed(self.name, self.world.engine.now)
        if left is not None:
            self.note_durable(left)
        self.world.break_off(self.name)
        self.world.network.end_connections_to(self.name)
        self.world.topology_changed()

    def stop(self, reason: str) -> None:
        """The node ends by itself, because it cannot go on."""
        self.world.say(self.name, reason)
        if self.process is not None:
            self._record("stop", term=self.process.raft.current_term)
        self.crash()

    def wipe(self) -> None:
        """Forget everything, as if the data folder had been deleted."""
        assert self.process is None, f"{self.name} runs"
        self.disk = SimulatedDisk(self.world.engine.random(f"disk/{self.name}/{self._incarnations}"))
        self.world.observer.wiped(self.name)

    def move(self, address: str) -> None:
        """Live elsewhere from now on: nothing that was sent to where it was arrives."""
        assert self.process is None, f"{self.name} runs"
        self.address = address
        self.addresses = frozenset((address,))
        self.world.network.disconnect(self.name)

    def lead_here(self, addresses: frozenset[str]) -> None:
        """Whoever dials one of these reaches this node from now on."""
        self.addresses |= addresses

    def pause(self) -> None:
        if self.process is not None:
            self.process.pause()
            self.world.topology_changed()

    def resume(self) -> None:
        if self.process is not None:
            self.process.resume()
            self.world.topology_changed()

    def set_clock_rate(self, rate: float) -> None:
        self.clock.set_rate(rate, self.world.engine.now)
        if self.process is not None:
            self.process.look_at_the_clock()
        self.world.topology_changed()

    def receive(self, item: Any) -> None:
        """Something arrived, from a peer or from a client."""
        world, process = self.world, self.process
        if type(item) is Request:
            invocation = item.invocation
            world.chronicle.note((world.engine.now, self.name, ("asked", invocation.kind, invocation.key)), item)
            if process is None:
                self.answers.send((item, requests.CONNECTION_LOST))
                return
        elif process is None:
            return
        elif type(item) is Hint:
            world.chronicle.note((world.engine.now, self.name, f"notices that a connection to {item.peer} ended"))
        else:
            world.chronicle.note((world.engine.now, self.name, item.message))
        process.deliver(item)

    # The trace

    def note(self, transitions: Iterable[Transition]) -> None:
        """Of each, when it holds from, on the world's clock."""
        for transition in transitions:
            happening = (self.clock.when(transition.at_s), self.name, transition)
            self.world.chronicle.note(happening)
            self.records.append((happening[0], transition))

    def note_durable(self, write: Write) -> None:
        self.world.observer.saved(self.name, write.hard_state, write.entries, write.snapshot, self.world.engine.now)

    def note_applied(self, term: int, index: int, digest: bytes) -> None:
        self.records.append((self.world.engine.now, (term, index, digest)))

    def _record_start(self, raft: Raft) -> None:
        found = {"voted_for": raft.voted_for, "last_index": raft.log.last_index}
        self._record("start", term=raft.current_term, node=self.name, pid=self._incarnations, **found)

    def _record(self, event: str, **fields: Any) -> None:
        self.world.say(self.name, event)
        self.records.append((self.world.engine.now, {"event": event, **fields}))
