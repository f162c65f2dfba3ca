"""Faults on nodes: which ones last on each (`faults.lasting`), and bringing their sum into force.

A fault is on a node, not on one process of that node. A node that starts again while its disk is slow has a slow disk,
and a node that a crash and a pause keep from running starts when both are over. The owner of the processes brings into
force what is wanted, and nothing else.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from enum import StrEnum

from faults.lasting import Change, Lasting, total, with_also, without, without_kinds
from faults.stillness import Stillness


class NodeKind(StrEnum):
    """The kinds of faults on nodes."""

    DOWN = "down"
    PAUSE = "pause"
    FULL_DISK = "full disk"
    FAILED_SAVE = "failed save"
    SLOW_DISK = "slow disk"
    NO_MEMORY = "no memory"
    CLOCK = "clock"
    STRIKE = "strike"
    UNREACHED = "unreached"


@dataclass(frozen=True)
class NodeState:
    """What one fault does to a node, or what several do together. Raises ValueError for what no fault can do."""

    down: bool = False
    paused: bool = False
    disk_full: bool = False
    save_fails: bool = False
    """The next save fails, and the disk is well again after it."""
    disk_latency_ms: float = 0.0
    """Every save takes this much longer."""
    memory_full: bool = False
    clock_rate: float | None = None
    """None means the clock's own rate."""
    strikes: tuple[Callable[[], None], ...] = ()
    """What happens in the middle of the next save."""
    unreached: bool = False
    """Some address given for the node does not lead to it."""

    def __post_init__(self) -> None:
        if self.disk_latency_ms < 0:
            raise ValueError("a disk cannot be slowed down by less than nothing")
        if self.clock_rate is not None and self.clock_rate < 0:
            raise ValueError(f"no clock runs at a rate of {self.clock_rate}; 1 is as fast as the world's")

    def __add__(self, other: NodeState) -> NodeState:
        """Both at once: latencies add, a clock runs at the newer rate, and whatever else either does is done."""
        return NodeState(
            down=self.down or other.down,
            paused=self.paused or other.paused,
            disk_full=self.disk_full or other.disk_full,
            save_fails=self.save_fails or other.save_fails,
            disk_latency_ms=self.disk_latency_ms + other.disk_latency_ms,
            memory_full=self.memory_full or other.memory_full,
            clock_rate=self.clock_rate if other.clock_rate is None else other.clock_rate,
            strikes=self.strikes + other.strikes,
            unreached=self.unreached or other.unreached,
        )

    @property
    def may_start(self) -> bool:
        return not (self.down or self.paused or self.disk_full or self.memory_full)

    @property
    def excused(self) -> bool:
        """Whether the node is not to be waited for, although it runs."""
        return self.disk_latency_ms > 0 or self.unreached


WELL = NodeState()
"""A node without faults."""


class NodeFaults:
    """The faults that last on each of `nodes`. `enforce` is told a node, the state in force on it and the state to
    bring into force. It may be called from any thread, but by only one at a time."""

    def __init__(
        self,
        nodes: Collection[str],
        enforce: Callable[[str, NodeState, NodeState], None],
        still: Stillness | None = None,
    ) -> None:
        self._enforce = enforce
        self._still = still or Stillness()
        self._lasting: dict[str, tuple[Lasting[NodeState], ...]] = dict.fromkeys(nodes, ())
        self.lock = threading.RLock()
        """Held while something is being brought into force."""

    def state(self, node: str) -> NodeState:
        """The sum of the faults that last on the node."""
        return total(self._lasting[node], WELL)

    @contextlib.contextmanager
    def lasting(self, node: str, kind: NodeKind, does: NodeState) -> Iterator[None]:
        """The fault lasts until the block ends."""
        fault = Lasting(kind, does)
        with self._still.until_over(lambda: self._change(node, without(fault)), lambda: None):
            self._change(node, with_also(fault))
            yield

    def command(self, node: str, kind: NodeKind, does: NodeState) -> None:
        """The fault lasts from now on, in place of the former command's of this kind."""
        self._change(node, with_also(Lasting(kind, does, by_command=True)))

    def heal(self, node: str, kinds: Collection[NodeKind]) -> None:
        """End every fault of these kinds on the node, whoever began it."""
        self._change(node, without_kinds(kinds))

    def _change(self, node: str, change: Change[NodeState]) -> None:
        self._still.goes_on()
        with self.lock:
            former = self.state(node)
            self._lasting[node] = change(self._lasting[node])
            self._enforce(node, former, self.state(node))
