"""akka-raft#45, xraft#27: votes are counted, not voters, and one's own comes twice."""

from __future__ import annotations

from node.raft import Raft
from node.raft.quorum import majority


class Flawed(Raft):
    def _is_elected(self) -> bool:
        return len(self._votes) + 1 >= majority(len(self.configuration.voters))
