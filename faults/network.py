"""Faults on links: what is wanted, what is in force, and healing on every way out.

`NetworkFaults` is what a scenario may say. `ToxiproxyNetwork` does it to TCP: a directed link is one proxy is one
stream, so cutting A->B loses A's requests to B, with their answers on the same connection, and nothing that B sends.

What is wanted is kept here, because a server that was restarted knows nothing; what is shown is read back from the
server, because it may not have done what it was told. A server that stops answering is restarted once, with all that
is wanted, and asked again.
"""

from __future__ import annotations

import abc
import contextlib
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol, TypeVar

from toxiproxy.proxy import Proxy

from faults import cuts
from faults.links import CLIENT, Link, LinkState, Mode, Route
from faults.toxiproxy import ToxiproxyError, ToxiproxyServer

T = TypeVar("T")

Meter = Callable[[Collection[Link]], Mapping[Link, int]]
"""How many messages have ever been meant for each of these links, whatever became of them. Who sends them knows."""


@dataclass(frozen=True)
class FaultEvent:
    """A fault put or healed, stamped with the machine's monotonic clock once it is in force."""

    at_s: float
    action: str
    links: tuple[Link, ...]
    detail: str
    attempted: int | None = None
    """For a healing: how many messages were to go over the links that it healed, while they were faulty."""


class NetworkFaults(Protocol):
    """Names that are no node raise ValueError. The context managers heal their own links on every way out."""

    def cut(self, links: Collection[Link], mode: Mode = Mode.BLACKHOLE) -> None: ...
    def delay(self, links: Collection[Link], latency_ms: int, jitter_ms: int = 0) -> None: ...
    def limit(self, links: Collection[Link], rate_kib_s: int) -> None: ...
    def heal(self, links: Collection[Link] | None = None) -> None:
        """Undo everything on these links, or on all."""
        ...

    def state(self) -> Mapping[Link, LinkState]: ...
    def cutting(self, links: Collection[Link], mode: Mode = Mode.BLACKHOLE) -> AbstractContextManager[None]: ...
    def isolated(self, node: str, mode: Mode = Mode.BLACKHOLE) -> AbstractContextManager[None]: ...
    def partitioned(self, *groups: Collection[str], mode: Mode = Mode.BLACKHOLE) -> AbstractContextManager[None]: ...
    def delayed(self, links: Collection[Link], latency_ms: int, jitter_ms: int = 0) -> AbstractContextManager[None]: ...
    def limited(self, links: Collection[Link], rate_kib_s: int) -> AbstractContextManager[None]: ...


class LinkFaults(abc.ABC):
    """`NetworkFaults` over what is wanted of each link; whoever has the links brings it into force."""

    def __init__(self, links: Collection[Link], meter: Meter) -> None:
        self._wanted = {link: LinkState() for link in links}
        self._meter = meter
        self._before: dict[Link, int] = {}

    @abc.abstractmethod
    def _enforce(self, links: tuple[Link, ...]) -> None:
        """Make the links, of which `links` were spoken of, what `self._wanted` says."""

    @abc.abstractmethod
    def _changed(self, action: str, links: tuple[Link, ...], detail: str, attempted: int | None) -> None:
        """It is in force; `attempted` is `FaultEvent`'s."""

    def cut(self, links: Collection[Link], mode: Mode = Mode.BLACKHOLE) -> None:
        self._change("cut", links, str(mode), lambda state: replace(state, cut=mode))

    def delay(self, links: Collection[Link], latency_ms: int, jitter_ms: int = 0) -> None:
        if latency_ms < 0 or jitter_ms < 0:
            raise ValueError("a delay cannot be negative")
        detail = str(LinkState(latency_ms=latency_ms, jitter_ms=jitter_ms))
        self._change("delay", links, detail, lambda state: replace(state, latency_ms=latency_ms, jitter_ms=jitter_ms))

    def limit(self, links: Collection[Link], rate_kib_s: int) -> None:
        if rate_kib_s < 1:
            raise ValueError("a bandwidth is at least 1 KiB/s; to hold everything back, cut with mode hold")
        self._change("limit", links, f"{rate_kib_s} KiB/s", lambda state: replace(state, rate_kib_s=rate_kib_s))

    def heal(self, links: Collection[Link] | None = None) -> None:
        self._change("heal", self._wanted if links is None else links, "", lambda _: LinkState())

    def cutting(self, links: Collection[Link], mode: Mode = Mode.BLACKHOLE) -> AbstractContextManager[None]:
        return self._until_healed(links, partial(self.cut, links, mode))

    def isolated(self, node: str, mode: Mode = Mode.BLACKHOLE) -> AbstractContextManager[None]:
        return self.cutting(cuts.isolate(node, self._nodes()), mode)

    def partitioned(self, *groups: Collection[str], mode: Mode = Mode.BLACKHOLE) -> AbstractContextManager[None]:
        return self.cutting(cuts.split(*groups), mode)

    def delayed(self, links: Collection[Link], latency_ms: int, jitter_ms: int = 0) -> AbstractContextManager[None]:
        return self._until_healed(links, partial(self.delay, links, latency_ms, jitter_ms))

    def limited(self, links: Collection[Link], rate_kib_s: int) -> AbstractContextManager[None]:
        return self._until_healed(links, partial(self.limit, links, rate_kib_s))

    @contextlib.contextmanager
    def _until_healed(self, links: Collection[Link], begin: Callable[[], None]) -> Iterator[None]:
        try:
            begin()
            yield
        finally:
            self.heal(links)

    def _nodes(self) -> list[str]:
        return sorted({link.target for link in self._wanted})

    def _change(
        self, action: str, links: Collection[Link], detail: str, change: Callable[[LinkState], LinkState]
    ) -> None:
        unknown = sorted({name for link in set(links) - set(self._wanted) for name in (link.source, link.target)})
        if unknown:
            known = ", ".join([*self._nodes(), CLIENT])
            raise ValueError(f"no link between {' and '.join(unknown)}; there are {known}")
        ordered = tuple(sorted(links))
        former = self._wanted
        self._wanted = former | {link: change(former[link]) for link in ordered}
        attempted = self._attempted([link for link in ordered if self._heals(link, former)])
        self._enforce(ordered)
        self._before |= self._meter([link for link in ordered if self._breaks(link, former)])
        self._changed(action, ordered, detail, attempted)

    def _breaks(self, link: Link, former: Mapping[Link, LinkState]) -> bool:
        return former[link] == LinkState() != self._wanted[link]

    def _heals(self, link: Link, former: Mapping[Link, LinkState]) -> bool:
        return former[link] != LinkState() == self._wanted[link]

    def _attempted(self, healed: Collection[Link]) -> int | None:
        """Asked before the links are healed, as `_before` was after they were broken: all between met the fault."""
        if not healed:
            return None
        return sum(now - self._before.pop(link, now) for link, now in self._meter(healed).items())


