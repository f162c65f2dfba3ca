"""Faults on links: what is wanted, what is in force, and healing on every way out.

`NetworkFaults` is what a scenario may say. `ToxiproxyNetwork` does it to TCP. A directed link is one proxy, so cutting
A->B loses A's requests to B and their answers on the same connection, but nothing that B sends on its own link.

Faults overlap, and each ends by itself (`faults.lasting`). The fault of a `with` block ends with the block. The fault
of a command ends when it is healed or when another command of its kind replaces it. What is in force on a link is the
sum of the faults that last, as if one stood behind the other on the link (`LinkState.__add__`). `heal` ends them all,
whoever began them; the end of a block whose fault was healed before does nothing more.

What is wanted is kept here, because a server that was restarted knows nothing. What is shown is read back from the
server, because the server may not have done what it was told. A server that stops answering is restarted once, with all
that is wanted, and asked again.
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
from faults.lasting import Change, Lasting, total, with_also, without, without_kinds
from faults.links import CLIENT, KEPT, RESTARTED, UP, Kind, Link, LinkState, Mode, Route
from faults.stillness import Stillness
from faults.toxiproxy import ToxiproxyError, ToxiproxyServer

T = TypeVar("T")


Meter = Callable[[Collection[Link]], Mapping[Link, int]]
"""How many messages ever went the way of each of these links, whatever became of them. Their senders count them."""


@dataclass(frozen=True)
class FaultEvent:
    """A fault begun or ended, stamped with the machine's monotonic clock once it is in force."""

    at_s: float
    action: str
    """The `Kind` that began; ``heal`` for links that are up now; ``end`` for links on which other faults last;
    `KEPT` for links whose faults outlast their blocks; `RESTARTED`."""
    links: tuple[Link, ...]
    detail: str
    attempted: int | None = None
    """For a healing, or in its place: how many messages went the way of the healed links while those were faulty."""


class NetworkFaults(Protocol):
    """Raises ValueError for a name that is not a node's. The fault of a command (`cut`, `delay`, `limit`) replaces that
    of the former command of its kind. Each context manager has a fault of its own, which ends on every way out."""

    def cut(self, links: Collection[Link], mode: Mode = Mode.BLACKHOLE) -> None: ...
    def delay(self, links: Collection[Link], latency_ms: int, jitter_ms: int = 0) -> None: ...
    def limit(self, links: Collection[Link], rate_kib_s: int) -> None: ...
    def heal(self, links: Collection[Link] | None = None, only: Kind | None = None) -> None:
        """End all faults, or all of one kind, on these links, or on all links; those of context managers too."""
        ...

    def state(self) -> Mapping[Link, LinkState]:
        """What is in force on each link."""
        ...

    def wanted(self) -> Mapping[Link, LinkState]:
        """What is meant to be in force on each link. This asks nobody, and always succeeds."""
        ...

    def met(self, links: Collection[Link] | None = None) -> Mapping[Link, int]:
        """How many messages have gone the way of each of these links between nodes, or of all, since it became faulty;
        links that are up are not in it, nor are those of clients, whose operations the history has."""
        ...

    def cutting(self, links: Collection[Link], mode: Mode = Mode.BLACKHOLE) -> AbstractContextManager[None]: ...
    def isolated(self, node: str, mode: Mode = Mode.BLACKHOLE) -> AbstractContextManager[None]: ...
    def partitioned(self, *groups: Collection[str], mode: Mode = Mode.BLACKHOLE) -> AbstractContextManager[None]: ...
    def delayed(self, links: Collection[Link], latency_ms: int, jitter_ms: int = 0) -> AbstractContextManager[None]: ...
    def limited(self, links: Collection[Link], rate_kib_s: int) -> AbstractContextManager[None]: ...
    def noisy(
        self, *, loss: float = 0.0, duplication: float = 0.0, reordering: float = 0.0
    ) -> AbstractContextManager[None]:
        """Until the block ends, each message between nodes is lost, duplicated or overtaken with these probabilities.
        Clients' requests are duplicated too, as by a proxy or a library that retries by itself."""
        ...


