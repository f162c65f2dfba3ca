"""--version: by what this checkout, and what it runs on, can be told from others."""

from __future__ import annotations

import platform

from bench.manifest import code_digest
from faults.acquire import FOUND, VERSION, describe_sources


def version() -> str:
    """The project has no releases, so its sources are named by the digest that the manifest of every run has."""
    return f"python -m bench (sources {code_digest()[:8]}, Python {platform.python_version()}, {_toxiproxy()})"


def _toxiproxy() -> str:
    """A server that somebody else has put there need not say the truth of its version: one that is built says `git`."""
    ways = [(way, where) for way, found, where in describe_sources() if found and way in FOUND]
    match ways[:1]:
        case [("cache", _)]:
            return f"toxiproxy-server {VERSION}"
        case [(_, where)]:
            return f"toxiproxy-server of {where}"
    return f"toxiproxy-server {VERSION}, not fetched yet"
