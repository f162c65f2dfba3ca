"""Clients at work in virtual time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bench.cluster import NoSuchNodeError
from bench.operations import Operation
from bench.simulated.world import VirtualWorld
from bench.workload import Script, Talker


class SimulatedWorkers:
    """One client for each script, from `start` to `stop`, each pausing `pause_s` on average between two questions.
    `resolve` says which node a name or role means."""

    def __init__(
        self,
        world: VirtualWorld,
        scripts: Sequence[tuple[int, Script]],
        nodes: Sequence[str],
        *,
        pause_s: float,
        resolve: Callable[[str], str],
    ) -> None:
        self._world = world
        self._random = world.engine.random(f"workers/{scripts[0][0] if scripts else ''}").random
        self._clients = [(number, Talker(script, nodes, turn)) for turn, (number, script) in enumerate(scripts)]
        self._pause_s = pause_s
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
            (self._ask if at_once else self._rest)(client)

    def stop(self) -> None:
        self._working = False

    def _rest(self, client: tuple[int, Talker]) -> None:
        self._world.engine.after(2 * self._pause_s * self._random(), self._ask, client)

    def _ask(self, client: tuple[int, Talker]) -> None:
        number, talker = client
        if not self._working or talker.asks is None:
            return
        try:
            node = self._resolve(talker.node)
        except NoSuchNodeError:
            talker.move_on()
            self._rest(client)
            return

        def told(operation: Operation) -> None:
            self._under_way -= 1
            talker.told(operation)
            self._rest(client)

        self._under_way += 1
        self._world.ask(number, node, talker.asks, told)
