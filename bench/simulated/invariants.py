"""What must hold after every event, checked while the world runs: Raft's promises, and the clients'.

`Invariants` watches (`bench.simulated.observer`), a `Ledger` remembers what a whole history has shown, and each
invariant is one small function with its source, called with the ledger and with what just happened. The work for one
event does not grow with the history: log matching, for one, is kept by remembering what stands before each (index,
term) the first time it is seen.

A round is judged when its owner may act on it: once it is durable, or at once when it had nothing to save. Before that
nobody has heard of it, and a crash undoes it: a server that voted, crashed before the save, and votes for another
after its restart has broken nothing.
"""

from __future__ import annotations

import bisect
import hashlib
import itertools
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import NamedTuple

import msgspec

from bench.cluster import PromiseBrokenError
from bench.history import DECISIONS, Outcome
from bench.simulated import observer, requests
from bench.simulated.requests import Told
from node.machine.kv import Batch, Command, KeyValueStore, Result, Status
from node.machine.state_machine import Frozen
from node.raft import (
    AppendEntries,
    AppendEntriesResponse,
    Configuration,
    Effects,
    Entry,
    EntryKind,
    HardState,
    InstallSnapshot,
    Log,
    Message,
    PreVote,
    PreVoteResponse,
    Raft,
    RequestVote,
    RequestVoteResponse,
    Snapshot,
    TimeoutNow,
)
from node.raft.effects import NOTHING
from node.raft.quorum import has_majority, majority
from node.raft.snapshot import Data
from node.raft.transitions import Committed, MembershipChanged, Role, RoleChanged, TermChanged, Voted

LEADING = frozenset((AppendEntries, InstallSnapshot))
"""What only a leader says."""
PATIENCE = 10
"""Election timeouts within which a connected majority must have a leader."""


class InvariantViolationError(PromiseBrokenError):
    """A promise was broken; `name` is the invariant's function, the text what was seen."""

    def __init__(self, name: str, words: str) -> None:
        super().__init__(f"{name}: {words}")
        self.name = name
        self.words = words

    def __reduce__(self) -> tuple[type[InvariantViolationError], tuple[str, str]]:
        return type(self), (self.name, self.words)


@dataclass(slots=True)
class Disk:
    """What a server has synced: it survives its crashes."""

    term: int = 0
    voted_for: str | None = None
    base_index: int = 0
    terms: dict[int, int] = field(default_factory=dict)
    """Of each entry behind the snapshot."""
    last_index: int = 0

    def holds(self, index: int, term: int) -> bool:
        return index <= self.base_index or self.terms.get(index) == term

    def save(self, hard_state: HardState | None, entries: Sequence[Entry], snapshot: Snapshot | None) -> None:
        if hard_state is not None:
            self.term, self.voted_for = hard_state.current_term, hard_state.voted_for
        if snapshot is not None:
            self.base_index = self.last_index = snapshot.meta.index
            self.terms.clear()
        for entry in entries:
            while self.last_index >= entry.index:
                self.terms.pop(self.last_index, None)
                self.last_index -= 1
            self.terms[entry.index] = entry.term
            self.last_index = entry.index


@dataclass(slots=True)
class Server:
    """What was last seen of a running server."""

    name: str
    raft: Raft
    clock: observer.LocalClock
    role: Role = Role.FOLLOWER
    term: int = 0
    commit_index: int = 0
    matches: Mapping[str, int] = field(default_factory=dict)
    voters: tuple[str, ...] = ()
    configuration_index: int = 0
    contact_s: float = -math.inf
    """When it last heard from a leader or gave a vote, by its own clock; its start, if it may have done so before."""
    last_vote: tuple[str, int] = ("", 0)
    """For whom, in which term."""
    lease_until_s: float = -math.inf
    """On its own clock."""


class Step(msgspec.Struct, gc=False):
    """A round of a server, as values; what it was before stands in `before`."""

    before: Server
    at_s: float
    now_s: float
    """What the server's own clock read when it took the step, before it was durable."""
    role: Role
    term: int
    voted_for: str | None
    commit_index: int
    log: Log
    lease_until_s: float
    """On the server's own clock."""
    matches: Mapping[str, int]
    voters: tuple[str, ...]
    configuration_index: int
    effects: Effects
    inbox: Sequence[Message] = ()
    """What it heard from its peers, in order."""

    @property
    def name(self) -> str:
        return self.before.name


class Performed(NamedTuple):
    """What came of a command."""

    log_index: int
    keys: tuple[str, ...]
    result: Result
    modify_indexes: tuple[int, ...]
    """Of each key afterwards; 0 is one that is not there."""


