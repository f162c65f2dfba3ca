"""`Leading`: replicating, committing, answering reads, changing the membership, handing over."""

from __future__ import annotations

import msgspec

from node.raft import quorum
from node.raft.effects import LogPosition, ReadReady
from node.raft.elections import Elections
from node.raft.membership import Configuration, Suffrage
from node.raft.messages import (
    AppendEntries,
    AppendEntriesResponse,
    Entry,
    EntryKind,
    InstallSnapshot,
    InstallSnapshotResponse,
    TimeoutNow,
)
from node.raft.progress import Progress, Sending
from node.raft.state import NEVER, Handover
from node.raft.transitions import (
    LeadershipTransferred,
    Role,
)


class Leading(Elections):
    """The leader's half of Figure 2, and what the thesis adds to it."""

    __slots__ = ()

    # Replication, as leader (§5.3)

    def _tick_leader(self) -> None:
        if not self._lease_holds():
            self._become_follower(self.current_term)
            return
        if self._transfer is not None and self._now >= self._transfer.deadline_s:
            self._transfer = None
        commit_is_news = self._now >= self._commit_unheard_since_s + self.timing.commit_timeout_s
        if self._now >= self._next_heartbeat_s or commit_is_news:
            self._request_heartbeats()

    def _request_heartbeats(self) -> None:
        self._next_heartbeat_s = self._now + self.timing.heartbeat_interval_s
        for progress in self._progress.values():
            progress.heartbeat_due = True

    def _replicate(self) -> None:
        """Send each follower what it lacks. One message carries all that was proposed since the last call."""
        for name, progress in self._progress.items():
            while self._owes(progress):
                self._send_append(name, progress)
        if self._commit_unheard_since_s is not NEVER and self._all_know_the_commit():
            self._commit_unheard_since_s = NEVER

    def _all_know_the_commit(self) -> bool:
        return all(progress.told_commit == self.commit_index for progress in self._progress.values())

    def _owes(self, progress: Progress) -> bool:
        if progress.heartbeat_due:
            return True
        if progress.sending is not None:
            return progress.sending.has_room(self.limits.snapshot_bytes_in_flight)
        if progress.probing:
            return not progress.awaiting_probe
        return progress.next_index <= self.log.last_index and self._has_room(progress)

    def _has_room(self, progress: Progress) -> bool:
        """Whether more entries may be under way: a follower that does not answer is not sent the whole log."""
        limits = self.limits
        entries = progress.next_index - 1 - progress.match_index
        return entries < limits.entries_in_flight and progress.bytes_under_way < limits.bytes_in_flight

    def _send_append(self, name: str, progress: Progress) -> None:
        if progress.sending is not None or progress.next_index <= self.log.base_index:
            self._send_chunk(name, progress)
            return
        previous = progress.next_index - 1
        entries: tuple[Entry, ...] = ()
        if progress.probing or self._has_room(progress):
            entries = self.log.batch(
                progress.next_index,
                max_entries=1 if progress.probing else self.limits.entries_per_message,
                max_bytes=self.limits.bytes_per_message,
            )
        message = AppendEntries(
            sender=self.id,
            recipient=name,
            term=self.current_term,
            prev_log_index=previous,
            prev_log_term=self.log.term_at(previous),
            entries=entries,
            leader_commit=self.commit_index,
            sent_at_s=self._now,
        )
        self._send(message)
        progress.heartbeat_due = False
        progress.told_commit = self.commit_index
        if progress.probing:
            progress.awaiting_probe = True
        elif entries:
            progress.note_sent(message.last_index, sum([len(entry.data) for entry in entries]))

    def _send_chunk(self, name: str, progress: Progress) -> None:
        """Send the next chunk of the snapshot; when a heartbeat is due, go back to the first chunk not answered."""
        if progress.sending is None:
            assert self.snapshot is not None, "entries are compacted only behind a snapshot"
            progress.sending = Sending(self.snapshot)
        sending = progress.sending
        if progress.heartbeat_due:
            sending.sent = sending.answered
        meta, data = sending.snapshot.meta, sending.snapshot.chunk(sending.sent, self.limits.snapshot_chunk_bytes)
        self._send(
            InstallSnapshot(
                sender=self.id,
                recipient=name,
                term=self.current_term,
                last_index=meta.index,
                last_term=meta.term,
                configuration=meta.configuration.encode(),
                configuration_index=meta.configuration_index,
                total=sending.total,
                checksum=sending.snapshot.checksum,
                offset=sending.sent,
                data=data,
                sent_at_s=self._now,
            )
        )
        sending.started = True
        sending.sent += len(data)
        progress.heartbeat_due = False
        # The follower cannot take a newer commit index before it has the snapshot. If we still owed it one, the
        # deadline would stay in the past, and the owner would never sleep.
        progress.told_commit = self.commit_index

    def _on_append_entries_response(self, response: AppendEntriesResponse) -> None:
        progress = self._answered(response)
        if progress is None:
            return
        if response.success:
            progress.matched_at_s = self._now
            self._take_match(progress, response.match_index)
        elif self._has_lost_its_log(progress, response):
            progress.match_index, self._matches_cache = 0, None
            progress.probe_from(response.conflict_index, self._now)
        elif self._is_behind(progress, response):
            next_index = max(progress.match_index + 1, min(response.conflict_index, response.prev_log_index))
            progress.probe_from(next_index, self._now)
        self._answer_reads()

    def _is_behind(self, progress: Progress, response: AppendEntriesResponse) -> bool:
        """Whether a refusal is news. One about an index that has matched since, or of a message from before we last
        backed up, comes late. A link that held everything back may deliver hundreds of these when it heals, and backing
        up on each would send the same entries again and again."""
        news = response.prev_log_index > progress.match_index and response.sent_at_s >= progress.probing_since_s
        return news and progress.sending is None

    def _on_install_snapshot_response(self, response: InstallSnapshotResponse) -> None:
        progress = self._answered(response)
        if progress is None:
            return
        sending = progress.sending
        if sending is not None and sending.snapshot.meta.index == response.last_index:
            news = progress.take_install(min(response.offset, sending.total))
            progress.matched_at_s = self._now
            if news:
                self._matches_cache = None
                self._advance_commit()
        self._answer_reads()

    def _answered(self, response: AppendEntriesResponse | InstallSnapshotResponse) -> Progress | None:
        """The progress of the follower that answered, whose answer extends the lease; None if it does not count."""
        if self.role is not Role.LEADER or not self._counts_answer(response):
            return None
        progress = self._progress.get(response.sender)
        if progress is not None:
            since_s = self._lease_base_s(response.sent_at_s)
            if since_s > progress.answered_sent_at_s:
                progress.answered_sent_at_s = since_s
                self._confirmed_cache = None
        return progress

    def _has_lost_its_log(self, progress: Progress, response: AppendEntriesResponse) -> bool:
        """Whether a follower refuses what we knew it had when we sent the message: then its disk was wiped.

        A refusal of a message sent before we knew proves nothing. Say the message with entry 5 is late, and one that
        builds on entry 5 arrives first. The second is refused, entry 5 is accepted, and the refusal may still arrive
        after the success.

        Raft's argument does not cover a wiped disk (Figure 2: the log is persistent), and the follower's vote may do
        harm. But an operator who wipes one node of a healthy cluster expects it to be filled again, and not refused for
        ever.
        """
        return response.prev_log_index <= progress.match_index and response.sent_at_s > progress.matched_at_s

    def _take_match(self, progress: Progress, match_index: int) -> None:
        # A late answer may report a match while a snapshot is being sent. It does not end the sending.
        if progress.take_match(match_index):
            self._matches_cache = None
            if match_index > self.commit_index:
                self._advance_commit()

    def _advance_commit(self) -> None:
        """Figure 2, the last rule for leaders."""
        matched = {**self.match_indexes, self.id: self.log.last_index}
        index = quorum.reached_by_majority(matched, self._memberships.voters, 0)
        if not self._may_commit(index):
            return
        changed = self.commit_index < self.configuration_index <= index
        self._commit_unheard_since_s = min(self._commit_unheard_since_s, self._now)
        self._commit_to(index)
        if changed:
            self._dismiss_who_left()

    # Reads (thesis 6.4)

    def _answer_reads(self) -> None:
        while self._reads and self._is_confirmed(self._reads[0]):
            read = self._reads.pop(0)
            self._pending.reads.append(ReadReady(read.ticket, read.index))

    # Handing over (thesis 3.10, 4.2.2)

    def _hand_over(self) -> None:
        """Step down once a transfer has become possible, or once our own removal is committed."""
        if self.id not in self._memberships.voters and self.commit_index >= self.configuration_index:
            self._abdicate(self._furthest_voter())
        elif self._transfer is not None and self._may_abdicate(self._transfer):
            self._abdicate(self._transfer.target)

    def _may_abdicate(self, transfer: Handover) -> bool:
        """A target that is known to be alive and has our whole log will win. Once everything is committed, no client
        waits for an answer that we could no longer give."""
        progress = self._progress.get(transfer.target)
        if progress is None or progress.answered_sent_at_s < transfer.asked_at_s:
            return False
        return progress.match_index == self.log.last_index == self.commit_index

    def _abdicate(self, successor: str | None) -> None:
        """Step down before telling the successor: from the moment it may stand for election, we must not lead."""
        self._become_follower(self.current_term)
        if successor is not None:
            self._send(TimeoutNow(sender=self.id, recipient=successor, term=self.current_term))
            self._pending.transitions.append(
                LeadershipTransferred(at_s=self._now, term=self.current_term, to=successor),
            )

    def _furthest_voter(self) -> str | None:
        """The other voter whose log is known to match furthest; among equals, the one heard from last."""
        others = [name for name in self._memberships.voters if name in self._progress]
        return max(others, key=lambda name: self._progress[name].standing, default=None)

    # Membership (thesis 4)

    def _change_membership(self, configuration: Configuration) -> LogPosition:
        assert self._may_change_membership()
        return self._append(EntryKind.CONFIGURATION, configuration.encode())

    def _look_after_members(self) -> None:
        if len(self._memberships.voters) == 1:
            # The only voter gets no answers, so nothing else would commit what it appended.
            self._advance_commit()
        if self._memberships.staged:
            self._promote_who_caught_up()

    def _promote_who_caught_up(self) -> None:
        """A staged server becomes a voter once it is within one message of the end of the log (thesis 4.2.1).

        A staged server can be the leader itself, if it left and came back before it had handed over. Its successor will
        promote it.
        """
        for server in self._memberships.staged:
            progress = self._progress.get(server.id)
            if progress is None or not self._may_change_membership():
                continue
            match_index = progress.match_index
            if match_index and match_index + self.limits.entries_per_message >= self.log.last_index:
                voter = msgspec.structs.replace(server, suffrage=Suffrage.VOTER)
                self._change_membership(self.configuration.with_server(voter))

    def _dismiss_who_left(self) -> None:
        """A change of membership is committed: drop each server that left, after a last message that tells it so."""
        staying = self.configuration.names
        for name, progress in self._progress.items():
            if name not in staying:
                self._send_append(name, progress)
        self._track_members()
