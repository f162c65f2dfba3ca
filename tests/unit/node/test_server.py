"""The server as its owner sees it: what it gives out after which save, and what it has to be told."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import pytest

from node.errors import LeadershipLostError, NothingToSnapshotError, NotInTimeError, StoppingError
from node.machine.kv import Command, Decision, Result, SetKey
from node.machine.state_machine import StateMachine
from node.questions import REFUSALS
from node.raft import (
    AppendEntries,
    Configuration,
    Entry,
    EntryKind,
    FlowLimits,
    HardState,
    Log,
    NotLeaderError,
    Raft,
    RequestVote,
    Role,
    Snapshot,
    SnapshotMeta,
    TimeoutNow,
    Timing,
    TransferInProgressError,
)
from node.raft.messages import AnyMessage
from node.raft.transitions import MembershipChanged, RoleChanged
from node.server import (
    MEANINGS,
    AddServer,
    Answer,
    Applied,
    Asked,
    Consistency,
    Done,
    Found,
    Hint,
    Item,
    Leased,
    MakeSnapshot,
    Origin,
    Read,
    RemoveServer,
    Server,
    SnapshotDraft,
    SnapshotPolicy,
    SnapshotWritten,
    Started,
    Stop,
    Stopped,
    TransferLeadership,
    Write,
)
from node.snapshots import first_to_keep
from node.status import lets_in

TIMING = Timing(heartbeat_timeout_s=1.0, election_timeout_s=1.0, leader_lease_timeout_s=0.5)
EVERYWHERE = ("n1", "n2", "n3")


class Letter(NamedTuple):
    """An envelope."""

    origin: Origin
    messages: tuple[AnyMessage, ...]


def put(key: str, value: str, client_id: str = "", sequence: int = 0) -> Write:
    return Write(Command(SetKey(key, value), client_id, sequence).encode())


def server(
    name: str, policy: SnapshotPolicy, now: float, hard_state: HardState | None = None, entries: tuple[Entry, ...] = ()
) -> Server:
    raft = Raft(
        name,
        log=Log(entries),
        hard_state=hard_state or HardState(),
        timing=TIMING,
        limits=FlowLimits(),
        rng=random.Random(name),
        now=now,
    )
    return Server(raft, StateMachine(), policy=policy, process=1, now=now)


class Cluster:
    """Servers whose rounds are saved at once, and whose messages arrive at once unless somebody is out of reach."""

    def __init__(self, policy: SnapshotPolicy | None = None, names: tuple[str, ...] = EVERYWHERE) -> None:
        self.now = 10.0
        self.policy = policy or SnapshotPolicy()
        self.servers = {name: server(name, self.policy, self.now) for name in names}
        self.cut: set[str] = set()
        self.under_way: list[tuple[str, Letter]] = []
        self.answers: dict[Any, list[Answer]] = {}
        self.said: list[str] = []
        self.trace: dict[str, list[object]] = {name: [] for name in names}
        self.last: dict[str, Done] = {}
        self.astray = False
        """Whether a status ever named another role or leader than its server had."""
        self.drafts: dict[str, SnapshotDraft] = {}
        members = Configuration.first((name, f"{name}:1") for name in names)
        self.round("n1", Found(members))
        self.settle()

    @property
    def leader(self) -> Server:
        (leader,) = [server for server in self.servers.values() if server.raft.role is Role.LEADER]
        return leader

    def round(self, name: str, *items: Item) -> Done:
        """One step, saved, with what follows from it. It takes a millisecond."""
        self.now += 0.001
        asked = self.servers[name]
        asked.step(items, self.now)
        return self.carry_out(name)

    def carry_out(self, name: str) -> Done:
        asked = self.servers[name]
        done = self.last[name] = asked.saved(self.now)
        self.astray |= (done.status.role, done.status.leader) != (asked.raft.role, asked.raft.leader)
        self.trace[name] += done.trace
        self.said += done.said
        if done.draft is not None:
            self.drafts[name] = done.draft
        for answer in done.answers:
            self.answers.setdefault(answer.to, []).append(answer)
        origin = Origin(name, done.status.cluster_id, f"{name}:1", f"http/{name}")
        for message in done.messages:
            if not self.cut & {name, message.recipient} and message.recipient in done.addresses:
                self.under_way.append((message.recipient, Letter(origin, (message,))))
        return done

    def settle(self, until: Callable[[], bool] = lambda: False) -> None:
        """Deliver what is under way, and what follows from it, unless something becomes true before."""
        while self.under_way and not until():
            (to, letter), *self.under_way = self.under_way
            if to in self.servers and to not in self.cut:
                self.round(to, letter)

    def advance(self, seconds: float) -> None:
        """Let time pass; a server is stepped when it asked to be, and never else."""
        until = self.now + seconds
        while (due := min(server.deadline for server in self.servers.values())) < until:
            self.now = max(self.now, due) + 1e-6
            for name, waiting in self.servers.items():
                if waiting.deadline <= self.now:
                    self.round(name)
            self.settle()
        self.now = until

    def leads(self, name: str) -> bool:
        return self.servers[name].raft.role is Role.LEADER

    def ask(self, name: str, question: Any, to: Any = "me") -> list[Answer]:
        self.round(name, Asked(question, to))
        self.settle()
        return self.answers.get(to, [])

    def snapshot(self, name: str) -> Snapshot:
        """Have what it drafted made durable; it is yet to be told."""
        draft = self.drafts.pop(name)
        return Snapshot(draft.meta, draft.content.encode())


def vote_for(sender: str, recipient: str, term: int) -> RequestVote:
    return RequestVote(
        sender=sender, recipient=recipient, term=term, last_log_index=99, last_log_term=99, sent_at_s=0.0
    )


def values(answers: list[Answer]) -> list[Any]:
    return [answer.value if answer.error is None else type(answer.error) for answer in answers]


# A round


def test_a_write_is_answered_only_once_it_is_saved_by_a_majority_and_applied() -> None:
    cluster = Cluster()
    cluster.servers["n1"].step([Asked(put("k", "v"), "me")], cluster.now)
    assert cluster.answers == {}
    cluster.carry_out("n1")
    assert cluster.answers == {}
    assert cluster.servers["n1"].machine.store.get("k") is None
    cluster.settle()
    (answer,) = cluster.answers["me"]
    assert answer.position is not None
    assert answer.value == Result(Decision.DONE, answer.position.index)
    assert cluster.servers["n1"].raft.last_applied == answer.position.index


def test_a_step_before_the_last_was_saved_is_the_owners_mistake() -> None:
    cluster = Cluster()
    cluster.servers["n1"].step([], cluster.now)
    with pytest.raises(AssertionError, match="before the last one was saved"):
        cluster.servers["n1"].step([], cluster.now)


def test_a_save_without_a_step_is_the_owners_mistake() -> None:
    with pytest.raises(AssertionError, match="nothing to save"):
        Cluster().servers["n1"].saved(10.0)


def test_a_snapshot_that_nobody_drafted_is_the_owners_mistake() -> None:
    cluster = Cluster()
    meta = cluster.leader.raft.describe_snapshot()
    with pytest.raises(AssertionError, match="nobody asked for"):
        cluster.round("n1", SnapshotWritten(Snapshot(meta, b""), meta.index))


def test_a_server_that_has_a_history_founds_no_cluster_and_says_so() -> None:
    cluster = Cluster()
    before = cluster.leader.raft.configuration
    done = cluster.round("n1", Found(Configuration.first([("n1", "n1:1")])))
    assert "founds no cluster" in done.said[0]
    assert cluster.leader.raft.configuration is before


def test_a_server_that_has_given_its_vote_has_a_history_too() -> None:
    """Its log is empty, and its vote is not to be taken back by another cluster's first term."""
    voter = server("n9", SnapshotPolicy(), 0.0, HardState(1, "n8"))
    effects = voter.step([Found(Configuration.first([("n9", "n9:1")]))], 1.0)
    assert effects.entries == ()
    assert "founds no cluster" in voter.saved(1.0).said[0]