@dataclass(slots=True)
class Ledger:
    """What the whole history has shown, crashes and all."""

    leaders: dict[int, str] = field(default_factory=dict)
    """Who was elected in a term."""
    votes: dict[tuple[str, int], str] = field(default_factory=dict)
    """For whom a server let it be known that it voted in a term."""
    pre_votes: dict[tuple[str, int], set[str]] = field(default_factory=dict)
    """Who said that it would vote for a server in a term."""
    told_to_stand: set[tuple[str, int]] = field(default_factory=set)
    """Candidates to whom leadership was transferred, with the term they stood in."""
    entries: dict[tuple[int, int], tuple[int, Entry]] = field(default_factory=dict)
    """By index and term: the term of the entry before, and the entry."""
    committed: list[int] = field(default_factory=lambda: [0])
    """The term of the committed entry at each index."""
    committed_in: dict[int, int] = field(default_factory=dict)
    """By the term of the leader that committed first: the last index it did."""
    configurations: list[tuple[int, tuple[str, ...]]] = field(default_factory=list)
    """The committed ones, as index and voters."""
    digests: dict[int, bytes] = field(default_factory=dict)
    """What the state machines had come to at each index."""
    contents: dict[int, bytes] = field(default_factory=dict)
    """The checksum of what they held at an index, where anybody looked."""
    performed: dict[int, Performed] = field(default_factory=dict)
    """What came of the command at an index, where it was first performed."""
    writes: dict[tuple[str, int], Performed] = field(default_factory=dict)
    """By client and sequence, what came of a write where it stood first."""
    sequences: dict[str, int] = field(default_factory=dict)
    """The latest of each client."""
    modify_indexes: dict[str, int] = field(default_factory=dict)
    """Of each key, after the last command that anybody performed."""
    disks: dict[str, Disk] = field(default_factory=dict)
    leases: dict[str, tuple[float, observer.LocalClock]] = field(default_factory=dict)
    """Until when the servers that lead do so, each by its own clock."""
    reigning: dict[str, Step] = field(default_factory=dict)
    wiped: set[str] = field(default_factory=set)
    """Whose disk was lost once: Raft rests on a disk that is not (Figure 2), so less is asked of them."""

    @property
    def commit_index(self) -> int:
        return len(self.committed) - 1

    @property
    def voters(self) -> tuple[str, ...]:
        """Of the newest committed configuration."""
        return self.configurations[-1][1] if self.configurations else ()


# Elections


def one_leader_in_a_term(ledger: Ledger, step: Step) -> None:
    """Election Safety, over all history (Figure 3)."""
    for change in step.effects.transitions:
        if isinstance(change, RoleChanged) and change.role is Role.LEADER:
            leader = ledger.leaders.setdefault(change.term, step.name)
            if leader != step.name:
                _violated(one_leader_in_a_term, f"{leader} and {step.name} were both elected in term {change.term}")


def leaders_were_elected(ledger: Ledger, step: Step) -> None:
    """§5.2: whoever leads in a term was voted for in that term by a majority of the voters that it counts."""
    voters = step.before.voters
    for change in step.effects.transitions:
        if isinstance(change, MembershipChanged):
            voters = change.voters
        elif isinstance(change, RoleChanged) and change.role is Role.LEADER:
            votes = {voter for voter in voters if ledger.votes.get((voter, change.term)) == step.name} | {step.name}
            if not has_majority(votes, voters):
                words = f"{step.name} leads in term {change.term} with the votes of {_list(votes)} of {_list(voters)}"
                _violated(leaders_were_elected, words)


def one_leader_at_a_time(ledger: Ledger, step: Step) -> None:
    """At no instant do two servers call themselves leader: `sum(konsul_raft_is_leader) <= 1`, paused ones too."""
    mine = step.before.clock
    if step.role is not Role.LEADER or mine.at(step.at_s) >= step.lease_until_s:
        ledger.leases.pop(step.name, None)
        return
    ledger.leases[step.name] = step.lease_until_s, mine
    for other, (until_s, clock) in ledger.leases.items():
        if other == step.name:
            continue
        left_s = until_s - clock.at(step.at_s)
        if left_s > 0:
            words = f"{step.name} leads in term {step.term} while {other} has {left_s:.3f} s of its lease left"
            _violated(one_leader_at_a_time, words)


def one_vote_in_a_term(ledger: Ledger, step: Step) -> None:
    """§5.2, over a server's whole history and all its lives; a candidate's request is its vote for itself."""
    for message in step.effects.messages:
        if isinstance(message, RequestVote):
            candidate = step.name
        elif isinstance(message, RequestVoteResponse) and message.granted:
            candidate = message.recipient
        else:
            continue
        former = ledger.votes.setdefault((step.name, message.term), candidate)
        if former != candidate:
            words = f"{step.name} voted for {former} and for {candidate} in term {message.term}"
            _violated(one_vote_in_a_term, words)


def candidates_disturb_nobody(ledger: Ledger, step: Step) -> None:
    """Thesis 4.2.3: while a leader may live a candidate's term is not even adopted, neither by who heard from it within
    a heartbeat timeout nor by the leader itself: the term alone would depose it, as soon as it hears of it. One that a
    leader told to stand is heard.

    Asked before this round's own contacts are noted.
    """
    before, role = step.before, step.before.role
    for change in step.effects.transitions:
        if isinstance(change, RoleChanged):
            role = change.role
        elif isinstance(change, TermChanged) and (candidate := _heeded(ledger, step, change.term)) is not None:
            words = f"{step.name} took term {change.term} from {candidate}"
            left_s, patient_s = before.lease_until_s - step.now_s, step.now_s - before.contact_s
            if role is Role.LEADER and left_s > 0:
                _violated(candidates_disturb_nobody, f"{words} with {left_s:.3f} s of its lease left")
            if role is not Role.LEADER and patient_s < before.raft.timing.heartbeat_timeout_s:
                _violated(candidates_disturb_nobody, f"{words} {patient_s:.3f} s after it heard from another")


