"""What a request asks for and what a reply says, as functions of the request, the answer, the status and the clock."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest

from node.errors import LeadershipLostError
from node.machine.kv import Command, Decision, DeleteKey, Result, SetKey, Value
from node.questions import (
    MEANINGS,
    NOT_LEADER,
    AddServer,
    Answer,
    Consistency,
    MakeSnapshot,
    Question,
    Read,
    RemoveServer,
    TransferLeadership,
    Write,
)
from node.raft import Configuration, NotLeaderError, Role
from node.raft.membership import Member
from node.status import Status
from node.web import bodies, descriptions
from node.web.endpoints import ENDPOINTS, Endpoint, asks_nobody, reply_to
from node.web.replies import NO_LEADER, NOT_CLUSTERED, ApiError, HttpRequest, Reply, turned_away

LEASE_S = 5.0
LEADER = Status(
    node_id="n1",
    role=Role.LEADER,
    term=3,
    leader="n1",
    lease_until_s=LEASE_S,
    last_index=9,
    last_term=3,
    commit_index=8,
    applied_index=7,
    snapshot_index=0,
    snapshot_term=0,
    digest=b"",
    configuration=Configuration("ours", (Member("n1", "127.0.0.1:1"), Member("n2", "127.0.0.1:2"))),
    cluster_id="ours",
    leader_changes=1,
    matched={},
    http_addresses={"n1": "127.0.0.1:8500", "n2": "127.0.0.1:8501"},
)
FOLLOWER = msgspec.structs.replace(LEADER, role=Role.FOLLOWER, leader="n2", lease_until_s=-math.inf)
LOST = msgspec.structs.replace(FOLLOWER, leader=None)
MUTE = msgspec.structs.replace(FOLLOWER, http_addresses={})
ENDED = msgspec.structs.replace(FOLLOWER, ended=True)

DONE = Result(Decision.DONE, 17)


def endpoint(method: str, path: str) -> Endpoint:
    return next(found for found in ENDPOINTS if (found.method, found.path) == (method, path))


GET, PUT, DELETE = (endpoint(method, "/kv/<path:name>") for method in ("GET", "PUT", "DELETE"))


def of_key(query: dict[str, str] | None = None, query_string: str = "", body: Any = None) -> HttpRequest:
    return HttpRequest("/kv/k", query or {}, query_string, "k", body)


@pytest.mark.parametrize(
    ("query", "consistency"),
    [
        ({}, Consistency.DEFAULT),
        ({"consistent": "false"}, Consistency.DEFAULT),
        ({"consistent": "true"}, Consistency.CONSISTENT),
        ({"consistent": ""}, Consistency.CONSISTENT),
        ({"consistency": "leader"}, Consistency.LEADER),
        ({"consistency": "consistent"}, Consistency.CONSISTENT),
        ({"consistency": "default", "consistent": "true"}, Consistency.DEFAULT),
    ],
)
def test_a_read_is_as_fresh_as_its_query_asks_and_only_a_stale_one_asks_nobody(
    query: dict[str, str], consistency: Consistency
) -> None:
    question = GET.question_of(of_key(query))
    assert question == Read(("k",), consistency)
    assert asks_nobody(question) is (consistency is Consistency.DEFAULT)


@pytest.mark.parametrize("query", [{"consistency": "strong"}, {"consistent": "yes"}, {"consistency": ""}])
def test_a_query_that_makes_no_sense_is_refused(query: dict[str, str]) -> None:
    with pytest.raises(ApiError) as refused:
        GET.question_of(of_key(query))
    assert refused.value.reply.status == 400


def test_a_write_is_its_clients_and_depends_on_what_its_client_says() -> None:
    body = bodies.PutBody(value="v", cas=0, flags=7, client_id="me", sequence=4)
    assert PUT.question_of(of_key(body=body)) == Write(Command(SetKey("k", "v", 7, 0), "me", 4).encode())
    query = {"cas": "3", "client_id": "me", "sequence": "5"}
    assert DELETE.question_of(of_key(query)) == Write(Command(DeleteKey("k", 3), "me", 5).encode())


OPERATORS: list[Question] = [AddServer("n3", "h:1"), RemoveServer("n2"), TransferLeadership()]


@pytest.mark.parametrize("question", OPERATORS)
def test_only_who_leads_by_its_own_clock_takes_what_only_leaders_take(question: Question) -> None:
    request = HttpRequest("/cluster/join", {})
    assert turned_away(request, question, LEADER, LEASE_S - 0.1) is None
    assert turned_away(request, question, LEADER, LEASE_S) == NO_LEADER
    away = turned_away(request, question, FOLLOWER, 0.0)
    assert away is not None
    assert (away.status, away.location) == (NOT_LEADER.status, "http://127.0.0.1:8501/cluster/join")


@pytest.mark.parametrize("question", [Write(b""), Read(("k",)), MakeSnapshot()])
def test_the_server_itself_is_asked_everything_else(question: Question) -> None:
    assert turned_away(of_key(), question, FOLLOWER, 0.0) is None


def test_without_a_cluster_only_keys_are_served() -> None:
    assert [turned_away(of_key(), question, None, 0.0) for question in (Write(b""), Read(("k",)))] == [None, None]
    for question in (*OPERATORS, MakeSnapshot()):
        assert turned_away(of_key(), question, None, 0.0) == NOT_CLUSTERED


def refused(status: Status, request: HttpRequest, now: float = 0.0) -> Reply:
    return reply_to(PUT, request, Answer(None, error=NotLeaderError(None)), status, now)


@pytest.mark.parametrize(
    ("path", "query_string", "location"),
    [
        ("/kv/k", "", "/kv/k"),
        ("/kv/a b/c?", "", "/kv/a%20b/c%3F"),
        ("/kv/k", "cas=3&client_id=a%20b", "/kv/k?cas=3&client_id=a%20b"),
    ],
)
def test_a_redirect_leads_to_the_leaders_clients_and_to_the_same_question(
    path: str, query_string: str, location: str
) -> None:
    reply = refused(FOLLOWER, HttpRequest(path, {}, query_string))
    assert reply == Reply(
        307,
        {"error": "not leader", "message": "n1 does not lead; n2 does", "leader_addr": "127.0.0.1:2"},
        f"http://127.0.0.1:8501{location}",
    )


@pytest.mark.parametrize("status", [LOST, MUTE, ENDED, LEADER])
@pytest.mark.parametrize("now", [0.0, LEASE_S])
def test_nobody_is_sent_anywhere_by_who_knows_of_no_other_leader(status: Status, now: float) -> None:
    """Least of all back to where it is: the node may lead by now."""
    assert refused(status, of_key(), now) == NO_LEADER
    assert (NO_LEADER.status, NO_LEADER.location) == (503, None)


def test_a_value_is_told_only_as_long_as_it_is_good() -> None:
    answer = Answer(None, {"k": Value("v", 0, 1, 1)}, until_s=LEASE_S)
    told = [reply_to(GET, of_key(), answer, LEADER, now) for now in (LEASE_S - 0.1, LEASE_S)]
    assert [reply.status for reply in told] == [200, 503]
    assert told[0].body == {"key": "k", "value": "v"}
    assert told[1].body["error"] == MEANINGS[LeadershipLostError].name


@pytest.mark.parametrize("kind", [kind for kind in MEANINGS if kind is not NotLeaderError])
def test_an_error_is_told_as_it_is_meant(kind: type[Exception]) -> None:
    reply = reply_to(PUT, of_key(), Answer(None, error=kind("why")), FOLLOWER, 0.0)
    meaning = MEANINGS[kind]
    assert (reply.status, reply.body["error"], reply.location) == (meaning.status, meaning.name, None)
    assert reply.status >= 400


@pytest.mark.parametrize(
    ("result", "status", "body"),
    [
        (DONE, 200, {"message": "key deleted", "key": "k", "modify_index": 17}),
        (Result(Decision.CONFLICT, 9), 409, {"error": "cas mismatch", "modify_index": 9}),
        (Result(Decision.CONFLICT, 0, {"a": 9}), 409, {"error": "cas mismatch", "conflicts": {"a": 9}}),
        (Result(Decision.MISSING, 0), 404, {"error": "key not found"}),
        (Result(Decision.SUPERSEDED, 0), 409, {"error": "superseded"}),
    ],
)
def test_a_write_is_told_as_the_state_machine_decided(result: Result, status: int, body: dict[str, Any]) -> None:
    reply = reply_to(DELETE, of_key(), Answer(None, result), LEADER, 0.0)
    assert reply.status == status
    assert {key: reply.body[key] for key in body} == body
    assert set(reply.body) - set(body) <= {"message"}


def test_a_missing_key_is_not_found() -> None:
    reply = reply_to(GET, of_key(), Answer(None, {"k": None}), LEADER, 0.0)
    assert (reply.status, reply.body["error"]) == (404, "key not found")


@pytest.mark.parametrize(
    ("status", "now", "leader"),
    [(LEADER, 0.0, "n1"), (LEADER, LEASE_S, None), (FOLLOWER, 0.0, "n2"), (LOST, 0.0, None), (ENDED, 0.0, None)],
)
def test_who_leads_is_said_by_the_clock_and_the_node_is_ready_if_anybody_does(
    status: Status, now: float, leader: str | None
) -> None:
    told = descriptions.leader(status, now)
    assert told.body.get("leader_id") == leader
    assert (told == NO_LEADER) is (leader is None)
    assert descriptions.ready(status, now).status == (200 if leader else 503)