class LinkFaults(abc.ABC):
    """`NetworkFaults` over the faults that last on each link; a subclass brings their sum into force. Safe to use from
    several threads."""

    def __init__(self, links: Collection[Link], meter: Meter, still: Stillness | None = None) -> None:
        self._lasting: dict[Link, tuple[Lasting[LinkState], ...]] = dict.fromkeys(links, ())
        self._wanted = dict.fromkeys(links, UP)
        """The sum of the faults that last, and nothing else."""
        self._meter = meter
        self._before: dict[Link, int] = {}
        self.still = still or Stillness()
        """What becomes of a block that an error ends."""
        self._kept: set[Lasting[LinkState]] = set()
        self._lock = threading.RLock()

    @abc.abstractmethod
    def _enforce(self, links: tuple[Link, ...]) -> None:
        """Bring `self._wanted` into force; `links` are those that were named."""

    @abc.abstractmethod
    def _changed(self, action: str, links: tuple[Link, ...], detail: str, attempted: int | None) -> None:
        """The change is in force; `action` and `attempted` are those of `FaultEvent`."""

    def wanted(self) -> Mapping[Link, LinkState]:
        with self._lock:
            return dict(self._wanted)

    def cut(self, links: Collection[Link], mode: Mode = Mode.BLACKHOLE) -> None:
        self._command(Kind.CUT, links, LinkState(cut=mode))

    def delay(self, links: Collection[Link], latency_ms: int, jitter_ms: int = 0) -> None:
        self._command(Kind.DELAY, links, LinkState(latency_ms=latency_ms, jitter_ms=jitter_ms))

    def limit(self, links: Collection[Link], rate_kib_s: int) -> None:
        self._command(Kind.LIMIT, links, LinkState(rate_kib_s=rate_kib_s))

    def heal(self, links: Collection[Link] | None = None, only: Kind | None = None) -> None:
        kinds = tuple(Kind) if only is None else (only,)
        self._end(tuple(self._wanted) if links is None else links, without_kinds(kinds), ", ".join(kinds))

    def met(self, links: Collection[Link] | None = None) -> Mapping[Link, int]:
        with self._lock:
            asked = self._known(tuple(self._wanted) if links is None else links)
            now = self._meter([link for link in asked if self._wanted[link] != UP])
            return {link: count - self._before.get(link, count) for link, count in now.items()}

    def cutting(self, links: Collection[Link], mode: Mode = Mode.BLACKHOLE) -> AbstractContextManager[None]:
        return self._while(Kind.CUT, links, LinkState(cut=mode))

    def isolated(self, node: str, mode: Mode = Mode.BLACKHOLE) -> AbstractContextManager[None]:
        return self.cutting(cuts.isolate(node, self._nodes()), mode)

    def partitioned(self, *groups: Collection[str], mode: Mode = Mode.BLACKHOLE) -> AbstractContextManager[None]:
        return self.cutting(cuts.split(*groups), mode)

    def delayed(self, links: Collection[Link], latency_ms: int, jitter_ms: int = 0) -> AbstractContextManager[None]:
        return self._while(Kind.DELAY, links, LinkState(latency_ms=latency_ms, jitter_ms=jitter_ms))

    def limited(self, links: Collection[Link], rate_kib_s: int) -> AbstractContextManager[None]:
        return self._while(Kind.LIMIT, links, LinkState(rate_kib_s=rate_kib_s))

    def noisy(
        self, *, loss: float = 0.0, duplication: float = 0.0, reordering: float = 0.0
    ) -> AbstractContextManager[None]:
        does = LinkState(loss=loss, duplication=duplication, reordering=reordering)
        return self._while(Kind.NOISE, tuple(self._wanted), does)

    def _command(self, kind: Kind, links: Collection[Link], does: LinkState) -> None:
        self._begin(Lasting(kind, does, by_command=True), links)

    @contextlib.contextmanager
    def _while(self, kind: Kind, links: Collection[Link], does: LinkState) -> Iterator[None]:
        fault = Lasting(kind, does)
        with self.still.until_over(partial(self._over, fault), partial(self._keep, fault)):
            self._begin(fault, links)
            yield

    def _over(self, fault: Lasting[LinkState]) -> None:
        self._end(self._under(fault), without(fault), fault.kind)

    def _keep(self, fault: Lasting[LinkState]) -> None:
        """The block of this fault is over, and the fault stays. What it has met is told as if it was healed."""
        with self._lock:
            self._kept.add(fault)
            links = tuple(link for link in self._under(fault) if self._kept.issuperset(self._lasting[link]))
            if links:
                self._changed(KEPT, links, fault.kind, self._attempted(links))

    def _under(self, fault: Lasting[LinkState]) -> list[Link]:
        """The links on which the fault lasts; none once they are healed."""
        return [link for link, faults in self._lasting.items() if fault in faults]

    def _begin(self, fault: Lasting[LinkState], links: Collection[Link]) -> None:
        self.still.goes_on()
        with self._lock:
            ordered = self._known(links)
            attempted = self._change(ordered, with_also(fault))
            self._changed(fault.kind, ordered, str(fault.does.cut or fault.does), attempted)

    def _end(self, links: Collection[Link], change: Change[LinkState], kinds: str) -> None:
        self.still.goes_on()
        with self._lock:
            ordered, former, was = self._known(links), self._lasting, self._wanted
            attempted = self._change(ordered, change)
            up = tuple(link for link in ordered if was[link] != UP == self._wanted[link])
            left = tuple(link for link in ordered if link not in up and self._lasting[link] != former[link])
            if up:
                self._changed("heal", up, "", attempted)
            if left:
                self._changed("end", left, kinds, None)

    def _nodes(self) -> list[str]:
        return sorted({link.target for link in self._wanted})

    def _known(self, links: Collection[Link]) -> tuple[Link, ...]:
        """The same links, in order. Raises ValueError for a link that does not exist."""
        strange = {name for link in set(links) - set(self._wanted) for name in (link.source, link.target)}
        unknown = sorted(strange - {*self._nodes(), CLIENT}) or sorted(strange)
        if unknown:
            known = ", ".join([*self._nodes(), CLIENT])
            raise ValueError(f"no link leads to or from {' or '.join(unknown)}; there are {known}")
        return tuple(sorted(links))

    def _change(self, links: tuple[Link, ...], change: Change[LinkState]) -> int | None:
        """Change which faults last on these links, and bring their sum into force; returns `FaultEvent.attempted`."""
        former = self._wanted
        self._lasting = self._lasting | {link: change(self._lasting[link]) for link in links}
        self._wanted = former | {link: total(self._lasting[link], UP) for link in links}
        attempted = self._attempted([link for link in links if former[link] != UP == self._wanted[link]])
        self._enforce(links)
        self._before |= self._meter([link for link in links if former[link] == UP != self._wanted[link]])
        return attempted

    def _attempted(self, healed: Collection[Link]) -> int | None:
        """Counted before the links are healed, as `_before` was after they broke, so all between met the fault."""
        if not healed:
            return None
        return sum(now - self._before.pop(link, now) for link, now in self._meter(healed).items())