def _heeded(ledger: Ledger, step: Step, term: int) -> str | None:
    """The candidate from whose request, and from nothing else in the round, a server took this term; None for one that
    a leader told to stand."""
    told = [message for message in step.inbox if message.term == term]
    brought = [message for message in told if not isinstance(message, PreVote)]
    heeds = all(isinstance(item, RequestVote) and (item.sender, term) not in ledger.told_to_stand for item in brought)
    own = any(
        isinstance(change, Voted) and (change.candidate, change.term) == (step.name, term)
        for change in step.effects.transitions
    )
    return brought[0].sender if brought and heeds and not own else None


def voters_keep_to_their_leader(ledger: Ledger, step: Step) -> None:
    """Thesis 4.2.3: who heard from a leader, or gave a vote, gives none for a heartbeat timeout by its own clock; the
    lease rests on it. To a candidate that a leader has told to stand it may."""
    before = step.before
    for message in step.effects.messages:
        if isinstance(message, RequestVoteResponse) and message.granted:
            patient_s = step.now_s - before.contact_s
            vote = (message.recipient, message.term)
            told, again = vote in ledger.told_to_stand, vote == before.last_vote
            if patient_s < before.raft.timing.heartbeat_timeout_s and not (told or again):
                words = f"{step.name} voted for {message.recipient} {patient_s:.3f} s after it heard from another"
                _violated(voters_keep_to_their_leader, words)
            before.contact_s, before.last_vote = step.now_s, vote
        elif any(_accepts(message, item) for item in step.inbox):
            before.contact_s = step.now_s


def _accepts(message: Message, item: Message) -> bool:
    """Whether it says that an `item` of this round's inbox fits the log. What was said in an earlier round is said
    again when a connection ends, and is no contact."""
    return (
        isinstance(message, AppendEntriesResponse)
        and isinstance(item, AppendEntries)
        and message.success
        and (message.recipient, message.sent_at_s) == (item.sender, item.sent_at_s)
    )


def note_contact(step: Step) -> None:
    """Remember that a server heard a leader, if only with what did not fit its log, or voted, if only for itself."""
    for change in step.effects.transitions:
        if isinstance(change, Voted):
            step.before.contact_s = step.now_s
    for item in step.inbox:
        if type(item) in LEADING and (
            item.term == step.term or any(_accepts(message, item) for message in step.effects.messages)
        ):
            step.before.contact_s = step.now_s


def note_leave_to_stand(ledger: Ledger, step: Step) -> None:
    """Remember who said that it would vote for whom, and whom a leader told to stand in the term after its own."""
    for message in step.effects.messages:
        if isinstance(message, PreVoteResponse) and message.granted:
            ledger.pre_votes.setdefault((message.recipient, message.next_term), set()).add(step.name)
        elif isinstance(message, TimeoutNow):
            ledger.told_to_stand.add((message.recipient, message.term + 1))


def candidates_have_asked(ledger: Ledger, step: Step) -> None:
    """Thesis 9.6: a term is spent by whom a majority said it would vote for, or by whom a leader told to stand. That of
    one whom nobody would elect deposes a leader all the same, in the answer to what that sends it."""
    voters = step.before.voters
    for change in step.effects.transitions:
        if isinstance(change, MembershipChanged):
            voters = change.voters
        elif isinstance(change, RoleChanged) and change.role is Role.CANDIDATE:
            stands = step.name, change.term
            granted = {step.name, *ledger.pre_votes.get(stands, ())}
            if stands not in ledger.told_to_stand and not has_majority(granted, voters):
                words = (
                    f"{step.name} stands in term {change.term}, which only {_list(granted)} of {_list(voters)} wanted"
                )
                _violated(candidates_have_asked, words)


def only_voters_lead(ledger: Ledger, step: Step) -> None:
    """Who votes in none of the configurations that may count, as far as it can know, must not be elected: it would hold
    up those who do. A server that is being let go still may, until it knows that it is gone (thesis 4.2.2)."""
    for change in step.effects.transitions:
        if isinstance(change, RoleChanged) and change.role is Role.LEADER and step.name not in step.voters:
            known = bisect.bisect_right(ledger.configurations, step.before.commit_index, key=itemgetter(0))
            if not any(step.name in voters for _, voters in ledger.configurations[max(known - 1, 0) :]):
                _violated(only_voters_lead, f"{step.name} was elected in term {change.term} and is no voter")


def leader_has_what_is_committed(ledger: Ledger, step: Step) -> None:
    """Leader Completeness (Figure 3). By log matching the last committed entry stands for all before it."""
    if step.role is not Role.LEADER:
        ledger.reigning.pop(step.name, None)
        return
    if step.before.role is not Role.LEADER or step.before.term != step.term:
        _must_hold_all_committed(ledger, step)
        ledger.reigning[step.name] = step


def _must_hold_all_committed(ledger: Ledger, leader: Step) -> None:
    """All that was committed in earlier terms. A candidate whose votes come late may win a term that is over, without
    what a later one has committed meanwhile; its lease is over then, and it commits nothing."""
    index = max((index for term, index in ledger.committed_in.items() if term < leader.term), default=0)
    term = ledger.committed[index]
    if not leader.log.has(index, term):
        words = f"{leader.name} leads term {leader.term} without the committed entry {index} of term {term}"
        _violated(leader_has_what_is_committed, words)


