"""Both HTTP surfaces over a real driver of one node, without a socket."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from flask.testing import FlaskClient

from bench.live.waiting import wait_until
from node import wire
from node.disk.storage import Storage
from node.driver import Driver
from node.machine.kv import Command, KeyValueStore, SetKey
from node.machine.state_machine import StateMachine
from node.raft import (
    AppendEntries,
    Configuration,
    FlowLimits,
    PreVote,
    Raft,
    Timing,
)
from node.server import AddServer, Server, SnapshotPolicy, Write
from node.standalone import Standalone
from node.trace import Trace
from node.transport import Transport
from node.web.client_api import client_app, metrics_app
from node.web.http import new_app
from node.web.peer_api import peer_app

STORES: dict[Driver, KeyValueStore] = {}
"""Each running driver's store."""


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Driver]:
    """One node that founded a cluster of itself, and leads it."""
    yield from running(tmp_path, alone=True)


@pytest.fixture
def lost(tmp_path: Path) -> Iterator[Driver]:
    """One node of three whose peers were never started."""
    yield from running(tmp_path, alone=False)


def running(folder: Path, *, alone: bool) -> Iterator[Driver]:
    storage = Storage(folder, "n1")
    hard_state, _, log = storage.load()
    core = Raft(
        "n1",
        log=log,
        hard_state=hard_state,
        timing=Timing(),
        limits=FlowLimits(),
        rng=random.Random(1),
        now=time.monotonic(),
    )
    machine = StateMachine()
    driver = Driver(
        Server(core, machine, policy=SnapshotPolicy(), process=1, now=time.monotonic()),
        storage=storage,
        outcomes=lambda: dict(machine.outcomes),
        trace=Trace(None),
        raft_address="127.0.0.1:1",
        http_address="127.0.0.1:8500",
        transport=partial(Transport, dial={}, settled_s=0.1),
        on_failure=lambda: None,
    )
    members = [("n1", "127.0.0.1:1")] + ([] if alone else [("n2", "127.0.0.1:2"), ("n3", "127.0.0.1:3")])
    driver.found(Configuration.first(members))
    driver.start()
    if alone:
        driver.ask(AddServer("n1", "127.0.0.1:1")).result(10)
    else:
        driver.ask(Write(Command(SetKey("x", "1")).encode())).exception(10)
    STORES[driver] = machine.store
    yield driver
    del STORES[driver]
    driver.stop()
    storage.close()


def client_of(driver: Driver) -> FlaskClient:
    return client_app(driver, STORES[driver]).test_client()


def peer_of(driver: Driver) -> FlaskClient:
    return peer_app(driver).test_client()


def envelope(driver: Driver, **changes: Any) -> dict[str, Any]:
    """A pre-vote from n2 that this node would answer, as JSON's values."""
    message = PreVote(sender="n2", recipient="n1", term=1, next_term=2, last_log_index=0, last_log_term=0)
    whole = wire.Envelope(
        sender="n2",
        cluster_id=driver.status.cluster_id,
        raft_address="127.0.0.1:2",
        http_address="127.0.0.1:8501",
        messages=(message,),
    )
    return {**msgspec.to_builtins(whole), **changes}


def test_a_write_is_read_back_with_its_indexes(driver: Driver) -> None:
    client = client_of(driver)
    index = client.put("/kv/a/b", data='{"value": "1", "flags": 5}').get_json()["modify_index"]
    assert client.get("/kv/a/b").get_json() == {"key": "a/b", "value": "1"}
    assert client.get("/kv/a/b?consistent=true&metadata=true").get_json() == {
        "key": "a/b",
        "value": "1",
        "modify_index": index,
        "create_index": index,
        "flags": 5,
    }
    assert client.put("/kv/a/b", data='{"value": "2", "cas": 1}').status_code == 409
    assert client.delete(f"/kv/a/b?cas={index}").status_code == 200
    assert client.get("/kv/a/b").status_code == 404


