"""Faults on simulated nodes: what lasts on each (`faults.lasting`), and bringing its sum into force.

A fault is on a node, not on one life of its process: a node that starts again while its disk is slow has a slow disk,
and one that a crash and a pause keep from running starts when both are over.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from enum import StrEnum

from bench.simulated.node import SimulatedNode
from bench.simulated.world import World
from faults.lasting import Change, Lasting, total, with_also, without, without_kinds


class NodeKind(StrEnum):
    """Of faults on nodes."""

    DOWN = "down"
    PAUSE = "pause"
    FULL_DISK = "full disk"
    SLOW_DISK = "slow disk"
    CLOCK = "clock"
    STRIKE = "strike"
    UNREACHED = "unreached"


@dataclass(frozen=True)
class NodeState:
    """What one fault does to a node, or what several do together. Raises ValueError for what nothing can do."""

    down: bool = False
    paused: bool = False
    disk_full: bool = False
    disk_latency_ms: float = 0.0
    """Every save takes so much longer."""
    clock_rate: float | None = None
    """None is the clock's own."""
    strikes: tuple[Callable[[], None], ...] = ()
    """What happens in the middle of the next save."""
    unreached: bool = False
    """By whoever takes one of its addresses for true."""

    def __post_init__(self) -> None:
        if self.disk_latency_ms < 0:
            raise ValueError("a disk cannot be slowed down by less than nothing")
        if self.clock_rate is not None and self.clock_rate <= 0:
            raise ValueError(f"no clock runs at a rate of {self.clock_rate}; 1 is as fast as the world's")

    def __add__(self, other: NodeState) -> NodeState:
        """Both at once: latencies add, a clock runs at the newer rate, and whatever else one does is done."""
        return NodeState(
            down=self.down or other.down,
            paused=self.paused or other.paused,
            disk_full=self.disk_full or other.disk_full,
            disk_latency_ms=self.disk_latency_ms + other.disk_latency_ms,
            clock_rate=self.clock_rate if other.clock_rate is None else other.clock_rate,
            strikes=self.strikes + other.strikes,
            unreached=self.unreached or other.unreached,
        )

    @property
    def may_start(self) -> bool:
        return not (self.down or self.paused or self.disk_full)

    @property
    def excused(self) -> bool:
        """Whether nobody may wait for the node, although it runs."""
        return self.disk_latency_ms > 0 or self.unreached


WELL = NodeState()
"""A node that nothing is done to."""


class NodeFaults:
    """What is done to the nodes of a world. `start` starts one that is not running and may."""

    def __init__(self, world: World, start: Callable[[SimulatedNode], None]) -> None:
        self._world = world
        self._start = start
        self._lasting: dict[str, tuple[Lasting[NodeState], ...]] = dict.fromkeys(world.nodes, ())
        self._own_rates = {name: node.clock.rate for name, node in world.nodes.items()}

    def state(self, node: str) -> NodeState:
        """The sum of what lasts on it."""
        return total(self._lasting[node], WELL)

    def start(self, node: str) -> None:
        """Unless it runs, or a fault keeps it from running."""
        if self._world.nodes[node].process is None and self.state(node).may_start:
            self._start(self._world.nodes[node])

    @contextlib.contextmanager
    def lasting(self, node: str, kind: NodeKind, does: NodeState) -> Iterator[None]:
        """Until the block ends."""
        fault = Lasting(kind, does)
        try:
            self._change(node, with_also(fault))
            yield
        finally:
            self._change(node, without(fault))

    def command(self, node: str, kind: NodeKind, does: NodeState) -> None:
        """From now on, in the place of the former command of this kind."""
        self._change(node, with_also(Lasting(kind, does, by_command=True)))

    def heal(self, node: str, kinds: Collection[NodeKind]) -> None:
        """End every fault of these kinds on it, whoever began it."""
        self._change(node, without_kinds(kinds))

    def _change(self, name: str, change: Change[NodeState]) -> None:
        former = self.state(name)
        self._lasting[name] = change(self._lasting[name])
        self._bring_into_force(self._world.nodes[name], former, self.state(name))

    def _bring_into_force(self, node: SimulatedNode, former: NodeState, state: NodeState) -> None:
        node.disk.full, node.disk.extra_s = state.disk_full, state.disk_latency_ms / 1000
        if state.strikes != former.strikes:
            node.in_next_save = _all_of(state.strikes)
        if state.clock_rate != former.clock_rate:
            node.set_clock_rate(self._own_rates[node.name] if state.clock_rate is None else state.clock_rate)
        if state.excused != former.excused:
            self._world.observer.excuse(node.name, state.excused)
            self._world.topology_changed()
        if state.down:
            node.crash()
        if state.paused != former.paused:
            (node.pause if state.paused else node.resume)()
        if state.may_start and not former.may_start:
            self.start(node.name)


def _all_of(strikes: tuple[Callable[[], None], ...]) -> Callable[[], None] | None:
    def strike() -> None:
        for each in strikes:
            each()

    return strike if strikes else None