# What a server keeps


def term_never_goes_back(ledger: Ledger, step: Step) -> None:
    """CCF's MonotonicTerm, across restarts: the disk's term is what the server came back with."""
    if step.term < step.before.term:
        _violated(term_never_goes_back, f"{step.name} went from term {step.before.term} to {step.term}")


def what_is_believed_is_durable(ledger: Ledger, step: Step) -> None:
    """Term, vote and log are on stable storage before anybody hears of them (Figure 2, persistent state)."""
    disk, log = ledger.disks[step.name], step.log
    if (disk.term, disk.voted_for) != (step.term, step.voted_for):
        _violated(
            what_is_believed_is_durable,
            f"{step.name} is in term {step.term} and voted for {step.voted_for}; "
            f"its disk says term {disk.term}, {disk.voted_for}",
        )
    if disk.last_index != log.last_index or not disk.holds(log.last_index, log.last_term):
        words = f"{step.name} has entries to {log.last_index} of term {log.last_term}, its disk to {disk.last_index}"
        _violated(what_is_believed_is_durable, words)


def commit_index_never_goes_back(ledger: Ledger, step: Step) -> None:
    """CCF's CommittedLogAppendOnly, within one life of a server."""
    if step.commit_index < step.before.commit_index:
        words = f"{step.name} went from commit index {step.before.commit_index} to {step.commit_index}"
        _violated(commit_index_never_goes_back, words)


def match_index_never_goes_back(ledger: Ledger, step: Step) -> None:
    """CCF's MonotonicMatchIndex, within one reign. Who was let go and came back in one round begins anew, and so does
    a server whose disk was wiped."""
    before = step.before
    reconfigured = step.configuration_index != before.configuration_index
    if step.role is not Role.LEADER or before.role is not Role.LEADER or before.term != step.term:
        return
    for name, match_index in step.matches.items():
        anew = match_index == 0 and (reconfigured or name in ledger.wiped)
        if match_index < before.matches.get(name, 0) and not anew:
            words = f"{step.name}'s match index for {name} went from {before.matches[name]} to {match_index}"
            _violated(match_index_never_goes_back, words)


def matches_are_true(ledger: Ledger, step: Step) -> None:
    """What a leader takes a follower to have, that has synced it. A follower that knows of a later term may have lost
    it again to whoever leads in that."""
    former = step.before.matches
    for name, match_index in step.matches.items():
        if match_index == former.get(name) or (disk := ledger.disks.get(name)) is None or disk.term > step.term:
            continue
        if match_index > step.log.base_index and not disk.holds(match_index, step.log.term_at(match_index)):
            words = f"{step.name} takes {name} to have entry {match_index} of term {step.log.term_at(match_index)}"
            _violated(matches_are_true, f"{words}, which its disk has not")


def only_what_conflicts_goes(ledger: Ledger, name: str, entries: Sequence[Entry], snapshot: Snapshot | None) -> None:
    """Figure 2, AppendEntries step 3, and Figure 13, step 6: entries are taken from a disk only from the first that
    conflicts on, and none that is committed. Asked before the save."""
    disk = ledger.disks[name]
    if snapshot is not None:
        meta, kept = snapshot.meta, {entry.index for entry in entries}
        gone = [index for index in disk.terms if index > meta.index and index not in kept]
        if gone and disk.terms.get(meta.index) == meta.term:
            words = f"{name} drops entries from {min(gone)} on for a snapshot of {meta.index}, which they follow"
            _violated(only_what_conflicts_goes, words)
        return
    first = entries[0]
    former = disk.terms.get(first.index)
    if former == first.term:
        words = f"{name} saves entry {first.index} of term {first.term} again, and drops what followed it"
        _violated(only_what_conflicts_goes, words)
    if first.index <= ledger.commit_index and former == ledger.committed[first.index]:
        _violated(only_what_conflicts_goes, f"{name} drops the committed entry {first.index} of term {former}")


def logs_match(ledger: Ledger, step: Step) -> None:
    """Log Matching (Figure 3), by induction: an index and a term determine the entry and the term before it. And terms
    never go back in a log (CCF's MonoLog)."""
    previous = None
    for entry in step.effects.entries:
        if previous is None:
            previous = step.log.term_at(entry.index - 1)
        known_previous, known = ledger.entries.setdefault((entry.index, entry.term), (previous, entry))
        if known_previous != previous or (known is not entry and known != entry):
            words = f"{step.name} has another entry at index {entry.index} of term {entry.term}, or another before it"
            _violated(logs_match, words)
        if entry.term < previous:
            _violated(logs_match, f"{step.name} has entry {entry.index} of term {entry.term} behind one of {previous}")
        previous = entry.term


# Commitment


def only_the_leaders_term_is_counted(ledger: Ledger, step: Step) -> None:
    """§5.4.2, CCF's NeverCommitEntryPrevTerms: counting copies commits an entry of the leader's own term only."""
    for commit, _ in _leader_commits(step):
        if commit.entry_term != commit.term:
            words = f"{step.name}, leader of term {commit.term}, counted entry {commit.commit_index}"
            _violated(only_the_leaders_term_is_counted, f"{words} of term {commit.entry_term}")


