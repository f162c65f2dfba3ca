"""What the whole history has shown, and the functions that note it.

A `note_...` function is called with what happened, once that was judged, and writes; nothing else does.
"""

from __future__ import annotations

import bisect
import hashlib
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import itemgetter
from typing import NamedTuple

import msgspec

from bench.operations import DECISIONS, Outcome, Told, Transfer, Writing
from bench.simulated import observer
from bench.simulated.invariants.progress import Mark, Progress
from bench.simulated.invariants.touch import Touch
from bench.simulated.requests import Request
from node.machine.kv import Batch, Command, DeleteKey, KeyValueStore, Result, SetKey, Value
from node.machine.state_machine import StateMachine
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
    PreVoteResponse,
    Raft,
    RequestVote,
    RequestVoteResponse,
    Snapshot,
    TimeoutNow,
)
from node.raft.snapshot import Data
from node.raft.transitions import Role, RoleChanged, Voted
from node.server import Leased, Status

LEADING = frozenset((AppendEntries, InstallSnapshot))
"""Messages that only a leader sends."""


@dataclass(slots=True)
class Disk:
    """What a server has synced; this survives its crashes."""

    term: int = 0
    voted_for: str | None = None
    base_index: int = 0
    terms: dict[int, int] = field(default_factory=dict)
    """The term of each entry after the snapshot."""
    last_index: int = 0
    snapshot_index: int = 0
    """The last index that its newest snapshot includes, its own or a leader's."""

    def holds(self, index: int, term: int) -> bool:
        return index <= self.base_index or self.terms.get(index) == term

    def save(self, hard_state: HardState | None, entries: Sequence[Entry], snapshot: Snapshot | None) -> None:
        if hard_state is not None:
            self.term, self.voted_for = hard_state.current_term, hard_state.voted_for
        if snapshot is not None:
            self.base_index = self.last_index = snapshot.meta.index
            self.terms.clear()
            self.keep(snapshot)
        for entry in entries:
            while self.last_index >= entry.index:
                self.terms.pop(self.last_index, None)
                self.last_index -= 1
            self.terms[entry.index] = entry.term
            self.last_index = entry.index

    def keep(self, snapshot: Snapshot) -> None:
        self.snapshot_index = max(self.snapshot_index, snapshot.meta.index)


@dataclass(slots=True)
class Watched:
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
    """When it last heard from a leader or gave a vote, by its own clock; its start, if an earlier life may have done
    so."""
    last_vote: tuple[str, int] = ("", 0)
    """The candidate, and the term."""
    lease_until_s: float = -math.inf
    """On its own clock."""


class Step(msgspec.Struct, gc=False):
    """A round of a server, as values; `before` is the server as it was, until the round is noted."""

    before: Watched
    name: str
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

    def begins_reign(self) -> bool:
        """Whether it leads now, and did not lead in this term before."""
        before = self.before
        return self.role is Role.LEADER and (before.role is not Role.LEADER or before.term != self.term)

    def holds_lease(self) -> bool:
        """Whether it says of itself that it leads at this instant."""
        return self.role is Role.LEADER and self.before.clock.at(self.at_s) < self.lease_until_s


class Performed(NamedTuple):
    """What came of a command."""

    log_index: int
    client_id: str
    sequence: int
    operation: SetKey | DeleteKey | Batch
    keys: tuple[str, ...]
    result: Result
    values: tuple[Value | None, ...]
    """The value of each key afterwards; None if the key is absent."""

    @classmethod
    def of(cls, entry: Entry, result: Result, store: KeyValueStore) -> Performed:
        """What came of the command in an entry, by its `result` and by what the `store` has now."""
        command = Command.decode(entry.data)
        keys = tuple([part.key for part in parts(command.operation)])
        values = tuple([store.get(key) for key in keys])
        return cls(entry.index, command.client_id, command.sequence, command.operation, keys, result, values)


