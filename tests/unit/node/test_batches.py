"""Konsul's batches, over a store that stands alone: what they do to it does not depend on the log."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient

from node.machine.kv import KeyValueStore
from node.standalone import Standalone
from node.web.bodies import MAX_KEYS
from node.web.client_api import client_app


@pytest.fixture
def client() -> FlaskClient:
    store = KeyValueStore()
    return client_app(Standalone(store), store).test_client()


def post(client: FlaskClient, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    answer = client.post(f"/batch/kv/{path}", json=body)
    return answer.status_code, answer.get_json()


def test_a_batch_is_set_read_and_deleted(client: FlaskClient) -> None:
    assert post(client, "set", {"items": {"a": "1", "b": "2"}, "flags": {"b": 7}}) == (
        200,
        {"message": "set 2 keys", "keys": ["a", "b"], "count": 2, "modify_index": 1},
    )
    for path in ("get", "get?consistent=true"):
        found = post(client, path, {"keys": ["b", "c", "a"]})
        assert found == (200, {"found": {"b": "2", "a": "1"}, "not_found": ["c"]})
    described = post(client, "get?metadata=true", {"keys": ["b"]})[1]["found"]["b"]
    assert described == {"value": "2", "modify_index": 1, "create_index": 1, "flags": 7}
    assert post(client, "delete", {"keys": ["a", "c"]})[0] == 200
    assert post(client, "get", {"keys": ["a", "b"]})[1] == {"found": {"b": "2"}, "not_found": ["a"]}


def test_a_key_keeps_the_index_at_which_it_was_created_until_it_is_deleted(client: FlaskClient) -> None:
    for _ in range(2):
        post(client, "set", {"items": {"a": "1"}})
    described = client.get("/kv/a?metadata=true").get_json()
    assert (described["create_index"], described["modify_index"]) == (1, 2)


def test_a_store_that_stands_alone_is_ready_without_a_leader(client: FlaskClient) -> None:
    for path in ("/health", "/health/live", "/health/ready"):
        answer = client.get(path)
        assert (answer.status_code, answer.get_json()) == (200, {"status": "ok", "cluster": {"enabled": False}})


def test_a_batch_with_one_stale_index_changes_nothing_and_says_which(client: FlaskClient) -> None:
    post(client, "set", {"items": {"a": "1"}})
    post(client, "set", {"items": {"b": "1"}})
    status, answer = post(client, "set-cas", {"items": {"a": "2", "b": "2"}, "expected_indices": {"a": 1, "b": 1}})
    assert (status, answer["error"], answer["conflicts"]) == (409, "cas mismatch", {"b": 2})
    status, answer = post(client, "delete-cas", {"keys": ["a", "b"], "expected_indices": {"a": 9, "b": 2}})
    assert (status, answer["conflicts"]) == (409, {"a": 1})
    assert post(client, "get", {"keys": ["a", "b"]})[1]["found"] == {"a": "1", "b": "1"}
    assert post(client, "set-cas", {"items": {"a": "2", "c": "2"}, "expected_indices": {"a": 1, "c": 0}})[0] == 200
    assert post(client, "delete-cas", {"keys": ["b"], "expected_indices": {"b": 2}})[0] == 200


def test_a_batch_that_is_sent_twice_takes_effect_once(client: FlaskClient) -> None:
    batch = {"items": {"a": "1"}, "client_id": "c", "sequence": 1}
    first = post(client, "set", batch)
    post(client, "set", {"items": {"a": "2"}})
    assert post(client, "set", batch) == first
    assert post(client, "get", {"keys": ["a"]})[1]["found"] == {"a": "2"}


def test_a_delete_that_is_sent_twice_takes_effect_once(client: FlaskClient) -> None:
    client.put("/kv/a", json={"value": "1"})
    first = client.delete("/kv/a?client_id=c&sequence=1").get_json()
    client.put("/kv/a", json={"value": "2"})
    assert client.delete("/kv/a?client_id=c&sequence=1").get_json() == first
    assert client.get("/kv/a").get_json()["value"] == "2"


def test_a_retry_that_comes_too_late_is_told_so(client: FlaskClient) -> None:
    client.put("/kv/a", json={"value": "2", "client_id": "c", "sequence": 2})
    answer = client.put("/kv/a", json={"value": "1", "client_id": "c", "sequence": 1})
    assert (answer.status_code, answer.get_json()["error"]) == (409, "superseded")
    assert client.get("/kv/a").get_json()["value"] == "2"


@pytest.mark.parametrize("query", ["cas=x", "cas=-1", "sequence=1.5", "cas=99999999999999999999999"])
def test_a_number_in_the_query_that_is_none_is_refused(client: FlaskClient, query: str) -> None:
    assert client.delete(f"/kv/a?{query}").status_code == 400


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("set", {}),
        ("set", {"items": {}}),
        ("set", {"items": {"a": 1}}),
        ("set", {"items": {"": "1"}}),
        ("set", {"items": [["a", "1"]]}),
        ("set", {"items": {str(number): "" for number in range(MAX_KEYS + 1)}}),
        ("set", {"items": {"a": "1"}, "flags": {"b": 1}}),
        ("set", {"items": {"a": "1"}, "sequence": -1}),
        ("set-cas", {"items": {"a": "1"}}),
        ("set-cas", {"items": {"a": "1"}, "expected_indices": {"b": 1}}),
        ("set-cas", {"items": {"a": "1"}, "expected_indices": {"a": "1"}}),
        ("delete", {"keys": []}),
        ("delete", {"keys": ["a", "a"]}),
        ("delete", {"keys": "a"}),
        ("delete-cas", {"keys": ["a"], "expected_indices": {}}),
        ("get", {"keys": []}),
        ("get", {"keys": [str(number) for number in range(MAX_KEYS + 1)]}),
        ("get?consistency=perhaps", {"keys": ["a"]}),
    ],
)
def test_a_batch_that_makes_no_sense_is_refused(client: FlaskClient, path: str, body: dict[str, Any]) -> None:
    status, answer = post(client, path, body)
    assert (status, set(answer)) == (400, {"error", "message"})
    assert client.get("/kv/a").status_code == 404
    assert client.post(f"/batch/kv/{path}", data=b'{"items": ').status_code == 400
    assert client.post(f"/batch/kv/{path}", data=b" " * (1024 * 1024 + 1)).status_code == 413