# What is told


def test_an_answer_is_the_one_to_the_entry_of_its_own_term() -> None:
    """What is committed at the index of a write that another leader has overwritten acknowledges nothing."""
    cluster = Cluster()
    cluster.cut = {"n1"}
    assert cluster.ask("n1", put("k", "lost")) == []
    index = cluster.servers["n1"].raft.log.last_index
    cluster.servers["n1"].raft.timing = Timing(60.0, 60.0, 60.0)
    cluster.advance(4.0)
    leader = max(cluster.servers.values(), key=lambda each: (each.raft.role is Role.LEADER, each.raft.current_term))
    cluster.ask(leader.raft.id, put("k", "kept"), "other")
    assert leader.raft.last_applied >= index
    cluster.cut = set()
    cluster.advance(2.0)
    (told,) = cluster.answers["me"]
    assert told.error is not None


def test_whoever_waits_when_leadership_is_lost_is_told_that_nobody_knows() -> None:
    cluster = Cluster()
    cluster.cut = {"n1"}
    cluster.ask("n1", put("k", "v"), "write")
    cluster.ask("n1", Read(("k",), Consistency.CONSISTENT), "read")
    cluster.ask("n1", AddServer("n9", "n9:1"), "join")
    assert cluster.answers == {}
    cluster.advance(0.6)
    assert {to: values(told) for to, told in cluster.answers.items()} == {
        to: [LeadershipLostError] for to in ("write", "read", "join")
    }