@dataclass(slots=True)
class Ledger:
    """What the whole history has shown, crashes and all."""

    servers: dict[str, Watched] = field(default_factory=dict)
    """The running ones."""
    leaders: dict[int, str] = field(default_factory=dict)
    """Who was elected in a term."""
    votes: dict[tuple[str, int], str] = field(default_factory=dict)
    """The candidate that a server is known to have voted for in a term."""
    pre_votes: dict[tuple[str, int], set[str]] = field(default_factory=dict)
    """The servers that said they would vote for a server in a term."""
    told_to_stand: set[tuple[str, int]] = field(default_factory=set)
    """Candidates to whom leadership was transferred, with the term they stood in."""
    entries: dict[tuple[int, int], tuple[int, Entry]] = field(default_factory=dict)
    """By index and term: the term of the entry before, and the entry."""
    committed: list[int] = field(default_factory=lambda: [0])
    """The term of the committed entry at each index."""
    committed_in: dict[int, int] = field(default_factory=dict)
    """By the term of the leader that was the first to commit: the last index it committed."""
    configurations: list[tuple[int, tuple[str, ...]]] = field(default_factory=list)
    """The committed ones, as index and voters."""
    digests: dict[int, bytes] = field(default_factory=lambda: {0: StateMachine().digest})
    """The digest of the state machines at each index."""
    contents: dict[int, bytes] = field(default_factory=dict)
    """The checksum of their content at each index where it was looked at."""
    performed: dict[int, Performed] = field(default_factory=dict)
    """What came of the command at an index when it was first performed."""
    writes: dict[tuple[str, int], Performed] = field(default_factory=dict)
    """By client and sequence, what came of a write where it first stood."""
    sequences: dict[str, int] = field(default_factory=dict)
    """The latest sequence of each client."""
    open_tries: dict[tuple[str, int], int] = field(default_factory=dict)
    """By client and sequence, how many arrivals of a write at a server were not refused for certain."""
    stood: dict[str, list[tuple[int, Value | None]]] = field(default_factory=dict)
    """What every command left at a key, by its index, oldest first."""
    disks: dict[str, Disk] = field(default_factory=dict)
    copies: dict[str, Disk] = field(default_factory=dict)
    """Of disks that may be brought back."""
    leases: dict[str, tuple[float, observer.LocalClock]] = field(default_factory=dict)
    """When the leases of the leading servers end, each by its own clock."""
    traced_leases: dict[str, float] = field(default_factory=dict)
    """When the lease ends that a running server last wrote in its trace, by its own clock."""
    published: dict[str, Status] = field(default_factory=dict)
    """What the running servers last said of themselves."""
    reigning: dict[str, Step] = field(default_factory=dict)
    """The round in which each leading server began to lead."""
    wiped: set[str] = field(default_factory=set)
    """Servers that once lost their disk. Raft relies on stable storage (Figure 2), so less is asked of them."""
    clocks_alike: bool = True
    """Whether leases have ended in time, as far as that depends on clocks."""
    touch: Touch = field(default_factory=Touch)
    progress: Progress = field(default_factory=Progress)
    successors: dict[str, set[str | None]] = field(default_factory=dict)
    """To whom each running server was asked to hand over; None left the choice to it."""

    @property
    def commit_index(self) -> int:
        return len(self.committed) - 1

    @property
    def voters(self) -> tuple[str, ...]:
        """The voters of the newest committed configuration."""
        return self.configurations[-1][1] if self.configurations else ()

    def value_at(self, key: str, index: int) -> Value | None:
        """What stood at `key` once the entry at `index` was applied."""
        stood = self.stood.get(key)
        if stood is None:
            return None
        if stood[-1][0] <= index:
            return stood[-1][1]
        found = bisect.bisect_right(stood, index, key=itemgetter(0))
        return stood[found - 1][1] if found else None

    def configurations_since(self, index: int) -> Iterator[Configuration]:
        """The committed configurations that were in force at `index` or later, newest first."""
        for stands_at, _ in reversed(self.configurations):
            yield Configuration.from_entry(self.entries[stands_at, self.committed[stands_at]][1])
            if stands_at <= index:
                return

    def repeats(self, done: Performed) -> bool:
        """Whether its client had already written this, or something later: such a write stands in the log again."""
        return 0 < done.sequence <= self.sequences.get(done.client_id, 0)


# What servers do, round by round