def committed_is_on_a_majority(ledger: Ledger, step: Step) -> None:
    """QuorumLog: what a leader commits is synced on a majority of the voters it counts, itself included or not."""
    for commit, voters in _leader_commits(step):
        index, term = commit.commit_index, commit.entry_term
        holders = [name for name in voters if (disk := ledger.disks.get(name)) and disk.holds(index, term)]
        if not has_majority(holders, voters):
            words = f"{step.name} commits entry {index} of term {term} that {_list(holders)} of {_list(voters)} hold"
            _violated(committed_is_on_a_majority, words)


def committed_stays(ledger: Ledger, step: Step) -> None:
    """State Machine Safety (Figure 3): one entry is ever committed at an index, and a leader is first to do it."""
    log, first = step.log, step.before.commit_index + 1
    leads = any(_leader_commits(step))
    for index in range(max(first, log.base_index), step.commit_index + 1):
        term = log.term_at(index)
        if index > ledger.commit_index:
            if not leads or index != ledger.commit_index + 1:
                _violated(committed_stays, f"{step.name} commits entry {index}, which no leader has")
            _commit(ledger, step, index)
        elif ledger.committed[index] != term:
            words = f"{step.name} commits entry {index} of term {term}, others that of term {ledger.committed[index]}"
            _violated(committed_stays, words)


def _commit(ledger: Ledger, step: Step, index: int) -> None:
    entry = step.log[index]
    ledger.committed.append(entry.term)
    ledger.committed_in[step.term] = index
    if entry.kind is EntryKind.CONFIGURATION:
        ledger.configurations.append((index, Configuration.from_entry(entry).voters))
    for leader in ledger.reigning.values():
        if leader.term > step.term:
            _must_hold_all_committed(ledger, leader)


def state_machines_agree(ledger: Ledger, name: str, index: int, digest: bytes) -> None:
    """State Machine Safety, where it is felt: equal hash chains at an equal applied index."""
    if ledger.digests.setdefault(index, digest) != digest:
        _violated(state_machines_agree, f"{name} applied something else up to index {index} than others did")


def contents_agree(ledger: Ledger, name: str, index: int, content: Data) -> None:
    """State Machine Safety, for what is kept and not only for what was applied: the chain of the entries travels in a
    snapshot, so a server that restored it and lost every value still agrees on all of them."""
    checksum = hashlib.blake2b(content, digest_size=16).digest()
    if ledger.contents.setdefault(index, checksum) != checksum:
        _violated(contents_agree, f"{name} holds something else after index {index} than others did")


def commands_have_one_result(ledger: Ledger, name: str, index: int, result: Result, store: KeyValueStore) -> None:
    """State Machine Safety, for what clients are told and what became of the keys: the same on every server and in all
    its lives, whether it had the entries before from its log or from a snapshot."""
    first = ledger.performed[index]
    if (result, _modify_indexes(store, first.keys)) != (first.result, first.modify_indexes):
        words = f"{name} made of entry {index}: {_outcome(result)}; others: {_outcome(first.result)}"
        _violated(commands_have_one_result, words)


def writes_take_effect_once(ledger: Ledger, name: str, entry: Entry, result: Result, store: KeyValueStore) -> None:
    """Thesis 6.3: where a write of one client and sequence stands in the log again, nothing changes, and what came of
    it is what it was the first time; of one that came after its client's next, that is not known any more.

    To be asked once for each index, in their order: of whoever performs it first."""
    command = Command.decode(entry.data)
    operation = command.operation
    keys = tuple(part.key for part in (operation.operations if isinstance(operation, Batch) else (operation,)))
    done = ledger.performed[entry.index] = Performed(entry.index, keys, result, _modify_indexes(store, keys))
    latest = ledger.sequences.get(command.client_id, 0)
    if command.sequence and command.sequence <= latest:
        _must_change_nothing(ledger, name, command, done)
        return
    if result.status is Status.SUPERSEDED:
        words = f"{name} took write {command.sequence} of {command.client_id} for one from before its write {latest}"
        _violated(writes_take_effect_once, words)
    ledger.modify_indexes.update(zip(keys, done.modify_indexes, strict=True))
    if command.sequence:
        ledger.sequences[command.client_id] = command.sequence
        ledger.writes[command.client_id, command.sequence] = done


def _must_change_nothing(ledger: Ledger, name: str, command: Command, again: Performed) -> None:
    write = f"write {command.sequence} of {command.client_id}"
    first = ledger.writes.get((command.client_id, command.sequence), again)
    superseded = command.sequence < ledger.sequences[command.client_id]
    if again.result != (Result(Status.SUPERSEDED, 0) if superseded else first.result):
        words = f"{name} made of {write} at {first.log_index}: {_outcome(first.result)}; again at {again.log_index}"
        _violated(writes_take_effect_once, f"{words}: {_outcome(again.result)}")
    if again.modify_indexes != tuple(ledger.modify_indexes.get(key, 0) for key in again.keys):
        _violated(writes_take_effect_once, f"{name} did {write} again at {again.log_index}")


def _modify_indexes(store: KeyValueStore, keys: tuple[str, ...]) -> tuple[int, ...]:
    return tuple(value.modify_index if (value := store.get(key)) else 0 for key in keys)


