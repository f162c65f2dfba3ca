"""What both HTTP surfaces ask of a driver, and what they make of its answers, whatever those are.

With a driver that decides, the same surfaces are in `test_apis`.
"""

from __future__ import annotations

import math
from concurrent.futures import Future
from typing import Any

import msgspec
import pytest
from flask.testing import FlaskClient

from node import wire
from node.driver import Driver
from node.identity import Identity, UnidentifiedError
from node.machine.kv import Batch, Command, Decision, DeleteKey, KeyValueStore, Result, SetKey
from node.meters import Meters
from node.questions import (
    MEANINGS,
    PATIENCE_S,
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
from node.raft import Configuration, MembershipChangeError, NotLeaderError, PreVote, Role
from node.raft.membership import Member, Suffrage
from node.status import Status
from node.web.client_api import Identify, client_app
from node.web.peer_api import peer_app
from node.web.replies import UNDECIDED

SERVERS = (
    Member("n1", "127.0.0.1:1"),
    Member("n2", "127.0.0.1:2"),
    Member("n3", "127.0.0.1:3", Suffrage.STAGING),
)
LEADER = Status(
    node_id="n1",
    role=Role.LEADER,
    term=3,
    leader="n1",
    lease_until_s=math.inf,
    last_index=90,
    last_term=2,
    commit_index=80,
    applied_index=75,
    snapshot_index=60,
    snapshot_term=1,
    digest=b"\x07\x08",
    configuration=Configuration("ours", SERVERS),
    cluster_id="ours",
    leader_changes=5,
    matched={"n2": 70},
    http_addresses={"n2": "127.0.0.1:8501"},
)
"""No two of its numbers are alike, so that none is taken for another."""
LATE_LEADER = msgspec.structs.replace(LEADER, lease_until_s=-math.inf)
FOLLOWER = msgspec.structs.replace(LEADER, role=Role.FOLLOWER, leader="n2", lease_until_s=-math.inf, matched={})
LOST = msgspec.structs.replace(FOLLOWER, leader=None)
DONE = Result(Decision.DONE, 17)


class Waited(Future[Answer]):
    """Knows how long somebody was ready to wait for it."""

    patience_s: float | None = None

    def result(self, timeout: float | None = None) -> Answer:
        self.patience_s = timeout
        return super().result(timeout)


class Answering(Driver):
    """In the place of the driver: says of itself what it is told to, and gives every question the same answer."""

    def __init__(self, status: Status = LEADER, value: object = DONE, *, until_s: float = math.inf) -> None:
        self.status = status
        self.outcomes = lambda: {("set", "done"): 3, ("set", "conflict"): 2, ("delete", "missing"): 1}
        self.meters = Meters("n1")
        self.asked: list[Question] = []
        self.delivered: list[wire.Envelope] = []
        self.answer = Waited()
        if isinstance(value, Exception):
            self.answer.set_exception(value)
        else:
            self.answer.set_result(Answer(None, value, until_s=until_s))

    def ask(self, question: Question) -> Future[Answer]:
        self.asked.append(question)
        return self.answer

    def deliver(self, envelope: wire.Envelope) -> None:
        self.delivered.append(envelope)

    def messages_sent(self) -> dict[str, int]:
        return {"n2": 6}


def client_of(driver: Driver, identify: Identify | None = None) -> FlaskClient:
    store = KeyValueStore()
    store.apply(4, Command(SetKey("k", "here")))
    return client_app(driver, store, identify).test_client()


def peer_of(driver: Driver) -> FlaskClient:
    return peer_app(driver).test_client()


THERE = {"k": None}


@pytest.mark.parametrize(
    ("query", "asked"),
    [
        ("", []),
        ("?consistency=default", []),
        ("?consistent=false", []),
        ("?consistent=true", [Read(("k",), Consistency.CONSISTENT)]),
        ("?consistent", [Read(("k",), Consistency.CONSISTENT)]),
        ("?consistency=consistent", [Read(("k",), Consistency.CONSISTENT)]),
        ("?consistency=leader", [Read(("k",), Consistency.LEADER)]),
        ("?consistency=default&consistent=true", []),
    ],
)
def test_a_read_is_answered_from_here_by_default_and_by_the_driver_where_more_is_asked(
    query: str, asked: list[Question]
) -> None:
    driver = Answering(FOLLOWER, THERE)
    client = client_of(driver)
    assert client.get(f"/kv/k{query}").status_code == (404 if asked else 200)
    assert client.post(f"/batch/kv/get{query}", json={"keys": ["k"]}).get_json()["not_found"] == ["k"] * len(asked)
    assert driver.asked == asked * 2


@pytest.mark.parametrize("query", ["consistency=strong", "consistency=", "consistent=yes"])
def test_a_consistency_that_there_is_not_is_refused_and_nothing_is_asked(query: str) -> None:
    driver = Answering(value=THERE)
    assert client_of(driver).get(f"/kv/k?{query}").status_code == 400
    assert driver.asked == []


@pytest.mark.parametrize(
    ("method", "path", "body", "operation"),
    [
        ("PUT", "k", {"value": "v"}, SetKey("k", "v")),
        ("PUT", "a/b", {"value": "", "flags": 7, "cas": 5}, SetKey("a/b", "", 7, 5)),
        ("PUT", "k", {"value": "v", "cas": 0}, SetKey("k", "v", 0, 0)),
        ("DELETE", "k", None, DeleteKey("k")),
        ("DELETE", "k?cas=5", None, DeleteKey("k", 5)),
        ("DELETE", "k?cas=0", None, DeleteKey("k", 0)),
    ],
)
def test_a_write_asks_for_what_its_client_asked_for(
    method: str, path: str, body: dict[str, Any] | None, operation: SetKey | DeleteKey
) -> None:
    """A CAS of 0 is one: it asks that there is no such key."""
    driver = Answering()
    answer = client_of(driver).open(f"/kv/{path}", method=method, json=body)
    assert (answer.status_code, answer.get_json()["modify_index"]) == (200, 17)
    assert driver.asked == [Write(Command(operation).encode())]


@pytest.mark.parametrize(
    ("path", "body", "operations"),
    [
        ("set", {"items": {"a": "1", "b": "2"}, "flags": {"b": 7}}, (SetKey("a", "1"), SetKey("b", "2", 7))),
        (
            "set-cas",
            {"items": {"a": "1", "b": "2"}, "flags": {"b": 7}, "expected_indices": {"a": 0, "b": 9}},
            (SetKey("a", "1", 0, 0), SetKey("b", "2", 7, 9)),
        ),
        ("delete", {"keys": ["a", "b"]}, (DeleteKey("a"), DeleteKey("b"))),
        (
            "delete-cas",
            {"keys": ["a", "b"], "expected_indices": {"a": 0, "b": 9}},
            (DeleteKey("a", 0), DeleteKey("b", 9)),
        ),
    ],
)
def test_a_batch_is_one_command_of_all_that_stands_in_it(
    path: str, body: dict[str, Any], operations: tuple[SetKey | DeleteKey, ...]
) -> None:
    driver = Answering()
    answer = client_of(driver).post(f"/batch/kv/{path}", json=body)
    assert (answer.status_code, answer.get_json()["count"], answer.get_json()["keys"]) == (200, 2, ["a", "b"])
    session = {"client_id": "c", "sequence": 4}
    client_of(driver).post(f"/batch/kv/{path}", json=body | session)
    assert driver.asked == [
        Write(Command(Batch(operations)).encode()),
        Write(Command(Batch(operations), "c", 4).encode()),
    ]
    refused: list[dict[str, Any]] = [
        {"sequence": 4},
        {"client_id": "x" * 129, "sequence": 4},
        {"client_id": "c", "sequence": -1},
    ]
    for bad in refused:
        assert client_of(driver).post(f"/batch/kv/{path}", json=body | bad).status_code == 400
    assert len(driver.asked) == 2


def test_who_names_itself_and_counts_is_known_by_both() -> None:
    driver = Answering()
    client_of(driver).put("/kv/k", json={"value": "v", "client_id": "c", "sequence": 4})
    client_of(driver).delete("/kv/k?client_id=c&sequence=5")
    assert driver.asked == [
        Write(Command(SetKey("k", "v"), "c", 4).encode()),
        Write(Command(DeleteKey("k"), "c", 5).encode()),
    ]
    assert client_of(driver).delete("/kv/k?sequence=5").status_code == 400


@pytest.mark.parametrize(
    ("result", "status", "fields"),
    [
        (Result(Decision.CONFLICT, 9), 409, {"error": "cas mismatch", "modify_index": 9}),
        (Result(Decision.CONFLICT, 0, {"a": 9}), 409, {"error": "cas mismatch", "conflicts": {"a": 9}}),
        (Result(Decision.MISSING, 0), 404, {"error": "key not found"}),
        (Result(Decision.SUPERSEDED, 0), 409, {"error": "superseded"}),
    ],
)
def test_what_the_state_machine_refused_is_told_with_what_it_found(
    result: Result, status: int, fields: dict[str, Any]
) -> None:
    client = client_of(Answering(value=result))
    for answer in (client.put("/kv/k", json={"value": "v"}), client.delete("/kv/k")):
        said = answer.get_json()
        assert answer.status_code == status
        assert said.pop("message")
        assert said == fields


@pytest.mark.parametrize(
    ("method", "path", "body", "question", "value", "told"),
    [
        ("POST", "join", {"node_id": "n2", "address": "h:2"}, AddServer("n2", "h:2"), None, {}),
        ("DELETE", "leave/n3", None, RemoveServer("n3"), None, {}),
        ("POST", "transfer-leadership", None, TransferLeadership(), "n2", {"leader_id": "n2"}),
        ("POST", "transfer-leadership", {"to": "n3"}, TransferLeadership("n3"), "n3", {"leader_id": "n3"}),
        ("POST", "transfer-leadership", {}, TransferLeadership(), "n2", {"leader_id": "n2"}),
        ("POST", "snapshot", None, MakeSnapshot(), 75, {"index": 75}),
    ],
)
class TestWhatAnOperatorAsks:
    def ask(self, driver: Driver, method: str, path: str, body: dict[str, Any] | None) -> Any:
        return client_of(driver).open(f"/cluster/{path}", method=method, json=body)

    def test_it_is_asked_of_the_leader_and_its_answer_waited_for(
        self, method: str, path: str, body: dict[str, Any], question: Question, value: object, told: dict[str, Any]
    ) -> None:
        driver = Answering(value=value)
        answer = self.ask(driver, method, path, body)
        assert (answer.status_code, answer.get_json()) == (200, {"status": "ok", **told})
        assert driver.asked == [question]
        assert driver.answer.patience_s == PATIENCE_S[type(question)]

    def test_it_is_told_when_it_cannot_be(
        self, method: str, path: str, body: dict[str, Any], question: Question, value: object, told: dict[str, Any]
    ) -> None:
        answer = self.ask(Answering(value=MembershipChangeError("why")), method, path, body)
        assert (answer.status_code, answer.get_json()) == (400, {"error": "bad request", "message": "why"})

    def test_who_does_not_lead_any_more_says_who_does_if_only_a_leader_may(
        self, method: str, path: str, body: dict[str, Any], question: Question, value: object, told: dict[str, Any]
    ) -> None:
        """The role is not enough: a leader past its lease has not noticed yet that another leads."""
        local = isinstance(question, MakeSnapshot)
        for status, refusal in ((FOLLOWER, 307), (LATE_LEADER, 503)):
            driver = Answering(status, value)
            assert self.ask(driver, method, path, body).status_code == (200 if local else refusal)
            assert driver.asked == ([question] if local else [])


@pytest.mark.parametrize("question", ["PUT", "GET"])
def test_a_client_waits_as_long_for_a_write_as_for_a_read_and_not_for_ever(question: str) -> None:
    driver = Answering(value=DONE if question == "PUT" else THERE)
    client_of(driver).open("/kv/k?consistent=true", method=question, json={"value": "v"})
    assert driver.answer.patience_s == PATIENCE_S[Write if question == "PUT" else Read]


@pytest.mark.parametrize("kind", [kind for kind in MEANINGS if kind is not NotLeaderError])
@pytest.mark.parametrize("text", ["", "why"])
def test_an_error_is_told_by_its_name_and_whether_it_is_certain(kind: type[Exception], text: str) -> None:
    meaning = MEANINGS[kind]
    answer = client_of(Answering(value=kind(text))).put("/kv/k", json={"value": "v"})
    assert (answer.status_code, answer.get_json()["error"]) == (meaning.status, meaning.name)
    assert text in answer.get_json()["message"]
    assert meaning.certain or text or answer.get_json()["message"] == UNDECIDED


def test_what_is_not_decided_in_time_may_yet_take_effect() -> None:
    assert UNDECIDED == "not decided in time; it may or may not take effect"
    answer = client_of(Answering(value=TimeoutError())).put("/kv/k", json={"value": "v"})
    assert (answer.status_code, answer.get_json()) == (504, {"error": "timeout", "message": UNDECIDED})


@pytest.mark.parametrize("path", ["/kv/a%20b/c%2Fd", "/kv/%C3%A9", "/kv/100%25%3F%23"])
@pytest.mark.parametrize("query", ["", "?cas=5&client_id=c%26d&sequence=1"])
def test_a_client_is_sent_to_where_the_leader_serves_clients_with_all_it_asked(path: str, query: str) -> None:
    answer = client_of(Answering(FOLLOWER, NotLeaderError("n2"))).delete(f"{path}{query}")
    assert (answer.status_code, answer.get_json()["error"]) == (307, "not leader")
    assert answer.get_json()["leader_addr"] == "127.0.0.1:2"
    there = path.replace("%2F", "/")
    assert answer.headers["Location"] == f"http://127.0.0.1:8501{there}{query}"


@pytest.mark.parametrize(
    "status", [LOST, LEADER, LATE_LEADER, msgspec.structs.replace(FOLLOWER, http_addresses={"n3": "127.0.0.1:8502"})]
)
def test_a_client_is_sent_nowhere_by_who_knows_nobody_else(status: Status) -> None:
    """Not to itself either: it would ask here again and again."""
    answer = client_of(Answering(status, NotLeaderError(None))).put("/kv/k", json={"value": "v"})
    assert (answer.status_code, answer.get_json()["error"]) == (503, "no leader")
    assert "Location" not in answer.headers


@pytest.mark.parametrize("status", [LATE_LEADER, FOLLOWER])
def test_a_value_that_was_read_too_long_ago_is_not_told(status: Status) -> None:
    """The lease ended while it was in the hands of this thread."""
    answer = client_of(Answering(status, THERE, until_s=-math.inf)).get("/kv/k?consistency=leader")
    assert (answer.status_code, answer.get_json()["error"]) == (503, "leadership lost")


def nobody(address: str) -> Identity:
    raise UnidentifiedError(f"nobody answers at {address}")


def somebody(node_id: str, cluster_id: str) -> Identify:
    return lambda address: Identity(node_id, cluster_id)


NEW = {"node_id": "n4", "address": "127.0.0.1:4"}


@pytest.mark.parametrize(
    ("body", "identify", "status", "error"),
    [
        (NEW, nobody, 400, "unreachable"),
        (NEW, somebody("n5", "ours"), 400, "another node"),
        (NEW, somebody("n4", "theirs"), 409, "another cluster"),
        (NEW, somebody("n4", "ours"), 200, None),
        (NEW, somebody("n4", ""), 200, None),
        ({"node_id": "n2", "address": "127.0.0.1:2"}, nobody, 200, None),
        ({"node_id": "n2", "address": "127.0.0.1:9"}, nobody, 400, "unreachable"),
        ({"node_id": "n3", "address": "127.0.0.1:3"}, nobody, 400, "unreachable"),
        ({"node_id": "n4", "address": "127.0.0.1:0"}, somebody("n4", ""), 400, "bad request"),
    ],
)
def test_nobody_is_let_in_who_is_not_there_or_is_somebody_else(
    body: dict[str, str], identify: Identify, status: int, error: str | None
) -> None:
    """A voter at the address that is known is not asked: it may be down."""
    driver = Answering(value=None)
    answer = client_of(driver, identify).post("/cluster/join", json=body)
    assert (answer.status_code, answer.get_json().get("error")) == (status, error)
    assert driver.asked == ([AddServer(server_id=body["node_id"], address=body["address"])] if not error else [])


def test_who_answers_is_asked_at_the_address_that_is_to_be_let_in() -> None:
    asked: list[str] = []

    def identify(address: str) -> Identity:
        asked.append(address)
        return Identity("n4", "")

    client_of(Answering(value=None), identify).post("/cluster/join", json=NEW)
    assert asked == ["127.0.0.1:4"]


def test_a_transfer_to_a_name_under_another_field_is_refused() -> None:
    driver = Answering(value="n2")
    assert client_of(driver).post("/cluster/transfer-leadership", json={"node_id": "n3"}).status_code == 400
    assert driver.asked == []


@pytest.mark.parametrize(
    ("status", "ready", "state", "leader"),
    [
        (LEADER, 200, "Leader", "n1"),
        (LATE_LEADER, 503, "Follower", None),
        (FOLLOWER, 200, "Follower", "n2"),
        (LOST, 503, "Follower", None),
        (msgspec.structs.replace(LOST, role=Role.PRE_CANDIDATE), 503, "Candidate", None),
        (msgspec.structs.replace(FOLLOWER, ended=True), 503, "Shutdown", None),
    ],
)
def test_a_node_is_alive_always_and_ready_when_it_knows_who_leads(
    status: Status, ready: int, state: str, leader: str | None
) -> None:
    client = client_of(Answering(status))
    cluster = {"enabled": True, "state": state, "leader": leader}
    for path in ("/health", "/health/live"):
        answer = client.get(path)
        assert (answer.status_code, answer.get_json()) == (200, {"status": "ok", "cluster": cluster})
    answer = client.get("/health/ready")
    assert (answer.status_code, answer.get_json()["cluster"]) == (ready, cluster)
    assert client.get("/cluster/leader").status_code == ready
    described = client.get("/cluster/status").get_json()
    assert (described["state"], described["leader_id"]) == (state, leader)
    assert f'konsul_raft_is_leader{{node_id="n1"}} {float(state == "Leader")}\n' in metrics(client)


def test_a_follower_names_the_leader_and_where_its_peers_reach_it() -> None:
    assert client_of(Answering(FOLLOWER)).get("/cluster/leader").get_json() == {
        "leader_id": "n2",
        "leader_addr": "127.0.0.1:2",
        "is_self": False,
    }


def test_a_status_tells_each_number_by_its_name() -> None:
    assert client_of(Answering()).get("/cluster/status").get_json() == {
        "node_id": "n1",
        "state": "Leader",
        "leader_id": "n1",
        "leader_addr": "127.0.0.1:1",
        "peers": [
            {"id": "n1", "address": "127.0.0.1:1", "state": "Voter"},
            {"id": "n2", "address": "127.0.0.1:2", "state": "Voter"},
            {"id": "n3", "address": "127.0.0.1:3", "state": "Staging"},
        ],
        "last_index": 90,
        "applied_index": 75,
        "commit_index": 80,
        "stats": {
            "term": 3,
            "last_log_index": 90,
            "last_log_term": 2,
            "commit_index": 80,
            "applied_index": 75,
            "fsm_pending": 5,
            "last_snapshot_index": 60,
            "last_snapshot_term": 1,
            "num_peers": 2,
            "log_digest": "0708",
            "messages_sent": {"n2": 6},
        },
    }


def metrics(client: FlaskClient) -> str:
    return client.get("/metrics").get_data(as_text=True)


def test_metrics_tell_each_number_by_its_name_and_of_the_moment_of_the_scrape() -> None:
    driver = Answering(FOLLOWER)
    client = client_of(driver)
    assert 'konsul_raft_state{node_id="n1"} 0.0\n' in metrics(client)
    driver.status = LEADER
    said = metrics(client)
    for sample in (
        'state{node_id="n1"} 2.0',
        'is_leader{node_id="n1"} 1.0',
        'peers_total{node_id="n1"} 3.0',
        'last_index{node_id="n1"} 90.0',
        'commit_index{node_id="n1"} 80.0',
        'applied_index{node_id="n1"} 75.0',
        'fsm_pending{node_id="n1"} 5.0',
        'leader_changes_total{node_id="n1"} 5.0',
        'replication_lag{node_id="n1",peer="n2"} 20.0',
        'apply_total{command_type="set",node_id="n1"} 5.0',
        'apply_total{command_type="delete",node_id="n1"} 1.0',
        'apply_errors_total{command_type="set",error_type="conflict",node_id="n1"} 2.0',
        'apply_errors_total{command_type="delete",error_type="missing",node_id="n1"} 1.0',
    ):
        assert f"\nkonsul_raft_{sample}\n" in said
    assert 'error_type="done"' not in said


def test_a_request_that_ends_in_a_mistake_of_ours_is_told_so_in_json() -> None:
    answer = client_of(Answering(value=ZeroDivisionError())).put("/kv/k", json={"value": "v"})
    assert (answer.status_code, answer.get_json()["error"]) == (500, "internal error")


# What peers send

MESSAGE = PreVote(sender="n2", recipient="n1", term=1, next_term=2, last_log_index=0, last_log_term=0)
ENVELOPE = wire.Envelope(
    sender="n2", cluster_id="ours", raft_address="127.0.0.1:2", http_address="127.0.0.1:8501", messages=(MESSAGE,)
)


def changed(**changes: Any) -> wire.Envelope:
    return msgspec.structs.replace(ENVELOPE, **changes)


FOR_ANOTHER = msgspec.structs.replace(MESSAGE, recipient="n3")
FROM_ITSELF = changed(sender="n1", messages=(msgspec.structs.replace(MESSAGE, sender="n1"),))


@pytest.mark.parametrize(
    ("envelope", "status"),
    [
        (ENVELOPE, 202),
        (changed(cluster_id=""), 202),
        (changed(messages=()), 202),
        (changed(cluster_id="theirs"), 403),
        (changed(sender="n9", cluster_id="", messages=()), 403),
        (changed(messages=(MESSAGE, FOR_ANOTHER)), 421),
        (FROM_ITSELF, 421),
    ],
)
def test_what_peers_send_is_delivered_whole_or_refused_whole(envelope: wire.Envelope, status: int) -> None:
    """202 with a body: behind an answer without one the connection would be closed."""
    driver = Answering()
    answer = peer_of(driver).post(wire.PATH, data=wire.encode(envelope))
    assert (answer.status_code, driver.delivered) == (status, [envelope] if status == 202 else [])
    assert answer.get_data()


def test_peers_may_send_more_at_once_than_clients() -> None:
    answer = peer_of(Answering()).post(wire.PATH, data=b" " * (wire.MAX_BYTES - 1))
    assert answer.status_code == 400, "no envelope, but read"
    assert peer_of(Answering()).post(wire.PATH, data=b" " * (wire.MAX_BYTES + 1)).status_code == 413


def test_a_node_says_who_it_is_and_of_which_cluster() -> None:
    assert peer_of(Answering()).get(wire.IDENTITY_PATH).get_json() == {"node_id": "n1", "cluster_id": "ours"}