def test_what_may_have_happened_is_never_told_as_certain_not_to_have() -> None:
    uncertain = {LeadershipLostError, TimeoutError, NotInTimeError}
    assert {error for error, meaning in MEANINGS.items() if not meaning.certain} == uncertain
    assert {came for came, meaning in REFUSALS.items() if not meaning.certain} == {Decision.SUPERSEDED}


def test_who_does_not_lead_takes_in_no_write_and_says_who_does() -> None:
    cluster = Cluster()
    for question in (put("k", "v"), Read(("k",), Consistency.CONSISTENT), Read(("k",), Consistency.LEADER)):
        told = cluster.ask("n2", question, question)
        assert values(told) == [NotLeaderError]
    elsewhere = cluster.servers["n2"].status.elsewhere_at(cluster.now)
    assert elsewhere is not None
    assert elsewhere == ("n1", "http/n1")


def test_a_read_is_told_what_stands_when_it_is_told_and_not_when_it_was_asked() -> None:
    cluster = Cluster()
    cluster.ask("n1", put("k", "former"), "another")
    cluster.round("n1", Asked(Read(("k",), Consistency.CONSISTENT), "me"), Asked(put("k", "v"), "other"))
    cluster.settle()
    (told,) = cluster.answers["me"]
    assert told.value == {"k": cluster.servers["n1"].machine.store.get("k")}
    assert told.value["k"].value == "v"


def test_a_lease_read_is_answered_by_the_lease_alone_and_no_longer_than_it_lasts() -> None:
    cluster = Cluster()
    leader = cluster.leader
    (told,) = cluster.ask("n1", Read(("k",), Consistency.LEADER))
    assert cluster.now < told.until_s <= leader.raft.lease_until_s
    cluster.servers["n1"].step([Asked(Read(("k",), Consistency.LEADER), "late")], cluster.now)
    cluster.now += 5.0
    cluster.carry_out("n1")
    assert values(cluster.answers["late"]) == [LeadershipLostError]


def test_a_consistent_read_rests_on_a_majority_that_answers_after_it_was_asked() -> None:
    cluster = Cluster()
    cluster.advance(1.0)
    cluster.cut = {"n2", "n3"}
    assert cluster.ask("n1", Read(("k",), Consistency.CONSISTENT)) == []
    assert len(cluster.ask("n1", Read(("k",), Consistency.LEADER), "by lease")) == 1


def test_a_write_that_is_committed_in_the_round_in_which_its_leader_goes_is_told_so() -> None:
    cluster = Cluster()
    cluster.round("n1", Asked(put("k", "v"), "write"), Asked(RemoveServer("n1"), "leave"))
    cluster.settle()
    cluster.advance(1.0)
    assert not cluster.leads("n1")
    assert [answer.error for to in ("write", "leave") for answer in cluster.answers[to]] == [None, None]


# Changes


def test_a_transfer_is_done_when_another_leads_and_not_when_nobody_does() -> None:
    cluster = Cluster()
    cluster.round("n1", Asked(TransferLeadership("n2"), "me"))
    cluster.settle(until=lambda: not cluster.leads("n1"))
    assert cluster.answers == {}
    cluster.settle()
    cluster.advance(0.2)
    assert values(cluster.answers["me"]) == ["n2"]
    assert cluster.leader.raft.id == "n2"


def test_a_transfer_to_who_does_not_answer_is_given_up_in_time_and_the_leader_leads_on() -> None:
    cluster = Cluster()
    cluster.cut = {"n2"}
    assert cluster.ask("n1", TransferLeadership("n2")) == []
    assert values(cluster.ask("n1", put("k", "v"), "write")) == [TransferInProgressError]
    cluster.advance(1.5)
    assert values(cluster.answers["me"]) == [NotInTimeError]
    assert cluster.leader.raft.id == "n1"


def test_a_transfer_whose_successor_never_led_is_told_so_in_time() -> None:
    cluster = Cluster()
    cluster.round("n1", Asked(TransferLeadership("n2"), "me"))
    cluster.settle(until=lambda: not cluster.leads("n1"))
    cluster.cut, cluster.under_way = {"n1", "n2", "n3"}, []
    cluster.advance(3.5)
    assert values(cluster.answers["me"]) == [NotInTimeError]


def test_a_leave_is_done_when_it_is_committed() -> None:
    cluster = Cluster()
    cluster.round("n1", Asked(RemoveServer("n3"), "me"))
    assert cluster.answers == {}
    assert cluster.leader.raft.configuration.get("n3") is None
    cluster.settle()
    assert len(cluster.answers["me"]) == 1


def test_a_join_of_who_never_answers_is_abandoned_in_time_and_looked_after_meanwhile() -> None:
    cluster = Cluster()
    assert cluster.ask("n1", AddServer("n9", "n9:1")) == []
    assert cluster.leader.raft.configuration.get("n9") is not None
    assert cluster.leader.deadline <= cluster.now + 0.02
    cluster.advance(10.1)
    assert values(cluster.answers["me"]) == [NotInTimeError]
    assert cluster.leader.raft.configuration.get("n9") is None