def _outcome(result: Result) -> str:
    return f"{result.status.value}, {result.modify_index}"


def configuration_is_the_logs(ledger: Ledger, step: Step) -> None:
    """Thesis 4.1: a server uses the latest configuration in its log, committed or not, and goes back when that is cut
    (CCF's LogConfigurationConsistent)."""
    index, log = step.configuration_index, step.log
    if index <= log.base_index:
        return
    if index > log.last_index or log[index].kind is not EntryKind.CONFIGURATION:
        _violated(configuration_is_the_logs, f"{step.name} goes by a configuration at {index} that its log has not")


def members_change_one_at_a_time(ledger: Ledger, step: Step) -> None:
    """Thesis 4.1 with the correction of 2015: a leader adds or removes one voter, to what is committed."""
    role, index, voters = step.before.role, step.before.configuration_index, step.before.voters
    for change in step.effects.transitions:
        if isinstance(change, RoleChanged):
            role = change.role
        elif isinstance(change, MembershipChanged):
            if role is Role.LEADER and change.index > index > 0:
                if ledger.committed[-1] != change.term:
                    words = f"{step.name} changes members at {change.index} with nothing of its term {change.term}"
                    _violated(members_change_one_at_a_time, f"{words} committed")
                if index > ledger.commit_index:
                    words = f"{step.name} changes members at {change.index} before entry {index} has committed"
                    _violated(members_change_one_at_a_time, words)
                for former in (voters, ledger.voters):
                    if len(set(former) ^ set(change.voters)) > 1:
                        words = f"{step.name} goes from {_list(former)} to {_list(change.voters)}"
                        _violated(members_change_one_at_a_time, words)
            index, voters = change.index, change.voters


def _leader_commits(step: Step) -> Iterable[tuple[Committed, tuple[str, ...]]]:
    """What a server committed as leader, with the voters it counted. Within a round the order of changes decides."""
    role, voters = step.before.role, step.before.voters
    for change in step.effects.transitions:
        if isinstance(change, RoleChanged):
            role = change.role
        elif isinstance(change, MembershipChanged):
            voters = change.voters
        elif isinstance(change, Committed) and role is Role.LEADER:
            yield change, voters


# What clients and operators are promised


def acknowledged_is_committed(ledger: Ledger, name: str, index: int, term: int, required_index: int) -> None:
    """Durability of the acknowledged; and linearizability of writes: later than all that was known when it was asked
    for."""
    if index > ledger.commit_index or ledger.committed[index] != term:
        _violated(acknowledged_is_committed, f"{name} acknowledged entry {index} of term {term}, not committed")
    if index <= required_index:
        _violated(acknowledged_is_committed, f"{name} put a write at {index} that was asked for after {required_index}")


def clients_are_told_what_came_of_it(ledger: Ledger, client_id: str, sequence: int, told: Told) -> None:
    """Thesis 6.3: whichever server answers, and to whichever try, it tells of the one effect that the write had."""
    if told.outcome is not Outcome.OK and told.reason not in DECISIONS:
        return
    done = ledger.writes.get((client_id, sequence))
    if done is None or told != requests.decided(done.result):
        came = f"{_outcome(done.result)} at {done.log_index}" if done else "nothing yet"
        words = f"{client_id} was told of its write {sequence}: {told.outcome.value} {told.reason} {told.modify_index}"
        _violated(clients_are_told_what_came_of_it, f"{words}; what came of it is {came}")


def reads_are_not_stale(ledger: Ledger, name: str, kind: str, served_index: int, required_index: int) -> None:
    """Linearizability of reads, by log index: whatever anybody had been told before is seen (thesis 6.4)."""
    if kind != "default" and served_index < required_index:
        words = f"{name} answered a {kind} read from index {served_index}; {required_index} was known before it"
        _violated(reads_are_not_stale, words)


def disk_comes_back_whole(ledger: Ledger, name: str, raft: Raft) -> None:
    """What was synced before a crash is there after it: the log and nothing else, the term and the vote."""
    disk, log = ledger.disks[name], raft.log
    kept = {index: log.term_at(index) for index in range(max(log.first_index, disk.base_index + 1), log.last_index + 1)}
    synced = {index: term for index, term in disk.terms.items() if index >= log.first_index}
    if kept != synced or (raft.current_term, raft.voted_for) != (disk.term, disk.voted_for):
        words = f"{name} came back in term {raft.current_term} with a log to {log.last_index}"
        _violated(disk_comes_back_whole, f"{words}; synced were term {disk.term} and a log to {disk.last_index}")


def connected_majority_has_a_leader(ledger: Ledger, core: Collection[str], leaderless_s: float) -> None:
    """Liveness when owed: a majority that hears one another without trouble has a leader within `PATIENCE`."""
    _violated(connected_majority_has_a_leader, f"{_list(core)} hear one another, and none led for {leaderless_s:.1f} s")


def all_agree_in_the_end(states: Mapping[str, str]) -> None:
    """Convergence: with every fault over, all members come to hold and to have applied the same log."""
    _violated(all_agree_in_the_end, "; ".join(f"{name}: {state}" for name, state in states.items()))


def clients_are_served_in_the_end(kind: str, reason: str) -> None:
    """Liveness as clients feel it: with every fault over, the leader takes writes and answers reads."""
    _violated(clients_are_served_in_the_end, f"no {kind} has been answered since the last fault was over: {reason}")


