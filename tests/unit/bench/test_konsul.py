"""Our node as a system: what it is told before it starts, what it is asked, and what a client may believe it."""

from __future__ import annotations

import json
import random
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bench.case import Plan, Settings, plan
from bench.operations import (
    Cas,
    Delete,
    DeleteAll,
    Freshness,
    Get,
    GetAll,
    Item,
    Join,
    Leave,
    Operation,
    Outcome,
    Put,
    Question,
    SetAll,
    TakeSnapshot,
    Told,
    Transfer,
    Writing,
)
from bench.systems import SYSTEMS, UnknownSystemError, find_system
from bench.systems.konsul import KonsulSystem, environment
from bench.systems.konsul_http import HttpRequest, request_of, told
from bench.systems.protocol import NodePlan
from bench.workload import WORKLOADS, Work
from faults.links import Address
from node.config import RaftConfig, TransportLimits, read_config
from node.raft import FlowLimits, Timing
from node.snapshots import SnapshotPolicy
from node.web.bodies import BATCH_GET, BATCHES, PUT

# Systems


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_system_is_called_what_it_is_found_by(name: str) -> None:
    assert find_system(name).name == name


def test_a_system_that_is_not_there_is_told_with_those_that_are() -> None:
    with pytest.raises(UnknownSystemError, match="no system etcd; there are konsul"):
        find_system("etcd")


# What a person is shown


def test_what_a_person_may_copy_goes_on_to_the_leader(tmp_path: Path) -> None:
    put, *reads = KonsulSystem().examples(node_plan(tmp_path))
    assert put.startswith("curl -L -X PUT http://127.0.0.1:7201/kv/"), "without -X a redirected PUT is sent as a POST"
    assert [line for line in reads if not line.startswith("curl -L http://127.0.0.1:7201/")] == []


# What it is told before it starts


def node_plan(folder: Path, name: str = "n1", port: int = 7001) -> NodePlan:
    return NodePlan(
        name,
        http=Address("127.0.0.1", port + 100),
        client=Address("127.0.0.1", port + 200),
        raft=Address("127.0.0.1", port),
        folder=folder,
        trace=folder / "trace",
        zero_s=1234.5,
        dial={Address("127.0.0.1", 7999): Address("127.0.0.1", 17999)},
    )


def config_of(cluster: Plan, folder: Path) -> RaftConfig:
    """As the node itself reads what it is told."""
    config = read_config(environment(node_plan(folder), cluster, ()))
    assert config.raft is not None
    return config.raft


VIRTUAL = {"clock_spread", "start_s"}
"""Real processes take their time, and have one clock."""
CLIENTS = {"client_timeout_s"}


@pytest.mark.parametrize("field", sorted({*Settings.__struct_fields__} - VIRTUAL - CLIENTS))
def test_every_setting_that_is_of_nodes_reaches_them(field: str, tmp_path: Path) -> None:
    usual = Settings(election_timeout_s=3)
    value = getattr(usual, field)
    halved = msgspec.structs.replace(usual, **{field: type(value)(value / 2)})
    configs = [config_of(Plan(nodes=("n1",), members=("n1",), settings=each), tmp_path) for each in (usual, halved)]
    assert configs[0] != configs[1]


def test_all_settings_arrive_as_what_they_are(tmp_path: Path) -> None:
    settings = Settings(
        heartbeat_timeout_s=0.4,
        election_timeout_s=61.5,
        leader_lease_timeout_s=0.3,
        commit_timeout_s=0.000125,
        entries_per_message=11,
        bytes_per_message=12,
        entries_in_flight=13,
        bytes_in_flight=14,
        entries_applied_at_once=15,
        snapshot_chunk_bytes=16,
        snapshot_bytes_in_flight=17,
        unanswered_bytes=18,
        waiting_messages=19,
        snapshot_interval_s=86_400,
        snapshot_threshold=21,
        trailing_logs=0,
    )
    config = config_of(Plan(nodes=("n1",), members=("n1",), settings=settings), tmp_path)
    assert config.timing == Timing(0.4, 61.5, 0.3, 0.000125)
    assert config.flow == FlowLimits(11, 12, 13, 14, 15, 16, 17)
    assert config.transport == TransportLimits(18, 19)
    assert config.snapshots == SnapshotPolicy(86_400, 21, 2, 0)


