"""Watches a world: has each step judged by the ledger, and then noted in it."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence

from bench.operations import Freshness, Get, GetAll, Told, Writing
from bench.simulated import observer
from bench.simulated.invariants import rest
from bench.simulated.invariants.clients import (
    acknowledged_is_committed,
    acknowledged_is_what_was_asked,
    clients_are_told_what_came_of_it,
    commands_do_what_they_say,
    commands_have_one_result,
    contents_agree,
    lease_reads_end_with_the_lease,
    linearizable_reads_rest_on_no_clock,
    reads_are_not_stale,
    reads_rest_on_what_is_applied,
    reads_tell_what_stands,
    refused_is_never_done,
    refused_is_not_done,
    state_machines_agree,
    writes_take_effect_once,
)
from bench.simulated.invariants.commits import (
    commit_index_never_goes_back,
    committed_is_on_a_majority,
    committed_stays,
    leader_has_what_is_committed,
    only_the_leaders_term_is_counted,
    successors_have_what_is_committed,
)
from bench.simulated.invariants.elections import (
    candidates_disturb_nobody,
    candidates_have_asked,
    leaders_were_elected,
    one_leader_at_a_time,
    one_leader_in_a_term,
    one_vote_in_a_term,
    only_voters_lead,
    voters_keep_to_their_leader,
)
from bench.simulated.invariants.ledger import (
    Ledger,
    Performed,
    Step,
    Watched,
    checksum,
    note_asked,
    note_clocks,
    note_commits,
    note_contact,
    note_content,
    note_copy,
    note_crash,
    note_digest,
    note_elected,
    note_entries,
    note_excuse,
    note_lease,
    note_matches,
    note_members,
    note_older,
    note_performed,
    note_progress,
    note_published,
    note_role,
    note_save,
    note_snapshot,
    note_start,
    note_stopping,
    note_told,
    note_topology,
    note_traced_lease,
    note_votes,
    note_wipe,
)
from bench.simulated.invariants.liveness import (
    connected_majority_has_a_leader,
    followers_catch_up,
    nobody_waits_in_vain,
    what_a_leader_takes_on_is_committed,
)
from bench.simulated.invariants.logs import (
    disk_comes_back_whole,
    logs_match,
    match_index_never_goes_back,
    matches_are_true,
    only_what_a_snapshot_stands_for_goes,
    only_what_conflicts_goes,
    term_never_goes_back,
    what_is_believed_is_durable,
)
from bench.simulated.invariants.membership import configuration_is_the_logs, members_change_one_at_a_time
from bench.simulated.invariants.operators import ON_DONE, the_one_asked_for_is_told_to_stand
from bench.simulated.invariants.replies import on_reply
from bench.simulated.invariants.status import (
    clients_are_told_of_members_in_their_places,
    one_says_that_it_leads,
    published_lease_is_the_traces,
    published_term_never_goes_back,
    status_is_of_one_instant,
    traced_lease_is_no_longer_than_the_lease,
)
from bench.simulated.invariants.violation import violated
from bench.simulated.requests import Replied, Request
from bench.simulated.world import VirtualWorld
from node.machine.kv import KeyValueStore, Result
from node.machine.state_machine import Frozen
from node.raft import (
    Effects,
    Entry,
    HardState,
    Message,
    PreVoteResponse,
    Raft,
    RequestVote,
    RequestVoteResponse,
    Role,
    Snapshot,
    TimeoutNow,
)
from node.raft.effects import NOTHING
from node.raft.snapshot import Data
from node.raft.transitions import Committed, MembershipChanged, RoleChanged, TermChanged
from node.server import Answer, Leased, Status

NEWS, ROLES, COMMITS, MEMBERS, VOTES, ENTRIES, REIGN, MATCHES = (1 << bit for bit in range(8))
"""What a step must have for an invariant to have anything to judge, or a note to have anything to write. News is
anything except a longer lease or other match indexes; roles include terms; votes are messages about elections; a reign
is one that goes on, begins or ends."""
SHOWN_BY: dict[type, int] = {
    RoleChanged: ROLES,
    TermChanged: ROLES,
    Committed: COMMITS,
    MembershipChanged: MEMBERS,
}
"""What a transition shows that the step had, though it may be over when the step is."""
ELECTORAL = frozenset((RequestVote, RequestVoteResponse, PreVoteResponse, TimeoutNow))

ON_STEP: tuple[tuple[Callable[[Ledger, Step], None], int], ...] = (
    (term_never_goes_back, ROLES),
    (what_is_believed_is_durable, NEWS),
    (candidates_disturb_nobody, ROLES),
    (voters_keep_to_their_leader, VOTES),
    (candidates_have_asked, ROLES),
    (one_vote_in_a_term, VOTES),
    (only_voters_lead, ROLES),
    (one_leader_in_a_term, ROLES),
    (leaders_were_elected, ROLES),
    (one_leader_at_a_time, REIGN),
    (logs_match, ENTRIES),
    (configuration_is_the_logs, ENTRIES),
    (leader_has_what_is_committed, REIGN | ROLES),
    (commit_index_never_goes_back, COMMITS),
    (match_index_never_goes_back, REIGN | MATCHES),
    (matches_are_true, REIGN | MATCHES),
    (only_the_leaders_term_is_counted, COMMITS),
    (committed_is_on_a_majority, COMMITS),
    (committed_stays, COMMITS),
    (successors_have_what_is_committed, COMMITS),
    (what_a_leader_takes_on_is_committed, REIGN),
    (followers_catch_up, REIGN),
    (the_one_asked_for_is_told_to_stand, VOTES),
    (note_commits, COMMITS),
    (members_change_one_at_a_time, MEMBERS),
    (note_votes, VOTES),
    (note_contact, NEWS),
    (note_elected, ROLES),
    (note_lease, REIGN),
    (note_entries, ENTRIES),
    (note_matches, REIGN | MATCHES),
    (note_progress, REIGN),
    (note_members, MEMBERS),
    (note_role, ROLES),
)
"""In the order of their calls: an invariant that explains another's failure comes before it. Every invariant judges a
step by what was noted of the steps before, and only then is the step itself noted. There is one exception: a leader may
commit an entry and change members in one round, and whether it may is decided by what is committed then. The role is
noted last, because other notes depend on the former role."""

ASKED = [tuple(asked for asked, needs in ON_STEP if needs & had == needs) for had in range(1 << 8)]
"""The same, by what a step has. Most steps have little: calling everything for each would take half of an
exploration."""


class Invariants(observer.Observer):
    """Raises PromiseBrokenError from within the event that breaks a promise."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self._pending: dict[str, Step] = {}
        """The rounds that are not durable yet."""

    # Nodes

    def started(self, name: str, raft: Raft, clock: observer.LocalClock, at_s: float) -> None:
        disk_comes_back_whole(self.ledger, name, raft)
        note_start(self.ledger, name, raft, clock, at_s)

    def crashed(self, name: str, at_s: float) -> None:
        self._pending.pop(name, None)
        note_crash(self.ledger, name)

    def stopping(self, name: str) -> None:
        note_stopping(self.ledger, name)

    def wiped(self, name: str) -> None:
        note_wipe(self.ledger, name)

    def copied(self, name: str) -> None:
        note_copy(self.ledger, name)

    def came_back_older(self, name: str) -> None:
        note_older(self.ledger, name)

    def excuse(self, name: str, excused: bool) -> None:
        """Nothing is owed through a server that is so slow, or so late, that no timeout allows for it."""
        note_excuse(self.ledger, name, excused)

    def topology(self, running: Collection[str], clear: Mapping[tuple[str, str], float], at_s: float) -> None:
        note_topology(self.ledger, running, clear, at_s)

    def clocks_differ(self) -> None:
        note_clocks(self.ledger)

    # Their rounds

    def stepped(self, name: str, raft: Raft, effects: Effects, at_s: float, inbox: Sequence[Message] = ()) -> None:
        server, role, changed = self.ledger.servers[name], raft.role, effects.transitions
        leads = role is Role.LEADER
        if name in self._pending:
            violated(what_is_believed_is_durable, f"{name} went on before its last round was durable")
        if effects is NOTHING and not leads and _is_still(server, raft):
            connected_majority_has_a_leader(self.ledger, raft.timing.election_timeout_s, at_s)
            return
        step = Step(
            before=server,
            name=name,
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
        if effects.news and effects.must_save:
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
        only_what_conflicts_goes(self.ledger, name, entries, snapshot)
        note_save(self.ledger, name, hard_state, entries, snapshot)
        if snapshot is not None:
            self._look_at(name, snapshot.meta.index, snapshot.data)
        step = self._pending.pop(name, None)
        if step is not None:
            step.at_s = at_s
            self._judge(step)

    def _judge(self, step: Step) -> None:
        for asked in ASKED[_what_it_had(step)]:
            asked(self.ledger, step)
        connected_majority_has_a_leader(self.ledger, step.before.raft.timing.election_timeout_s, step.at_s)

    # Their state machines

    def applied(self, name: str, entry: Entry, digest: bytes, at_s: float) -> None:
        state_machines_agree(self.ledger, name, entry.index, digest)
        note_digest(self.ledger, entry.index, digest)

    def performed(self, name: str, entry: Entry, result: Result, store: KeyValueStore, at_s: float) -> None:
        if entry.index in self.ledger.performed:
            commands_have_one_result(self.ledger, name, entry.index, result, store)
        else:
            done = Performed.of(entry, result, store)
            writes_take_effect_once(self.ledger, name, done)
            if not self.ledger.repeats(done):
                commands_do_what_they_say(self.ledger, name, done)
                refused_is_never_done(self.ledger, name, done)
            note_performed(self.ledger, done)

    def snapshot_kept(self, name: str, snapshot: Snapshot, at_s: float) -> None:
        self._look_at(name, snapshot.meta.index, snapshot.data)
        note_snapshot(self.ledger, name, snapshot)

    def let_go(self, name: str, first_kept: int, trailing_logs: int, at_s: float) -> None:
        only_what_a_snapshot_stands_for_goes(self.ledger, name, first_kept, trailing_logs)

    def held(self, name: str, index: int, content: Frozen, at_s: float) -> None:
        self._look_at(name, index, content.encode())

    def _look_at(self, name: str, index: int, data: Data) -> None:
        content = checksum(data)
        contents_agree(self.ledger, name, index, content)
        note_content(self.ledger, index, content)

    # Clients

    def told(self, client_id: str, sequence: int, answer: Told, at_s: float) -> None:
        clients_are_told_what_came_of_it(self.ledger, client_id, sequence, answer)
        refused_is_not_done(self.ledger, client_id, sequence, answer)
        note_told(self.ledger, client_id, sequence, answer)

    def asked(self, name: str, request: Request, at_s: float) -> None:
        note_asked(self.ledger, name, request)

    def answered(self, name: str, request: Request, answer: Answer, at_s: float) -> None:
        """Judged by what the client asked for, whatever the node took that for."""
        ledger, asked, position = self.ledger, request.asked, answer.position
        if isinstance(asked, Get | GetAll):
            assert position is not None
            freshness = request.freshness
            if freshness is not Freshness.LEASE or ledger.clocks_alike:
                reads_are_not_stale(ledger, name, freshness, position.index, request.required_index)
            reads_rest_on_what_is_applied(ledger, name, position.index)
            reads_tell_what_stands(ledger, name, request, answer)
            if freshness is Freshness.LEASE:
                lease_reads_end_with_the_lease(ledger, name, answer, at_s)
            elif freshness is Freshness.LINEARIZABLE:
                linearizable_reads_rest_on_no_clock(ledger, name, answer)
            return
        if position is not None:
            acknowledged_is_committed(ledger, name, position.index, position.term, request.required_index)
        if isinstance(asked, Writing):
            assert position is not None
            acknowledged_is_what_was_asked(ledger, name, asked, position.index)
        else:
            ON_DONE[type(asked)](ledger, name, request, answer.value)

    def replied(self, name: str, replied: Replied) -> None:
        for judged in on_reply(replied):
            judged(self.ledger, name, replied)

    def unanswered(self, name: str, request: Request, busy: bool, at_s: float) -> None:
        nobody_waits_in_vain(self.ledger, name, request.question, busy)

    # The end

    def at_rest(self, world: VirtualWorld, *, clocks_alike: bool) -> None:
        rest.judge(world, clocks_alike=clocks_alike)

    # What servers say of themselves

    def leased(self, name: str, lease: Leased, at_s: float) -> None:
        traced_lease_is_no_longer_than_the_lease(self.ledger, name, lease)
        note_traced_lease(self.ledger, name, lease)

    def published(self, name: str, status: Status, at_s: float) -> None:
        """Most statuses have nothing new to judge, and judging them in vain would cost a hundredth of an
        exploration."""
        ledger = self.ledger
        former = ledger.published.get(name)
        if former is None or status.applied_index != former.applied_index:
            status_is_of_one_instant(ledger, name, status)
        if former is None or status.http_addresses is not former.http_addresses:
            clients_are_told_of_members_in_their_places(ledger, name, status)
        if (
            former is None
            or status.lease_until_s != former.lease_until_s
            or status.term != former.term
            or status.role is not former.role
        ):
            published_term_never_goes_back(ledger, name, status)
            published_lease_is_the_traces(ledger, name, status)
            if ledger.clocks_alike:
                one_says_that_it_leads(ledger, name, status, at_s)
        note_published(ledger, name, status)


def _what_it_had(step: Step) -> int:
    """Usually this is very little: a leader has heard from a follower, and its lease is longer now."""
    before, effects = step.before, step.effects
    had = NEWS if effects is not NOTHING else 0
    if step.role is not before.role or step.term != before.term:
        had |= NEWS | ROLES
    if step.commit_index != before.commit_index:
        had |= NEWS | COMMITS
    if effects.entries:
        had |= ENTRIES
    for change in effects.transitions:
        had |= SHOWN_BY.get(type(change), 0)
    if not ELECTORAL.isdisjoint(map(type, effects.messages)):
        had |= VOTES
    if step.role is Role.LEADER or before.role is Role.LEADER:
        had |= REIGN if step.matches == before.matches else REIGN | MATCHES
    return had


def _is_still(server: Watched, raft: Raft) -> bool:
    """Whether a round without effects has left everything as it was."""
    return (raft.role, raft.current_term, raft.commit_index) == (server.role, server.term, server.commit_index)
