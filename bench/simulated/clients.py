"""Clients at work in virtual time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bench.cluster import NoSuchNodeError
from bench.operations import Operation
from bench.simulated.world import VirtualWorld
from bench.workload import Pace, Script, Talker


class SimulatedWorkers:
    """One client for each script, from `start` to `stop`, each at this pace.
    `resolve` says which node a name or role means."""

    def __init__(
        self,
        world: VirtualWorld,
        scripts: Sequence[tuple[int, Script]],
        nodes: Sequence[str],
        *,
        pace: Pace,
        resolve: Callable[[str], str],
    ) -> None:
        self._world = world
        self._random = world.engine.random(f"workers/{scripts[0][0] if scripts else ''}").random
        self._clients = [(number, Talker(script, nodes, turn)) for turn, (number, script) in enumerate(scripts)]
        self._pace = pace
        self._resolve = resolve
        self._working = False
        self._under_way = 0

    @property
    def idle(self) -> bool:
        return not self._under_way

    def acknowledged(self) -> int:
        return sum(talker.acknowledged for _, talker in self._clients)

    def start(self, *, at_once: bool = False) -> None:
        self._working = True
        for client in self._clients:
            if at_once:
                self._ask(client)
            else:
                self._rest(client, 0.0)

    def stop(self) -> None:
        self._working = False

    def _rest(self, client: tuple[int, Talker], asking_s: float) -> None:
        self._world.engine.after(self._pace.wait_s(asking_s, self._random()), self._ask, client)

    def _ask(self, client: tuple[int, Talker]) -> None:
        number, talker = client
        if not self._working or talker.asks is None:
            return
        try:
            node = self._resolve(talker.node)
        except NoSuchNodeError:
            talker.move_on()
            self._rest(client, 0.0)
            return

        def told(operation: Operation) -> None:
            self._under_way -= 1
            talker.told(operation)
            self._rest(client, operation.completed_s - operation.invoked_s)

        self._under_way += 1
        self._world.ask(number, node, talker.asks, told)
