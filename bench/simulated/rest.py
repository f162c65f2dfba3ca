"""Judges a world at rest, where every fault is over, all nodes agree and nothing is owed any more: what cannot be
judged after every event."""

from __future__ import annotations

from collections.abc import Iterable

from bench.checkers.elections import one_leader_at_a_time
from bench.evidence import Evidence
from bench.simulated import invariants
from bench.simulated.node import Record, recorded
from bench.simulated.world import VirtualWorld
from node.raft.transitions import RoleChanged
from node.server import ANSWER_TIMEOUT_S, Leased, Started, Stopped

LOOK_S = 0.05
"""Between two checks whether every request is answered."""
LIVES = frozenset((RoleChanged, Started, Stopped))
"""The records of a trace that tell who led when, besides the leases."""


def judge(world: VirtualWorld, *, clocks_alike: bool) -> None:
    """Raises PromiseBrokenError. What leases guarantee is judged only if the clocks were alike all the time."""
    _compare_contents(world)
    _wait_until_answered(world)
    _judge_what_is_said(world)
    if clocks_alike:
        _judge_who_led(world)


def _compare_contents(world: VirtualWorld) -> None:
    """Compare what the nodes hold, except busy nodes: the core of a busy node has handed out entries that its state
    machine has not applied yet."""
    for name, node in world.nodes.items():
        if node.process is not None and not node.process.busy:
            content = node.process.machine.freeze()
            world.observer.held(name, node.process.raft.last_applied, content, world.engine.now)


def _wait_until_answered(world: VirtualWorld) -> None:
    """Wait for every request at a live node, whether it leads or not."""
    engine = world.engine
    deadline_s = engine.now + ANSWER_TIMEOUT_S
    while waiting := [(node, request) for node in world.nodes.values() if (request := node.unanswered)]:
        if engine.now >= deadline_s:
            node, request = waiting[0]
            invariants.questions_are_answered_in_the_end(node.name, request.question)
        engine.run(engine.now + LOOK_S)


def _judge_what_is_said(world: VirtualWorld) -> None:
    """Judge what the nodes now say of themselves."""
    for name, node in world.nodes.items():
        if node.process is not None and not node.process.busy:
            invariants.status_is_true_in_the_end(name, node.process.status, node.process.raft)


def _judge_who_led(world: VirtualWorld) -> None:
    """Judge by what is in the nodes' traces."""
    reigns = {name: tuple(map(recorded, _of_reigns(node.records))) for name, node in world.nodes.items()}
    invariants.traces_tell_of_one_leader(one_leader_at_a_time(Evidence(history=(), traces=reigns, timeline=())))


def _of_reigns(records: Iterable[Record]) -> list[Record]:
    """The records of a trace that tell who led when. Of several leases in a row only the last counts, and most records
    are leases."""
    told: list[Record] = []
    lease: Record | None = None
    for record in records:
        kind = type(record[1])
        if kind is Leased:
            lease = record
        elif kind in LIVES:
            told += [record] if lease is None else [lease, record]
            lease = None
    return told if lease is None else [*told, lease]
