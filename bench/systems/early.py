"""What `up` and `run` do before they import anything heavy: start the forkserver that nodes are forked from."""

from __future__ import annotations

from faults import processes

PRELOADED = ["bench.systems.module", "node.__main__"]
"""Named, never imported here: the bench knows the node as a command line."""


def preload() -> None:
    """Costs nothing when called early, and a third of a second when called late."""
    processes.preload(PRELOADED)
