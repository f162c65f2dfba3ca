"""Links in virtual time: the faults of the live network, and those that no TCP proxy can make.

A link carries one stream: what is sent arrives later, in order. The three cuts are Toxiproxy's: *blackhole* loses what
is sent and what is under way, *refuse* does too, and *hold* keeps both and delivers them in order when healed. Noise is
per message: lost, duplicated, or overtaken by later ones. A node is told when one of its own connections ends (`Hint`),
as by `node.transport`.

A link between nodes takes on as much as `node.transport` does, and drops the rest. That matters only where messages
stay under way for long, so it is accounted for only on faulty links.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import msgspec

from bench.simulated.engine import Engine
from faults.links import CLIENT, UP, Link, LinkState, Mode, client_links, peer_links
from faults.network import LinkFaults
from node.raft.messages import AnyMessage
from node.server import Hint, Origin

FASTEST_S, USUAL_SPREAD_S = 0.0002, 0.0012
"""The latency through a proxy on one machine."""
OVERTAKEN_S = 0.3
"""The most by which an overtaken message is late."""
KIB = 1024
MESSAGE_BYTES = 256
"""The size of a message on a limited link, without its entries' data."""
ANSWER_TIMEOUT_S = 5.0
"""A connection on which something has been under way for this long is given up when the next message is to be sent."""

LATE_MS = 20
"""A link that is no later than this is as good as one without delay."""

Receive = Callable[[Any], None]
OnChange = Callable[[str, tuple[Link, ...], str, int | None, Collection[str]], None]
"""What was done, to which links, in words, `FaultEvent.attempted`, and the nodes whose client connections it broke."""


class Parcel(msgspec.Struct, frozen=True, gc=False):
    """What travels between nodes: a `node.server.Delivery` of one message."""

    origin: Origin
    messages: tuple[AnyMessage]


class Bounds(NamedTuple):
    """How much a link takes on, as `node.transport` bounds it."""

    unanswered_bytes: int = 1024 * 1024
    """Beyond this much under way, further messages wait; one message may always be under way."""
    waiting: int = 1024
    """Beyond this many waiting messages, further ones are lost."""


class Sent(NamedTuple):
    """A message under way on a faulty link."""

    item: Any
    at_s: float
    weight: int


class Stream:
    """One connection. Once closed, it delivers nothing more."""

    __slots__ = ("_noted", "is_open", "last_s", "link", "unanswered", "unanswered_bytes", "waiting")

    def __init__(self, link: SimulatedLink) -> None:
        self.link = link
        self.is_open = True
        self.last_s = 0.0
        """When the last message sent in order arrives; no later one in order arrives before it."""
        self._noted = 0
        self.unanswered: dict[int, Sent] = {}
        self.unanswered_bytes = 0
        self.waiting: deque[Any] = deque()

    def arrive(self, item: Any) -> None:
        if not self.is_open:
            return
        link = self.link
        if link.holding:
            link.held.append(item)
            return
        link.receive(item)

    def note(self, sent: Sent) -> int:
        """Remember that this is under way; returns its number for `arrive_noted`."""
        self._noted += 1
        self.unanswered[self._noted] = sent
        self.unanswered_bytes += sent.weight
        return self._noted

    def arrive_noted(self, number: int) -> None:
        """A held message stays under way."""
        if not self.is_open or self.link.holding:
            return
        sent = self.unanswered.pop(number)
        self.unanswered_bytes -= sent.weight
        self.link.receive(sent.item)
        self.link.drain()

    def is_stuck(self, now: float) -> bool:
        oldest = next(iter(self.unanswered.values()), None)
        return oldest is not None and now - oldest.at_s > ANSWER_TIMEOUT_S


