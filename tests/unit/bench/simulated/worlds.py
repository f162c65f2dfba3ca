"""Worlds to test in: a cluster of its own, founded and led."""

from __future__ import annotations

from bench.operations import Operation, Put, Question
from bench.simulated.observer import Observer
from bench.simulated.settings import WorldSettings
from bench.simulated.world import VirtualWorld
from node.raft import Role

LEADER_S = 3.0
"""By then a leader has been elected."""


def founded(
    nodes: int = 3, *, seed: int = 1, settings: WorldSettings | None = None, observer: Observer | None = None
) -> VirtualWorld:
    world = VirtualWorld(seed, [f"n{number}" for number in range(1, nodes + 1)], settings=settings, observer=observer)
    first, *others = world.nodes.values()
    for node in others:
        node.start()
    first.start(world.found(world.nodes))
    pass_time(world, LEADER_S)
    return world


def pass_time(world: VirtualWorld, seconds: float) -> None:
    world.engine.run(world.engine.now + seconds)


def leader_of(world: VirtualWorld) -> str:
    (name,) = [name for name, node in world.nodes.items() if node.process and node.process.raft.role is Role.LEADER]
    return name


def followers_of(world: VirtualWorld) -> list[str]:
    return [name for name in world.nodes if name != leader_of(world)]


def asked(world: VirtualWorld, node: str, question: Question, seconds: float = 10.0) -> Operation:
    """What came of it."""
    came: list[Operation] = []
    world.ask(0, node, question, came.append)
    pass_time(world, seconds)
    return came[0]


def put(world: VirtualWorld, node: str, key: str = "x", value: str = "1", *, seconds: float = 10.0) -> Operation:
    return asked(world, node, Put(key, value), seconds)