# Its end


def test_a_server_told_to_stop_hands_over_first() -> None:
    cluster = Cluster()
    done = cluster.round("n1", Stop())
    assert not done.ended
    cluster.settle(until=lambda: cluster.last["n1"].ended)
    assert cluster.last["n1"].ended
    successor = cluster.leader.raft.id
    assert successor != "n1"
    assert f"handed leadership over to {successor}" in cluster.said
    assert isinstance(cluster.trace["n1"][-1], Stopped)


def test_a_server_told_to_stop_twice_stops_at_once() -> None:
    cluster = Cluster()
    assert not cluster.round("n1", Stop()).ended
    assert cluster.round("n1", Stop()).ended


def test_a_follower_told_to_stop_stops_at_once_and_writes_that_down() -> None:
    cluster = Cluster()
    done = cluster.round("n2", Stop())
    assert done.ended
    assert isinstance(done.trace[-1], Stopped)
    with pytest.raises(AssertionError, match="has ended"):
        cluster.servers["n2"].step([], cluster.now)


def test_whoever_waits_when_the_owner_gives_up_is_told_so() -> None:
    cluster = Cluster()
    cluster.cut = {"n2", "n3"}
    questions: dict[str, Any] = {
        "write": put("k", "v"),
        "read": Read(("k",), Consistency.CONSISTENT),
        "join": AddServer("n9", "n9:1"),
    }
    for to, question in questions.items():
        cluster.ask("n1", question, to)
    server = cluster.servers["n1"]
    server.step([Asked(MakeSnapshot(), "snapshot")], cluster.now)
    told = {answer.to: type(answer.error) for answer in server.give_up()}
    assert told == {**dict.fromkeys(questions, LeadershipLostError), "snapshot": StoppingError}
    assert server.status.ended
    assert not server.status.is_leader_at(cluster.now)


def test_a_server_told_to_stop_with_nobody_to_hand_over_to_stops_all_the_same() -> None:
    cluster = Cluster(names=("n1",))
    assert cluster.round("n1", Stop()).ended
    assert any("without handing leadership over" in words for words in cluster.said)


# Snapshots


def test_a_snapshot_that_is_asked_for_is_there_once_it_is_durable() -> None:
    cluster = Cluster()
    assert cluster.ask("n1", MakeSnapshot()) == []
    snapshot = cluster.snapshot("n1")
    assert cluster.servers["n1"].raft.snapshot is None
    cluster.round("n1", SnapshotWritten(snapshot, snapshot.meta.index))
    assert values(cluster.answers["me"]) == [snapshot.meta.index]
    assert values(cluster.ask("n1", MakeSnapshot(), "nothing new")) == [snapshot.meta.index]


def test_who_asks_while_a_snapshot_is_written_gets_one_of_what_is_applied_then() -> None:
    cluster = Cluster()
    cluster.ask("n1", MakeSnapshot())
    early = cluster.snapshot("n1")
    cluster.ask("n1", put("k", "v"), "write")
    assert cluster.ask("n1", MakeSnapshot(), "late") == []
    cluster.round("n1", SnapshotWritten(early, early.meta.index))
    assert "late" not in cluster.answers
    late = cluster.snapshot("n1")
    cluster.round("n1", SnapshotWritten(late, early.meta.index))
    assert values(cluster.answers["late"]) == [early.meta.index + 1]


def test_a_snapshot_of_a_server_without_a_history_is_refused() -> None:
    lonely = server("n9", SnapshotPolicy(), 0.0)
    lonely.step([Asked(MakeSnapshot(), "me")], 0.0)
    assert values(list(lonely.saved(0.0).answers)) == [NothingToSnapshotError]


def test_a_snapshot_is_drafted_at_the_threshold_and_no_sooner() -> None:
    cluster = Cluster(SnapshotPolicy(threshold=5, interval_s=1e6))
    for number in range(2):
        cluster.ask("n1", put("k", str(number)), number)
        assert cluster.drafts == {}
    cluster.ask("n1", put("k", "last"))
    assert cluster.snapshot("n1").meta.index == 5


def test_a_snapshot_is_drafted_when_the_interval_is_over_and_the_server_asks_to_be_woken_for_it() -> None:
    cluster = Cluster(SnapshotPolicy(interval_s=0.05), names=("n1",))
    assert cluster.leader.deadline <= 10.1
    cluster.now = 10.2
    done = cluster.round("n1")
    assert done.draft is not None


@pytest.mark.parametrize(
    ("index", "fallback_index", "trailing_logs", "first"),
    [(10, 10, 0, 11), (10, 10, 3, 8), (10, 4, 3, 5), (10, 4, 8, 3), (10, 10, 10, 1), (10, 10, 30, 1)],
)
def test_the_log_keeps_what_the_oldest_snapshot_lacks_and_as_much_as_was_asked_for(
    index: int, fallback_index: int, trailing_logs: int, first: int
) -> None:
    meta = SnapshotMeta(index, 1, Configuration(), 0)
    assert first_to_keep(SnapshotWritten(Snapshot(meta, b""), fallback_index), trailing_logs) == first


