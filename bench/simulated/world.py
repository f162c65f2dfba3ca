"""Everything in virtual time: nodes, links, clients, and who watches. One thread, one heap, one seed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

from bench.history import History, Operation
from bench.simulated import requests
from bench.simulated.chronicle import Chronicle
from bench.simulated.engine import Engine
from bench.simulated.network import Bounds, SimulatedNetwork, first_address, named
from bench.simulated.node import SimulatedNode
from bench.simulated.observer import Observer
from bench.simulated.requests import Answer, Request
from bench.simulated.words import Answered
from bench.workload import Invocation, recorded
from faults.links import CLIENT, Link
from node.raft import Configuration, Entry, FlowLimits, Raft, Timing


@dataclass(frozen=True)
class Settings:
    """What a world is made of besides its seed."""

    timing: Timing = field(default_factory=Timing)
    limits: FlowLimits = field(default_factory=FlowLimits)
    core: type[Raft] = Raft
    """The nodes' core, or one with a flaw."""
    clock_rates: tuple[float, float] = (0.98, 1.02)
    """Between which the nodes' clocks run."""
    snapshot_threshold: int = 8192
    """A snapshot is taken after so many entries; 0 is never."""
    trailing_entries: int = 1024
    """How many entries are kept behind a snapshot, for followers that are a little behind."""
    bounds: Bounds = field(default_factory=Bounds)
    """How much a link between nodes takes on."""
    client_timeout_s: float = 8.0
    """So long a client waits for an answer."""


class World:
    """`names` are all nodes there will ever be; none runs before `SimulatedNode.start`."""

    def __init__(
        self,
        seed: int,
        names: Iterable[str],
        *,
        settings: Settings | None = None,
        observer: Observer | None = None,
        on_event: Callable[[str, dict[str, Any]], None] | None = None,
    ) -> None:
        self.engine = Engine(seed)
        self.settings = settings or Settings()
        self.observer = observer or Observer()
        self.chronicle = Chronicle()
        self.history = History()
        self.changed = False
        """Whether anything may have become true since this was last set to False."""
        self.told_index = 0
        """The highest log index that a client was told of, as written or as read."""
        self._on_event = on_event or (lambda event, fields: None)
        self._outstanding: dict[int, Request] = {}
        names = tuple(names)
        self.network = SimulatedNetwork(self.engine, names, self._on_fault, self.settings.bounds)
        self.nodes = {name: SimulatedNode(name, self) for name in names}
        receivers = {name: node.receive for name, node in self.nodes.items()}
        self.network.deliver_to({CLIENT: self._receive_answer} | receivers)
        self.network.tell_of_ends(receivers)

    def found(self, members: Iterable[str]) -> Configuration:
        """The configuration a cluster of these nodes is born with."""
        return Configuration.first((name, first_address(name)) for name in members)

    # What happens around the nodes

    def say(self, who: str, words: str, told: object = None) -> None:
        self.chronicle.note((self.engine.now, who, words), told)

    def topology_changed(self) -> None:
        self.changed = True
        running = [name for name, node in self.nodes.items() if node.running]
        self.observer.topology(running, self.network.clear(), self.engine.now)

    def _on_fault(
        self, action: str, links: tuple[Link, ...], detail: str, attempted: int | None, broken: Collection[str]
    ) -> None:
        self.say("bench", f"{action} {named(links)} {detail}".strip())
        for node in broken:
            self.break_off(node)
        counted = {} if attempted is None else {"attempted": attempted}
        self._on_event(action, {"links": named(links), "detail": detail, **counted})
        self.topology_changed()

    # Clients

    def ask(
        self,
        client: int,
        node: str,
        invocation: Invocation,
        done: Callable[[Operation], None],
    ) -> None:
        """Let a client ask this of a node; `done` is called with what came of it, in time or not."""

        if invocation.kind == "join" and invocation.value is None:
            invocation = invocation._replace(value=first_address(invocation.key))

        def settled(request: Request, answer: Answer) -> None:
            done(self._record(request, answer))

        request = Request(client, node, invocation, self.engine.now, self.told_index, settled)
        self._outstanding[id(request)] = request
        self.network.from_node[CLIENT][node].send(request)
        self.engine.after(self.settings.client_timeout_s, self._give_up, request)

    def break_off(self, node: str) -> None:
        """The connections of a node's clients end, and they notice."""
        for request in [request for request in self._outstanding.values() if request.node == node]:
            request.answered = True
            self._settle(request, requests.CONNECTION_LOST)

    def tell_write(self, node: str, entry: Entry, required_index: int) -> None:
        self.observer.acknowledged(node, entry.index, entry.term, required_index, self.engine.now)
        self.told_index = max(self.told_index, entry.index)

    def tell_read(self, node: str, kind: str, served_index: int, required_index: int) -> None:
        self.observer.read_served(node, kind, served_index, required_index, self.engine.now)
        if kind != "stale":
            self.told_index = max(self.told_index, served_index)

    def _receive_answer(self, item: tuple[Request, Answer]) -> None:
        self._settle(*item)

    def _give_up(self, request: Request) -> None:
        self._settle(request, requests.NO_ANSWER)

    def _settle(self, request: Request, answer: Answer) -> None:
        if not request.settled:
            request.settled = True
            del self._outstanding[id(request)]
            self.changed = True
            request.done(request, answer)

    def _record(self, request: Request, answer: Answer) -> Operation:
        invocation = request.invocation
        if invocation.sequence:
            self.observer.told(invocation.client_id, invocation.sequence, answer, self.engine.now)
        noted = (request.client, invocation.kind, invocation.key, answer)
        self.chronicle.note((self.engine.now, "client", noted), Answered(request, answer))
        operation = Operation(
            client=request.client,
            node=request.node,
            kind=invocation.kind,
            key=invocation.key,
            value=invocation.value,
            outcome=answer.outcome,
            invoked_s=request.invoked_s,
            completed_s=self.engine.now,
            result=answer.result,
            modify_index=answer.modify_index,
            reason=answer.reason,
            client_id=invocation.client_id,
            sequence=invocation.sequence,
        )
        return recorded(self.history, invocation, operation)
