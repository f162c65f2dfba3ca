"""Clients of a live cluster, without the cluster: their connections, and those who work in the background."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from bench.cluster import CannotError, NoSuchNodeError
from bench.live.clients import MOST_KEPT, Connections
from bench.live.waiting import wait_until
from bench.live.workers import LiveWorkers
from bench.operations import Get, Operation, Outcome, Put, Question, Told
from bench.workload import Pace, Script, distinct_writes

ASKED = Put("k", "v")


@dataclass
class Line:
    """A connection to a node."""

    node: str
    closed: bool = False
    asked: list[Question] = field(default_factory=list)
    during: Callable[[], object] = lambda: None

    def ask(self, asked: Question) -> Told:
        assert not self.closed
        self.asked.append(asked)
        self.during()
        return Told(Outcome.OK)

    def close(self) -> None:
        self.closed = True


class Lines(list[Line]):
    """Those that were opened."""

    def open(self, node: str) -> Line:
        self.append(Line(node))
        return self[-1]


def test_a_client_keeps_its_connection_to_each_node_and_shares_none() -> None:
    lines = Lines()
    connections = Connections(lines.open)
    for client, node in [(1, "a"), (1, "a"), (1, "b"), (2, "a"), (1, "a")]:
        assert connections.ask(client, node, ASKED) == Told(Outcome.OK)
    assert [(line.node, len(line.asked)) for line in lines] == [("a", 3), ("b", 1), ("a", 1)]


def test_only_so_many_connections_are_kept_and_those_used_last() -> None:
    """A scenario that makes a client for every question would else have more open than a node lets in."""
    lines = Lines()
    connections = Connections(lines.open)
    for client in range(MOST_KEPT):
        connections.ask(client, "a", ASKED)
    connections.ask(0, "a", ASKED)
    connections.ask(MOST_KEPT, "a", ASKED)
    assert [line for line in lines if line.closed] == [lines[1]]


def test_when_the_cluster_ends_every_connection_does_also_one_in_use() -> None:
    lines = Lines()
    connections = Connections(lines.open)
    connections.ask(1, "a", ASKED)
    lines[0].during = connections.close
    connections.ask(2, "a", ASKED)
    connections.ask(1, "a", ASKED)
    assert all(line.closed for line in lines)
    with pytest.raises(CannotError, match="has been stopped"):
        connections.check_open()


class Nodes:
    """Answer what is asked; `has` says which roles and names somebody has."""

    def __init__(self, *has: str) -> None:
        self.has = set(has)
        self.asked: list[tuple[int, str, Question]] = []
        self.outcome = Outcome.OK
        self.missed = 0

    def ask(self, client: int, node: str, asked: Question) -> Operation:
        if node not in self.has:
            self.missed += 1
            raise NoSuchNodeError(node)
        self.asked.append((client, node, asked))
        return Operation(client, node, asked, Told(self.outcome), 0.0, 0.0)

    def workers(self, *scripts: Script, among: tuple[str, ...] = ("a", "b")) -> LiveWorkers:
        return LiveWorkers(list(enumerate(scripts)), among, self.ask, pace=Pace(0.001), rng=random.Random(1))


def reads(*keys: str) -> Script:
    for key in keys:
        yield Get(key)


def test_a_client_asks_what_its_script_says_until_that_ends() -> None:
    nodes = Nodes("a", "b")
    workers = nodes.workers(reads("x", "y"))
    assert workers.idle
    workers.start()
    wait_until(lambda: workers.idle, "the end of the script")
    assert nodes.asked == [(0, "a", Get("x")), (0, "a", Get("y"))]
    assert workers.acknowledged() == 0, "reads are not counted"


def test_clients_begin_at_different_nodes_and_go_on_to_the_next_when_they_are_not_served() -> None:
    nodes = Nodes("a", "b")
    nodes.outcome = Outcome.FAILED
    workers = nodes.workers(reads("x", "y"), reads("z"))
    workers.start()
    wait_until(lambda: workers.idle, "the end of the scripts")
    assert sorted(nodes.asked) == [(0, "a", Get("x")), (0, "b", Get("y")), (1, "b", Get("z"))]


def test_a_role_that_nobody_has_is_asked_for_again_until_somebody_has_it() -> None:
    nodes = Nodes()
    workers = nodes.workers(reads("x"), among=("leader",))
    workers.start(at_once=True)
    wait_until(lambda: nodes.missed > 2, "nobody leads")
    nodes.has.add("leader")
    wait_until(lambda: workers.idle, "the end of the script")
    assert nodes.asked == [(0, "leader", Get("x"))]


def test_whoever_finds_nobody_in_a_role_goes_to_the_next() -> None:
    nodes = Nodes("b")
    workers = nodes.workers(reads("x"), among=("leader", "b"))
    workers.start(at_once=True)
    workers.join(20)
    assert (nodes.missed, nodes.asked) == (1, [(0, "b", Get("x"))])


def test_who_is_told_to_stop_asks_nothing_more_and_what_is_under_way_is_waited_for() -> None:
    under_way, let_go = threading.Event(), threading.Event()

    def slow() -> Script:
        yield Put("x", "1")
        under_way.set()
        let_go.wait(20)
        yield Put("y", "1")

    nodes = Nodes("a")
    workers = nodes.workers(slow(), among=("a",))
    workers.start(at_once=True)
    assert under_way.wait(20)
    workers.stop()
    assert not workers.idle
    let_go.set()
    workers.join(20)
    assert workers.idle
    assert [asked for _, _, asked in nodes.asked] == [Put("x", "1")]
    assert workers.acknowledged() == 1


def test_who_is_to_ask_at_once_has_asked_however_soon_they_are_stopped() -> None:
    nodes = Nodes("a")
    workers = nodes.workers(reads("x", "y"), among=("a",))
    workers.stop()
    workers.start(at_once=True)
    workers.join(20)
    assert [asked for _, _, asked in nodes.asked] == [Get("x")]


@pytest.mark.parametrize("mistake", [ValueError("no"), SystemExit("no"), AssertionError("no")])
def test_what_a_script_raises_comes_out_where_its_client_is_waited_for(mistake: BaseException) -> None:
    def broken() -> Script:
        yield Get("x")
        raise mistake

    workers = Nodes("a").workers(broken(), among=("a",))
    workers.start(at_once=True)
    workers.join(20)
    with pytest.raises(type(mistake)) as raised:
        assert workers.idle
    assert raised.value is mistake


def test_a_client_whose_cluster_is_gone_ends_quietly() -> None:
    def gone(client: int, node: str, asked: Question) -> Operation:
        raise CannotError("it has been stopped")

    workers = LiveWorkers([(0, distinct_writes(0, 0))], ["a"], gone, pace=Pace(0.0), rng=random.Random(1))
    workers.start(at_once=True)
    workers.join(20)
    assert workers.idle
