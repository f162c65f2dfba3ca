"""Each invariant is fed a history that breaks it, and the nearest one that does not."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Sequence
from typing import Any

import msgspec
import pytest

from bench.history import Outcome
from bench.simulated.invariants import (
    Invariants,
    InvariantViolationError,
    Ledger,
    clients,
    commits,
    elections,
    logs,
    membership,
)
from bench.simulated.invariants.ledger import (
    Disk,
    Server,
    Step,
    note_contact,
    note_content,
    note_digest,
    note_elected,
    note_entries,
    note_lease,
    note_role,
    note_votes,
)
from bench.simulated.requests import Told
from node.machine.kv import Command, Delete, KeyValueStore, Put, Result, Status
from node.raft import (
    AppendEntries,
    AppendEntriesResponse,
    Configuration,
    Effects,
    Entry,
    EntryKind,
    FlowLimits,
    HardState,
    Log,
    Message,
    PreVoteResponse,
    Raft,
    RequestVote,
    RequestVoteResponse,
    Snapshot,
    SnapshotMeta,
    TimeoutNow,
    Timing,
)
from node.raft.transitions import Committed, MembershipChanged, Role, RoleChanged, TermChanged, Transition, Voted

ABC = ("a", "b", "c")
NOTHING = Effects(hard_state=None, snapshot=None, entries=(), messages=(), committed=(), reads=(), transitions=())


class Clock:
    """The world's own time."""

    def at(self, world_s: float) -> float:
        return world_s

    def when(self, local_s: float) -> float:
        return local_s


def raft(name: str, log: Log | None = None, hard_state: HardState | None = None) -> Raft:
    return Raft(
        name,
        log=log or Log(),
        hard_state=hard_state or HardState(),
        timing=Timing(),
        limits=FlowLimits(),
        rng=random.Random(1),
        now=0.0,
    )


def entry(index: int, term: int, data: bytes = b"", kind: EntryKind = EntryKind.COMMAND) -> Entry:
    return Entry(index, term, kind, data)


def entries(*terms: int) -> tuple[Entry, ...]:
    return tuple(entry(index, term) for index, term in enumerate(terms, 1))


def step(name: str = "a", *, before: Server | None = None, log: Sequence[Entry] = (), **changed: Any) -> Step:
    """A round that changed nothing but what is given; `stored`, `messages` and `transitions` are its effects."""
    before = before or server(name)
    effects = msgspec.structs.replace(
        NOTHING,
        entries=tuple(changed.pop("stored", ())),
        transitions=tuple(changed.pop("transitions", ())),
        messages=tuple(changed.pop("messages", ())),
    )
    values: dict[str, Any] = {
        "before": before,
        "name": before.name,
        "at_s": 1.0,
        "now_s": 1.0,
        "role": Role.FOLLOWER,
        "term": 1,
        "voted_for": None,
        "commit_index": 0,
        "log": Log(log),
        "lease_until_s": 0.0,
        "matches": {},
        "voters": ABC,
        "configuration_index": 0,
        "effects": effects,
    }
    return Step(**{**values, **changed})


def server(name: str = "a", **known: Any) -> Server:
    return Server(name, raft(name), Clock(), **{"voters": ABC, **known})


def disks(**terms: Sequence[int]) -> dict[str, Disk]:
    found = {}
    for name, of in terms.items():
        found[name] = Disk()
        found[name].save(None, entries(*of), None)
    return found


def elected(term: int) -> Transition:
    return RoleChanged(at_s=1.0, term=term, role=Role.LEADER)


def commit(index: int, *, entry_term: int, term: int) -> Transition:
    return Committed(at_s=1.0, term=term, commit_index=index, entry_term=entry_term)


def members(index: int, voters: Collection[str]) -> Transition:
    return MembershipChanged(at_s=1.0, term=1, index=index, voters=tuple(voters), others=())


def goes_by(invariant: Callable[..., None], note: Callable[..., None], ledger: Ledger, *happened: Any) -> None:
    """It breaks nothing, and is noted."""
    invariant(ledger, *happened)
    note(ledger, *happened)


def assert_violated(invariant: Callable[..., None], *arguments: Any, words: str) -> None:
    with pytest.raises(InvariantViolationError, match=words) as caught:
        invariant(*arguments)
    assert caught.value.name == invariant.__name__


def test_two_leaders_of_one_term_are_seen_even_with_years_between_them() -> None:
    ledger = Ledger()
    goes_by(elections.one_leader_in_a_term, note_elected, ledger, step("a", transitions=[elected(1)]))
    goes_by(elections.one_leader_in_a_term, note_elected, ledger, step("b", transitions=[elected(2)]))
    goes_by(elections.one_leader_in_a_term, note_elected, ledger, step("a", transitions=[elected(1)]))
    again = step("c", transitions=[elected(1)], at_s=1e9)
    assert_violated(elections.one_leader_in_a_term, ledger, again, words="a and c were both elected in term 1")


