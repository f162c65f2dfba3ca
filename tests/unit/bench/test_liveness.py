"""A majority that is well is owed a leader and its clients answers, and whoever is excused is convicted of nothing."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Mapping

import pytest

from bench.case import Settings, plan
from bench.checkers import served_while_a_majority_is_well
from bench.checkers.majorities import majorities
from bench.cluster import PromiseBrokenError
from bench.evidence import STORY_OVER, Evidence, Record
from bench.operations import Freshness, Get, Operation, Outcome, Put, Question, Told, Try
from bench.player import Player
from bench.scenarios import write
from bench.schedule import Fault, FullDisk, JoinAstray, Move, SlowDisk
from bench.search.explore import case_of
from bench.simulated.cluster import SimulatedCluster
from bench.simulated.observer import Observer
from bench.verdict import Finding, Verdict
from bench.workload import Pace, Script, distinct_writes
from faults.links import BYPASS, CLIENT, RESTARTED, Link
from node.flaws import load
from node.raft import Raft

OK = Told(Outcome.OK)
LOST = Told(Outcome.UNKNOWN, "no answer")
REFUSED = Told(Outcome.FAILED, "bad request")
PUT = Put("k", "v")
FRESH = Get("k", Freshness.LINEARIZABLE)
THREE, FIVE = ("n1", "n2", "n3"), ("n1", "n2", "n3", "n4", "n5")
END_S = 30.0
OVER = {"at_s": END_S, "event": STORY_OVER}


def did(at_s: float, event: str, **fields: object) -> Record:
    return {"at_s": at_s, "event": event, **fields}


def on_links(at_s: float, event: str, *links: str, detail: str = "") -> Record:
    return did(at_s, event, links=",".join(links), detail=detail, attempted=1)


def leads(since_s: float, until_s: float | None, term: int = 2) -> tuple[Record, ...]:
    return did(since_s, "role", role="Leader", term=term), did(since_s, "lease", until_s=until_s, term=term)


def knows(at_s: float, nodes: Iterable[str] = THREE) -> Record:
    return did(at_s, "membership", voters=tuple(nodes), others=(), index=1, term=1)


def up(nodes: Iterable[str] = THREE, **more: Iterable[Record]) -> dict[str, tuple[Record, ...]]:
    """Each started at the beginning, and knows who belongs to the cluster."""
    nodes = tuple(nodes)
    return {node: (did(0.0, "start"), knows(0.0, nodes), *more.get(node, ())) for node in nodes}


def asked(at_s: float, what: Question, told: Told = LOST, node: str = "n1", tries: tuple[Try, ...] = ()) -> Operation:
    return Operation(0, node, what, told, at_s, at_s + 0.5, tries)


def judged(
    *history: Operation,
    timeline: Iterable[Record] = (),
    traces: Mapping[str, tuple[Record, ...]] | None = None,
    settings: Settings | None = None,
) -> Finding:
    traces = up() if traces is None else traces
    return served_while_a_majority_is_well(Evidence(history, traces, (*timeline, OVER), settings or Settings()))


LED = up(n1=leads(1.0, None))


# A leader


def test_a_majority_that_is_well_and_that_nobody_leads_is_found_when_its_patience_is_over() -> None:
    found = judged()
    assert (found.verdict, found.at_s) == (Verdict.INVALID, 10.0)
    words = "n1, n2, n3 were up and heard one another since 0.0000, and nobody led from 0.0000 to 30.0000"
    assert found.reason == words


def test_who_led_until_its_lease_was_over_leads_no_more() -> None:
    assert judged(traces=up(n1=leads(1.0, 5.0))).reason.endswith("nobody led from 5.0000 to 30.0000")
    assert judged(traces=up(n1=leads(1.0, 5.0), n2=leads(14.0, 21.0, 3))).verdict is Verdict.VALID


def test_a_majority_that_is_led_is_told_of_with_how_long_it_was_well() -> None:
    found = judged(traces=LED)
    assert found.verdict is Verdict.VALID
    assert found.reason == "a majority was well for 30.0 s, and nobody waited 10 s for what was owed"


def test_slower_nodes_are_owed_a_leader_later() -> None:
    slow = Settings().of_profile("high-latency")
    led = up(n1=leads(15.0, None))
    assert (judged(traces=led).verdict, judged(traces=led, settings=slow).verdict) == (Verdict.INVALID, Verdict.VALID)


PAIRS = ("n1->n2", "n2->n3", "n3->n1")
EXCUSES = {
    "down": [did(1.0, "kill", node="n1"), did(1.0, "kill", node="n2")],
    "dead": [did(29.0, "died", node="n1", exit_code=1), did(29.0, "died", node="n2", exit_code=1)],
    "shut down": [did(1.0, "shut_down", node="n1"), did(1.0, "shut_down", node="n2")],
    "never started again": [
        *(did(1.0, "kill", node=node) for node in ("n1", "n2")),
        *(did(2.0, "restart", node=node) for node in ("n1", "n2")),
    ],
    "paused": [did(1.0, "pause", node="n1"), did(1.0, "pause", node="n2")],
    "full disk": [did(1.0, "full_disk", node="n1"), did(1.0, "full_disk", node="n2")],
    "failed save": [did(1.0, "failed_save", node="n1"), did(1.0, "failed_save", node="n2")],
    "memory": [did(1.0, "no_memory", node="n1"), did(1.0, "no_memory", node="n2")],
    "slow disk": [did(1.0, "slow_disk", node=node, latency_ms=50.0) for node in ("n1", "n2")],
    "clock": [did(1.0, "clock_rate", node=node, rate=0.2) for node in ("n1", "n2")],
    "moved": [did(1.0, "move", node=node, address="x:1") for node in ("n1", "n2")],
    "cut": [on_links(1.0, "cut", *PAIRS, detail="blackhole")],
    "delay": [on_links(1.0, "delay", *PAIRS, detail="20ms±10ms")],
    "limit": [on_links(1.0, "limit", *PAIRS, detail="8 KiB/s")],
    "noise": [on_links(1.0, "noise", *PAIRS, detail="loss 0.1 duplication 0 reordering 0")],
    "late": [on_links(1.0, "delay", *PAIRS, detail="20000ms±3000ms"), on_links(2.0, "heal", *PAIRS)],
    "a slow disk's last save": [
        did(at_s, "slow_disk", node=node, latency_ms=latency_ms)
        for at_s, latency_ms in ((1.0, 25_000.0), (2.0, 0.0))
        for node in ("n1", "n2")
    ],
}


@pytest.mark.parametrize("why", EXCUSES)
def test_nothing_is_owed_while_two_of_three_are_excused(why: str) -> None:
    found = judged(timeline=EXCUSES[why])
    assert found.verdict is Verdict.VALID
    assert found.reason == "nothing was owed: no majority was well for more than 10 s"


OVER_AGAIN = {
    "down": did(2.0, "kill", node="n1"),
    "paused": did(2.0, "resume", node="n1"),
    "slow disk": did(2.0, "slow_disk", node="n1", latency_ms=0.0),
    "clock": did(2.0, "clock_rate", node="n1", rate=1.01),
    "cut": on_links(2.0, "heal", *PAIRS),
    "delay": on_links(2.0, "end", *PAIRS, detail="delay"),
    "failed save": did(2.0, "restart", node="n1"),
}


@pytest.mark.parametrize("why", OVER_AGAIN)
def test_what_is_over_excuses_nobody(why: str) -> None:
    started = up(n1=[did(3.0, "start")])
    found = judged(timeline=[*EXCUSES[why], OVER_AGAIN[why]], traces=started)
    assert found.verdict is Verdict.INVALID


FAULTS: list[Fault] = [
    FullDisk(at_s=1.0, for_s=25.0, node="leader"),
    SlowDisk(at_s=1.0, for_s=25.0, node="leader", latency_ms=20),
    Move(at_s=1.0, for_s=25.0, node="follower"),
    JoinAstray(at_s=1.0, for_s=25.0, node="follower"),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: type(fault).__name__)
def test_a_fault_of_a_case_on_a_role_may_be_on_any_node(fault: Fault) -> None:
    begins, over = did(1.0, "begins", fault=fault), did(26.0, "over", fault=fault)
    assert judged(timeline=[begins, over], traces=up(FIVE)).reason.startswith("nothing was owed")
    assert judged(timeline=[begins, did(2.0, "over", fault=fault)], traces=up(FIVE)).verdict is Verdict.INVALID


def test_the_others_are_owed_a_leader_when_one_is_excused() -> None:
    found = judged(
        timeline=[did(1.0, "kill", node="n5"), on_links(1.0, "cut", "n1->n4", detail="hold")], traces=up(FIVE)
    )
    assert found.verdict is Verdict.INVALID
    assert found.reason.startswith("n1, n2, n3 were up")


def test_the_time_of_a_majority_runs_on_whoever_else_comes_and_goes() -> None:
    comes_and_goes = [did(at_s, event, node="n3") for at_s in (4.0, 8.0, 12.0, 16.0) for event in ("pause", "resume")]
    assert judged(timeline=comes_and_goes).reason.startswith("n1, n2 were up and heard one another since 0.0000")


def test_a_majority_of_which_too_few_are_left_begins_anew_with_others() -> None:
    blows = [did(at_s, event, node=node) for at_s, node in ((8.0, "n3"), (16.0, "n2")) for event in ("pause", "resume")]
    found = list(majorities(Evidence((), up(), (*blows, OVER))))
    assert [(one.since_s, one.until_s, sorted(one.nodes)) for one in found] == [
        (0.0, 16.0, ["n1", "n2"]),
        (16.0, END_S, ["n1", "n2", "n3"]),
    ]


def test_who_is_killed_and_starts_at_the_same_instant_is_disturbed() -> None:
    restarts = [did(4.0, "kill", node=node) for node in ("n1", "n2")]
    traces = up(n1=[did(4.0, "start")], n2=[did(4.0, "start")])
    assert [one.since_s for one in majorities(Evidence((), traces, (*restarts, OVER)))] == [0.0, 4.0]


def test_nobody_is_owed_a_leader_whose_members_are_not_known_or_change() -> None:
    strangers = {node: (did(0.0, "start"),) for node in THREE}
    assert judged(traces=strangers).verdict is Verdict.VALID
    assert judged(traces={}).verdict is Verdict.VALID
    changing = up(n1=[knows(at_s, FIVE if at_s % 2 else THREE) for at_s in map(float, range(1, 30))])
    assert judged(traces=changing).verdict is Verdict.VALID


def test_a_majority_is_one_of_every_configuration_that_anybody_holds() -> None:
    larger = {**up(THREE), "n4": (did(0.0, "start"), knows(0.0, FIVE)), "n5": (did(0.0, "start"),)}
    assert judged(traces=larger).reason.startswith("n1, n2, n3 were up")
    assert judged(traces=larger, timeline=[did(1.0, "kill", node="n3")]).verdict is Verdict.VALID


def test_one_that_knows_the_members_is_enough() -> None:
    founded = {node: trace[: 2 if node == "n1" else 1] for node, trace in up().items()}
    assert judged(traces=founded).verdict is Verdict.INVALID
    assert judged(traces=founded, timeline=[did(1.0, "kill", node="n1")]).verdict is Verdict.VALID


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (did(1.0, "restart", node="n3", wipe=True), "rests on stable storage"),
        (on_links(1.0, RESTARTED, "n1->n2", detail="x"), "the bench had to start Toxiproxy again"),
    ],
)
def test_what_is_not_the_nodes_fault_is_no_conviction(record: Record, words: str) -> None:
    found = judged(timeline=[record])
    assert found.verdict is Verdict.UNKNOWN
    assert words in found.reason


def test_links_that_were_faulty_and_gone_past_leave_it_unknown() -> None:
    past = on_links(1.0, "cut", "n1->n3", detail="hold"), on_links(2.0, BYPASS, "n1->n3", detail="x")
    assert judged(timeline=past).verdict is Verdict.UNKNOWN


def test_what_comes_after_the_story_is_owed_to_nobody() -> None:
    ended = [did(20.0, STORY_OVER), did(90.0, "kill", node="n1"), did(90.0, "kill", node="n2")]
    found = served_while_a_majority_is_well(Evidence((), up(n1=leads(1.0, 20.5)), tuple(ended)))
    assert found.verdict is Verdict.VALID


# Answers


@pytest.mark.parametrize(("what", "name"), [(PUT, "writes"), (FRESH, "fresh reads")])
def test_the_leader_answers_one_of_what_it_is_asked(what: Question, name: str) -> None:
    vain = [asked(float(at_s), what) for at_s in range(2, 14)]
    found = judged(*vain, traces=LED)
    assert (found.verdict, found.at_s) == (Verdict.INVALID, 12.0)
    assert f"none of 12 {name} was answered that the leader was asked from 2.0000 to 13.0000" in found.reason
    assert found.details[0] == f"   2.0000  client 0  {found.details[0].partition('client 0  ')[2]}"
    assert judged(*vain, asked(7.0, what, OK), traces=LED).verdict is Verdict.VALID


VAIN = [asked(float(at_s), PUT) for at_s in range(2, 14)]


def test_what_was_asked_of_a_node_that_did_not_lead_is_owed_to_nobody() -> None:
    assert judged(*VAIN, traces=up(n2=leads(1.0, None))).verdict is Verdict.VALID


def test_a_question_or_two_may_be_in_vain_and_so_may_those_of_a_short_time() -> None:
    assert judged(asked(2.0, PUT), asked(20.0, PUT), traces=LED).verdict is Verdict.VALID
    assert judged(*VAIN[:9], traces=LED).verdict is Verdict.VALID


def test_a_plain_refusal_may_be_the_questions_own_fault() -> None:
    refused = [asked(one.invoked_s, PUT, REFUSED) for one in VAIN]
    assert judged(*refused, traces=LED).verdict is Verdict.VALID


def test_a_write_that_is_tried_again_and_again_is_in_vain_however_it_is_refused() -> None:
    tries = tuple(Try("n1", one.invoked_s) for one in VAIN)
    assert judged(asked(2.0, PUT, REFUSED, tries=tries), traces=LED).verdict is Verdict.INVALID


def test_a_read_that_may_be_old_is_no_fresh_read() -> None:
    assert judged(*(asked(one.invoked_s, Get("k")) for one in VAIN), traces=LED).verdict is Verdict.VALID


def test_nothing_is_owed_to_clients_who_may_not_reach_the_leader() -> None:
    cut = on_links(2.0, "cut", f"{CLIENT}->n1", detail="hold")
    assert judged(*VAIN, timeline=[cut], traces=LED).verdict is Verdict.VALID


def test_clients_who_do_not_wait_convict_nobody() -> None:
    found = judged(*VAIN, traces=LED, settings=Settings(client_timeout_s=0.1))
    assert found.verdict is Verdict.UNKNOWN
    assert found.reason.endswith("but clients waited no longer than 0.1 s for an answer")


def test_a_question_that_is_still_under_way_is_in_vain() -> None:
    under_way = [Operation(0, "n1", PUT, LOST, float(at_s), math.inf) for at_s in range(2, 14)]
    assert judged(*under_way, traces=LED).verdict is Verdict.INVALID


# Nodes that break it


class CommitsNoMore(Raft):
    def _may_commit(self, index: int) -> bool:
        return index < 10 and super()._may_commit(index)


class StandsOnce(Raft):
    def _may_campaign(self) -> bool:
        return self.current_term < 2 and super()._may_campaign()


def fresh_reads() -> Script:
    while True:
        yield FRESH


def told_by(core: type[Raft], disturb: Callable[[SimulatedCluster, str], None] = lambda *_: None) -> Finding:
    """What is found of nodes with this core, after clients have asked for a while, from a disturbance of the leader
    on."""
    cluster = SimulatedCluster(plan(3, seed=1, profile="low-latency"), observer=Observer(), core=core)
    with cluster:
        leader = write(cluster, "before")
        cluster.wait_until_agreed()
        disturb(cluster, leader)
        workers = cluster.workers([distinct_writes(1, 0), fresh_reads()], cluster.nodes, Pace(0.25))
        workers.start()
        cluster.pass_time(cluster.now_s + 25)
    cluster.note(STORY_OVER)
    return served_while_a_majority_is_well(cluster.evidence())


def is_killed(cluster: SimulatedCluster, leader: str) -> None:
    cluster.kill(leader)


def hears_nobody(cluster: SimulatedCluster, leader: str) -> None:
    cluster.network.cut([Link(other, leader) for other in cluster.nodes if other != leader])


BROKEN = {
    "nobody stands again": (StandsOnce, is_killed, "nobody led"),
    "a leader that is not answered leads on": (load("deaf_leader"), hears_nobody, "nobody led"),
    "nothing more is committed": (CommitsNoMore, lambda *_: None, "writes was answered"),
    "no read is confirmed": (load("unconfirmed_reads"), lambda *_: None, "fresh reads was answered"),
}


@pytest.mark.parametrize("how", BROKEN)
def test_nodes_that_break_it_are_convicted_and_others_are_not(how: str) -> None:
    core, disturb, words = BROKEN[how]
    found = told_by(core, disturb)
    assert found.verdict is Verdict.INVALID
    assert words in found.reason
    well = told_by(Raft, disturb)
    assert well.verdict is Verdict.VALID
    assert well.reason.startswith("a majority was well for")


def test_a_cluster_that_never_comes_to_be_led_is_convicted() -> None:
    assert played(0, "stuck_terms").verdict is Verdict.INVALID


@pytest.mark.parametrize("seed", range(5))
def test_correct_nodes_are_acquitted_whatever_was_done_to_them(seed: int) -> None:
    assert played(seed).verdict is Verdict.VALID


def played(seed: int, flaw: str | None = None) -> Finding:
    case = case_of(seed, 5, flaw, length_s=30.0)
    cluster = SimulatedCluster(case.plan, observer=Observer())
    with contextlib.suppress(PromiseBrokenError), cluster.opened():
        Player(cluster, case).play()
    return served_while_a_majority_is_well(cluster.evidence())
