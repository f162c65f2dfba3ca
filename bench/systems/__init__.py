"""What can be put on the bench, by name.

A *system* (`protocol.System`) is what the bench knows of a kind of node: how one is started and where it listens, what
it can be asked and what its answers mean to a client, what it says of itself, and what cannot be done with it. Code
that drives real processes uses that and nothing else, so another system takes one file here, and a line below.

* `konsul`: our own node, `python -m node`.
* `module`, `early`: starting a node that is a Python module, in a child of a forkserver that has imported it already.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.systems.protocol import System


class UnknownSystemError(LookupError):
    """No system has this name."""


def _konsul() -> System:
    from bench.systems.konsul import KonsulSystem

    return KonsulSystem()


SYSTEMS: dict[str, Callable[[], System]] = {"konsul": _konsul}
"""Each is imported when asked for: `early` must be imported before anything heavy, and this package comes with it."""


def find_system(name: str) -> System:
    """The system of this name. Raises UnknownSystemError."""
    if name not in SYSTEMS:
        raise UnknownSystemError(f"there is no system {name}; there are {', '.join(SYSTEMS)}")
    return SYSTEMS[name]()
