"""openraft PR#543, zeebe#6092: a snapshot that comes late is installed over what is newer."""

from __future__ import annotations

from node.raft import InstallSnapshot, Raft


class Flawed(Raft):
    def _may_install(self, chunk: InstallSnapshot) -> bool:
        return True
