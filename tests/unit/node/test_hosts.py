"""Whose requests a node answers."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import psutil
import pytest

from node.config import read_config
from node.web.hosts import names_of, why_refused
from node.web.http import own_hosts

OURS = names_of(["10.0.0.7", "Raft.Example.org.", "[FD00::0:7]"])


@pytest.mark.parametrize(
    "host",
    [
        *("localhost", "localhost:8500", "LocalHost:8500", "localhost.:8500", "localhost:"),
        *("127.0.0.1:8500", "127.1.2.3", "[::1]", "[::1]:8500", "[0:0::1]:8500"),
        *("10.0.0.7:8500", "raft.example.org", "RAFT.example.org.:1", "[fd00::7]:8500", "[FD00:0::7]"),
    ],
)
def test_a_node_is_asked_for_by_its_names_with_any_port_or_none(host: str) -> None:
    assert why_refused(host, None, OURS) is None
    assert why_refused("localhost", f"http://{host.removesuffix(':')}", OURS) is None


@pytest.mark.parametrize(
    ("host", "status"),
    [
        *(("evil.example", 421), ("evil.example:8500", 421), ("10.0.0.8:8500", 421), ("[fd00::8]:8500", 421)),
        *(("localhost.evil.example", 421), ("127.0.0.1.evil.example", 421), ("evil-localhost", 421)),
        *(("foo.localhost", 421), ("raft.example.org..", 421), ("127.0.0.256", 421), ("2130706433", 421)),
        *(("[1:2]", 421), ("[:::]", 421), (".", 421)),
        *(("", 400), (":8500", 400), ("localhost:port", 400), ("localhost:8500:1", 400), ("::1", 400)),
        *(("localhost@evil.example", 400), ("evil.example@localhost", 400), ("localhost/", 400)),
        *(("localhost, evil.example", 400), (" localhost", 400), ("localhost\n", 400), ("[::1", 400)),
        *(("x" * 254, 400), ("localhost:8500000", 400), ("localhost\u0661", 400), ("localhost:\u0661", 400)),
    ],
)
def test_who_asks_for_somebody_else_is_refused(host: str, status: int) -> None:
    """A name that its owner points to 127.0.0.1 once the page is loaded (DNS rebinding) comes as such a Host."""
    refusal = why_refused(host, None, OURS)
    assert refusal is not None
    assert refusal.status == status
    assert repr(host)[1:-1] in refusal.message


@pytest.mark.parametrize(
    "origin",
    [
        *("null", "", "http://evil.example", "https://evil.example:8500", "http://localhost.evil.example"),
        *("http://localhost@evil.example", "http://localhost:80@evil.example", "http://evil.example/localhost"),
        *("http://evil.example#localhost", "http://evil.example?localhost", "http://evil.example\\localhost"),
        *("localhost", "//localhost", "http://", "http:localhost", "app://localhost", "file://"),
        *("http://localhost http://evil.example", "http://localhost, http://evil.example", "http://localhost/"),
    ],
)
def test_a_page_from_elsewhere_is_refused_whatever_it_asks_for(origin: str) -> None:
    refusal = why_refused("localhost:8500", origin, OURS)
    assert refusal is not None
    assert (refusal.status, refusal.error) == (403, "foreign origin")
    assert "KONSUL_HTTP_ALLOWED_HOSTS" in refusal.message


@pytest.mark.parametrize("origin", ["http://localhost:3000", "HTTPS://127.0.0.1", "http://[::1]:80", "http://10.0.0.7"])
def test_a_page_of_ours_may_ask(origin: str) -> None:
    assert why_refused("10.0.0.7:8500", origin, OURS) is None


def test_who_names_no_host_is_no_browser_and_is_answered() -> None:
    assert why_refused(None, None, OURS) is None


def test_a_page_is_refused_without_a_host_too() -> None:
    assert why_refused(None, "http://evil.example", OURS) is not None


@pytest.fixture
def everywhere() -> Iterator[socket.socket]:
    with socket.socket() as found:
        found.bind(("0.0.0.0", 0))
        yield found


@pytest.fixture
def here() -> Iterator[socket.socket]:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        yield found


def test_a_node_goes_by_what_it_was_told(here: socket.socket) -> None:
    config = read_config(
        {
            "KONSUL_HTTP_ADVERTISE_ADDR": "public.example:80",
            "KONSUL_HTTP_ALLOWED_HOSTS": "raft.example, [fd00::7] ,",
            "KONSUL_RAFT_ENABLED": "true",
            "KONSUL_RAFT_NODE_ID": "n1",
            "KONSUL_RAFT_ADVERTISE_ADDR": "10.0.0.7:7000",
            "KONSUL_RAFT_BIND_ADDR": "10.0.0.8:7000",
        }
    )
    told = {"127.0.0.1", "public.example", "raft.example", "fd00::7", "10.0.0.7", "10.0.0.8"}
    assert own_hosts(config, [here]) == told


def test_who_listens_everywhere_goes_by_every_address_of_the_machine(
    here: socket.socket, everywhere: socket.socket
) -> None:
    config = read_config({"KONSUL_HOST": "0.0.0.0"})
    addresses = {
        found.address
        for interface in psutil.net_if_addrs().values()
        for found in interface
        if found.family == socket.AF_INET
    }
    assert own_hosts(config, [everywhere]) >= {socket.gethostname().lower(), *addresses}
    assert socket.gethostname().lower() not in own_hosts(read_config({}), [here])