def test_a_leader_whose_lease_ended_while_it_read_answers_nothing(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if the process had been stopped for a while, with the value in its hands."""
    client = client_of(driver)
    client.put("/kv/a", data='{"value": "1"}')
    assert client.get("/kv/a?consistency=leader").get_json()["value"] == "1"
    monkeypatch.setattr("node.web.client_api.time", SimpleNamespace(monotonic=lambda: math.inf))
    answer = client.get("/kv/a?consistency=leader")
    assert (answer.status_code, answer.get_json().get("error")) == (503, "leadership lost")


def test_a_leader_says_what_seed_md_says(driver: Driver) -> None:
    client = client_of(driver)
    assert client.get("/cluster/leader").get_json() == {
        "leader_id": "n1",
        "leader_addr": "127.0.0.1:1",
        "is_self": True,
    }
    status = client.get("/cluster/status").get_json()
    assert (status["node_id"], status["state"], status["leader_id"]) == ("n1", "Leader", "n1")
    assert client.get("/cluster/peers").get_json() == {
        "peers": [{"id": "n1", "address": "127.0.0.1:1", "state": "Voter"}],
        "count": 1,
    }


def test_a_node_that_has_stopped_says_shutdown_for_as_long_as_it_answers(driver: Driver) -> None:
    client = client_of(driver)
    driver.stop()
    status = client.get("/cluster/status").get_json()
    assert (status["state"], status["leader_id"], status["leader_addr"]) == ("Shutdown", None, None)
    ready = client.get("/health/ready")
    assert (ready.status_code, ready.get_json()["cluster"]["state"]) == (503, "Shutdown")
    text = client.get("/metrics").get_data(as_text=True)
    assert '\nkonsul_raft_state{node_id="n1"} 3.0\n' in text
    assert '\nkonsul_raft_is_leader{node_id="n1"} 0.0\n' in text


def test_without_a_leader_everybody_is_told_so(lost: Driver) -> None:
    client = client_of(lost)
    answer = client.get("/cluster/leader")
    assert answer.status_code == 503
    assert answer.get_json() == {
        "error": "no leader",
        "message": "No leader is currently elected. The cluster may be initializing or partitioned.",
    }
    assert client.put("/kv/a", data='{"value": "1"}').get_json()["error"] == "no leader"
    assert client.get("/health/ready").status_code == 503
    assert client.get("/health/live").status_code == 200


def test_the_status_counts_what_was_sent_where(lost: Driver) -> None:
    """Refused too: nobody listens at n2's address."""

    def sent() -> int:
        counts = client_of(lost).get("/cluster/status").get_json()["stats"]["messages_sent"]
        return int(counts.get("127.0.0.1:2", 0))

    before = sent()
    assert peer_of(lost).post(wire.PATH, json=envelope(lost)).status_code == 202
    wait_until(lambda: sent() > before, "the answer to a pre-vote is counted")


def hear_of_a_leader(driver: Driver) -> None:
    """A heartbeat of n2."""
    heartbeat = AppendEntries(
        sender="n2",
        recipient="n1",
        term=5,
        prev_log_index=0,
        prev_log_term=0,
        entries=(),
        leader_commit=0,
        sent_at_s=0.0,
    )
    body = envelope(driver, messages=[msgspec.to_builtins(heartbeat)])
    assert peer_of(driver).post(wire.PATH, json=body).status_code == 202


def test_a_follower_that_has_stopped_knows_of_no_leader(lost: Driver) -> None:
    """It would go on naming one that has long been deposed."""
    hear_of_a_leader(lost)
    lost.stop()
    assert lost.status.leader == "n2", "the last it heard of"
    client = client_of(lost)
    assert client.get("/cluster/status").get_json()["leader_id"] is None
    assert client.get("/health/ready").status_code == 503


def test_a_follower_sends_a_write_to_where_the_leader_serves_clients(lost: Driver) -> None:
    hear_of_a_leader(lost)
    client = client_of(lost)
    answer = client.put("/kv/a%20b?x=1", data='{"value": "1"}')
    assert (answer.status_code, answer.get_json()["error"]) == (307, "not leader")
    assert answer.headers["Location"] == "http://127.0.0.1:8501/kv/a%20b?x=1"


@pytest.mark.parametrize(
    "body",
    [
        *("", "{", "[]", "{}", '{"value": 1}', '{"value": "1", "cas": "x"}', '{"value": "1", "cas": -1}', "\xff"),
        '{"value": "1", "flags": 99999999999999999999999}',
        '{"value": "\\ud800"}',
        '{"value": "1", "sequence": 1}',
    ],
)
def test_a_write_that_makes_no_sense_changes_nothing(driver: Driver, body: str) -> None:
    before = driver.status.last_index
    answer = client_of(driver).put("/kv/a", data=body.encode("latin-1"))
    assert answer.status_code == 400
    assert set(answer.get_json()) == {"error", "message"}
    assert driver.status.last_index == before


def test_a_client_whose_name_is_too_long_is_not_taken_for_another(driver: Driver) -> None:
    """Cut short, two names could become one session, and a delete be answered with another one's answer."""
    client = client_of(driver)
    client.put("/kv/a", json={"value": "1"})
    answer = client.delete(f"/kv/a?client_id={'x' * 129}&sequence=1")
    assert answer.status_code == 400
    assert client.get("/kv/a").status_code == 200


def test_what_is_neither_yes_nor_no_is_refused(driver: Driver) -> None:
    """Taken for no, it would be a stale read where somebody asked for another."""
    assert client_of(driver).get("/kv/a?consistent=yes").status_code == 400


def test_a_body_over_a_mebibyte_is_refused_in_json(driver: Driver) -> None:
    answer = client_of(driver).put("/kv/a", data=b'{"value": "' + b"x" * 1024 * 1024 + b'"}')
    assert (answer.status_code, set(answer.get_json())) == (413, {"error", "message"})


@pytest.mark.parametrize("body", ["{}", '{"node_id": "n2"}', '{"node_id": "", "address": "h:1"}'])
def test_a_join_names_the_field_that_is_wrong(driver: Driver, body: str) -> None:
    answer = client_of(driver).post("/cluster/join", data=body)
    assert answer.status_code == 400
    assert "node_id" in answer.get_json()["message"] or "address" in answer.get_json()["message"]


def test_joining_twice_with_the_same_address_is_ok(driver: Driver) -> None:
    body = '{"node_id": "n1", "address": "127.0.0.1:1"}'
    assert client_of(driver).post("/cluster/join", data=body).get_json() == {"status": "ok"}


def test_an_address_that_another_node_has_is_refused(driver: Driver) -> None:
    answer = client_of(driver).post("/cluster/join", data='{"node_id": "n2", "address": "127.0.0.1:1"}')
    assert answer.status_code == 400
    assert "belongs to n1" in answer.get_json()["message"]


def test_every_metric_of_seed_md_is_there_with_its_label(driver: Driver) -> None:
    text = client_of(driver).get("/metrics").get_data(as_text=True)
    for name in ("state", "is_leader", "leader_changes_total", "peers_total", "last_index", "commit_index"):
        assert f'\nkonsul_raft_{name}{{node_id="n1"}} ' in text
    assert 'konsul_raft_state{node_id="n1"} 2.0' in text


def test_every_other_metric_of_konsul_is_there_too(driver: Driver) -> None:
    client = client_of(driver)
    client.put("/kv/a", data='{"value": "1"}')
    client.put("/kv/a", data='{"value": "1", "cas": 99}')
    client.post("/cluster/snapshot")
    text = client.get("/metrics").get_data(as_text=True)
    for sample in (
        'apply_total{command_type="set",node_id="n1"} 1.0',
        'apply_errors_total{command_type="set_cas",error_type="conflict",node_id="n1"} 1.0',
        'snapshot_total{node_id="n1"} 1.0',
        'restore_total{node_id="n1"} 0.0',
        'fsm_pending{node_id="n1"} 0.0',
        'commit_duration_seconds_count{node_id="n1"} 2.0',
        'snapshot_duration_seconds_count{node_id="n1"} 1.0',
        'apply_duration_seconds_bucket{le="+Inf",node_id="n1"} ',
    ):
        assert f"\nkonsul_raft_{sample}" in text
    assert "\n# TYPE konsul_raft_replication_lag gauge\n" in text


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"messages": [{"type": "Nonsense"}]}, 400),
        ({"messages": [{"type": "PreVote", "sender": "n2"}]}, 400),
        ({"messages": "x"}, 400),
        ({"sender": 7}, 400),
        ({"sender": "n3"}, 400),
        ({"raft_address": "nowhere"}, 400),
        ({"raft_address": "127.0.0.1:99999"}, 400),
        ({"cluster_id": "another"}, 403),
    ],
)
def test_a_message_that_no_member_sends_is_refused_and_changes_nothing(
    lost: Driver, changes: dict[str, Any], status: int
) -> None:
    before = (lost.status.term, lost.status.last_index, lost.status.configuration)
    answer = peer_of(lost).post(wire.PATH, json=envelope(lost, **changes))
    assert answer.status_code == status
    assert set(answer.get_json()) == {"error", "message"}
    assert (lost.status.term, lost.status.last_index, lost.status.configuration) == before


