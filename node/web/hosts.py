"""Whose requests are answered: those that ask for this node by one of its names and come from no foreign page. Pure.

A browser sends requests to any address for any page. It also lets a page read the answers if the page's own name leads
to this machine, and the owner of that name can make it do so once the page is loaded (DNS rebinding). A page cannot
choose two headers: Host is the name that was asked for, and Origin says whose page asks. A client that is not a browser
may write anything in both, and needs no page to do harm; such clients are not kept out here.

A request without Host is answered: HTTP/1.0 does not have it, and no browser leaves it out. A malformed Host is
refused. Sec-Fetch-Site is ignored: beyond these two it only tells that a link to this node was followed from another
site, and following a link changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import ip_address
from typing import NamedTuple

_NAME = r"(?P<name>\[[0-9a-f:.]{2,45}\]|[a-z0-9._-]{1,253})"
_HOST = re.compile(rf"{_NAME}(:[0-9]{{0,5}})?", re.IGNORECASE | re.ASCII)
_ORIGIN = re.compile(rf"https?://{_NAME}(:[0-9]{{1,5}})?", re.IGNORECASE | re.ASCII)

WAY_OUT = "KONSUL_HTTP_ALLOWED_HOSTS"


class Refusal(NamedTuple):
    status: int
    error: str
    message: str


def why_refused(host: str | None, origin: str | None, ours: frozenset[str]) -> Refusal | None:
    """Why a request with these headers is not answered, None if it is; `ours` comes from `names_of`."""
    if host is not None:
        asked_for = _HOST.fullmatch(host)
        if asked_for is None:
            return Refusal(400, "bad request", f"the Host {host!r} is malformed; it must be host or host:port")
        if not _is_ours(asked_for["name"], ours):
            message = f"this node is not {host}; ask for it by an address of its own, or add that host to {WAY_OUT}"
            return Refusal(421, "unknown host", message)
    if origin is not None:
        page = _ORIGIN.fullmatch(origin)
        if page is None or not _is_ours(page["name"], ours):
            message = f"a page from {origin} may not use this node; one from a host in {WAY_OUT} may"
            return Refusal(403, "foreign origin", message)
    return None


def names_of(hosts: Iterable[str]) -> frozenset[str]:
    """The names and addresses, in the form in which they are compared."""
    return frozenset(_compared(host) for host in hosts)


# The same few names come with every request. A name has a bounded length, so the cache is bounded too.
@lru_cache(maxsize=256)
def _is_ours(name: str, ours: frozenset[str]) -> bool:
    compared = _compared(name)
    return compared in ours or compared == "localhost" or _is_loopback(compared)


def _is_loopback(name: str) -> bool:
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


def _compared(name: str) -> str:
    """In lower case, without brackets or a trailing dot; an address in its shortest form."""
    bare = name.strip("[]").removesuffix(".").lower()
    try:
        return str(ip_address(bare))
    except ValueError:
        return bare