def note_votes(ledger: Ledger, step: Step) -> None:
    """Votes, pre-votes, and candidates that a leader told to stand in the term after its own."""
    before = step.before
    for message in step.effects.messages:
        if isinstance(message, RequestVote):
            ledger.votes[step.name, message.term] = step.name
        elif isinstance(message, RequestVoteResponse) and message.granted:
            ledger.votes[step.name, message.term] = message.recipient
            before.contact_s, before.last_vote = step.now_s, (message.recipient, message.term)
        elif isinstance(message, PreVoteResponse) and message.granted:
            ledger.pre_votes.setdefault((message.recipient, message.next_term), set()).add(step.name)
        elif isinstance(message, TimeoutNow):
            ledger.told_to_stand.add((message.recipient, message.term + 1))


def note_contact(ledger: Ledger, step: Step) -> None:
    """That a server heard from a leader, even if the entries did not fit its log, or voted, even for itself."""
    for change in step.effects.transitions:
        if isinstance(change, Voted):
            step.before.contact_s = step.now_s
    for item in step.inbox:
        if type(item) in LEADING and (
            item.term == step.term or any(accepts(message, item) for message in step.effects.messages)
        ):
            step.before.contact_s = step.now_s


def note_elected(ledger: Ledger, step: Step) -> None:
    for change in step.effects.transitions:
        if isinstance(change, RoleChanged) and change.role is Role.LEADER:
            ledger.leaders[change.term] = step.name


def note_lease(ledger: Ledger, step: Step) -> None:
    step.before.lease_until_s = step.lease_until_s
    if step.holds_lease():
        ledger.leases[step.name] = step.lease_until_s, step.before.clock
        ledger.touch.led(step.at_s)
    else:
        ledger.leases.pop(step.name, None)


def note_entries(ledger: Ledger, step: Step) -> None:
    entries = step.effects.entries
    previous = step.log.term_at(entries[0].index - 1)
    for entry in entries:
        ledger.entries.setdefault((entry.index, entry.term), (previous, entry))
        previous = entry.term


def note_commits(ledger: Ledger, step: Step) -> None:
    """What no server had committed before, and the server's own commit index."""
    for index in range(ledger.commit_index + 1, step.commit_index + 1):
        entry = step.log[index]
        ledger.committed.append(entry.term)
        ledger.committed_in[step.term] = index
        if entry.kind is EntryKind.CONFIGURATION:
            ledger.configurations.append((index, Configuration.from_entry(entry).voters))
    step.before.commit_index = step.commit_index


def note_progress(ledger: Ledger, step: Step) -> None:
    if step.role is Role.LEADER and ledger.progress.is_due(step.name, step.at_s):
        mark = Mark(step.at_s, step.term, step.configuration_index, step.log.last_index, step.commit_index)
        ledger.progress.remember(step.name, mark)


def note_matches(ledger: Ledger, step: Step) -> None:
    step.before.matches = step.matches


def note_members(ledger: Ledger, step: Step) -> None:
    before = step.before
    if (step.configuration_index, step.voters) != (before.configuration_index, before.voters):
        before.configuration_index, before.voters = step.configuration_index, step.voters
        _reconsider(ledger, step.at_s)


def note_role(ledger: Ledger, step: Step) -> None:
    before = step.before
    if step.begins_reign():
        ledger.reigning[step.name] = step
        ledger.successors.pop(step.name, None)
    elif step.role is not Role.LEADER:
        ledger.reigning.pop(step.name, None)
    before.role, before.term = step.role, step.term


# What becomes of servers and of their disks