def test_malformed_json_on_the_raft_port_is_refused(lost: Driver) -> None:
    assert peer_of(lost).post(wire.PATH, data=b"{").status_code == 400


def test_a_message_for_another_node_is_refused(lost: Driver) -> None:
    body = envelope(lost)
    body["messages"][0]["recipient"] = "n3"
    assert peer_of(lost).post(wire.PATH, json=body).status_code == 421


def test_without_a_cluster_the_store_works_and_the_cluster_says_so() -> None:
    store = KeyValueStore()
    client = client_app(Standalone(store), store).test_client()
    assert client.put("/kv/a", data='{"value": "1"}').status_code == 200
    assert client.get("/kv/a?consistent=true").get_json()["value"] == "1"
    answer = client.get("/cluster/leader")
    assert (answer.status_code, answer.get_json()["error"]) == (503, "clustering not enabled")


def every_surface(driver: Driver) -> dict[str, FlaskClient]:
    hosts = frozenset(["raft.example"])
    return {
        "/cluster/status": client_app(driver, STORES[driver], hosts=hosts).test_client(),
        wire.IDENTITY_PATH: peer_app(driver, hosts=hosts).test_client(),
        "/metrics": metrics_app(driver, hosts=hosts).test_client(),
    }


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example:8500"}, 421),
        ({"Host": "raft.example", "Origin": "http://evil.example"}, 403),
        ({"Host": "localhost", "Origin": "null"}, 403),
        ({"Host": "raft.example@evil.example"}, 400),
        ({"Host": "raft.example:80", "Origin": "https://raft.example"}, 200),
        ({"Host": "localhost:18500"}, 200),
        ({}, 200),
    ],
)
def test_every_surface_answers_those_who_ask_for_it_and_no_page_from_elsewhere(
    driver: Driver, headers: dict[str, str], status: int
) -> None:
    for path, client in every_surface(driver).items():
        answer = client.get(path, headers=headers)
        assert answer.status_code == status, path
        assert status == 200 or set(answer.get_json()) == {"error", "message"}, path
        nowhere = client.get("/nowhere", headers=headers)
        assert nowhere.status_code == (404 if status == 200 else status), path