class ToxiproxyNetwork(LinkFaults):
    """`NetworkFaults` on the proxies of a running server."""

    def __init__(
        self,
        server: ToxiproxyServer,
        routes: Collection[Route],
        on_change: Callable[[FaultEvent], None],
        meter: Meter = lambda _: {},
        still: Stillness | None = None,
    ) -> None:
        super().__init__([route.link for route in routes], meter, still)
        self._server = server
        self._on_change = on_change
        self._in_force = dict(self._wanted)

    def state(self) -> Mapping[Link, LinkState]:
        with self._lock:
            proxies = self._insist(self._server.proxies)
            return {link: self._shown(link, _read_back(proxies[str(link)])) for link in self._wanted}

    def _shown(self, link: Link, found: LinkState) -> LinkState:
        """What waits for a cut to end makes no difference to anybody yet."""
        return self._wanted[link] if found == self._in_force[link] else found

    def _enforce(self, links: tuple[Link, ...]) -> None:
        self._insist(self._bring_into_force)

    def _changed(self, action: str, links: tuple[Link, ...], detail: str, attempted: int | None) -> None:
        self._on_change(FaultEvent(time.monotonic(), action, links, detail, attempted))

    def ended(self, node: str) -> None:
        """The process of this node has ended, and its connections with it. What a toxic still holds of such a
        connection has nowhere to go: Toxiproxy 2.12.0 waits for it, five seconds for each piece, when the toxic is
        taken away. So faulty links of the node get new proxies now, while nothing can be sent over them."""
        with self._lock:
            faulty = [
                link
                for link, state in self._in_force.items()
                if node in (link.source, link.target) and state != UP and state.cut is not Mode.REFUSE
            ]
            if faulty and not self._server.is_over:
                self._insist(partial(self._renew, faulty))

    def _renew(self, links: Collection[Link]) -> None:
        self._server.renew(links)
        self._in_force |= dict.fromkeys(links, UP)
        self._bring_into_force()

    def _insist(self, request: Callable[[], T]) -> T:
        """Make the request; if the server does not answer, ask a fresh one once more, with everything in force."""
        try:
            return request()
        except ToxiproxyError as error:
            self._server.restart()
            self._in_force = dict.fromkeys(self._wanted, UP)
            self._bring_into_force()
            self._changed(RESTARTED, tuple(self._wanted), str(error).partition(": ")[0], None)
            return request()

    def _bring_into_force(self) -> None:
        if self._wanted != self._in_force and self._all_clear() and not any(map(_is_layered, self._in_force.values())):
            # The usual way to heal, in a third of the time that it takes link by link. It takes away each link's first
            # toxic first, which never ends where that stands before one that holds.
            self._server.reset()
            self._in_force = dict(self._wanted)
        for link, wanted in self._wanted.items():
            former = self._in_force[link]
            now = _for_now(former, wanted)
            if now != former:
                proxy = Proxy(name=str(link), upstream="", listen="", enabled=True)
                self._server.call(partial(_apply, proxy, former, now))
                self._in_force[link] = now

    def _all_clear(self) -> bool:
        return all(state == UP for state in self._wanted.values())


