"""Where to dial to reach a peer: at its address, or, with KONSUL_RAFT_DIAL, where that says.

One place has many spellings: a name, ::1, another address of loopback or of the machine. So the map is looked up by
where an address leads. And whoever has a map dials nothing past it: the map may stand for links that can be cut, and a
peer that is reached past its link is not cut off.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Collection, Iterable, Mapping
from ipaddress import IPv6Address, ip_address

import psutil

from node.config import Address

HERE = "this machine"

Resolve = Callable[[str], frozenset[str]]
"""From a host to what it leads to: addresses in their shortest form, and HERE besides if one is the machine's own."""


class NoWayError(OSError):
    """KONSUL_RAFT_DIAL has no place for an address, which is then not dialled."""


def target_of(address: str, dial: Mapping[str, Address], resolve: Resolve) -> Address:
    """Where to dial to reach `address`; raises NoWayError if `dial` has something, and nothing for where that leads."""
    host, port = _split(address)
    if not dial or address in dial:
        return dial.get(address) or Address(host, port)
    there = resolve(host.strip("[]"))
    known = [
        (resolve(_split(meant)[0].strip("[]")), target) for meant, target in dial.items() if _split(meant)[1] == port
    ]
    # The same address says more than the same machine, on which others may have the same port at other addresses.
    for shared in (there - {HERE}, there & {HERE}):
        found = {target for places, target in known if places & shared}
        if len(found) == 1:
            return found.pop()
        if found:
            break
    raise NoWayError(f"KONSUL_RAFT_DIAL has no way to {address}")


def places_of(found: Iterable[str], own: Collection[str]) -> frozenset[str]:
    """What these addresses lead to, on a machine whose interfaces have the addresses `own`."""
    places = set()
    for text in found:
        place = ip_address(text.partition("%")[0])
        place = (place.ipv4_mapped or place) if isinstance(place, IPv6Address) else place
        places.add(str(place))
        if place.is_loopback or place.is_unspecified or str(place) in own:
            places.add(HERE)
    return frozenset(places)


def resolved(host: str) -> frozenset[str]:
    """What `host` leads to now, as this machine knows names; nothing for a name that it does not know. May take as long
    as asking for a name does."""
    try:
        found = {str(info[4][0]) for info in socket.getaddrinfo(host, None)}
    except (OSError, UnicodeError):
        return frozenset()
    own = {each.address.partition("%")[0] for interface in psutil.net_if_addrs().values() for each in interface}
    return places_of(found, own)


def _split(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host, int(port)
