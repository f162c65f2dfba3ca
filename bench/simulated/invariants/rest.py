"""Judges a world at rest, where every fault is over, all nodes agree and nothing is owed any more: what cannot be
judged after every event."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from bench.checkers.elections import one_leader_at_a_time
from bench.evidence import Evidence
from bench.operations import Transfer
from bench.simulated.invariants.liveness import questions_are_answered_in_the_end
from bench.simulated.invariants.replies import redirects_come_to_the_leader
from bench.simulated.invariants.status import status_is_true_in_the_end, traces_tell_of_one_leader
from bench.simulated.node import Record, recorded
from bench.simulated.requests import arriving, told_by
from bench.simulated.world import VirtualWorld
from node.raft.transitions import RoleChanged
from node.server import ANSWER_TIMEOUT_S, Leased, Started, Stopped
from node.web.replies import Reply, turned_away

LOOK_S = 0.05
"""Between two checks whether every request is answered."""
LIVES = frozenset((RoleChanged, Started, Stopped))
"""The records of a trace that tell who led when, besides the leases."""


def judge(world: VirtualWorld, *, clocks_alike: bool) -> None:
    """Raises PromiseBrokenError. What leases guarantee is judged only if the clocks were alike all the time."""
    _compare_contents(world)
    _wait_until_answered(world)
    _judge_what_is_said(world)
    _follow_redirects(world)
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
            questions_are_answered_in_the_end(node.name, request.question)
        engine.run(engine.now + LOOK_S)


def _judge_what_is_said(world: VirtualWorld) -> None:
    """Judge what the nodes now say of themselves."""
    for name, node in world.nodes.items():
        if node.process is not None and not node.process.busy:
            status_is_true_in_the_end(name, node.process.status, node.process.raft)


def _follow_redirects(world: VirtualWorld) -> None:
    """Have a client that only the leader serves follow redirects, from each member on."""
    said = {name: node.process.status for name, node in world.nodes.items() if node.process is not None}
    for leader, status in said.items():
        if status.is_leader_at(world.nodes[leader].clock.at(world.engine.now)):
            for member in status.configuration.servers:
                if member.id in said:
                    redirects_come_to_the_leader(leader, list(_way(world, member.id)))


def _way(world: VirtualWorld, start: str) -> Iterator[str]:
    """The nodes that this client comes to, until one serves it, it is sent nowhere, or it has been everywhere."""
    asked = Transfer()
    _, _, read, question = arriving(asked)
    assert not isinstance(question, Reply)
    node = start
    for _ in world.nodes:
        yield node
        found = world.nodes[node]
        if found.process is None:
            return
        away = turned_away(read, question, found.process.status, found.clock.at(world.engine.now))
        node = told_by(away, asked, world.served_at).elsewhere if away is not None else ""
        if node not in world.nodes:
            return


def _judge_who_led(world: VirtualWorld) -> None:
    """Judge by what is in the nodes' traces."""
    reigns = {name: tuple(map(recorded, _of_reigns(node.records))) for name, node in world.nodes.items()}
    traces_tell_of_one_leader(one_leader_at_a_time(Evidence(history=(), traces=reigns, timeline=())))


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