def test_a_page_from_elsewhere_writes_nothing(driver: Driver) -> None:
    """What any page can have a browser send without being asked first: a POST of plain text."""
    before = driver.status.last_index
    body = '{"items": {"a": "1"}}'
    page: dict[str, Any] = {"content_type": "text/plain", "headers": {"Origin": "http://evil.example"}}
    client = client_of(driver)
    assert client.post("/batch/kv/set", data=body, **page).status_code == 403
    assert client.post("/cluster/snapshot", **page).status_code == 403
    assert client.post("/cluster/join", data='{"node_id": "n2", "address": "127.0.0.1:2"}', **page).status_code == 403
    assert peer_of(driver).post(wire.PATH, data=msgspec.json.encode(envelope(driver)), **page).status_code == 403
    assert driver.status.last_index == before
    assert client.post("/batch/kv/set", data=body, content_type="text/plain").status_code == 200


def test_a_request_that_names_no_host_is_answered(driver: Driver) -> None:
    """Of HTTP/1.0."""
    for path, client in every_surface(driver).items():
        assert client.get(path, environ_overrides={"HTTP_HOST": None}).status_code == 200


def test_a_request_that_finds_no_memory_is_not_answered_as_if_the_node_could_go_on() -> None:
    app = new_app("starved", max_body=1)

    @app.get("/")
    def starve() -> str:
        raise MemoryError

    with pytest.raises(MemoryError):
        app.test_client().get("/")
