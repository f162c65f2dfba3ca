"""Everything in virtual time: nodes, links, clients, and who watches. One thread, one heap, one seed."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from bench.history import History, Operation
from bench.simulated import requests
from bench.simulated.network import first_address
from bench.simulated.node import SimulatedNode
from bench.simulated.observer import Observer
from bench.simulated.requests import Request, Told
from bench.simulated.settings import Settings
from bench.simulated.stage import OnEvent, Stage
from bench.simulated.words import Answered
from bench.workload import Invocation, recorded
from faults.links import CLIENT
from node.raft import Configuration


class World(Stage):
    """`names` are all nodes there will ever be; none runs before `SimulatedNode.start`."""

    def __init__(
        self,
        seed: int,
        names: Iterable[str],
        *,
        settings: Settings | None = None,
        observer: Observer | None = None,
        on_event: OnEvent | None = None,
    ) -> None:
        names = tuple(names)
        super().__init__(seed, names, settings=settings, observer=observer, on_event=on_event)
        self.history = History()
        self._outstanding: dict[int, Request] = {}
        self.nodes = {name: SimulatedNode(name, self) for name in names}
        self.inhabitants |= self.nodes
        receivers = {name: node.receive for name, node in self.nodes.items()}
        self.network.deliver_to({CLIENT: self._receive_answer} | receivers)
        self.network.tell_of_ends(receivers)

    def found(self, members: Iterable[str]) -> Configuration:
        """The configuration a cluster of these nodes is born with."""
        return Configuration.first((name, first_address(name)) for name in members)

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

        def settled(request: Request, told: Told) -> None:
            done(self._record(request, told))

        request = Request(client, node, invocation, self.engine.now, self.told_index, settled)
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

    def _record(self, request: Request, told: Told) -> Operation:
        invocation = request.invocation
        if invocation.sequence:
            self.observer.told(invocation.client_id, invocation.sequence, told, self.engine.now)
        noted = (request.client, invocation.kind, invocation.key, told)
        self.chronicle.note((self.engine.now, "client", noted), Answered(request, told))
        operation = Operation(
            client=request.client,
            node=request.node,
            kind=invocation.kind,
            key=invocation.key,
            value=invocation.value,
            outcome=told.outcome,
            invoked_s=request.invoked_s,
            completed_s=self.engine.now,
            result=told.result,
            modify_index=told.modify_index,
            reason=told.reason,
            client_id=invocation.client_id,
            sequence=invocation.sequence,
        )
        return recorded(self.history, invocation, operation)