def test_a_leader_before_the_others_lease_is_over_is_seen() -> None:
    ledger = Ledger()
    goes_by(elections.one_leader_at_a_time, note_lease, ledger, step("a", role=Role.LEADER, lease_until_s=1.5))
    goes_by(
        elections.one_leader_at_a_time, note_lease, ledger, step("b", role=Role.LEADER, lease_until_s=9.0, at_s=1.5)
    )
    early = step("c", role=Role.LEADER, lease_until_s=9.0, at_s=8.9)
    assert_violated(elections.one_leader_at_a_time, ledger, early, words=r"while b has 0\.100 s of its lease left")


def test_a_second_vote_in_a_term_is_seen_and_a_repeated_one_is_none() -> None:
    ledger = Ledger()
    candidacy = RequestVote(sender="a", recipient="b", term=2, last_log_index=0, last_log_term=0, sent_at_s=0.0)
    again = msgspec.structs.replace(candidacy, recipient="c")
    vote = RequestVoteResponse(sender="a", recipient="b", term=3, granted=True, sent_at_s=0.0)
    refusal = RequestVoteResponse(sender="a", recipient="b", term=2, granted=False, sent_at_s=0.0)
    goes_by(elections.one_vote_in_a_term, note_votes, ledger, step(messages=[candidacy, again, vote, refusal, vote]))
    second = RequestVoteResponse(sender="a", recipient="b", term=2, granted=True, sent_at_s=0.0)
    sending = step(messages=[second])
    assert_violated(elections.one_vote_in_a_term, ledger, sending, words="a voted for a and for b in term 2")
    at_once = step(messages=[candidacy, second])
    assert_violated(elections.one_vote_in_a_term, Ledger(), at_once, words="a voted for a and for b in term 2")


def granted(to: str, term: int) -> RequestVoteResponse:
    return RequestVoteResponse(sender="a", recipient=to, term=term, granted=True, sent_at_s=0.0)


ACCEPTED = AppendEntriesResponse(
    sender="a",
    recipient="b",
    term=1,
    success=True,
    prev_log_index=0,
    match_index=0,
    conflict_index=0,
    sent_at_s=0.0,
)
"""What a says to `heard("b", 1)`."""


def test_a_vote_against_a_leader_that_was_just_heard_is_seen() -> None:
    ledger, voter = Ledger(), server("a")
    note_contact(ledger, step(before=voter, now_s=5.0, inbox=[heard("b", 1)], messages=[ACCEPTED]))
    patient = server("a", contact_s=5.0)
    elections.voters_keep_to_their_leader(ledger, step(before=patient, now_s=6.0, messages=[granted("c", 2)]))
    hasty = step(before=voter, now_s=5.9, messages=[granted("c", 2)])
    words = r"a voted for c 0\.900 s after it heard from another"
    assert_violated(elections.voters_keep_to_their_leader, ledger, hasty, words=words)
    at_once = step(before=server("a"), term=2, inbox=[heard("b", 1)], messages=[ACCEPTED, granted("c", 2)])
    words = r"a voted for c 0\.000 s after it heard from another"
    assert_violated(elections.voters_keep_to_their_leader, ledger, at_once, words=words)


def test_a_leader_that_was_heard_counts_though_its_term_was_over_later_in_the_round() -> None:
    ledger, voter = Ledger(), server("a")
    note_contact(ledger, step(before=voter, term=2, now_s=5.0, inbox=[heard("b", 1)], messages=[ACCEPTED]))
    hasty = step(before=voter, now_s=5.1, messages=[granted("c", 2)])
    words = r"a voted for c 0\.100 s after it heard from another"
    assert_violated(elections.voters_keep_to_their_leader, ledger, hasty, words=words)


def test_who_repeats_an_answer_has_heard_from_nobody() -> None:
    """Found by exploring, when it was told of broken connections: then a follower says again what it last answered."""
    ledger, voter = Ledger(), server("a")
    note_contact(ledger, step(before=voter, now_s=5.0, messages=[ACCEPTED]))
    elections.voters_keep_to_their_leader(ledger, step(before=voter, now_s=5.1, messages=[granted("c", 2)]))


def test_a_vote_for_whom_a_leader_told_to_stand_need_not_wait() -> None:
    ledger = Ledger()
    note_votes(ledger, step("b", messages=[TimeoutNow(sender="b", recipient="c", term=1)]))
    at_once = step(before=server("a", contact_s=5.0), now_s=5.1, messages=[granted("c", 2)])
    elections.voters_keep_to_their_leader(ledger, at_once)
    later = step(before=server("a", contact_s=5.0), now_s=5.1, messages=[granted("c", 3)])
    words = "a voted for c 0.100 s after"
    assert_violated(elections.voters_keep_to_their_leader, ledger, later, words=words)


def heard(leader: str, term: int, *, prev_log_index: int = 0) -> AppendEntries:
    return AppendEntries(
        sender=leader,
        recipient="a",
        term=term,
        prev_log_index=prev_log_index,
        prev_log_term=0,
        entries=(),
        leader_commit=0,
        sent_at_s=0.0,
    )


def stands(candidate: str, term: int, *, leadership_transfer: bool = False) -> RequestVote:
    return RequestVote(
        sender=candidate,
        recipient="a",
        term=term,
        last_log_index=0,
        last_log_term=0,
        leadership_transfer=leadership_transfer,
        sent_at_s=0.0,
    )