def test_what_a_case_takes_for_usual_is_what_a_node_does(tmp_path: Path) -> None:
    config = config_of(plan(1), tmp_path)
    usual = Timing(), FlowLimits(), TransportLimits(), SnapshotPolicy()
    assert (config.timing, config.flow, config.transport, config.snapshots) == usual


def test_a_node_breaks_the_rule_that_its_plan_says(tmp_path: Path) -> None:
    assert config_of(plan(1, flaw="forget_vote"), tmp_path).flaw == "forget_vote"
    assert config_of(plan(1), tmp_path).flaw is None


def test_a_node_is_where_it_is_planned_and_dials_its_links(tmp_path: Path) -> None:
    node = node_plan(tmp_path)
    config = read_config(environment(node, plan(1), ()))
    assert config.raft is not None
    assert (f"{config.host}:{config.http_port}", str(config.http_advertise)) == (str(node.http), str(node.client))
    assert {str(config.raft.bind), str(config.raft.advertise)} == {str(node.raft)}
    assert (config.raft.data_dir, config.raft.trace_file) == (node.data, node.trace)
    assert config.raft.trace_zero_s == node.zero_s
    assert {meant: str(dialled) for meant, dialled in config.raft.dial.items()} == {"127.0.0.1:7999": "127.0.0.1:17999"}


def test_who_founds_is_told_of_all_first_members_and_nobody_else_founds(tmp_path: Path) -> None:
    founder, other = node_plan(tmp_path), node_plan(tmp_path, "n2", 7002)
    config = read_config(environment(founder, plan(2), (founder, other))).raft
    assert config is not None
    assert (config.bootstrap, config.peers) == (True, (("n1", "127.0.0.1:7001"), ("n2", "127.0.0.1:7002")))
    assert not config_of(plan(2), tmp_path).bootstrap


# What it is asked

REQUESTS: list[tuple[Question, HttpRequest]] = [
    (Put("k", "v"), HttpRequest("PUT", "/kv/k", {"value": "v"})),
    (Cas("k", "v", 0), HttpRequest("PUT", "/kv/k", {"value": "v", "cas": 0})),
    (Delete("k"), HttpRequest("DELETE", "/kv/k")),
    (Delete("k", 3), HttpRequest("DELETE", "/kv/k?cas=3")),
    (SetAll((Item("a", "1"), Item("b", "2"))), HttpRequest("POST", "/batch/kv/set", {"items": {"a": "1", "b": "2"}})),
    (
        SetAll((Item("a", "1", 7), Item("b", "2", 0))),
        HttpRequest("POST", "/batch/kv/set-cas", {"items": {"a": "1", "b": "2"}, "expected_indices": {"a": 7, "b": 0}}),
    ),
    (DeleteAll((Item("a"), Item("b"))), HttpRequest("POST", "/batch/kv/delete", {"keys": ["a", "b"]})),
    (
        DeleteAll((Item("a", None, 7),)),
        HttpRequest("POST", "/batch/kv/delete-cas", {"keys": ["a"], "expected_indices": {"a": 7}}),
    ),
    (Get("k"), HttpRequest("GET", "/kv/k")),
    (Get("k", Freshness.LEASE), HttpRequest("GET", "/kv/k?consistency=leader")),
    (Get("k", Freshness.LINEARIZABLE), HttpRequest("GET", "/kv/k?consistent=true")),
    (Get("a/b?c"), HttpRequest("GET", "/kv/a%2Fb%3Fc")),
    (GetAll(("a", "b")), HttpRequest("POST", "/batch/kv/get", {"keys": ("a", "b")})),
    (Join("n2"), HttpRequest("POST", "/cluster/join", {"node_id": "n2", "address": "127.0.0.1:7002"})),
    (Join("n2", "h:1"), HttpRequest("POST", "/cluster/join", {"node_id": "n2", "address": "h:1"})),
    (Leave("n2"), HttpRequest("DELETE", "/cluster/leave/n2")),
    (Transfer(), HttpRequest("POST", "/cluster/transfer-leadership")),
    (Transfer("n2"), HttpRequest("POST", "/cluster/transfer-leadership", {"to": "n2"})),
    (TakeSnapshot(), HttpRequest("POST", "/cluster/snapshot")),
]
ADDRESSES = {"n2": Address("127.0.0.1", 7002)}