NEWS, VOTES, CHANGES, ENTRIES, REIGN, MATCHES = 1, 2, 4, 8, 16, 32
"""What a step must have had for an invariant to have anything to look at. News is anything but a longer lease and
other matches; votes are messages about elections; a reign is one that goes on, begins or ends."""
ELECTORAL = frozenset((RequestVote, RequestVoteResponse, PreVoteResponse, TimeoutNow))

ON_STEP: tuple[tuple[Callable[[Ledger, Step], None], int], ...] = (
    (term_never_goes_back, NEWS),
    (what_is_believed_is_durable, NEWS),
    (candidates_disturb_nobody, CHANGES),
    (voters_keep_to_their_leader, VOTES),
    (note_leave_to_stand, VOTES),
    (candidates_have_asked, CHANGES),
    (one_vote_in_a_term, VOTES),
    (only_voters_lead, CHANGES),
    (one_leader_in_a_term, CHANGES),
    (leaders_were_elected, CHANGES),
    (one_leader_at_a_time, REIGN),
    (logs_match, ENTRIES),
    (configuration_is_the_logs, ENTRIES),
    (leader_has_what_is_committed, NEWS | REIGN),
    (commit_index_never_goes_back, NEWS),
    (match_index_never_goes_back, REIGN | MATCHES),
    (matches_are_true, REIGN | MATCHES),
    (only_the_leaders_term_is_counted, CHANGES),
    (committed_is_on_a_majority, CHANGES),
    (committed_stays, CHANGES),
    (members_change_one_at_a_time, CHANGES),
)
"""In the order in which they are asked: what explains another failure comes before it."""

ASKED = [tuple(invariant for invariant, needs in ON_STEP if needs & had == needs) for had in range(64)]
"""By what a step had. Most have little: asking everything of each would take half of an exploration."""