def in_term(term: int) -> Transition:
    return TermChanged(at_s=1.0, term=term)


def test_a_leader_that_was_heard_counts_though_what_it_said_was_refused() -> None:
    ledger, voter = Ledger(), server("a")
    refused = step(before=voter, now_s=5.0, inbox=[heard("b", 1, prev_log_index=9)])
    note_contact(ledger, refused)
    hasty = step(before=voter, now_s=5.9, messages=[granted("c", 2)])
    assert_violated(elections.voters_keep_to_their_leader, ledger, hasty, words="a voted for c 0.900 s after")


def test_a_server_that_lived_before_counts_its_start() -> None:
    watcher, core = Invariants(), raft("a", hard_state=HardState(1, "b"))
    watcher.ledger.disks["a"] = Disk(term=1, voted_for="b")
    watcher.started("a", core, Clock(), 5.0)
    again = msgspec.structs.replace(NOTHING, messages=(granted("b", 1),))
    watcher.stepped("a", core, again, 5.1)
    hasty = msgspec.structs.replace(NOTHING, messages=(granted("c", 2),))
    with pytest.raises(InvariantViolationError, match="voters_keep_to_their_leader"):
        watcher.stepped("a", core, hasty, 5.9)


def test_a_round_in_which_a_leader_was_heard_is_remembered() -> None:
    watcher, core = Invariants(), raft("a")
    watcher.started("a", core, Clock(), 0.0)
    accepted = msgspec.structs.replace(ACCEPTED, term=0)
    hears = msgspec.structs.replace(NOTHING, messages=(accepted,))
    watcher.stepped("a", core, hears, 5.0, [heard("b", 0)])
    votes = msgspec.structs.replace(NOTHING, messages=(granted("c", 1),))
    with pytest.raises(InvariantViolationError, match="voters_keep_to_their_leader"):
        watcher.stepped("a", core, votes, 5.9)


def test_a_leader_of_the_past_that_was_heard_does_not_count() -> None:
    ledger, voter = Ledger(), server("a", term=2)
    note_contact(ledger, step(before=voter, term=2, now_s=5.0, inbox=[heard("b", 1)]))
    elections.voters_keep_to_their_leader(ledger, step(before=voter, now_s=5.9, messages=[granted("c", 3)]))


def would_vote(candidate: str, next_term: int) -> PreVoteResponse:
    return PreVoteResponse(sender="b", recipient=candidate, term=next_term - 1, next_term=next_term, granted=True)


def candidate(term: int) -> Transition:
    return RoleChanged(at_s=1.0, term=term, role=Role.CANDIDATE)


def test_a_leader_without_the_votes_of_a_majority_is_seen() -> None:
    """A vote that came late, from an earlier candidacy, elects nobody."""
    ledger = Ledger(votes={("a", 2): "a", ("b", 1): "a", ("c", 2): "b"})
    leads = step("a", transitions=[elected(2)])
    assert_violated(
        elections.leaders_were_elected, ledger, leads, words="a leads in term 2 with the votes of a of a, b"
    )
    ledger.votes["b", 2] = "a"
    elections.leaders_were_elected(ledger, leads)


def test_a_candidate_whom_no_majority_wanted_is_seen() -> None:
    ledger = Ledger()
    hasty = step("c", messages=[stands("c", 3)], transitions=[candidate(3)])
    note_votes(ledger, step("b", messages=[would_vote("c", 2)]))
    words = "c stands in term 3, which only c of a, b, c wanted"
    assert_violated(elections.candidates_have_asked, ledger, hasty, words=words)
    note_votes(ledger, step("b", messages=[would_vote("c", 3)]))
    elections.candidates_have_asked(ledger, hasty)


def test_a_candidate_whom_a_leader_told_to_stand_need_not_have_asked() -> None:
    told = step("c", messages=[stands("c", 3, leadership_transfer=True)], transitions=[candidate(3)])
    elections.candidates_have_asked(Ledger(told_to_stand={("c", 3)}), told)


def test_a_server_that_gives_a_candidate_its_term_after_it_heard_from_a_leader_is_seen() -> None:
    heeding: dict[str, Any] = {"term": 2, "transitions": [in_term(2)], "inbox": [stands("c", 2)]}
    patient = step(before=server("a", term=1, contact_s=5.0), now_s=6.0, **heeding)
    elections.candidates_disturb_nobody(Ledger(), patient)
    hasty = step(before=server("a", term=1, contact_s=5.0), now_s=5.9, **heeding)
    words = r"a took term 2 from c 0\.900 s after it heard from another"
    assert_violated(elections.candidates_disturb_nobody, Ledger(), hasty, words=words)


def test_a_leader_deposed_by_a_candidate_while_its_lease_held_is_seen() -> None:
    heeding: dict[str, Any] = {"term": 2, "transitions": [in_term(2)], "inbox": [stands("c", 2)]}
    over = server("a", term=1, role=Role.LEADER, lease_until_s=5.0)
    elections.candidates_disturb_nobody(Ledger(), step(before=over, now_s=5.0, **heeding))
    leading = server("a", term=1, role=Role.LEADER, lease_until_s=5.25)
    assert_violated(
        elections.candidates_disturb_nobody,
        Ledger(),
        step(before=leading, now_s=5.0, **heeding),
        words=r"a took term 2 from c with 0\.250 s of its lease left",
    )


