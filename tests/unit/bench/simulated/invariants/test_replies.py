"""Replies that send clients astray, come too late, or say something else than what came of the question."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from bench.cluster import PromiseBrokenError
from bench.operations import Cas, Delete, Freshness, Get, GetAll, Leave, Put, Question, Transfer
from bench.simulated.invariants import Invariants
from bench.simulated.invariants.replies import redirects_come_to_the_leader
from bench.simulated.requests import Replied, Request, told_by
from node.machine.kv import Decision, Result, Value
from node.raft import Role
from node.server import Answer
from node.web.replies import Reply
from tests.unit.bench.simulated.invariants.steps import SAID, server

FOLLOWS = msgspec.structs.replace(
    SAID, leader="b", http_addresses={"a": "clients.a:1", "b": "clients.b:1", "c": "clients.c:1"}
)
KNOWS_NOBODY = msgspec.structs.replace(FOLLOWS, leader=None)
LEADS = msgspec.structs.replace(FOLLOWS, leader="a", role=Role.LEADER)
DONE = Result(Decision.DONE, 7)


def judged(
    asked: Question,
    status: int,
    body: Mapping[str, Any],
    *,
    location: str | None = None,
    answer: Answer | None = None,
    said: Any = FOLLOWS,
    at_s: float = 1.0,
) -> None:
    """Have the reply of server a judged."""
    reply = Reply(status, body, location)
    told = told_by(reply, asked, {})
    request = Request(1, "a", asked, 0, lambda request, told: None)
    watcher = Invariants()
    watcher.ledger.servers["a"] = server()
    watcher.replied("a", Replied(request, answer, said, reply, told, at_s))


NOT_LEADER = {"error": "not leader"}


def test_a_redirect_to_where_the_leader_serves_clients_is_right() -> None:
    judged(Put("k", "v"), 307, NOT_LEADER, location="http://clients.b:1/kv/k")
    judged(Get("k", Freshness.LEASE), 307, NOT_LEADER, location="http://clients.b:1/kv/k?consistency=leader")
    judged(Get("a/b"), 307, NOT_LEADER, location="http://clients.b:1/kv/a/b")


@pytest.mark.parametrize("where", ["clients.a:1", "clients.c:1", "b:1", ""])
@pytest.mark.parametrize("said", [FOLLOWS, KNOWS_NOBODY, LEADS])
def test_a_redirect_to_anywhere_else_is_seen(where: str, said: Any) -> None:
    with pytest.raises(PromiseBrokenError, match="redirects_lead_to_who_leads"):
        judged(Put("k", "v"), 307, NOT_LEADER, location=f"http://{where}/kv/k", said=said)


def test_a_redirect_by_who_knows_of_no_leader_is_seen() -> None:
    for location in (None, "http://clients.b:1/kv/k"):
        with pytest.raises(PromiseBrokenError, match="as it knows, nobody leads"):
            judged(Put("k", "v"), 307, NOT_LEADER, location=location, said=KNOWS_NOBODY)


@pytest.mark.parametrize("target", ["/kv/other", "/kv/k", "/kv/k?cas=3&x"])
def test_a_redirect_to_another_question_is_seen(target: str) -> None:
    with pytest.raises(PromiseBrokenError, match=r"redirects_keep_what_was_asked: .* asked for /kv/k\?cas=3,"):
        judged(Delete("k", 3), 307, NOT_LEADER, location=f"http://clients.b:1{target}")


def test_a_client_that_is_told_of_no_leader_by_who_knows_one_is_seen() -> None:
    nobody = {"error": "no leader"}
    for said in (KNOWS_NOBODY, LEADS, msgspec.structs.replace(FOLLOWS, ended=True)):
        judged(Put("k", "v"), 503, nobody, said=said)
    with pytest.raises(PromiseBrokenError, match="who_knows_of_a_leader_says_so"):
        judged(Put("k", "v"), 503, nobody)


def test_a_value_that_is_told_after_the_lease_is_seen() -> None:
    """The server answered in time; the thread that had the answer in its hands was stopped."""
    answer = Answer("me", {"k": Value("v", 0, 1, 1)}, until_s=5.0)
    asked, body = Get("k", Freshness.LEASE), {"value": "v"}
    judged(asked, 200, body, answer=answer, at_s=4.9)
    judged(asked, 503, {"error": "leadership lost"}, answer=answer, at_s=5.0)
    with pytest.raises(PromiseBrokenError, match=r"told of a value at 5\.0 that was good until 5\.0"):
        judged(asked, 200, body, answer=answer, at_s=5.0)
    with pytest.raises(PromiseBrokenError, match="lease_reads_are_told_within_the_lease"):
        judged(asked, 404, {"error": "key not found"}, answer=answer, at_s=5.0)


VALUES = {"k": Value("v", 0, 1, 1), "absent": None}


@pytest.mark.parametrize(
    ("asked", "value", "body", "wrong"),
    [
        (Get("k"), VALUES, {"value": "v"}, {"value": "w"}),
        (GetAll(("k", "absent")), VALUES, {"found": {"k": "v"}}, {"found": {}}),
        (Put("k", "v"), DONE, {"modify_index": 7}, {"modify_index": 8}),
        (Transfer(), "b", {"leader_id": "b"}, {"leader_id": "c"}),
    ],
)
def test_a_success_that_says_something_else_than_the_answer_is_seen(
    asked: Question, value: Any, body: dict[str, Any], wrong: dict[str, Any]
) -> None:
    judged(asked, 200, body, answer=Answer("me", value))
    failed = Answer("me", error=TimeoutError())
    for said, answer in ((wrong, Answer("me", value)), (body, failed), (body, None)):
        with pytest.raises(PromiseBrokenError, match="only_what_is_done_is_told_as_done"):
            judged(asked, 200, said, answer=answer)


def test_a_refusal_that_is_told_as_done_is_seen() -> None:
    conflict = Answer("me", Result(Decision.CONFLICT, 9))
    judged(Cas("k", "v", 3), 409, {"error": "cas mismatch", "modify_index": 9}, answer=conflict)
    with pytest.raises(PromiseBrokenError, match="only_what_is_done_is_told_as_done"):
        judged(Cas("k", "v", 3), 200, {"modify_index": 9}, answer=conflict)
    judged(Leave("b"), 200, {"status": "ok"}, answer=Answer("me"))
    with pytest.raises(PromiseBrokenError, match="only_what_is_done_is_told_as_done"):
        judged(Get("k"), 404, {"error": "key not found"}, answer=Answer("me", VALUES))


def test_a_success_that_no_client_can_read_is_seen() -> None:
    with pytest.raises(PromiseBrokenError, match=r"replied 200 to .*its client takes that for unknown"):
        judged(Put("k", "v"), 200, {"error": "timeout"}, answer=Answer("me", error=TimeoutError()))


def test_redirects_that_go_round_or_end_elsewhere_are_seen() -> None:
    for right in (["a"], ["b", "a"]):
        redirects_come_to_the_leader("a", right)
    for wrong in (["b"], ["b", "c", "a"], ["b", "c", "b"]):
        with pytest.raises(PromiseBrokenError, match=f"redirects lead {' -> '.join(wrong)}; a leads"):
            redirects_come_to_the_leader("a", wrong)
