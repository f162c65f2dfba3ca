"""Everything in virtual time: nodes, links, clients, and the observer. One thread, one heap, one seed."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from bench.history import History
from bench.operations import Join, Operation, Question, Told, Writing, with_changes
from bench.simulated import requests
from bench.simulated.network import first_address
from bench.simulated.node import SimulatedNode
from bench.simulated.observer import Observer
from bench.simulated.requests import Request
from bench.simulated.settings import WorldSettings
from bench.simulated.stage import OnEvent, Stage
from bench.simulated.words import Answered
from faults.links import CLIENT
from node.raft import Configuration


class VirtualWorld(Stage):
    """`names` are all nodes there will ever be; none runs before `SimulatedNode.start`."""

    def __init__(
        self,
        seed: int,
        names: Iterable[str],
        *,
        settings: WorldSettings | None = None,
        observer: Observer | None = None,
        on_event: OnEvent | None = None,
        history: History | None = None,
    ) -> None:
        names = tuple(names)
        super().__init__(seed, names, settings=settings, observer=observer, on_event=on_event)
        self.history = history or History()
        self._outstanding: dict[int, Request] = {}
        self.nodes = {name: SimulatedNode(name, self) for name in names}
        self.inhabitants |= self.nodes
        receivers = {name: node.receive for name, node in self.nodes.items()}
        self.network.deliver_to({CLIENT: self._receive_answer} | receivers)
        self.network.tell_of_ends(receivers)

    def found(self, members: Iterable[str]) -> Configuration:
        """The first configuration of a cluster of these nodes."""
        return Configuration.first((name, first_address(name)) for name in members)

    # Clients

    def ask(self, client: int, node: str, asked: Question, done: Callable[[Operation], None]) -> None:
        """Let a client ask this of a node; `done` is called with what came of it, whether the answer came in time or
        not."""
        number = self.history.invoked(client, node, asked, self.engine.now)

        def settled(request: Request, told: Told) -> None:
            done(self._record(number, request, told))

        if isinstance(asked, Join) and not asked.address:
            asked = with_changes(asked, address=self.nodes[asked.node].address)
        request = Request(client, node, asked, self.told_index, settled)
        self._outstanding[id(request)] = request
        self.network.from_node[CLIENT][node].send(request)
        self.engine.after(self.settings.client_timeout_s, self._give_up, request)

    def break_off(self, node: str) -> None:
        for request in [request for request in self._outstanding.values() if request.node == node]:
            request.answered = True
            self._settle(request, requests.CONNECTION_LOST)

    def _receive_answer(self, item: tuple[Request, Told]) -> None:
        self._settle(*item)

    def _give_up(self, request: Request) -> None:
        self._settle(request, requests.NO_ANSWER)

    def _settle(self, request: Request, told: Told) -> None:
        if not request.settled:
            request.settled = True
            del self._outstanding[id(request)]
            self.changed = True
            request.done(request, told)

    def _record(self, number: int, request: Request, told: Told) -> Operation:
        asked, now_s = request.asked, self.engine.now
        if isinstance(asked, Writing) and asked.sequence:
            self.observer.told(asked.client_id, asked.sequence, told, now_s)
        self.chronicle.note((now_s, "client", (request.client, told)), Answered(request, told))
        return self.history.completed(number, told, now_s)