@pytest.mark.parametrize(
    "told",
    [
        pytest.param([stands("c", 2), heard("d", 2)], id="its leader"),
        pytest.param([PreVoteResponse(sender="d", recipient="a", term=2, next_term=2, granted=False)], id="an answer"),
        pytest.param([], id="nobody"),
    ],
)
def test_a_term_that_came_by_another_way_is_no_candidates_doing(told: list[Message]) -> None:
    voter = server("a", term=1, contact_s=5.0)
    elections.candidates_disturb_nobody(
        Ledger(), step(before=voter, term=2, now_s=5.1, transitions=[in_term(2)], inbox=[*told, stands("d", 3)])
    )


def test_a_term_that_a_server_stood_in_itself_is_its_own() -> None:
    voter = server("a", term=1, contact_s=5.0)
    itself = [in_term(2), Voted(at_s=1.0, term=2, candidate="a")]
    elections.candidates_disturb_nobody(
        Ledger(), step(before=voter, term=2, now_s=5.1, transitions=itself, inbox=[stands("c", 2)])
    )


def test_the_term_of_whom_a_leader_told_to_stand_may_be_taken_at_once() -> None:
    ledger = Ledger(told_to_stand={("c", 2)})
    voter = server("a", term=1, contact_s=5.0)
    at_once = step(before=voter, term=2, now_s=5.1, transitions=[in_term(2)], inbox=[stands("c", 2)])
    elections.candidates_disturb_nobody(ledger, at_once)


def test_a_leader_that_is_no_voter_is_seen() -> None:
    elections.only_voters_lead(Ledger(), step("a", transitions=[elected(1)]))
    stranger = step("d", transitions=[elected(1)])
    assert_violated(elections.only_voters_lead, Ledger(), stranger, words="d was elected in term 1 and is no voter")


def test_a_server_that_may_not_know_that_it_is_gone_may_lead_and_one_that_knows_may_not() -> None:
    ledger = Ledger(committed=[0, 1, 1], configurations=[(1, (*ABC, "d")), (2, ABC)])
    elections.only_voters_lead(ledger, step(before=server("d", commit_index=1), transitions=[elected(2)]))
    gone = step(before=server("d", commit_index=2), transitions=[elected(2)])
    assert_violated(elections.only_voters_lead, ledger, gone, words="d was elected in term 2 and is no voter")


def test_a_leader_without_a_committed_entry_is_seen() -> None:
    whole = step(role=Role.LEADER, term=2, log=entries(1, 1))
    short = step(role=Role.LEADER, term=2, log=entries(1))
    commits.leader_has_what_is_committed(Ledger(committed=[0, 1, 1], committed_in={1: 2}), whole)
    assert_violated(
        commits.leader_has_what_is_committed,
        Ledger(committed=[0, 1, 1], committed_in={1: 2}),
        short,
        words="without the committed entry 2",
    )


def test_who_wins_a_term_that_is_over_need_not_have_what_a_later_one_committed() -> None:
    """Seed 29371: the votes of term 5 were held back until term 6 had a leader. Completeness speaks of later terms."""
    ledger = Ledger(committed=[0, 1, 3], committed_in={1: 1, 3: 2})
    commits.leader_has_what_is_committed(ledger, step(role=Role.LEADER, term=2, log=entries(1)))
    with pytest.raises(InvariantViolationError, match="without the committed entry 2"):
        commits.leader_has_what_is_committed(ledger, step("b", role=Role.LEADER, term=4, log=entries(1)))


def test_an_entry_committed_by_a_deposed_leader_must_be_with_its_successor_already() -> None:
    ledger = Ledger()
    goes_by(commits.leader_has_what_is_committed, note_role, ledger, step("b", role=Role.LEADER, term=2))
    late = step("a", log=entries(1), commit_index=1, transitions=[elected(1), commit(1, entry_term=1, term=1)])
    with pytest.raises(InvariantViolationError, match="b leads term 2 without the committed entry 1"):
        commits.successors_have_what_is_committed(ledger, late)


def test_a_term_that_goes_back_is_seen() -> None:
    logs.term_never_goes_back(Ledger(), step(before=server(term=3), term=3))
    assert_violated(logs.term_never_goes_back, Ledger(), step(before=server(term=3), term=2), words="3 to 2")


def test_a_vote_that_is_on_no_disk_is_seen() -> None:
    ledger = Ledger(disks={"a": Disk(term=1)})
    logs.what_is_believed_is_durable(ledger, step())
    voted = step(voted_for="b")
    assert_violated(logs.what_is_believed_is_durable, ledger, voted, words="voted for b; its disk says term 1, None")


def test_an_entry_that_is_on_no_disk_is_seen() -> None:
    ledger = Ledger(disks=disks(a=[1]))
    ledger.disks["a"].term = 1
    logs.what_is_believed_is_durable(ledger, step(log=entries(1)))
    longer = step(log=entries(1, 1))
    assert_violated(logs.what_is_believed_is_durable, ledger, longer, words="entries to 2 of term 1, its disk to 1")


