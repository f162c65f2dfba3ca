"""What a command that starts nodes does before it imports anything heavy: start the forkserver that nodes are forked
from."""

from __future__ import annotations

from faults import processes

PRELOADED = ["bench.systems.module", "node.__main__"]
"""Named, never imported here: the bench knows the node as a command line."""


def preload() -> None:
    """Takes no time when called early, and a third of a second when called late."""
    processes.preload(PRELOADED)
