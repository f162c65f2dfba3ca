"""`Stage`: what all parts of a world share: time, links, the observer, and the chronicle."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any, Protocol

from bench.simulated.chronicle import Chronicle
from bench.simulated.engine import Engine
from bench.simulated.network import SimulatedNetwork, named
from bench.simulated.observer import Observer
from bench.simulated.settings import WorldSettings
from faults.links import Link

OnEvent = Callable[[str, dict[str, Any]], None]


class Inhabitant(Protocol):
    """What one node may know of another."""

    saved_s: float

    @property
    def running(self) -> bool: ...

    @property
    def addresses(self) -> frozenset[str]:
        """Every address that leads to it."""
        ...


class Stage:
    """Nodes get this as an argument, and know nothing of the world built on it."""

    def __init__(
        self,
        seed: int,
        names: Iterable[str],
        *,
        settings: WorldSettings | None = None,
        observer: Observer | None = None,
        on_event: OnEvent | None = None,
    ) -> None:
        self.engine = Engine(seed)
        self.settings = settings or WorldSettings()
        self.observer = observer or Observer()
        self.chronicle = Chronicle()
        self.changed = False
        """Whether anything may have become true since this was last set to False."""
        self.told_index = 0
        """The highest log index that a client was told of, as written or as read."""
        self.served_at: dict[str, str] = {}
        """The node that serves clients at an address, or did before it moved."""
        self.inhabitants: dict[str, Inhabitant] = {}
        self.network = SimulatedNetwork(self.engine, tuple(names), self._on_fault, self.settings.bounds)
        self._on_event = on_event or (lambda event, fields: None)

    def say(self, who: str, words: str, told: object = None) -> None:
        self.chronicle.note((self.engine.now, who, words), told)

    def topology_changed(self) -> None:
        self.changed = True
        running = [name for name, node in self.inhabitants.items() if node.running]
        saved_s = {name: node.saved_s for name, node in self.inhabitants.items()}
        links = self.network.clear().items()
        clear = {(x, y): max(settled_s, saved_s[x], saved_s[y]) for (x, y), settled_s in links}
        self.observer.topology(running, clear, self.engine.now)

    def break_off(self, node: str) -> None:
        """The connections of a node's clients end, and the clients notice."""
        raise NotImplementedError

    def _on_fault(
        self, action: str, links: tuple[Link, ...], detail: str, attempted: int | None, broken: Collection[str]
    ) -> None:
        self.say("bench", f"{action} {named(links)} {detail}".strip())
        for node in broken:
            self.break_off(node)
        counted = {} if attempted is None else {"attempted": attempted}
        self._on_event(action, {"links": named(links), "detail": detail, **counted})
        self.topology_changed()