def test_a_commit_index_that_goes_back_is_seen() -> None:
    back = step(before=server(commit_index=3), commit_index=2)
    assert_violated(commits.commit_index_never_goes_back, Ledger(), back, words="3 to 2")


def test_a_match_index_that_goes_back_in_one_reign_is_seen_and_in_the_next_may() -> None:
    before = server(role=Role.LEADER, term=1, matches={"b": 4})
    logs.match_index_never_goes_back(Ledger(), step(before=before, role=Role.LEADER, term=2, matches={"b": 0}))
    back = step(before=before, role=Role.LEADER, term=1, matches={"b": 3})
    assert_violated(logs.match_index_never_goes_back, Ledger(), back, words="for b went from 4 to 3")


def test_another_content_under_one_index_and_term_is_seen() -> None:
    ledger = Ledger()
    goes_by(logs.logs_match, note_entries, ledger, step("a", log=entries(1), stored=entries(1)))
    other = entry(1, 1, b"other")
    assert_violated(logs.logs_match, ledger, step("b", log=[other], stored=[other]), words="b has another entry")


def test_another_history_before_one_index_and_term_is_seen() -> None:
    ledger = Ledger()
    goes_by(logs.logs_match, note_entries, ledger, step("a", log=entries(1, 3), stored=entries(1, 3)))
    late = step("b", log=entries(2, 3), stored=entries(2, 3)[1:])
    assert_violated(logs.logs_match, ledger, late, words="or another before it")


def test_a_leader_that_counts_an_entry_of_an_older_term_is_seen() -> None:
    fine = step(before=server(role=Role.LEADER), transitions=[commit(2, entry_term=4, term=4)])
    commits.only_the_leaders_term_is_counted(Ledger(), fine)
    follower = step(transitions=[commit(1, entry_term=2, term=4)])
    commits.only_the_leaders_term_is_counted(Ledger(), follower)
    figure_8 = step(before=server(role=Role.LEADER), transitions=[commit(1, entry_term=2, term=4)])
    assert_violated(commits.only_the_leaders_term_is_counted, Ledger(), figure_8, words="counted entry 1 of term 2")


def test_a_commit_that_is_not_synced_on_a_majority_is_seen() -> None:
    committing = step(before=server(role=Role.LEADER), transitions=[commit(1, entry_term=1, term=1)])
    commits.committed_is_on_a_majority(Ledger(disks=disks(a=[1], b=[], c=[1])), committing)
    alone = Ledger(disks=disks(a=[1], b=[], c=[2]))
    assert_violated(commits.committed_is_on_a_majority, alone, committing, words="that a of a, b, c hold")


def test_a_majority_is_one_of_the_voters_in_force_when_it_was_counted() -> None:
    """A fourth voter that the same round appended afterwards does not count yet; one from before does."""
    ledger = Ledger(disks=disks(a=[1], b=[1], c=[], d=[]))
    counted, fourth = commit(1, entry_term=1, term=1), members(2, "abcd")
    leader = server(role=Role.LEADER)
    commits.committed_is_on_a_majority(ledger, step(before=leader, transitions=[counted, fourth]))
    late = step(before=leader, transitions=[fourth, counted])
    assert_violated(commits.committed_is_on_a_majority, ledger, late, words="a, b of a, b, c, d")


def test_another_entry_committed_at_an_index_is_seen() -> None:
    ledger = Ledger(committed=[0, 1])
    commits.committed_stays(ledger, step("b", log=entries(1), commit_index=1))
    other = step("c", log=entries(2), commit_index=1)
    assert_violated(commits.committed_stays, ledger, other, words="entry 1 of term 2, others that of term 1")


def test_a_follower_that_commits_before_any_leader_is_seen() -> None:
    early = step("b", log=entries(1, 1), commit_index=2)
    assert_violated(commits.committed_stays, Ledger(committed=[0, 1]), early, words="entry 2, which no leader has")


def test_a_snapshot_of_what_is_not_committed_is_seen() -> None:
    installed = step("b", commit_index=5)
    installed.log = Log(base_index=5, base_term=2)
    commits.committed_stays(Ledger(committed=[0, 1, 1, 1, 1, 2]), installed)
    assert_violated(commits.committed_stays, Ledger(committed=[0, 1, 1, 1, 1, 1]), installed, words="entry 5 of term 2")


def test_a_match_that_is_not_on_the_followers_disk_is_seen() -> None:
    ledger = Ledger(disks=disks(b=[1, 1]))
    new: dict[str, Any] = {
        "role": Role.LEADER,
        "term": 2,
        "log": entries(1, 2),
        "before": server("a", matches={"b": 1}),
    }
    logs.matches_are_true(ledger, step(matches={"b": 1}, **new))
    words = "a takes b to have entry 2 of term 2, which its disk has not"
    assert_violated(logs.matches_are_true, ledger, step(matches={"b": 2}, **new), words=words)
    ledger.disks["b"].term = 3
    logs.matches_are_true(ledger, step(matches={"b": 2}, **new))


