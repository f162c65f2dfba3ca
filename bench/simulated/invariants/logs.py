"""What a server keeps: its term, its vote and its log, in memory and on its disk."""

from __future__ import annotations

from collections.abc import Sequence

from bench.simulated.invariants.ledger import Disk, Ledger, Step
from bench.simulated.invariants.violation import violated
from node.raft import Entry, Raft, Role, Snapshot


def term_never_goes_back(ledger: Ledger, step: Step) -> None:
    """CCF's MonotonicTerm, across restarts: the disk's term is what the server came back with."""
    if step.term < step.before.term:
        violated(term_never_goes_back, f"{step.name} went from term {step.before.term} to {step.term}")


def what_is_believed_is_durable(ledger: Ledger, step: Step) -> None:
    """Term, vote and log are on stable storage before anybody hears of them (Figure 2, persistent state)."""
    disk, log = ledger.disks[step.name], step.log
    if disk.term != step.term or disk.voted_for != step.voted_for:
        violated(
            what_is_believed_is_durable,
            f"{step.name} is in term {step.term} and voted for {step.voted_for or 'nobody'}; "
            f"its disk says term {disk.term}, for {disk.voted_for or 'nobody'}",
        )
    if disk.last_index != log.last_index or not disk.holds(log.last_index, log.last_term):
        words = f"{step.name} has entries to {log.last_index} of term {log.last_term}, its disk to {disk.last_index}"
        violated(what_is_believed_is_durable, words)


def disk_comes_back_whole(ledger: Ledger, name: str, raft: Raft) -> None:
    """What was synced before a crash, and nothing else, is there after it: the log, the term and the vote."""
    disk, log = ledger.disks.get(name, Disk()), raft.log
    kept = {index: log.term_at(index) for index in range(max(log.first_index, disk.base_index + 1), log.last_index + 1)}
    synced = {index: term for index, term in disk.terms.items() if index >= log.first_index}
    if kept != synced or (raft.current_term, raft.voted_for) != (disk.term, disk.voted_for):
        words = f"{name} came back in term {raft.current_term} with a log to {log.last_index}"
        violated(disk_comes_back_whole, f"{words}; synced were term {disk.term} and a log to {disk.last_index}")


def only_what_conflicts_goes(ledger: Ledger, name: str, entries: Sequence[Entry], snapshot: Snapshot | None) -> None:
    """Figure 2, AppendEntries step 3, and Figure 13, step 6: entries are deleted from a disk only from the first
    conflicting one on, and committed ones never. Called before the save."""
    disk = ledger.disks[name]
    if snapshot is not None:
        meta, kept = snapshot.meta, {entry.index for entry in entries}
        gone = [index for index in disk.terms if index > meta.index and index not in kept]
        if gone and disk.terms.get(meta.index) == meta.term:
            words = f"{name} drops entries from {min(gone)} on for a snapshot of {meta.index}, which they follow"
            violated(only_what_conflicts_goes, words)
    elif entries and entries[0].index <= disk.last_index:
        first = entries[0]
        former = disk.terms.get(first.index)
        if former == first.term:
            words = f"{name} saves entry {first.index} of term {first.term} again, and drops what followed it"
            violated(only_what_conflicts_goes, words)
        if first.index <= ledger.commit_index and former == ledger.committed[first.index]:
            violated(only_what_conflicts_goes, f"{name} drops the committed entry {first.index} of term {former}")


def only_what_a_snapshot_stands_for_goes(ledger: Ledger, name: str, first_kept: int, trailing_logs: int) -> None:
    """Raft §7: entries are discarded only for a durable snapshot, and as many before it stay as the owner asked for, so
    that a follower slightly behind is sent entries."""
    snapshot_index = ledger.disks[name].snapshot_index
    if first_kept > max(snapshot_index - trailing_logs, 0) + 1:
        words = f"{name} lets go of what is before {first_kept}, with a snapshot of {snapshot_index}"
        violated(only_what_a_snapshot_stands_for_goes, f"{words} and {trailing_logs} entries to keep")


def logs_match(ledger: Ledger, step: Step) -> None:
    """Log Matching (Figure 3), by induction: an index and a term determine the entry and the term before it. And terms
    never decrease along a log (CCF's MonoLog)."""
    entries = step.effects.entries
    previous = step.log.term_at(entries[0].index - 1)
    for entry in entries:
        known_previous, known = ledger.entries.get((entry.index, entry.term), (previous, entry))
        if known_previous != previous or (known is not entry and known != entry):
            words = f"{step.name} has another entry at index {entry.index} of term {entry.term}, or another before it"
            violated(logs_match, words)
        if entry.term < previous:
            violated(logs_match, f"{step.name} has entry {entry.index} of term {entry.term} behind one of {previous}")
        previous = entry.term


def match_index_never_goes_back(ledger: Ledger, step: Step) -> None:
    """CCF's MonotonicMatchIndex, within one reign. A server that was removed and added again in one round begins anew,
    and so does one whose disk was wiped."""
    before = step.before
    reconfigured = step.configuration_index != before.configuration_index
    if step.role is not Role.LEADER or step.begins_reign():
        return
    for name, match_index in step.matches.items():
        anew = match_index == 0 and (reconfigured or name in ledger.wiped)
        if match_index < before.matches.get(name, 0) and not anew:
            words = f"{step.name}'s match index for {name} went from {before.matches[name]} to {match_index}"
            violated(match_index_never_goes_back, words)


def matches_are_true(ledger: Ledger, step: Step) -> None:
    """A follower has synced what the leader takes it to have. A follower that knows of a later term may have lost it
    again to that term's leader, and one that lost its disk may have said so just before."""
    former = step.before.matches
    for name, match_index in step.matches.items():
        if (
            name in ledger.wiped
            or match_index == former.get(name)
            or (disk := ledger.disks.get(name)) is None
            or disk.term > step.term
        ):
            continue
        if match_index > step.log.base_index and not disk.holds(match_index, step.log.term_at(match_index)):
            words = f"{step.name} takes {name} to have entry {match_index} of term {step.log.term_at(match_index)}"
            violated(matches_are_true, f"{words}, which its disk has not")
