"""The load generator against a server, and the cheapest measurement for real."""

from __future__ import annotations

import itertools
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from flask import Flask, Response

from bench.cli import cli
from bench.measure.load import drive
from bench.systems import find_system
from faults.links import Address
from node.web.http import json_response
from node.web.serving import HttpServer

SYSTEM = find_system("konsul")


@pytest.fixture
def store() -> Iterator[tuple[Address, list[str]]]:
    """A server that takes writes, and what was written in the order in which it came."""
    written: list[str] = []
    app = Flask("store")

    @app.put("/kv/<key>")
    def write(key: str) -> Response:
        written.append(key)
        return json_response({}, 409 if key == "refused" else 200)

    server = HttpServer(app, socket.create_server(("127.0.0.1", 0)), connections=8)
    server.start()
    yield Address(*server.address), written
    server.stop()


def test_each_request_is_sent_once_and_answered_once(store: tuple[Address, list[str]]) -> None:
    address, written = store
    answers = list(
        drive(address, (SYSTEM.put_request(f"k{number}", "v" * number) for number in range(200)), connections=8)
    )
    assert sorted(written) == sorted(f"k{number}" for number in range(200))
    assert [answer.status for answer in answers] == [200] * 200
    assert all(answer.sent_s <= answer.answered_s for answer in answers)


def test_no_more_is_sent_than_is_asked_for(store: tuple[Address, list[str]]) -> None:
    address, written = store
    requests = (SYSTEM.put_request(str(number), "v") for number in itertools.count())
    first = next(iter(drive(address, requests)))
    assert first.status == 200
    assert written[0] == "0"
    assert len(written) <= 2


def test_a_refusal_is_an_answer(store: tuple[Address, list[str]]) -> None:
    address, _ = store
    requests = [SYSTEM.put_request("refused", "v"), SYSTEM.read_request("k")]
    assert [answer.status for answer in drive(address, requests)] == [409, 405]


def test_a_node_that_goes_away_is_an_error() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    requests = drive(Address(*listener.getsockname()[:2]), [SYSTEM.read_request("k")])
    listener.close()
    with pytest.raises(ConnectionRefusedError):
        next(requests)


def test_measure_prints_what_was_measured_as_json(
    tmp_path: Path, toxiproxy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_STATE_DIR", str(tmp_path))
    done = CliRunner().invoke(cli, ["measure", "writes", "--count", "20", "--json"])
    assert done.exit_code == 0, done.output
    (series,) = json.loads(done.stdout)["writes"]["series"]
    assert (series["name"], series["unit"], series["n"]) == ("write", "ms", 20)
    assert 0 < series["p50"] <= series["p99"] <= series["max"]


def test_an_unknown_measurement_ends_in_one_line() -> None:
    done = CliRunner().invoke(cli, ["measure", "wirtes"])
    assert done.exit_code == 2
    assert "there is no measurement wirtes" in done.stderr