def test_entries_that_go_without_a_conflict_are_seen() -> None:
    """A message that comes late takes back what was acknowledged since (Figure 2, step 3)."""
    ledger = Ledger(disks=disks(a=[1, 1, 1]))
    goes = logs.only_what_conflicts_goes
    assert_violated(goes, ledger, "a", (entry(2, 1),), None, words="a saves entry 2 of term 1 again, and drops")
    goes(ledger, "a", (entry(2, 2),), None)
    ledger.committed = [0, 1, 1]
    assert_violated(goes, ledger, "a", (entry(2, 2),), None, words="a drops the committed entry 2 of term 1")


def test_entries_that_go_for_a_snapshot_which_they_follow_are_seen() -> None:
    """Figure 13, step 6."""
    ledger, configuration = Ledger(disks=disks(a=[1, 1, 1])), Configuration.first([("a", "a:1")])
    goes, snapshot = logs.only_what_conflicts_goes, Snapshot(SnapshotMeta(2, 1, configuration, 1), b"")
    assert_violated(goes, ledger, "a", (), snapshot, words="a drops entries from 3 on for a snapshot of 2")
    goes(ledger, "a", (entry(3, 1),), snapshot)
    goes(ledger, "a", (), Snapshot(SnapshotMeta(2, 2, configuration, 1), b""))


def test_a_configuration_that_its_log_has_no_more_is_seen() -> None:
    """Thesis 4.1: it goes back when its entry is cut."""
    follows = [entry(1, 1, kind=EntryKind.CONFIGURATION), entry(2, 1)]
    membership.configuration_is_the_logs(Ledger(), step(log=follows, configuration_index=1))
    for index in (2, 3):
        stale = step(log=follows, configuration_index=index)
        assert_violated(membership.configuration_is_the_logs, Ledger(), stale, words=f"a configuration at {index}")


def test_terms_that_go_back_in_a_log_are_seen() -> None:
    goes_back = step(log=[entry(1, 2)], stored=[entry(1, 2)])
    logs.logs_match(Ledger(), goes_back)
    effects = msgspec.structs.replace(NOTHING, entries=(entry(1, 2), entry(2, 1)))
    goes_back.effects = effects
    assert_violated(logs.logs_match, Ledger(), goes_back, words="a has entry 2 of term 1 behind one of 2")


def test_state_machines_that_differ_at_an_index_are_seen() -> None:
    ledger = Ledger()
    note_digest(ledger, 1, b"x")
    clients.state_machines_agree(ledger, "b", 1, b"x")
    assert_violated(clients.state_machines_agree, ledger, "c", 1, b"y", words="c applied something else up to index 1")


def test_state_machines_that_hold_something_else_after_the_same_entries_are_seen() -> None:
    ledger = Ledger()
    note_content(ledger, 7, b"x")
    clients.contents_agree(ledger, "b", 7, b"x")
    clients.contents_agree(ledger, "b", 8, b"y")
    assert_violated(clients.contents_agree, ledger, "c", 7, b"", words="c holds something else after index 7")


class Performing:
    """A store that is told to perform commands, by one server and then by another; `store` may be made to err."""

    def __init__(self) -> None:
        self.watcher = Invariants()
        self.store = KeyValueStore()

    def perform(self, index: int, command: Command, *, name: str = "a", result: Result | None = None) -> None:
        came = self.store.apply(index, command)
        self.watcher.performed(name, entry(index, 1, command.encode()), result or came, self.store, 1.0)


def write(sequence: int, operation: Put | Delete | None = None) -> Command:
    return Command(operation or Put("k", "v"), "me", sequence)


def test_a_write_that_takes_effect_again_is_seen() -> None:
    servers = Performing()
    servers.perform(1, write(1))
    servers.perform(2, write(1))
    servers.perform(3, Command(Put("k", "w")))
    servers.store = KeyValueStore()
    with pytest.raises(InvariantViolationError, match="a made of write 1 of me at 1: done, 1; again at 4: done, 4"):
        servers.perform(4, write(1))


def test_a_write_that_takes_effect_again_and_does_not_say_so_is_seen() -> None:
    servers = Performing()
    servers.perform(1, write(1))
    servers.store.apply(2, Command(Put("k", "v")))
    with pytest.raises(InvariantViolationError, match="a did write 1 of me again at 2"):
        servers.perform(2, write(1))


def test_a_delete_that_takes_effect_again_and_does_not_say_so_is_seen() -> None:
    servers = Performing()
    servers.perform(1, Command(Put("k", "v")))
    servers.perform(2, write(1, Delete("k")))
    servers.perform(3, Command(Put("k", "v")))
    servers.perform(4, write(1, Delete("k")))
    servers.store.apply(5, Command(Delete("k")))
    with pytest.raises(InvariantViolationError, match="a did write 1 of me again at 5"):
        servers.perform(5, write(1, Delete("k")))


def test_a_retry_that_comes_after_the_clients_next_write_must_be_told_that_nobody_knows() -> None:
    servers = Performing()
    servers.perform(1, write(1))
    servers.perform(2, write(2))
    servers.perform(3, write(1))
    with pytest.raises(InvariantViolationError, match="writes_take_effect_once"):
        servers.perform(4, write(1), result=Result(Status.DONE, 1))