def test_the_log_is_let_go_behind_a_durable_snapshot_and_the_owner_told_from_where() -> None:
    cluster = Cluster(SnapshotPolicy(trailing_logs=1))
    cluster.ask("n1", put("k", "v"), "write")
    cluster.ask("n1", MakeSnapshot())
    snapshot = cluster.snapshot("n1")
    assert cluster.last["n1"].first_kept <= 1
    done = cluster.round("n1", SnapshotWritten(snapshot, snapshot.meta.index))
    assert done.first_kept == snapshot.meta.index == cluster.servers["n1"].raft.log.first_index


def test_an_installed_snapshot_replaces_the_state_before_what_follows_it_is_applied() -> None:
    cluster = Cluster(SnapshotPolicy(trailing_logs=0))
    cluster.cut = {"n3"}
    cluster.ask("n1", put("k", "v"), "write")
    cluster.ask("n1", MakeSnapshot())
    snapshot = cluster.snapshot("n1")
    cluster.round("n1", SnapshotWritten(snapshot, snapshot.meta.index))
    cluster.ask("n1", put("k", "w"), "later")
    cluster.cut = set()
    cluster.advance(1.0)
    n1, n3 = cluster.servers["n1"], cluster.servers["n3"]
    assert n3.raft.snapshot is not None
    assert (n3.raft.last_applied, n3.machine.digest) == (n1.raft.last_applied, n1.machine.digest)
    applied = [(record.index, record.digest) for record in cluster.trace["n3"] if isinstance(record, Applied)]
    assert (n3.status.applied_index, n3.status.digest.hex()) == applied[-1]


# What it says of itself


def test_the_status_is_of_one_instant_and_says_what_the_trace_does() -> None:
    cluster = Cluster()
    cluster.ask("n1", put("k", "v"), "write")
    cluster.advance(1.0)
    for name, server in cluster.servers.items():
        records = cluster.trace[name]
        applied = [record for record in records if isinstance(record, Applied)][-1]
        assert (server.status.applied_index, server.status.digest.hex()) == (applied.index, applied.digest)
        assert isinstance(records[0], Started)
    lease = [record for record in cluster.trace["n1"] if isinstance(record, Leased)][-1]
    assert cluster.leader.status.lease_until_s == lease.until_s


def test_a_server_that_starts_writes_down_which_members_it_found() -> None:
    members = Configuration.first((name, f"{name}:1") for name in EVERYWHERE)
    first = Entry(1, 1, EntryKind.CONFIGURATION, members.encode())
    found = server("n1", SnapshotPolicy(), 10.0, HardState(3, "n2"), (first,))
    found.step((), 10.0)
    started, membership = found.saved(10.0).trace
    assert isinstance(started, Started)
    assert isinstance(membership, MembershipChanged)
    assert (membership.term, membership.index, membership.voters) == (3, 1, EVERYWHERE)


def test_what_is_applied_at_once_is_written_down_up_to_its_last_entry() -> None:
    cluster = Cluster()
    cluster.round("n1", *[Asked(put("k", str(number)), number) for number in range(3)])
    cluster.settle()
    applied = [record for record in cluster.trace["n1"] if isinstance(record, Applied)][-1]
    status = cluster.leader.status
    assert (applied.index, applied.digest) == (5, status.digest.hex())
    assert status.applied_index == status.last_index == 5


def test_a_leader_past_its_lease_knows_of_no_leader() -> None:
    status = Cluster().leader.status
    for now, leader, state in ((status.lease_until_s - 0.1, "n1", "Leader"), (status.lease_until_s, None, "Follower")):
        assert (status.leader_at(now), status.state_at(now)) == (leader, state)


def test_whoever_hears_of_a_leader_says_so_in_the_same_round() -> None:
    cluster = Cluster()
    cluster.ask("n1", TransferLeadership("n2"))
    cluster.advance(2.0)
    assert {server.status.leader for server in cluster.servers.values()} == {"n2"}
    assert not cluster.astray


def test_what_was_appended_and_is_not_committed_shows_in_the_status() -> None:
    cluster = Cluster()
    cluster.cut = {"n2", "n3"}
    cluster.ask("n1", put("k", "v"))
    status = cluster.leader.status
    assert status.last_index == cluster.leader.raft.log.last_index == status.commit_index + 1