@pytest.mark.parametrize(("asked", "request_"), REQUESTS)
def test_each_question_is_one_request(asked: Question, request_: HttpRequest) -> None:
    assert request_of(asked, ADDRESSES) == request_


@pytest.mark.parametrize("asked", [asked for asked, _ in REQUESTS if isinstance(asked, Writing)])
def test_a_write_that_may_be_asked_for_again_says_whose_it_is_and_which(asked: Writing) -> None:
    once = request_of(asked, ADDRESSES)
    again = request_of(msgspec.structs.replace(asked, client_id="a & b", sequence=4), ADDRESSES)
    if isinstance(asked, Delete):
        assert again.path == f"{once.path}{'&' if '?' in once.path else '?'}client_id=a+%26+b&sequence=4"
    else:
        assert again.body == {**(once.body or {}), "client_id": "a & b", "sequence": 4}


def test_a_whole_request_can_be_written_to_a_socket() -> None:
    system = KonsulSystem()
    head, _, body = system.put_request("k", 'v"').partition(b"\r\n\r\n")
    assert head.split(b"\r\n") == [b"PUT /kv/k HTTP/1.1", b"Host: localhost", b"Content-Length: %d" % len(body)]
    assert json.loads(body) == {"value": 'v"'}
    assert system.read_request("k") == b"GET /kv/k?consistent=true HTTP/1.1\r\nHost: localhost\r\n\r\n"
    assert [system.is_acknowledged(status) for status in (200, 307, 409, 503)] == [True, False, False, False]


BODIES: dict[str, msgspec.json.Decoder[Any]] = {
    "/batch/kv/get": BATCH_GET,
    **{f"/batch/kv/{name}": decoder for name, decoder in BATCHES.items()},
}


@pytest.mark.parametrize("name", WORKLOADS)
def test_what_a_case_s_clients_ask_is_what_a_node_takes(name: str) -> None:
    """It asks until it is decided: what a node refuses as malformed would be asked for ever."""
    script = WORKLOADS[name](Work(1, random.Random(1)))
    asked = next(script)
    for number in range(500):
        request = request_of(asked, ADDRESSES)
        if request.body is not None:
            BODIES.get(request.path, PUT).decode(msgspec.json.encode(request.body))
        asked = script.send(Operation(1, "n1", asked, Told(Outcome.OK, modify_index=number), 0.0, 0.0))


# What its answers mean


