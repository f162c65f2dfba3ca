"""akka-raft#32: entries are taken behind whatever stands there, only not behind a hole."""

from __future__ import annotations

from node.raft import AppendEntries, Raft


class Flawed(Raft):
    def _log_matches(self, request: AppendEntries) -> bool:
        return request.prev_log_index <= self.log.last_index