def test_a_leader_that_hands_over_publishes_that_it_leads_no_more_before_it_says_so() -> None:
    cluster = Cluster()
    cluster.round("n1", Asked(TransferLeadership("n2"), "me"))
    cluster.settle(until=lambda: not cluster.leads("n1"))
    done = cluster.last["n1"]
    assert any(isinstance(message, TimeoutNow) for message in done.messages)
    assert not done.status.is_leader_at(cluster.now)
    assert any(isinstance(record, RoleChanged) for record in done.trace)
    assert done.status.lease_until_s == -math.inf


def test_a_lease_that_becomes_shorter_is_written_down_at_once() -> None:
    """Who votes alone leads for ever, until somebody else votes, too."""
    cluster = Cluster(names=("n1", "n2"))
    cluster.ask("n1", RemoveServer("n2"), "alone")
    assert cluster.leader.status.lease_until_s == math.inf
    cluster.ask("n1", AddServer("n2", "n2:1"), "back")
    cluster.advance(0.5)
    assert cluster.leader.raft.configuration.voters == ("n1", "n2")
    assert cluster.leader.status.lease_until_s <= cluster.leader.raft.lease_until_s < math.inf


def test_a_reign_that_a_change_of_members_ends_ends_with_it() -> None:
    """Of those that count from then on too few have ever answered, which is not to have led for ever, nor never."""
    cluster = Cluster(names=("n1", "n2", "n3", "n4", "n5"))
    cluster.cut = {"n2", "n3"}
    cluster.ask("n1", TransferLeadership("n4"))
    cluster.ask("n4", RemoveServer("n5"))
    cluster.advance(0.1)
    since, *leases, end = [record for record in cluster.trace["n4"] if isinstance(record, RoleChanged | Leased)][-4:]
    changed = [record for record in cluster.trace["n4"] if isinstance(record, MembershipChanged)][-1]
    assert isinstance(since, RoleChanged)
    assert isinstance(leases[-1], Leased)
    assert (since.role, leases[-1].until_s, end.at_s) == (Role.LEADER, changed.at_s, changed.at_s)


# Who is listened to, and reached


def test_what_comes_from_another_cluster_is_not_taken_in() -> None:
    cluster, other = Cluster(), Origin("n9", "another", "n9:1", "http/n9")
    vote = vote_for("n9", "n2", 99)
    done = cluster.round("n2", Letter(other, (vote,)))
    assert "does not belong to this cluster" in done.said[0]
    assert cluster.servers["n2"].raft.current_term < 99


@pytest.mark.parametrize(
    ("own", "sender", "senders", "let_in"),
    [
        ("", "n9", "any", True),
        ("", "n9", "", True),
        ("ours", "n9", "ours", True),
        ("ours", "n9", "any", False),
        ("ours", "n9", "", False),
        ("ours", "n1", "", True),
        ("ours", "n1", "any", False),
    ],
)
def test_who_is_let_in(own: str, sender: str, senders: str, let_in: bool) -> None:
    assert lets_in(Configuration.first([("n1", "n1:1")]), own, sender, senders) is let_in


def test_who_says_that_it_belongs_elsewhere_now_is_asked_again() -> None:
    cluster = Cluster()
    cluster_id = cluster.leader.status.cluster_id
    answers = [cluster.round("n2", Letter(Origin("n1", name, "n1:1", ""), ())).said for name in (cluster_id, "another")]
    assert answers[0] == []
    assert "refused messages" in answers[1][0]


def test_a_member_that_has_moved_is_dialled_where_the_configuration_says() -> None:
    cluster = Cluster()
    told = cluster.ask("n1", AddServer("n3", "n3:2"))
    cluster.advance(0.5)
    assert values(told or cluster.answers["me"]) == [None]
    for name in ("n1", "n2"):
        assert cluster.last[name].addresses["n3"] == "n3:2"


class Says(NamedTuple):
    """What a process says that calls itself by this name: a leader's heartbeat, of the term, of one before or of the
    next, or only that it wants to be elected, in a term that is over or (it stands) in this one."""

    name: str
    raft_address: str
    http_address: str
    speech: str = "votes"

    def to(self, listener: Server) -> Letter:
        term = max(1, listener.raft.current_term) + {"led": -1, "leads next": 1}.get(self.speech, 0)
        heartbeat = AppendEntries(
            sender=self.name,
            recipient=listener.raft.id,
            term=term,
            prev_log_index=0,
            prev_log_term=0,
            entries=(),
            leader_commit=0,
            sent_at_s=0.0,
        )
        of_candidates = {"votes": 0, "stands": term}
        asked = self.speech in of_candidates
        message = vote_for(self.name, listener.raft.id, of_candidates[self.speech]) if asked else heartbeat
        origin = Origin(self.name, listener.status.cluster_id, self.raft_address, self.http_address)
        return Letter(origin, (message,))


