"""Clients in virtual time: one that a scenario calls, and those that work by themselves."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bench.cluster import Client
from bench.history import Operation
from bench.simulated.world import World
from bench.workload import PAUSE_S, Invocation, Script, Session


class SimulatedClient(Client):
    """A client of one node; `perform` lets time pass until there is an answer."""

    def __init__(self, number: int, node: str, perform: Callable[[int, str, Invocation], Operation]) -> None:
        self._number = number
        self._node = node
        self._perform = perform

    def ask(self, invocation: Invocation) -> Operation:
        return self._perform(self._number, self._node, invocation)


class Workers:
    """One client for each script, from `start` to `stop`, each resting `pause_s` on average between two questions."""

    def __init__(
        self,
        world: World,
        scripts: Sequence[tuple[int, Script]],
        nodes: Sequence[str],
        *,
        pause_s: float = PAUSE_S,
    ) -> None:
        self._world = world
        self._random = world.engine.random(f"workers/{scripts[0][0] if scripts else ''}").random
        self._sessions = [(number, Session(script, nodes, turn)) for turn, (number, script) in enumerate(scripts)]
        self._pause_s = pause_s
        self._working = False
        self._under_way = 0

    @property
    def idle(self) -> bool:
        """Whether nothing is being asked any more."""
        return not self._under_way

    def acknowledged(self) -> int:
        return sum(session.acknowledged for _, session in self._sessions)

    def start(self) -> None:
        self._working = True
        for work in self._sessions:
            self._rest(work)

    def stop(self) -> None:
        """Ask nothing more; what is under way still gets its answer."""
        self._working = False

    def _rest(self, work: tuple[int, Session]) -> None:
        self._world.engine.after(2 * self._pause_s * self._random(), self._ask, work)

    def _ask(self, work: tuple[int, Session]) -> None:
        if not self._working:
            return
        number, session = work

        def told(operation: Operation) -> None:
            self._under_way -= 1
            session.told(operation)
            self._rest(work)

        self._under_way += 1
        self._world.ask(number, session.node, session.invocation, told)