def test_a_new_write_that_is_taken_for_an_old_one_is_seen() -> None:
    servers = Performing()
    with pytest.raises(InvariantViolationError, match="a took write 1 of me for one from before"):
        servers.perform(1, write(1), result=Result(Status.SUPERSEDED, 0))


def test_a_server_that_makes_something_else_of_a_command_than_others_did_is_seen() -> None:
    servers = Performing()
    servers.perform(1, write(1))
    servers.perform(2, write(1))
    servers.store = KeyValueStore()
    servers.perform(1, write(1), name="b")
    restored = servers.store = KeyValueStore(servers.store.values())
    assert not restored.sessions()
    with pytest.raises(InvariantViolationError, match="b made of entry 2: done, 2; others: done, 1"):
        servers.perform(2, write(1), name="b")


@pytest.mark.parametrize(
    "told",
    [
        Told(Outcome.OK, modify_index=2),
        Told(Outcome.FAILED, "cas mismatch", modify_index=1),
        Told(Outcome.FAILED, "key not found"),
    ],
)
def test_a_client_that_is_told_something_else_than_what_came_of_its_write_is_seen(told: Told) -> None:
    servers = Performing()
    servers.perform(1, write(1))
    servers.perform(2, write(1))
    servers.watcher.told("me", 1, Told(Outcome.OK, modify_index=1), 1.0)
    servers.watcher.told("me", 1, Told(Outcome.UNKNOWN, "ReadTimeout"), 1.0)
    servers.watcher.told("me", 1, Told(Outcome.FAILED, "overwritten"), 1.0)
    with pytest.raises(InvariantViolationError, match="what came of it is done, 1 at 1"):
        servers.watcher.told("me", 1, told, 1.0)


def test_a_client_that_is_told_of_a_write_that_nobody_performed_is_seen() -> None:
    with pytest.raises(InvariantViolationError, match="what came of it is nothing yet"):
        Invariants().told("me", 1, Told(Outcome.OK, modify_index=1), 1.0)


def test_two_voters_added_at_once_are_seen() -> None:
    leader, ledger = (
        server(role=Role.LEADER, configuration_index=1),
        Ledger(committed=[0, 1], configurations=[(1, ABC)]),
    )
    membership.members_change_one_at_a_time(ledger, step(before=leader, transitions=[members(2, "abcd")]))
    both = step(before=leader, transitions=[members(2, "abcde")])
    assert_violated(membership.members_change_one_at_a_time, ledger, both, words="from a, b, c to a, b, c, d, e")


def test_a_change_before_the_last_one_has_committed_is_seen() -> None:
    leader = server(role=Role.LEADER, configuration_index=2, voters=("a", "b", "c", "d"))
    early, ledger = (
        step(before=leader, transitions=[members(3, "abc")]),
        Ledger(committed=[0, 1], configurations=[(1, ABC)]),
    )
    assert_violated(membership.members_change_one_at_a_time, ledger, early, words="at 3 before entry 2 has committed")


def test_a_change_before_anything_of_the_leaders_term_has_committed_is_seen() -> None:
    leader, ledger = server(role=Role.LEADER, configuration_index=1), Ledger(committed=[0, 1])
    change = msgspec.structs.replace(members(3, "abcd"), term=2)
    early = step(before=leader, term=2, transitions=[change])
    words = "at 3 with nothing of its term 2 committed"
    assert_violated(membership.members_change_one_at_a_time, ledger, early, words=words)


def test_a_change_to_what_the_committed_voters_are_no_more_is_seen() -> None:
    """The bug of 2015: a leader that never committed in its own term builds on a configuration that is outdated."""
    leader = server(role=Role.LEADER, configuration_index=1, voters=("a", "b", "c", "d"))
    concurrent = step(before=leader, transitions=[members(3, "abcde")])
    ledger = Ledger(committed=[0, 1, 1], configurations=[(2, ("b", "c", "d"))])
    assert_violated(membership.members_change_one_at_a_time, ledger, concurrent, words="from b, c, d to a, b, c, d, e")


def test_an_acknowledged_write_that_is_not_committed_is_seen() -> None:
    ledger = Ledger(committed=[0, 1, 2])
    clients.acknowledged_is_committed(ledger, "a", 2, 2, 1)
    assert_violated(clients.acknowledged_is_committed, ledger, "a", 3, 2, 1, words="entry 3 of term 2, not committed")
    assert_violated(clients.acknowledged_is_committed, ledger, "a", 2, 1, 1, words="entry 2 of term 1, not committed")


def test_a_write_put_before_what_was_known_when_it_was_asked_for_is_seen() -> None:
    ledger = Ledger(committed=[0, 1, 2])
    assert_violated(clients.acknowledged_is_committed, ledger, "a", 2, 2, 2, words="at 2 that was asked for after 2")


@pytest.mark.parametrize("kind", ["consistent", "leader"])
def test_a_read_that_misses_what_was_known_before_it_is_seen(kind: str) -> None:
    clients.reads_are_not_stale(Ledger(), "a", kind, 3, 3)
    clients.reads_are_not_stale(Ledger(), "a", "default", 2, 3)
    assert_violated(clients.reads_are_not_stale, Ledger(), "a", kind, 2, 3, words="from index 2; 3 was known")


