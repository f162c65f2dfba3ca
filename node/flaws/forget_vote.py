"""PySyncObj#84: the vote is not made durable. A voter that restarts votes twice in one term."""

from __future__ import annotations

from node.raft import HardState, Raft


class Flawed(Raft):
    def _hard_state(self) -> HardState:
        return HardState(self.current_term, None)
