"""What the node's HTTP server takes from waitress, held against what is installed."""

from __future__ import annotations

import socket

import pytest
from waitress.parser import HTTPRequestParser

from node.web.serving import HttpServer, check_waitress


def test_waitress_has_what_is_used_of_it() -> None:
    check_waitress()


def test_a_waitress_without_it_is_told_with_the_version_before_anything_is_served(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(HTTPRequestParser, "headers_finished")
    with pytest.raises(RuntimeError, match=r"HTTPRequestParser has no headers_finished: install waitress 3\.0\.2"):
        check_waitress()
    with socket.socket() as listener, pytest.raises(RuntimeError):
        HttpServer(object(), listener, connections=1)
