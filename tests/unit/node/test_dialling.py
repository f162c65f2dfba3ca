"""Which way leads to a peer, by where its address leads and not by how it is spelled."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from node.config import Address
from node.dialling import HERE, NoWayError, places_of, resolved, target_of

TO_BO, TO_CY = Address("127.0.0.1", 17001), Address("127.0.0.1", 17002)
DIAL = {"127.0.0.1:7301": TO_BO, "127.0.0.1:7302": TO_CY}
BY_HOST = {"127.0.0.2:7300": TO_BO, "127.0.0.3:7300": TO_CY}
FAR = {"bo.example:7301": TO_BO}
INTERFACES = {"10.1.2.3", "fe80::7", "127.0.0.1", "::1"}
NAMES = {
    "localhost": ["127.0.0.1", "::1"],
    "LocalHost.": ["127.0.0.1"],
    "ip6-localhost": ["::1"],
    "127.9": ["127.0.0.9"],
    "0": ["0.0.0.0"],
    "desk": ["127.0.1.1"],
    "desk.example": ["10.1.2.3"],
    "linked": ["fe80::7%eth0"],
    "bo": ["127.0.0.2"],
    "bo.example": ["192.0.2.7"],
    "bo.other.example": ["192.0.2.7", "192.0.2.8"],
    "cy.example": ["192.0.2.9"],
}


def named(host: str) -> frozenset[str]:
    """As a machine would that knows these names."""
    literal = host if host[-1].isdigit() and host.count(".") == 3 else host if ":" in host else None
    return places_of(NAMES.get(host, [literal] if literal else []), INTERFACES)


def way(address: str, dial: dict[str, Address]) -> Address | None:
    try:
        return target_of(address, dial, named)
    except NoWayError:
        return None


@pytest.mark.parametrize(
    ("address", "dial", "target"),
    [
        # Without a map everything is dialled as it says.
        ("anybody:7", {}, ("anybody", 7)),
        ("[::1]:7", {}, ("[::1]", 7)),
        # What the map says.
        ("127.0.0.1:7301", DIAL, TO_BO),
        ("127.0.0.1:7302", DIAL, TO_CY),
        # The same place in other words.
        *((f"{host}:7301", DIAL, TO_BO) for host in ("localhost", "LocalHost.", "ip6-localhost", "127.9", "0", "desk")),
        *((f"{host}:7302", DIAL, TO_CY) for host in ("desk.example", "linked", "127.0.0.77", "0.0.0.0", "10.1.2.3")),
        *((f"{host}:7302", DIAL, TO_CY) for host in ("[::1]", "::1", "[::]", "[::ffff:127.0.0.1]", "fe80::7")),
        ("127.0.0.1:07302", DIAL, TO_CY),
        # Another place: the port, the machine, or a name that nobody knows.
        *((f"{host}:7303", DIAL, None) for host in ("127.0.0.1", "localhost", "desk")),
        *((f"{host}:7301", DIAL, None) for host in ("192.0.2.7", "bo.example", "nobody", "[2001:db8::1]")),
        # Several at the port of one machine: by the very address, and else by none.
        ("bo:7300", BY_HOST, TO_BO),
        ("[::ffff:127.0.0.3]:7300", BY_HOST, TO_CY),
        ("localhost:7300", BY_HOST, None),
        # Elsewhere.
        ("192.0.2.7:7301", FAR, TO_BO),
        ("bo.other.example:7301", FAR, TO_BO),
        ("cy.example:7301", FAR, None),
        ("localhost:7301", FAR, None),
    ],
)
def test_a_way_is_found_by_where_an_address_leads_and_none_is_made_up(
    address: str, dial: dict[str, Address], target: tuple[str, int] | None
) -> None:
    assert way(address, dial) == target


def test_where_there_is_no_map_and_where_it_has_the_very_words_nobody_is_asked_for_a_name() -> None:
    def refuse(host: str) -> frozenset[str]:
        raise AssertionError(f"{host} was asked for")

    assert target_of("cy.example:7301", {}, refuse) == ("cy.example", 7301)
    assert target_of("bo.example:7301", FAR, refuse) == TO_BO


def test_a_refusal_names_the_address_and_the_variable() -> None:
    with pytest.raises(NoWayError, match=r"KONSUL_RAFT_DIAL has no way to 127\.0\.0\.1:7303"):
        target_of("127.0.0.1:7303", DIAL, named)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.5", "127.1", "0.0.0.0", "::1", "::"])
def test_this_machine_knows_itself(host: str) -> None:
    assert HERE in resolved(host)


def test_this_machine_knows_its_interfaces(monkeypatch: pytest.MonkeyPatch) -> None:
    def looked_up(host: str, port: None) -> list[Any]:
        return [(socket.AF_INET6, 1, 6, "", ("fe80::7%eth0", 0, 0, 2))]

    class Interface:
        address = "fe80::7%eth0"

    monkeypatch.setattr("node.dialling.psutil.net_if_addrs", lambda: {"eth0": [Interface]})
    monkeypatch.setattr("node.dialling.socket.getaddrinfo", looked_up)
    assert resolved("desk") == {"fe80::7", HERE}


@pytest.mark.parametrize("host", ["no.such.name.invalid", "a" * 300, ".x"])
def test_a_name_that_leads_nowhere_is_no_error(host: str) -> None:
    assert resolved(host) == frozenset()