def addresses_told(listener: Server, said: Iterable[Says], now: float) -> Mapping[str, str]:
    for says in said:
        listener.step([says.to(listener)], now)
        listener.saved(now)
    return listener.status.http_addresses


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ([], "http/n3"),
        ([Says("n3", "n3:1", "new")], "new"),
        ([Says("n3", "n3:9", "copy")], "http/n3"),
        ([Says("n3", "n3:9", "copy"), Says("n3", "n3:1", "new")], "new"),
        ([Says("n3", "n3:1", "new"), Says("n3", "n3:9", "copy")], "new"),
        ([Says("n3", "n3:9", "copy"), Says("n3", "n3:8", "another")], "http/n3"),
        ([Says("n1", "n1:9", "copy")], "http/n1"),
        ([Says("n1", "n1:9", "copy", "leads")], "http/n1"),
        ([Says("n1", "n1:1", "new", "leads"), Says("n1", "n1:9", "copy", "leads")], "new"),
    ],
)
def test_clients_are_told_of_a_member_what_it_says_from_its_place_in_the_configuration(
    said: list[Says], told: str
) -> None:
    cluster = Cluster()
    cluster.round("n2", Says("n3", "n3:1", "http/n3").to(cluster.servers["n2"]))
    name = said[0].name if said else "n3"
    assert addresses_told(cluster.servers["n2"], said, cluster.now)[name] == told


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ([Says("n1", "n1:1", "http/n1", "leads")], "http/n1"),
        ([Says("n1", "n1:1", "http/n1", "votes")], None),
        ([Says("n1", "n1:1", "http/n1", "leads"), Says("n1", "n1:9", "copy", "votes")], "http/n1"),
        ([Says("n1", "n1:1", "http/n1", "leads"), Says("n1", "n1:9", "copy", "led")], "http/n1"),
        ([Says("n1", "n1:1", "http/n1", "leads"), Says("n1", "n1:9", "copy", "stands")], "http/n1"),
        ([Says("n1", "n1:1", "http/n1", "votes"), Says("n1", "n1:1", "http/n1", "leads")], "http/n1"),
        ([Says("n1", "n1:1", "http/n1", "leads"), Says("n1", "n1:1", "new", "leads")], "new"),
        ([Says("n1", "n1:1", "http/n1", "leads"), Says("n2", "n2:1", "http/n2", "leads next")], None),
        ([Says("n1", "n1:1", "old", "leads"), Says("n1", "n1:2", "new", "leads next")], "new"),
        (
            [Says("n1", "n1:1", "old", "leads"), *(Says("n1", "n1:2", "new", says) for says in ("votes", "leads"))],
            "new",
        ),
    ],
)
def test_who_knows_no_configuration_yet_is_sent_to_the_leader_of_the_term_alone(
    said: list[Says], told: str | None
) -> None:
    assert addresses_told(server("n9", SnapshotPolicy(), 0.0), said, 0.0).get("n1") == told


def test_a_leader_that_the_configuration_has_under_another_spelling_is_told_all_the_same() -> None:
    """Or nobody would be sent to it for as long as it leads; who leads has the votes of those who dial that place."""
    cluster = Cluster()
    assert values(cluster.ask("n1", AddServer("n1", "n1.example:1"))) == [None]
    cluster.advance(0.5)
    follower = cluster.servers["n2"]
    assert follower.status.configuration.servers[0].address == "n1.example:1"
    assert addresses_told(follower, [Says("n1", "n1:9", "copy", "votes")], cluster.now)["n1"] == "http/n1"
    assert addresses_told(follower, [Says("n1", "n1.example:1", "by name")], cluster.now)["n1"] == "by name"
    assert addresses_told(follower, [Says("n1", "n1:1", "http/n1", "leads")], cluster.now)["n1"] == "by name"


def test_a_leader_under_another_spelling_is_told_no_longer_than_it_leads() -> None:
    cluster = Cluster()
    assert values(cluster.ask("n1", AddServer("n1", "n1.example:1"))) == [None]
    cluster.advance(0.5)
    said = [Says("n3", "n3:1", "http/n3"), Says("n3", "n3:1", "http/n3", "leads next")]
    assert addresses_told(cluster.servers["n2"], said, cluster.now) == {"n3": "http/n3"}


def test_a_change_of_another_member_takes_nothing_from_what_clients_are_told_of_this_one() -> None:
    """Not even when a copy of it has spoken last before that."""
    cluster = Cluster()
    follower = cluster.servers["n2"]
    addresses_told(follower, [Says("n3", "n3:1", "http/n3"), Says("n3", "n3:9", "copy")], cluster.now)
    cluster.cut = {"n3"}
    cluster.ask("n1", AddServer("n4", "n4:1"))
    assert follower.status.configuration.get("n4") is not None
    assert follower.status.http_addresses["n3"] == "http/n3"


