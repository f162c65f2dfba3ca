"""What is taken from other people's code, held against what is installed."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import requests
from toxiproxy.api import APIConsumer

from faults.foreign import ForeignNameGoneError, replace
from faults.lifeline import let_forkserver_end
from faults.links import Address
from faults.toxiproxy import ToxiproxyError, ToxiproxyServer


def test_the_forkserver_still_has_the_pipe_that_keeps_it_alive() -> None:
    """There is none in here to let go of; what it is called is looked up all the same."""
    let_forkserver_end()


def test_a_forkserver_without_it_is_told_with_the_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("faults.lifeline.forkserver", SimpleNamespace())
    with pytest.raises(
        ForeignNameGoneError, match=r"written for the forkserver of Python 3\.11 to 3\.13; install that"
    ):
        let_forkserver_end()


def test_a_name_that_nobody_looks_up_any_more_is_not_replaced() -> None:
    module = SimpleNamespace(other=1)
    with pytest.raises(ForeignNameGoneError, match=r"no attribute 'requests': this was written for library 1\.0"):
        replace(module, "requests", 2, version="library 1.0")
    assert module == SimpleNamespace(other=1)


def test_the_library_asks_the_server_it_is_told_with_our_time_limit(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """By the session that is in the place of its `requests`."""
    asked = []

    def refuse(_: requests.Session, method: str, url: str, **options: object) -> None:
        asked.append((method.upper(), url, options["timeout"]))
        raise requests.ConnectionError("nobody there")

    monkeypatch.setattr(requests.Session, "request", refuse)
    server = ToxiproxyServer(tmp_path / "server", Address("127.0.0.7", 7), [], tmp_path / "log")
    for call in (server.proxies, server.reset, lambda: server.call(lambda: APIConsumer.delete("/proxies/x"))):
        with pytest.raises(ToxiproxyError, match=r"127\.0\.0\.7:7 does not answer"):
            call()
    assert asked == [
        ("GET", "http://127.0.0.7:7/proxies", (2.5, 11.0)),
        ("POST", "http://127.0.0.7:7/reset", (2.5, 11.0)),
        ("DELETE", "http://127.0.0.7:7/proxies/x", (2.5, 11.0)),
    ]