def note_start(ledger: Ledger, name: str, raft: Raft, clock: observer.LocalClock, at_s: float) -> None:
    ledger.disks.setdefault(name, Disk())
    ledger.servers[name] = Watched(
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
    _reconsider(ledger, at_s)


def note_crash(ledger: Ledger, name: str) -> None:
    ledger.servers.pop(name, None)
    ledger.leases.pop(name, None)
    ledger.reigning.pop(name, None)
    ledger.traced_leases.pop(name, None)
    ledger.published.pop(name, None)
    ledger.successors.pop(name, None)


def note_stopping(ledger: Ledger, name: str) -> None:
    """A leader hands over before it ends, to whom it likes."""
    ledger.successors.setdefault(name, set()).add(None)


def note_wipe(ledger: Ledger, name: str) -> None:
    ledger.wiped.add(name)
    ledger.disks.pop(name, None)
    ledger.votes = {vote: candidate for vote, candidate in ledger.votes.items() if vote[0] != name}


def note_copy(ledger: Ledger, name: str) -> None:
    disk = ledger.disks.get(name, Disk())
    ledger.copies[name] = replace(disk, terms=dict(disk.terms))


def note_older(ledger: Ledger, name: str) -> None:
    """It has forgotten what it promised since."""
    copy = ledger.copies[name]
    note_wipe(ledger, name)
    ledger.disks[name] = replace(copy, terms=dict(copy.terms))


def note_save(
    ledger: Ledger, name: str, hard_state: HardState | None, entries: Sequence[Entry], snapshot: Snapshot | None
) -> None:
    ledger.disks[name].save(hard_state, entries, snapshot)


def note_snapshot(ledger: Ledger, name: str, snapshot: Snapshot) -> None:
    ledger.disks[name].keep(snapshot)


def note_topology(
    ledger: Ledger, running: Collection[str], clear: Mapping[tuple[str, str], float], at_s: float
) -> None:
    ledger.touch.topology(running, clear)
    ledger.progress.topology(ledger.touch.in_time, clear, at_s)
    _reconsider(ledger, at_s)


def note_excuse(ledger: Ledger, name: str, excused: bool) -> None:
    ledger.touch.excuse(name, excused)


def note_clocks(ledger: Ledger) -> None:
    """From now on leases may end too late."""
    ledger.clocks_alike = False


def _reconsider(ledger: Ledger, at_s: float) -> None:
    counted = {name: server.voters for name, server in ledger.servers.items()}
    ledger.touch.reconsider(ledger.voters, counted, at_s)


# What the state machines come to


def note_digest(ledger: Ledger, index: int, digest: bytes) -> None:
    ledger.digests[index] = digest


def note_content(ledger: Ledger, index: int, content: bytes) -> None:
    ledger.contents[index] = content


def note_performed(ledger: Ledger, done: Performed) -> None:
    """Called once for each index, in order, for the server that performs it first."""
    ledger.performed[done.log_index] = done
    if ledger.repeats(done):
        return
    for key, value in zip(done.keys, done.values, strict=True):
        ledger.stood.setdefault(key, []).append((done.log_index, value))
    if done.sequence:
        ledger.sequences[done.client_id] = done.sequence
        ledger.writes[done.client_id, done.sequence] = done


# What clients ask and are told, and what servers say of themselves


def note_asked(ledger: Ledger, name: str, request: Request) -> None:
    asked = request.asked
    if isinstance(asked, Transfer):
        ledger.successors.setdefault(name, set()).add(asked.to or None)
    if isinstance(asked, Writing) and asked.sequence:
        write = asked.client_id, asked.sequence
        ledger.open_tries[write] = ledger.open_tries.get(write, 0) + 1


def note_told(ledger: Ledger, client_id: str, sequence: int, told: Told) -> None:
    if refuses(told):
        ledger.open_tries[client_id, sequence] -= 1


def note_traced_lease(ledger: Ledger, name: str, lease: Leased) -> None:
    ledger.traced_leases[name] = math.inf if lease.until_s is None else lease.until_s


def note_published(ledger: Ledger, name: str, status: Status) -> None:
    ledger.published[name] = status


# How events are read, for judging and for noting


def accepts(message: Message, item: Message) -> bool:
    """Whether `message` says that an `item` of its round's inbox fits the log. An answer of an earlier round is sent
    again when a connection ends, and is no contact."""
    return (
        isinstance(message, AppendEntriesResponse)
        and isinstance(item, AppendEntries)
        and message.success
        and (message.recipient, message.sent_at_s) == (item.sender, item.sent_at_s)
    )


def checksum(content: Data) -> bytes:
    return hashlib.blake2b(content, digest_size=16).digest()


def parts(operation: SetKey | DeleteKey | Batch) -> tuple[SetKey | DeleteKey, ...]:
    return operation.operations if isinstance(operation, Batch) else (operation,)


def refuses(told: Told) -> bool:
    """Whether a client was told that its write has not happened and never will, by a server that gave it to no state
    machine."""
    return told.outcome is Outcome.FAILED and told.reason not in DECISIONS