@pytest.mark.parametrize("last", ["n3:1", "n3:2"])
def test_clients_are_told_of_a_member_that_moved_once_the_configuration_says_so(last: str) -> None:
    """Whichever of the two places spoke last before that; and then it need not speak again from its new one."""
    cluster = Cluster()
    follower = cluster.servers["n2"]
    said = [Says("n3", "n3:1", "old"), Says("n3", "n3:2", "new")]
    assert (
        addresses_told(follower, sorted(said, key=lambda says: says.raft_address == last), cluster.now)["n3"] == "old"
    )
    cluster.cut = {"n3"}
    cluster.ask("n1", AddServer("n3", "n3:2"))
    cluster.advance(0.5)
    assert follower.status.configuration.servers[2].address == "n3:2"
    assert follower.status.http_addresses.get("n3") == ("new" if last == "n3:2" else None)
    assert addresses_told(follower, [Says("n3", "n3:2", "new"), Says("n3", "n3:1", "old")], cluster.now)["n3"] == "new"


def test_a_message_that_no_member_sends_is_refused_and_the_next_one_taken() -> None:
    cluster = Cluster()
    origin = Origin("n1", cluster.leader.status.cluster_id, "n1:1", "")
    wrong, right = vote_for("n1", "n3", 9), vote_for("n1", "n2", 9)
    done = cluster.round("n2", Letter(origin, (wrong, right)))
    assert "refused a message" in done.said[0]


def test_a_hint_makes_a_leader_speak_at_once() -> None:
    cluster = Cluster()
    assert cluster.round("n1").messages == ()
    assert [message.recipient for message in cluster.round("n1", Hint("n2")).messages] == ["n2"]


# What was taken out by hand, and nothing else had seen


def test_a_leader_that_is_asked_something_all_the_time_still_does_what_is_due() -> None:
    """Its lease ends although it is never left alone, and nobody else has told it anything."""
    cluster = Cluster()
    cluster.cut = {"n2", "n3"}
    for _ in range(20):
        cluster.now += 0.05
        cluster.round("n1", Asked(Read(("k",)), "me"))
    assert cluster.servers["n1"].raft.role is Role.FOLLOWER


def test_a_lease_is_written_down_and_published_no_later_than_a_heartbeat_after_it_was_won() -> None:
    cluster = Cluster()
    for _ in range(10):
        cluster.advance(0.13)
        leader = cluster.leader
        assert leader.raft.lease_until_s - leader.status.lease_until_s < TIMING.heartbeat_interval_s


def test_who_was_let_in_as_a_member_is_not_when_it_is_none_any_more() -> None:
    """A member without a log knows no cluster yet; a stranger without one does not belong to this."""
    cluster = Cluster()
    cluster.cut = {"n3"}
    blank = Letter(Origin("n3", "", "n3:1", "http/n3"), ())
    assert not cluster.round("n1", blank).said
    assert values(cluster.ask("n1", RemoveServer("n3"))) == [None]
    assert "does not belong to this cluster" in cluster.round("n1", blank).said[0]


def test_who_was_let_in_when_nobody_knew_better_is_asked_again_when_somebody_does() -> None:
    fresh = server("n9", SnapshotPolicy(), 0.0)
    stranger, member = (Letter(Origin(name, known, f"{name}:1", ""), ()) for name, known in (("a", ""), ("b", "ours")))
    said = []
    for letter in (stranger, member, stranger):
        fresh.step([letter], 0.0)
        said.append(fresh.saved(0.0).said)
    assert [bool(words) for words in said] == [False, False, True]


def test_a_server_told_to_stop_in_the_middle_of_a_transfer_lets_that_end_first() -> None:
    cluster = Cluster()
    cluster.cut = {"n2", "n3"}
    cluster.round("n1", Asked(TransferLeadership("n2"), "operator"))
    assert not cluster.round("n1", Stop()).ended
    cluster.cut = set()
    for _ in range(50):
        if not cluster.last["n1"].ended:
            cluster.now += 0.02
            cluster.round("n1")
            cluster.settle(lambda: cluster.last["n1"].ended)
    assert cluster.last["n1"].ended
    assert values(cluster.answers["operator"]) == ["n2"]


def test_a_server_that_has_ended_drafts_no_snapshot() -> None:
    cluster = Cluster()
    done = cluster.round("n2", Stop(), Asked(MakeSnapshot(), "me"))
    assert (done.ended, done.draft) == (True, None)
    assert [type(answer.error) for answer in cluster.servers["n2"].give_up()] == [StoppingError]


def test_what_the_log_may_let_go_is_said_once() -> None:
    cluster = Cluster(SnapshotPolicy(trailing_logs=1))
    cluster.ask("n1", put("k", "v"))
    cluster.ask("n1", MakeSnapshot(), "snapshot")
    taken = cluster.snapshot("n1")
    first_kept = [
        cluster.round("n1", SnapshotWritten(taken, taken.meta.index)).first_kept,
        cluster.round("n1", Asked(Read(("k",)), "me")).first_kept,
    ]
    assert first_kept == [taken.meta.index, 0]