class ToxiproxyNetwork(LinkFaults):
    """`NetworkFaults` on the proxies of a running server. Safe to use from several threads."""

    def __init__(
        self,
        server: ToxiproxyServer,
        routes: Collection[Route],
        on_change: Callable[[FaultEvent], None],
        meter: Meter = lambda _: {},
    ) -> None:
        super().__init__([route.link for route in routes], meter)
        self._server = server
        self._on_change = on_change
        self._in_force = dict(self._wanted)
        self._lock = threading.RLock()

    def state(self) -> Mapping[Link, LinkState]:
        with self._lock:
            proxies = self._insist(self._server.proxies)
            return {link: _read_back(proxies[str(link)]) for link in self._wanted}

    def _change(
        self, action: str, links: Collection[Link], detail: str, change: Callable[[LinkState], LinkState]
    ) -> None:
        with self._lock:
            super()._change(action, links, detail, change)

    def _enforce(self, links: tuple[Link, ...]) -> None:
        self._insist(self._bring_into_force)

    def _changed(self, action: str, links: tuple[Link, ...], detail: str, attempted: int | None) -> None:
        self._on_change(FaultEvent(time.monotonic(), action, links, detail, attempted))

    def _insist(self, request: Callable[[], T]) -> T:
        """Make the request; if the server does not answer, once more to a fresh one in which everything is in force."""
        try:
            return request()
        except ToxiproxyError:
            self._server.restart()
            self._in_force = dict.fromkeys(self._wanted, LinkState())
            self._bring_into_force()
            return request()

    def _bring_into_force(self) -> None:
        if self._wanted != self._in_force and self._all_clear():
            # The usual way to heal, at a third of what it takes link by link.
            self._server.reset()
            self._in_force = dict(self._wanted)
        for link, wanted in self._wanted.items():
            former = self._in_force[link]
            if wanted != former:
                proxy = Proxy(name=str(link), upstream="", listen="", enabled=True)
                self._server.call(partial(_apply, proxy, former, wanted))
                self._in_force[link] = wanted

    def _all_clear(self) -> bool:
        return all(state == LinkState() for state in self._wanted.values())


def _apply(proxy: Any, former: LinkState, wanted: LinkState) -> None:
    """Bring a proxy from one state to the other. A toxic that differs is deleted and added, never changed in place."""
    old, new = _toxics(former), _toxics(wanted)
    # In order: a connection ends with the first of a blackhole's toxics, and what is said on the next one at once has
    # to find the way there open, upstream.
    for name, toxic in old.items():
        if new.get(name) != toxic:
            proxy.destroy_toxic(name)
    for name, toxic in new.items():
        if old.get(name) != toxic:
            proxy.add_toxic(name=name, toxicity=1.0, **toxic)
    if (former.cut is Mode.REFUSE) != (wanted.cut is Mode.REFUSE):
        (proxy.disable if wanted.cut is Mode.REFUSE else proxy.enable)()


def _toxics(state: LinkState) -> dict[str, dict[str, Any]]:
    """The toxics that make up a state, by name. Requests are delayed and limited; a cut is on both streams."""
    toxics: dict[str, dict[str, Any]] = {}
    if state.latency_ms or state.jitter_ms:
        attributes = {"latency": state.latency_ms, "jitter": state.jitter_ms}
        toxics["delay"] = {"type": "latency", "stream": "upstream", "attributes": attributes}
    if state.rate_kib_s is not None:
        toxics["limit"] = {"type": "bandwidth", "stream": "upstream", "attributes": {"rate": state.rate_kib_s}}
    kinds = {Mode.BLACKHOLE: ("timeout", {"timeout": 0}), Mode.HOLD: ("bandwidth", {"rate": 0})}
    if state.cut in kinds:
        type, attributes = kinds[state.cut]
        for stream in ("upstream", "downstream"):
            toxics[f"{state.cut}_{stream}"] = {"type": type, "stream": stream, "attributes": attributes}
    return toxics


def _read_back(proxy: Mapping[str, Any]) -> LinkState:
    """A link's state from what the server says of its proxy."""
    toxics = {toxic["name"]: toxic["attributes"] for toxic in proxy["toxics"]}
    cut = next((mode for mode in (Mode.BLACKHOLE, Mode.HOLD) if f"{mode}_upstream" in toxics), None)
    return LinkState(
        cut=cut if proxy["enabled"] else Mode.REFUSE,
        latency_ms=toxics.get("delay", {}).get("latency", 0),
        jitter_ms=toxics.get("delay", {}).get("jitter", 0),
        rate_kib_s=toxics.get("limit", {}).get("rate"),
    )