def _is_layered(state: LinkState) -> bool:
    """Whether a cut stands on a link that is slow besides."""
    return state.cut in CUTS and state != LinkState(cut=state.cut)


def _for_now(former: LinkState, wanted: LinkState) -> LinkState:
    """What of it is brought into force at once. While a cut stands on the link, delays and limits stay as they are:
    nothing gets through anyway, and Toxiproxy 2.12.0 is easily confused then. A toxic hands on what it has when it or
    its neighbour is taken away, and waits for seconds for one that takes nothing; and from a connection that ends
    meanwhile it takes away nothing, and ends itself at the next toxic that is added."""
    if wanted.cut not in CUTS:
        return wanted
    return replace(former, cut=wanted.cut)


def _apply(proxy: Any, former: LinkState, wanted: LinkState) -> None:
    """Bring a proxy from one state to the other. A toxic that differs is deleted and added, never changed in place."""
    old, new = _toxics(former), _toxics(wanted)
    refused, refuses = former.cut is Mode.REFUSE, wanted.cut is Mode.REFUSE
    # A new cut before anything is deleted: where one replaces another, nothing slips through.
    if refuses and not refused:
        proxy.disable()
    if wanted.cut is not former.cut:
        for name in CUT_BY[wanted.cut]:
            _add(proxy, name, new[name])
    # In order, cuts first, since only they are on the link from the beginning of a cut to its end, and of these
    # upstream first: a connection ends with the first of a blackhole's toxics, and what is sent at once on the next
    # connection must find the way upstream open.
    for name in [name for name, toxic in old.items() if new.get(name) != toxic]:
        proxy.destroy_toxic(name)
    for name in [name for name, toxic in new.items() if name not in CUT_BY[wanted.cut] and old.get(name) != toxic]:
        _add(proxy, name, new[name])
    if refused and not refuses:
        proxy.enable()


def _add(proxy: Any, name: str, toxic: Mapping[str, Any]) -> None:
    proxy.add_toxic(name=name, toxicity=1.0, **toxic)


CUTS: dict[Mode | None, tuple[tuple[str, str, dict[str, int]], ...]] = {
    Mode.BLACKHOLE: (("timeout", "blackhole", {"timeout": 0}),),
    # A toxic that is put behind another, or removed from there, makes that other one release the chunk that it has. So
    # behind the toxic that holds stands one that does nothing and has no chunk.
    Mode.HOLD: (("bandwidth", "hold", {"rate": 0}), ("latency", "hold_guard", {"latency": 0, "jitter": 0})),
}
"""The toxics of a cut, on each stream."""
STREAMS = ("upstream", "downstream")
CUT_BY: dict[Mode | None, list[str]] = {
    mode: [f"{name}_{stream}" for _, name, _ in CUTS.get(mode, ()) for stream in STREAMS] for mode in (None, *Mode)
}
"""Their names."""


def _toxics(state: LinkState) -> dict[str, dict[str, Any]]:
    """The toxics that make up a state, by name. Only requests are delayed and limited; a cut is on both streams."""
    assert not state.noisy, "a proxy of TCP streams knows no messages"
    toxics: dict[str, dict[str, Any]] = {}
    for type, name, attributes in CUTS.get(state.cut, ()):
        for stream in STREAMS:
            toxics[f"{name}_{stream}"] = {"type": type, "stream": stream, "attributes": attributes}
    if state.latency_ms or state.jitter_ms:
        attributes = {"latency": state.latency_ms, "jitter": state.jitter_ms}
        toxics["delay"] = {"type": "latency", "stream": "upstream", "attributes": attributes}
    if state.rate_kib_s is not None:
        toxics["limit"] = {"type": "bandwidth", "stream": "upstream", "attributes": {"rate": state.rate_kib_s}}
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
