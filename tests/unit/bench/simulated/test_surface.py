"""What becomes of a client's request at a simulated node: the node's own rules, at the moments at which they count."""

from __future__ import annotations

import pytest

from bench.operations import Freshness, Get, GetAll, Item, Operation, Outcome, Put, Question, SetAll, Transfer
from bench.simulated.observer import Observer
from bench.simulated.requests import Replied, Request, arriving
from bench.simulated.world import VirtualWorld
from node.machine.kv import Command, SetKey
from node.server import ANSWER_TIMEOUT_S, Answer, Consistency, Read, Write
from node.web.replies import Reply
from tests.unit.bench.simulated.worlds import asked, followers_of, founded, leader_of, pass_time, put


def begun(world: VirtualWorld, node: str, question: Question) -> list[Operation]:
    """Ask it; the list gets what comes of it."""
    came: list[Operation] = []
    world.ask(1, node, question, came.append)
    return came


def test_who_does_not_lead_sends_a_client_to_who_does() -> None:
    world = founded()
    for question in (Put("x", "1"), Get("x", Freshness.LEASE), Transfer()):
        told = asked(world, followers_of(world)[0], question).told
        assert (told.reason, told.elsewhere) == ("not leader", leader_of(world))
        assert told.message


def test_where_peers_reach_a_node_no_client_is_served() -> None:
    world = founded()
    assert world.nodes["n1"].address not in world.served_at
    assert "n1" in world.served_at.values()


class PauseWithTheAnswer(Observer):
    """Stops the node named as soon as its server has answered a read."""

    def __init__(self) -> None:
        self.world: VirtualWorld | None = None
        self.victim = ""

    def answered(self, name: str, request: Request, answer: Answer, at_s: float) -> None:
        if self.world is not None and name == self.victim:
            self.world.nodes[name].pause()


@pytest.mark.parametrize(("paused_s", "outcome"), [(0.01, Outcome.OK), (3.0, Outcome.UNKNOWN)])
def test_a_value_that_was_read_before_a_pause_is_told_after_it_only_within_the_lease(
    paused_s: float, outcome: Outcome
) -> None:
    observer = PauseWithTheAnswer()
    world = founded(observer=observer)
    put(world, leader_of(world))
    observer.victim, observer.world = leader_of(world), world
    came = begun(world, observer.victim, Get("x", Freshness.LEASE))
    pass_time(world, paused_s)
    assert came == []
    observer.world = None
    world.nodes[observer.victim].resume()
    pass_time(world, 1.0)
    assert came[0].outcome is outcome
    assert came[0].reason == ("" if outcome is Outcome.OK else "leadership lost")


def test_a_request_that_arrives_during_a_pause_is_read_after_it() -> None:
    world = founded()
    put(world, leader_of(world))
    node = world.nodes[followers_of(world)[0]]
    node.pause()
    came = begun(world, node.name, Get("x"))
    pass_time(world, 1.0)
    assert came == []
    node.resume()
    pass_time(world, 0.1)
    assert came[0].value == "1"


class Listening(Observer):
    def __init__(self) -> None:
        self.replies: list[Replied] = []

    def replied(self, name: str, replied: Replied) -> None:
        self.replies.append(replied)


def test_who_was_stopped_longer_than_a_client_may_wait_says_that_nothing_is_known() -> None:
    observer = Listening()
    world = founded(observer=observer)
    leader = leader_of(world)
    world.nodes[leader].disk.extra_s = ANSWER_TIMEOUT_S + 1
    begun(world, leader, Put("x", "1"))
    pass_time(world, 1.0)
    world.nodes[leader].pause()
    pass_time(world, ANSWER_TIMEOUT_S)
    assert observer.replies == []
    world.nodes[leader].resume()
    pass_time(world, 0.1)
    assert [(replied.reply.status, replied.told.outcome) for replied in observer.replies] == [(504, Outcome.UNKNOWN)]


def test_a_batch_of_which_only_some_keys_expect_an_index_is_refused_as_by_a_real_node() -> None:
    world = founded()
    told = asked(world, leader_of(world), SetAll((Item("a", "1"), Item("b", "2", 0)))).told
    assert (told.outcome, told.reason) == (Outcome.FAILED, "bad request")


def test_a_question_arrives_as_the_node_reads_it() -> None:
    found = arriving(Put("a/b?c", "v", client_id="me", sequence=2))
    assert found.question == Write(Command(SetKey("a/b?c", "v"), "me", 2).encode())
    assert found.target == "/kv/a%2Fb%3Fc"
    assert arriving(Get("k", Freshness.LINEARIZABLE)).question == Read(("k",), Consistency.CONSISTENT)
    assert arriving(GetAll(("a", "b"))).question == Read(("a", "b"))
    assert isinstance(arriving(SetAll((Item("a", "1"), Item("b", "2", 0)))).question, Reply)
