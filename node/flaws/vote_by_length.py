"""MongoDB's protocol 0: the longer log wins, whatever the terms in it (against §5.4.1)."""

from __future__ import annotations

from node.raft import Raft


class Flawed(Raft):
    def _log_is_up_to_date(self, last_index: int, last_term: int) -> bool:
        return last_index >= self.log.last_index