class SimulatedLink:
    """What `source` sends to `target`; `receive` is called with what arrives."""

    __slots__ = (
        "_engine",
        "_random",
        "_stream",
        "attempted",
        "bounds",
        "held",
        "holding",
        "link",
        "on_end",
        "receive",
        "rough",
        "state",
    )

    def __init__(self, engine: Engine, link: Link, rng: random.Random, bounds: Bounds | None = None) -> None:
        self._engine = engine
        self._random = rng.random
        self.link = link
        self.receive: Receive = _nowhere
        self.on_end: Receive = _unheeded
        """Called with a `Hint`, for the node at the near end."""
        self.state = UP
        self.attempted = 0
        """Messages that were to go over the link while it was faulty."""
        self.rough = False
        """Whether there is any fault on the link."""
        self.holding = False
        self.held: list[Any] = []
        """What was under way when holding began."""
        self.bounds = bounds
        self._stream = Stream(self)

    @property
    def clear(self) -> bool:
        """Whether what is sent arrives, and about as soon as usual. It may arrive twice."""
        state = self.state
        late = state.latency_ms + state.jitter_ms > LATE_MS
        return state.cut is None and state.rate_kib_s is None and not (late or state.loss or state.reordering)

    @property
    def settled_s(self) -> float:
        """When the last of what is under way arrives: whatever is sent later cannot arrive before it."""
        return self._stream.last_s

    def send(self, item: Any) -> None:
        if self.rough:
            self._send_roughly(item)
            return
        chance = self._random()
        engine, stream = self._engine, self._stream
        when_s = engine.now + FASTEST_S + USUAL_SPREAD_S * chance * chance * chance
        if when_s < stream.last_s:
            when_s = stream.last_s
        stream.last_s = when_s
        engine.at(when_s, stream.arrive, item)

    def _send_roughly(self, item: Any) -> None:
        self.attempted += 1
        if self.state.cut not in (Mode.BLACKHOLE, Mode.REFUSE) and self._random() >= self.state.loss:
            self._take_on(item)

    def _take_on(self, item: Any) -> None:
        bounds, weight = self.bounds, _weight(item)
        if bounds is not None:
            if self._stream.is_stuck(self._engine.now):
                self.break_off()
            waiting = self._stream.waiting
            if waiting or not self._has_room(weight):
                if len(waiting) < bounds.waiting:
                    waiting.append(item)
                return
        self._write(item, weight)

    def _has_room(self, weight: int) -> bool:
        under_way, bounds = self._stream.unanswered_bytes, self.bounds
        return not under_way or bounds is None or under_way + weight <= bounds.unanswered_bytes

    def _write(self, item: Any, weight: int) -> None:
        engine, state, stream, chance = self._engine, self.state, self._stream, self._random()
        when_s = engine.now + FASTEST_S + USUAL_SPREAD_S * chance * chance * chance
        jitter_s = state.jitter_ms * (2 * self._random() - 1)
        when_s += max(0.0, state.latency_ms + jitter_s) / 1000
        if state.rate_kib_s is not None:
            when_s = max(when_s, stream.last_s) + weight / (state.rate_kib_s * KIB)
        if self._random() < state.duplication:
            engine.at(when_s + OVERTAKEN_S * self._random(), stream.arrive, item)
        number = stream.note(Sent(item, engine.now, weight))
        if self._random() < state.reordering:
            engine.at(when_s + OVERTAKEN_S * self._random(), stream.arrive_noted, number)
            return
        stream.last_s = max(when_s, stream.last_s)
        engine.at(stream.last_s, stream.arrive_noted, number)

    def drain(self) -> None:
        """Send what waits, as far as there is room."""
        waiting = self._stream.waiting
        while waiting and (not self.rough or self._has_room(_weight(waiting[0]))):
            item = waiting.popleft()
            self._write(item, _weight(item))

    def bring_into(self, state: LinkState) -> None:
        former, self.state = self.state, state
        if former.cut is not state.cut:
            if state.cut is Mode.BLACKHOLE:
                self.close()
            elif state.cut is Mode.REFUSE or former.cut in (Mode.BLACKHOLE, Mode.REFUSE):
                self.break_off()
            self.holding = state.cut is Mode.HOLD
        self.rough = state != UP
        self.drain()
        limit_is_over = former.rate_kib_s not in (None, state.rate_kib_s)
        if not self.holding and (former.cut is Mode.HOLD or limit_is_over):
            self._let_through()

    def close(self) -> None:
        """The connection breaks: what is under way is lost, and the next message opens a new one."""
        self._stream.is_open = False
        self._stream = Stream(self)
        self.held.clear()

    def break_off(self) -> None:
        """The same, and the sender notices."""
        self.close()
        self._engine.after(FASTEST_S, self.on_end, Hint(self.link.target))

    def _let_through(self) -> None:
        """Send on what is under way, as the link is now. Each message was counted, and might have been lost, when it
        was first sent."""
        stream = self._stream
        under_way = [*self.held, *(sent.item for sent in stream.unanswered.values()), *stream.waiting]
        self.close()
        go_on = self._take_on if self.rough else self.send
        for item in under_way:
            go_on(item)