def test_a_disk_that_brings_back_what_was_overwritten_is_seen() -> None:
    """etcd#22442: a tail that had been replaced was alive again after a restart."""
    ledger = Ledger(disks=disks(a=[1, 1, 1]))
    ledger.disks["a"].save(HardState(2), [entry(2, 2)], None)
    logs.disk_comes_back_whole(ledger, "a", raft("a", Log(entries(1, 2)), HardState(2)))
    ghost = raft("a", Log([*entries(1, 2), entry(3, 2)]), HardState(2))
    assert_violated(
        logs.disk_comes_back_whole, ledger, "a", ghost, words="a log to 3; synced were term 2 and a log to 2"
    )


def test_a_disk_that_forgets_a_vote_is_seen() -> None:
    ledger = Ledger(disks={"a": Disk(term=2, voted_for="b")})
    logs.disk_comes_back_whole(ledger, "a", raft("a", hard_state=HardState(2, "b")))
    forgetful = raft("a", hard_state=HardState(2))
    assert_violated(logs.disk_comes_back_whole, ledger, "a", forgetful, words="came back in term 2")


class Watched:
    """Three silent servers of one configuration, watched."""

    def __init__(self) -> None:
        self.watcher = Invariants()
        founding = entry(1, 1, Configuration.first([("a", "a:1"), ("b", "b:1"), ("c", "c:1")]).encode())
        self.founding = msgspec.structs.replace(founding, kind=EntryKind.CONFIGURATION)
        self.rafts = {name: raft(name) for name in ABC}
        for name, core in self.rafts.items():
            self.watcher.started(name, core, Clock(), 0.0)
        self.found()

    def found(self) -> None:
        """a founds the cluster of itself and the others, alone of them on disk with it; b and c have heard of it."""
        for name in ABC:
            log = Log([self.founding])
            self.watcher.ledger.disks[name].save(HardState(1), [self.founding], None)
            self.rafts[name] = raft(name, log, HardState(1))
            self.watcher.crashed(name, 0.0)
            self.watcher.started(name, self.rafts[name], Clock(), 0.0)
        self.watcher.ledger.committed.append(1)
        self.watcher.ledger.configurations.append((1, ABC))

    def connect(self, *groups: str, at_s: float) -> None:
        clear = {(x, y) for group in groups for x in group for y in group if x != y}
        self.watcher.topology(ABC, clear, at_s)

    def pass_until(self, at_s: float) -> None:
        self.watcher.stepped("c", self.rafts["c"], NOTHING, at_s)


def test_a_connected_majority_without_a_leader_for_ten_election_timeouts_is_seen() -> None:
    watched = Watched()
    watched.connect("ab", "c", at_s=1.0)
    watched.pass_until(11.0)
    with pytest.raises(InvariantViolationError, match=r"a, b hear one another, and none led for 10\.1 s"):
        watched.pass_until(11.1)


def test_a_minority_is_owed_no_leader_and_a_new_majority_has_time_from_its_beginning() -> None:
    watched = Watched()
    watched.connect("a", "b", "c", at_s=1.0)
    watched.pass_until(100.0)
    watched.connect("ab", "c", at_s=100.0)
    watched.pass_until(109.0)
    watched.connect("a", "bc", at_s=109.0)
    watched.pass_until(118.0)
    with pytest.raises(InvariantViolationError, match="connected_majority_has_a_leader"):
        watched.pass_until(119.1)


def test_those_who_stay_in_touch_are_owed_a_leader_whatever_becomes_of_the_others() -> None:
    watched = Watched()
    for at_s, groups in enumerate([("abc",), ("ab", "c")] * 5):
        watched.connect(*groups, at_s=float(at_s))
    with pytest.raises(InvariantViolationError, match=r"a, b hear one another, and none led for 10\.1 s"):
        watched.pass_until(10.1)


def test_one_way_is_no_connection() -> None:
    watched = Watched()
    watched.watcher.topology(ABC, {("a", "b"), ("b", "c"), ("c", "a")}, 1.0)
    watched.pass_until(100.0)


def test_a_round_is_judged_once_it_is_durable_and_not_when_a_crash_undoes_it() -> None:
    """A vote given in a round that was never saved was given to nobody."""
    watcher, core = Invariants(), raft("a")
    watcher.started("a", core, Clock(), 0.0)
    core.bootstrap(Configuration.first([("a", "a:1")]), 1.0)
    watcher.stepped("a", core, core.take_effects(), 1.0)
    assert watcher.ledger.leaders == {}
    watcher.crashed("a", 1.1)

    again = raft("a")
    watcher.started("a", again, Clock(), 2.0)
    again.bootstrap(Configuration.first([("a", "a:2")]), 2.0)
    effects = again.take_effects()
    watcher.stepped("a", again, effects, 2.0)
    watcher.saved("a", effects.hard_state, effects.entries, None, 2.1)
    assert watcher.ledger.leaders == {2: "a"}
    assert watcher.ledger.committed == [0, 1, 2]