@pytest.mark.parametrize(
    ("asked", "status", "body", "heard"),
    [
        (Put("k", "v"), 200, {"message": "key set", "modify_index": 7}, Told(Outcome.OK, modify_index=7)),
        (Delete("k"), 200, {"modify_index": 7}, Told(Outcome.OK, modify_index=7)),
        (SetAll((Item("a", "1"),)), 200, {"keys": ["a"], "modify_index": 7}, Told(Outcome.OK, modify_index=7)),
        (Get("k"), 200, {"key": "k", "value": "v"}, Told(Outcome.OK, result="v")),
        (Get("k"), 404, {"error": "key not found"}, Told(Outcome.OK)),
        (GetAll(("a", "b")), 200, {"found": {"a": "1"}}, Told(Outcome.OK, result={"a": "1"})),
        (Transfer(), 200, {"status": "ok", "leader_id": "n2"}, Told(Outcome.OK, result="n2")),
        (Join("n2"), 200, {"status": "ok"}, Told(Outcome.OK)),
        (TakeSnapshot(), 200, {"status": "ok", "index": 7}, Told(Outcome.OK)),
        (Delete("k"), 404, {"error": "key not found"}, Told(Outcome.FAILED, "key not found")),
        (Put("k", "v"), 307, {"error": "not leader"}, Told(Outcome.FAILED, "not leader")),
        (Put("k", "v"), 503, {"error": "no leader"}, Told(Outcome.FAILED, "no leader")),
        (Put("k", "v"), 503, {"error": "overwritten"}, Told(Outcome.FAILED, "overwritten")),
        (
            Cas("k", "v", 3),
            409,
            {"error": "cas mismatch", "modify_index": 5},
            Told(Outcome.FAILED, "cas mismatch", modify_index=5),
        ),
        (Put("k", "v"), 409, {"error": "superseded"}, Told(Outcome.UNKNOWN, "superseded")),
        (Put("k", "v"), 503, {"error": "leadership lost"}, Told(Outcome.UNKNOWN, "leadership lost")),
        (Put("k", "v"), 504, {"error": "timeout"}, Told(Outcome.UNKNOWN, "timeout")),
        (Put("k", "v"), 500, {"error": "internal error"}, Told(Outcome.UNKNOWN, "internal error")),
        (Get("k"), 404, {"error": "not found"}, Told(Outcome.FAILED, "not found")),
    ],
)
def test_only_what_certainly_did_not_happen_has_failed(
    asked: Question, status: int, body: dict[str, Any], heard: Told
) -> None:
    assert told(asked, status, json.dumps(body).encode()) == heard


@pytest.mark.parametrize("status", [200, 307, 404, 503])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"Bad Request",
        b"\xff\xfe",
        b"[]",
        b"{}",
        b'{"modify_index": "7", "value": 7, "found": [], "leader_id": null, "status": "no", "error": {}}',
        b'{"value": "\xff", "error": "\xff", "modify_index": 1e99}',
        b'{"modify_index": %s, "error": 1}' % (b"9" * 5000),
        b'{"any": ' + b"[" * 100_000,
    ],
    ids=["nothing", "text", "bytes", "a list", "no fields", "other types", "no text", "a number", "depth"],
)
@pytest.mark.parametrize("asked", [Put("k", "v"), Get("k"), GetAll(("k",)), Transfer(), Join("n2")], ids=repr)
def test_an_answer_that_cannot_be_read_leaves_everything_open(asked: Question, status: int, body: bytes) -> None:
    heard = told(asked, status, body)
    assert heard.outcome is Outcome.UNKNOWN
    assert "cannot be read" in heard.reason


@pytest.fixture
def answering() -> Iterator[tuple[Address, list[bytes]]]:
    """A server that answers each connection with the next of these bytes, and closes it."""
    answers: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.recv(65536)
                connection.sendall(answers.pop(0))

    threading.Thread(target=serve, daemon=True).start()
    yield Address(*listener.getsockname()[:2]), answers
    # It may be waiting in accept.
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


@pytest.mark.parametrize(
    "answer",
    [b"", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", b"HTTP/1.1 200 OK\r\n\r\nhello"],
)
def test_what_breaks_or_is_no_answer_is_unknown_and_the_connection_goes_on(
    answering: tuple[Address, list[bytes]], tmp_path: Path, answer: bytes
) -> None:
    address, answers = answering
    body = b'{"modify_index": 7}'
    answers += [answer, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)]
    there = replace(node_plan(tmp_path), client=address)
    with closing(KonsulSystem().connect(there, {}, 5.0)) as connection:
        assert connection.ask(Put("k", "v")).outcome is Outcome.UNKNOWN
        assert connection.ask(Put("k", "v")) == Told(Outcome.OK, modify_index=7)


def test_a_node_that_says_nothing_or_nonsense_of_itself_has_no_status(
    answering: tuple[Address, list[bytes]], tmp_path: Path
) -> None:
    address, answers = answering
    there = replace(node_plan(tmp_path), http=address)
    for answer in (b"", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"):
        answers.append(answer)
        assert KonsulSystem().status(there) is None
        answers.append(answer)
        assert KonsulSystem().messages_sent(there) is None
