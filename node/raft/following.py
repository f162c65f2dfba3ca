"""`Following`: taking entries and snapshots from a leader (§5.3, §7)."""

from __future__ import annotations

from collections.abc import Iterable

from node.raft.elections import Elections
from node.raft.messages import (
    AppendEntries,
    AppendEntriesResponse,
    Entry,
    InstallSnapshot,
    InstallSnapshotResponse,
)
from node.raft.snapshot import Incoming, Snapshot
from node.raft.state import memberships_of
from node.raft.transitions import (
    SnapshotInstalled,
)


class Following(Elections):
    """The receiver's half of Figure 2 and Figure 13."""

    __slots__ = ()

    def _on_append_entries(self, request: AppendEntries) -> None:
        if not self._follow(request):
            self._answer_append(request, success=False)
            return
        if not self._log_matches(request):
            self._answer_append(request, success=False)
            return
        self._store(request.entries)
        self._commit_to(self._proven_commit(request))
        self._answer_append(request, success=True)

    def _follow(self, request: AppendEntries | InstallSnapshot) -> bool:
        """Whether this comes from the leader of our term, and so counts as contact. Our answer names our term."""
        if request.term < self.current_term:
            return False
        self._become_follower(request.term, leader=request.sender)
        self._last_contact_s = self._now
        self._election_due_s = self._draw(self.timing.heartbeat_timeout_s)
        return True

    def _store(self, entries: Iterable[Entry]) -> None:
        """Keep what agrees, replace from the first conflict on (Figure 2, AppendEntries steps 3 and 4)."""
        for entry in entries:
            if not self._conflicts(entry):
                continue
            if entry.index <= self.log.last_index:
                self._truncate_from(entry.index)
            self._store_entry(entry)

    def _answer_append(self, request: AppendEntries, *, success: bool) -> None:
        self._last_answer = AppendEntriesResponse(
            sender=self.id,
            recipient=request.sender,
            term=self.current_term,
            success=success,
            prev_log_index=request.prev_log_index,
            match_index=self._proven_match(request) if success else 0,
            conflict_index=0 if success else self._conflict_index(request.prev_log_index),
            sent_at_s=request.sent_at_s,
        )
        self._send(self._last_answer)

    def _conflict_index(self, prev_log_index: int) -> int:
        """Where the leader should try next: past our end, or before the whole conflicting term (§5.3)."""
        if prev_log_index > self.log.last_index:
            return self.log.last_index + 1
        return self.log.first_index_of_term_at(max(prev_log_index, self.log.base_index))

    # Snapshots, as follower (§7, Figure 13)

    def _on_install_snapshot(self, chunk: InstallSnapshot) -> None:
        if not self._follow(chunk):
            self._answer_install(chunk, 0)
        elif not self._may_install(chunk):
            self._answer_install(chunk, chunk.total)
        else:
            if self._incoming is None or not self._incoming.is_of(chunk):
                self._incoming = Incoming(chunk)
            self._incoming.take(chunk)
            received = self._incoming.received
            if self._incoming.complete:
                snapshot, self._incoming = self._incoming.finished(), None
                received = 0 if snapshot is None else received
                if snapshot is not None:
                    self._install(snapshot)
            self._answer_install(chunk, received)

    def _answer_install(self, chunk: InstallSnapshot, offset: int) -> None:
        self._send(
            InstallSnapshotResponse(
                sender=self.id,
                recipient=chunk.sender,
                term=self.current_term,
                last_index=chunk.last_index,
                offset=offset,
                sent_at_s=chunk.sent_at_s,
            )
        )

    def _install(self, snapshot: Snapshot) -> None:
        """Figure 13, steps 5 to 8: what follows the snapshot's last entry stays if that entry is ours too."""
        meta = snapshot.meta
        if self._is_prefix(meta):
            self.log.compact_to(meta.index)
        else:
            self.log.reset(meta.index, meta.term)
        self.snapshot = self._pending.snapshot = snapshot
        self._pending.first_unsaved = self.log.first_index
        self._memberships = memberships_of(self.log, snapshot)
        self._on_membership()
        self.last_applied = meta.index
        self._pending.transitions.append(SnapshotInstalled(at_s=self._now, term=self.current_term, index=meta.index))
        self._commit_to(meta.index)
