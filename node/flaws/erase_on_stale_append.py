"""raftos#26: whatever an AppendEntries brings replaces what is there with all that follows, so that one
that comes late erases what has been acknowledged since.
"""

from __future__ import annotations

from node.raft import Entry, Raft


class Flawed(Raft):
    def _conflicts(self, entry: Entry) -> bool:
        return True