class Invariants(observer.Observer):
    """Raises InvariantViolationError from within the event that breaks a promise."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self._servers: dict[str, Server] = {}
        self._pending: dict[str, Step] = {}
        self._liveness = Liveness(self.ledger)

    def excuse(self, name: str, excused: bool) -> None:
        """Owe nothing through a server that is so slow, or does things so late, that no time-out allows for it."""
        self._liveness.excuse(name, excused)

    def started(self, name: str, raft: Raft, clock: observer.LocalClock, at_s: float) -> None:
        self.ledger.disks.setdefault(name, Disk())
        disk_comes_back_whole(self.ledger, name, raft)
        self._servers[name] = Server(
            name,
            raft,
            clock,
            term=raft.current_term,
            commit_index=raft.commit_index,
            voters=raft.configuration.voters,
            configuration_index=raft.configuration_index,
            contact_s=clock.at(at_s) if raft.current_term else -math.inf,
            last_vote=(raft.voted_for or "", raft.current_term),
        )
        self._liveness.reconsider(self._servers, at_s)

    def crashed(self, name: str, at_s: float) -> None:
        self._pending.pop(name, None)
        self._servers.pop(name, None)
        self.ledger.leases.pop(name, None)
        self.ledger.reigning.pop(name, None)

    def wiped(self, name: str) -> None:
        self.ledger.wiped.add(name)
        self.ledger.disks.pop(name, None)
        self.ledger.votes = {vote: candidate for vote, candidate in self.ledger.votes.items() if vote[0] != name}

    def stepped(self, name: str, raft: Raft, effects: Effects, at_s: float, inbox: Sequence[Message] = ()) -> None:
        server, role, changed = self._servers[name], raft.role, effects.transitions
        leads = role is Role.LEADER
        if name in self._pending:
            _violated(what_is_believed_is_durable, f"{name} went on before its last round was durable")
        if effects is NOTHING and not leads and _is_still(server, role, raft.current_term, raft.commit_index):
            self._liveness.passed(name, raft, at_s)
            return
        step = Step(
            before=server,
            at_s=at_s,
            now_s=server.clock.at(at_s),
            role=role,
            term=raft.current_term,
            voted_for=raft.voted_for,
            commit_index=raft.commit_index,
            log=raft.log,
            lease_until_s=raft.lease_until_s if leads else -math.inf,
            matches=raft.match_indexes if leads else {},
            voters=raft.configuration.voters if changed else server.voters,
            configuration_index=raft.configuration_index if changed else server.configuration_index,
            effects=effects,
            inbox=inbox,
        )
        if effects.must_save:
            self._pending[name] = step
        else:
            self._judge(step)

    def saved(
        self,
        name: str,
        hard_state: HardState | None,
        entries: Sequence[Entry],
        snapshot: Snapshot | None,
        at_s: float,
    ) -> None:
        disk = self.ledger.disks[name]
        if snapshot is not None or (entries and entries[0].index <= disk.last_index):
            only_what_conflicts_goes(self.ledger, name, entries, snapshot)
        disk.save(hard_state, entries, snapshot)
        if snapshot is not None:
            contents_agree(self.ledger, name, snapshot.meta.index, snapshot.data)
        step = self._pending.get(name)
        if step is not None:
            del self._pending[name]
            step.at_s = at_s
            self._judge(step)

    def applied(self, name: str, entry: Entry, digest: bytes, at_s: float) -> None:
        state_machines_agree(self.ledger, name, entry.index, digest)

    def performed(self, name: str, entry: Entry, result: Result, store: KeyValueStore, at_s: float) -> None:
        if entry.index in self.ledger.performed:
            commands_have_one_result(self.ledger, name, entry.index, result, store)
        else:
            writes_take_effect_once(self.ledger, name, entry, result, store)

    def told(self, client_id: str, sequence: int, answer: Told, at_s: float) -> None:
        clients_are_told_what_came_of_it(self.ledger, client_id, sequence, answer)

    def compacted(self, name: str, snapshot: Snapshot, first_kept: int, at_s: float) -> None:
        contents_agree(self.ledger, name, snapshot.meta.index, snapshot.data)

    def held(self, name: str, index: int, content: Frozen, at_s: float) -> None:
        contents_agree(self.ledger, name, index, content.encode())

    def acknowledged(self, name: str, index: int, term: int, required_index: int, at_s: float) -> None:
        acknowledged_is_committed(self.ledger, name, index, term, required_index)

    def read_served(self, name: str, kind: str, served_index: int, required_index: int, at_s: float) -> None:
        reads_are_not_stale(self.ledger, name, kind, served_index, required_index)

    def topology(self, running: Collection[str], clear: Collection[tuple[str, str]], at_s: float) -> None:
        self._liveness.topology(running, clear)
        self._liveness.reconsider(self._servers, at_s)

    def _judge(self, step: Step) -> None:
        effects = step.effects
        before = step.before
        had = bool(effects.transitions) * CHANGES | bool(effects.entries) * ENTRIES
        for message in effects.messages:
            if type(message) in ELECTORAL:
                had |= VOTES
                break
        if effects is not NOTHING or not _is_still(before, step.role, step.term, step.commit_index):
            had |= NEWS
        if step.role is Role.LEADER or before.role is Role.LEADER:
            had |= REIGN if step.matches == before.matches else REIGN | MATCHES
        for invariant in ASKED[had]:
            invariant(self.ledger, step)
        reconfigured = before.voters != step.voters or before.configuration_index != step.configuration_index
        before.role, before.term, before.commit_index = step.role, step.term, step.commit_index
        before.matches, before.voters, before.configuration_index = step.matches, step.voters, step.configuration_index
        before.lease_until_s = step.lease_until_s
        note_contact(step)
        if reconfigured:
            self._liveness.reconsider(self._servers, step.at_s)
        self._liveness.passed(step.name, before.raft, step.at_s)


class Liveness:
    """Since when a leader is owed, and when there last was one."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._running: tuple[str, ...] = ()
        self._excused: set[str] = set()
        self._clear: frozenset[tuple[str, str]] = frozenset()
        self._core: frozenset[str] = frozenset()
        self._since_s = math.inf

    def topology(self, running: Collection[str], clear: Collection[tuple[str, str]]) -> None:
        self._running, self._clear = tuple(sorted(running)), frozenset(clear)

    def excuse(self, name: str, excused: bool) -> None:
        (self._excused.add if excused else self._excused.discard)(name)

    def reconsider(self, servers: Mapping[str, Server], at_s: float) -> None:
        """Something that decides what is owed has changed. As long as some of the core are still a majority in touch,
        the time runs on for them, whatever becomes of the others; another core has time from its beginning."""
        up = [name for name in self._running if name in servers and name not in self._excused]
        rest = self._connected_majority([name for name in up if name in self._core], servers)
        if rest:
            self._core = rest
            return
        self._core = self._connected_majority(up, servers)
        self._since_s = at_s if self._core else math.inf

    def passed(self, name: str, raft: Raft, at_s: float) -> None:
        """A round of the server is over."""
        if name in self._ledger.leases:
            self._since_s = max(self._since_s, at_s) if self._core else math.inf
        elif at_s > self._since_s + PATIENCE * raft.timing.election_timeout_s:
            connected_majority_has_a_leader(self._ledger, self._core, at_s - self._since_s)

    def _connected_majority(self, names: Sequence[str], servers: Mapping[str, Server]) -> frozenset[str]:
        """Those of `names` of which each pair hears one another, and that are a majority of the newest committed voters
        and of those each of them counts; none when there are no such. Of several the largest, then the first."""
        for size in range(len(names), majority(len(self._ledger.voters)) - 1, -1):
            for group in itertools.combinations(names, size):
                if self._hear_one_another(group) and self._are_quorum(group, servers):
                    return frozenset(group)
        return frozenset()

    def _hear_one_another(self, group: Sequence[str]) -> bool:
        return all(pair in self._clear for pair in itertools.permutations(group, 2))

    def _are_quorum(self, group: Sequence[str], servers: Mapping[str, Server]) -> bool:
        return has_majority(group, self._ledger.voters) and all(
            has_majority(group, servers[name].voters) for name in group if name in self._ledger.voters
        )


def _is_still(before: Server, role: Role, term: int, commit_index: int) -> bool:
    """Whether a round from which nothing followed has left everything as it was."""
    return role is before.role and term == before.term and commit_index == before.commit_index


def _violated(invariant: Callable[..., None], words: str) -> None:
    raise InvariantViolationError(invariant.__name__, words)


def _list(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"