class SimulatedNetwork(LinkFaults):
    """`faults.network.NetworkFaults` over links in virtual time, and noise besides."""

    def __init__(
        self,
        engine: Engine,
        nodes: Iterable[str],
        on_change: OnChange,
        bounds: Bounds | None = None,
    ) -> None:
        """`bounds` hold for the links between nodes; by default there are none."""
        names = tuple(nodes)
        self._engine = engine
        self._on_change = on_change
        links = (*client_links(names), *peer_links(names))
        super().__init__(links, self._count)
        self._broken: list[Link] = []
        self.links = {
            link: SimulatedLink(
                engine, link, engine.random(f"network/{link}"), bounds if link.source != CLIENT else None
            )
            for link in links
        }
        self.answers = {
            name: SimulatedLink(engine, Link(name, CLIENT), engine.random(f"network/{name}->client")) for name in names
        }
        """A node's answers to its clients, on the connections of the client link: a cut affects both directions, a
        delay does not."""
        self.from_node = {
            name: {link.target: self.links[link] for link in links if link.source == name} for name in (*names, CLIENT)
        }
        """source -> target -> link."""

    def deliver_to(self, receivers: Mapping[str, Receive]) -> None:
        """Say who receives at the end of each link."""
        for link in (*self.links.values(), *self.answers.values()):
            link.receive = receivers[link.link.target]

    def tell_of_ends(self, senders: Mapping[str, Receive]) -> None:
        """Say who is given a `Hint` when a connection of its own ends."""
        for source, receive in senders.items():
            for link in self.from_node[source].values():
                link.on_end = receive

    def state(self) -> Mapping[Link, LinkState]:
        return {link: found.state for link, found in self.links.items()}

    def disconnect(self, node: str) -> None:
        """Break every connection to `node`; what is under way on it is lost."""
        for link, found in self.links.items():
            if link.target == node:
                found.break_off()

    def end_connections_to(self, node: str) -> None:
        """The node has died, and its peers notice."""
        for source, links in self.from_node.items():
            if source not in (CLIENT, node):
                links[node].break_off()

    def clear(self) -> dict[tuple[str, str], float]:
        """The clear links between nodes, by source and target, each with when the last of what is under way on it
        arrives: after a delay is over, later messages wait behind what it has delayed."""
        between = ((link, found) for link, found in self.links.items() if link.source != CLIENT and found.clear)
        return {(link.source, link.target): found.settled_s for link, found in between}

    def _enforce(self, links: tuple[Link, ...]) -> None:
        clients = [link for link in links if link.source == CLIENT]
        self._broken = [link for link in clients if _breaks(self.links[link].state.cut, self._wanted[link].cut)]
        for link in links:
            wanted = self._wanted[link]
            if link.source == CLIENT:
                self.links[link].bring_into(replace(wanted, loss=0.0, reordering=0.0))
                self.answers[link.target].bring_into(LinkState(cut=wanted.cut))
            else:
                self.links[link].bring_into(wanted)

    def _changed(self, action: str, links: tuple[Link, ...], detail: str, attempted: int | None) -> None:
        self._on_change(action, links, detail, attempted, [link.target for link in self._broken if link in links])

    def _count(self, links: Collection[Link]) -> dict[Link, int]:
        return {link: self.links[link].attempted for link in links if link.source != CLIENT}


def _breaks(former: Mode | None, wanted: Mode | None) -> bool:
    """A refused connection is closed, and so is one that lost bytes in a blackhole, when that heals."""
    return wanted is Mode.REFUSE or (former is Mode.BLACKHOLE and wanted is not Mode.BLACKHOLE)


def _unheeded(item: Any) -> None:
    """Clients notice a broken connection by themselves (`VirtualWorld.break_off`)."""


def _nowhere(item: Any) -> None:
    raise AssertionError(f"{item} arrived before anybody was there")


def _weight(item: Any) -> int:
    """About as many bytes as on the wire."""
    message = item.messages[0] if type(item) is Parcel else item
    entries = getattr(message, "entries", ())
    return MESSAGE_BYTES + sum(len(entry.data) for entry in entries) + len(getattr(message, "data", b""))


def first_address(node: str) -> str:
    """The address of a node that has never moved."""
    return f"{node}:7000"


def client_address(address: str) -> str:
    """Where a node that its peers reach at `address` serves its clients."""
    return f"clients.{address}"


def named(links: Collection[Link]) -> str:
    return ",".join(map(str, links))
