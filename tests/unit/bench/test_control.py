"""The running bench's own API, without a socket and without a cluster."""

from __future__ import annotations

from typing import Any
from unittest.mock import MagicMock

import pytest
from flask.testing import FlaskClient

from bench.live import registry
from bench.live.cluster import LiveCluster
from bench.live.control import Commands, NodeAsked, NothingAsked, control_app
from bench.live.remote import ask

TOKEN = {"Authorization": "Bearer secret"}


class Asked(list[NodeAsked]):
    """What was performed."""

    def kill(self, asked: NodeAsked) -> dict[str, Any]:
        if asked.node == "n9":
            raise ValueError("there is no n9")
        self.append(asked)
        return {"node": asked.node}

    def fail(self, _: NothingAsked) -> dict[str, Any]:
        raise RuntimeError("a bug")


@pytest.fixture
def asked() -> Asked:
    return Asked()


@pytest.fixture
def client(asked: Asked) -> FlaskClient:
    return control_app("secret", {"kill": (NodeAsked, asked.kill), "fail": (NothingAsked, asked.fail)}).test_client()


def test_who_has_the_token_is_obeyed(client: FlaskClient, asked: Asked) -> None:
    answer = client.post("/kill", json={"node": "n1"}, headers=TOKEN)
    assert (answer.status_code, answer.get_json()) == (200, {"node": "n1"})
    assert asked == [NodeAsked("n1")]


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer other"}, {"Authorization": "Bearer secré"}])
@pytest.mark.parametrize(("method", "path"), [("POST", "/kill"), ("GET", "/kill"), ("POST", "/x"), ("GET", "/a/b")])
def test_who_has_no_token_is_told_nothing_else(
    client: FlaskClient, asked: Asked, method: str, path: str, headers: dict[str, str]
) -> None:
    answer = client.open(path, method=method, json={"node": "n1"}, headers=headers)
    assert (answer.status_code, answer.get_json()) == (401, {"error": "the token is wrong"})
    assert asked == []


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 400),
        ({"Host": "127.0.0.1.evil.example:80"}, 400),
        ({"Host": "127.0.0.1@evil.example"}, 400),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "http://127.0.0.1@evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": ""}, 403),
        ({"Origin": "http://[127.0.0.1"}, 403),
        ({"Host": "127.0.0.1:18000", "Origin": "http://localhost:3000"}, 200),
        ({"Host": "localhost"}, 200),
    ],
)
def test_no_website_breaks_a_cluster_even_with_the_token(
    client: FlaskClient, asked: Asked, headers: dict[str, str], status: int
) -> None:
    answer = client.post("/kill", json={"node": "n1"}, headers=TOKEN | headers)
    assert answer.status_code == status
    assert set(answer.get_json()) == ({"node"} if status == 200 else {"error"})
    assert bool(asked) == (status == 200)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "said"),
    [
        ("POST", "/x", b"", 404, "there is no command x"),
        ("POST", "/a/b", b"", 404, "not found"),
        ("GET", "/kill", b"", 405, "not allowed"),
        ("POST", "/kill", b"{", 400, "truncated"),
        ("POST", "/kill", b'{"node": "n1", "hard": true}', 400, "hard"),
        ("POST", "/kill", b'{"node": "n9"}', 400, "there is no n9"),
        ("POST", "/kill", b" " * 65 * 1024, 413, "exceeds"),
        ("POST", "/fail", b"", 500, "internal error"),
    ],
)
def test_whatever_is_asked_wrongly_is_answered_in_json(
    client: FlaskClient, method: str, path: str, body: bytes, status: int, said: str
) -> None:
    answer: Any = client.open(path, method=method, data=body, headers=TOKEN)
    assert answer.status_code == status
    assert said in answer.get_json()["error"]


def test_whoever_asks_is_told_what_the_bench_did_meanwhile_without_being_asked() -> None:
    """Toxiproxy may have to be started again for any command, which breaks every connection."""
    cluster = MagicMock(spec=LiveCluster, unasked=["long ago"])

    def copied(node: str) -> str:
        cluster.unasked.append("it had to be started again")
        return node

    cluster.copy_disk.side_effect = copied
    kind, perform = Commands(cluster, lambda _: None).table["copy-disk"]
    assert perform(kind("n1")) == {"node": "n1", "unasked": ["it had to be started again"]}
    cluster.copy_disk.side_effect = lambda node: node
    assert perform(kind("n1")) == {"node": "n1", "unasked": []}


def test_what_was_not_asked_for_is_told_on_stderr_beside_the_answer(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = registry.Registered("http://127.0.0.1:1", "token", 1, 0.0, "folder")
    monkeypatch.setattr(registry, "look_up", lambda _: entry)
    answer = MagicMock(status_code=200)
    answer.json.return_value = {"node": "n1", "unasked": ["it had to be started again"]}
    monkeypatch.setattr("requests.Session.post", lambda *_, **__: answer)
    assert ask("default", "kill", node="n1") == {"node": "n1"}
    assert capsys.readouterr().err == "bench: it had to be started again\n"
