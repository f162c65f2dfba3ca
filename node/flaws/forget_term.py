"""PySyncObj#201: the term is not made durable, and begins anew at every start."""

from __future__ import annotations

from node.raft import HardState, Raft


class Flawed(Raft):
    def _hard_state(self) -> HardState:
        return HardState(0, None)
