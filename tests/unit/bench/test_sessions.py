"""Several reads fit together, also where each of them may be old."""

from __future__ import annotations

import msgspec
import pytest

from bench.checkers import reads_never_go_back, retried_writes_take_effect_once, several_keys_are_read_at_once
from bench.evidence import Evidence
from bench.operations import Cas, Delete, DeleteAll, Freshness, Item, Operation, Outcome, Put, SetAll, Told
from bench.player import Player
from bench.scenarios import SCENARIOS
from bench.search.explore import case_of
from bench.simulated.cluster import SimulatedCluster
from bench.verdict import Verdict
from node.machine.kv import Batch, Command, KeyValueStore, Result
from tests.unit.bench.told import LOST, MISMATCH, asked_for, done, fresh, read, read_all, told

FIRST, SECOND = done(1, Put("k", "a"), 5), done(2, Put("k", "b"), 7)
SEEDS = 100
CHECKS = (reads_never_go_back, several_keys_are_read_at_once, retried_writes_take_effect_once)


# One node never goes back


def test_a_node_that_showed_a_later_value_does_not_show_an_earlier_one() -> None:
    found = reads_never_go_back(told([FIRST, SECOND, read(3, "k", "b"), read(4, "k", "a")]))
    assert found.verdict is Verdict.INVALID
    assert "n1 had shown what stands at 7, and then showed what ended at 6" in found.reason


def test_nor_a_value_of_another_key_that_had_been_replaced_before() -> None:
    other = done(1.5, Put("x", "new"), 6), done(0.5, Put("x", "old"), 4)
    found = reads_never_go_back(told([FIRST, SECOND, *other, read(3, "k", "b"), read(4, "x", "old")]))
    assert found.verdict is Verdict.INVALID


def test_nor_that_the_key_was_not_there_yet() -> None:
    assert reads_never_go_back(told([FIRST, read(3, "k", "a"), read(4, "k", None)])).verdict is Verdict.INVALID


GONE_BACK = [FIRST, SECOND, read(3, "k", "b"), read(4, "k", "a")]
EXCUSES: dict[str, tuple[list[Operation], list[dict[str, object]]]] = {
    "another node": ([FIRST, SECOND, read(3, "k", "b"), read(4, "k", "a", node="n2")], []),
    "at the same time": ([FIRST, SECOND, read(3, "k", "b"), read(3.05, "k", "a")], []),
    "started anew": (GONE_BACK, [{"event": "kill", "at_s": 3.5, "node": "n1"}]),
    "started anew amid a read": (GONE_BACK, [{"event": "restart", "at_s": 4.05, "node": "n1"}]),
    "a value that was written twice": ([*GONE_BACK, done(0.5, Put("k", "b"), 3)], []),
    "a value that nobody was told the place of": ([FIRST, asked_for(2, Put("k", "b"), LOST), *GONE_BACK[2:]], []),
    "a key that may have been deleted": (
        [FIRST, asked_for(2, Delete("k"), LOST), read(3, "k", "a"), read(4, "k", None)],
        [],
    ),
    "another's restart": ([FIRST, SECOND, read(3, "k", "a"), read(4, "k", "b")], []),
}


@pytest.mark.parametrize("why", EXCUSES)
def test_nothing_is_concluded_from(why: str) -> None:
    history, timeline = EXCUSES[why]
    assert reads_never_go_back(told(history, timeline)).verdict is Verdict.VALID


def test_the_restart_of_one_node_excuses_no_other() -> None:
    timeline = [{"event": "kill", "at_s": 3.5, "node": "n2"}]
    assert reads_never_go_back(told(GONE_BACK, timeline)).verdict is Verdict.INVALID


# Several keys at one instant

BATCHES = [
    done(1, SetAll((Item("x", "a"), Item("y", "a"))), 5),
    done(2, SetAll((Item("x", "b"), Item("y", "b"))), 7),
]


@pytest.mark.parametrize("found", [{"x": "a", "y": "b"}, {"x": "b", "y": "a"}, {"x": "a", "y": None}])
def test_half_a_batch_is_seen(found: dict[str, str | None]) -> None:
    judged = several_keys_are_read_at_once(told([*BATCHES, read_all(3, found)]))
    assert judged.verdict is Verdict.INVALID


@pytest.mark.parametrize("found", [{"x": "a", "y": "a"}, {"x": "b", "y": "b"}, {"x": None, "y": None}])
def test_a_whole_batch_is_fine_however_old(found: dict[str, str | None]) -> None:
    assert several_keys_are_read_at_once(told([*BATCHES, read_all(3, found)])).verdict is Verdict.VALID


def test_a_batch_that_may_have_been_deleted_by_halves_is_not_judged() -> None:
    maybe = asked_for(2.5, DeleteAll((Item("x"),)), LOST)
    assert (
        several_keys_are_read_at_once(told([*BATCHES, maybe, read_all(3, {"x": None, "y": "b"})])).verdict
        is Verdict.VALID
    )


# Once

RETRIED = Put("k", "a", client_id="me", sequence=1)


def test_a_retried_write_that_comes_back_was_done_twice() -> None:
    history = [done(1, RETRIED, 5, tries=2), SECOND, fresh(3, "k", "b"), fresh(4, "k", "a")]
    found = retried_writes_take_effect_once(told(history))
    assert found.verdict is Verdict.INVALID
    assert found.reason.startswith("k = 'a' was asked for 2 times, was overwritten by what stands at 7, and was there")


def test_a_retried_write_that_was_refused_and_is_there_was_done_and_judged_again() -> None:
    refused = asked_for(2, Cas("k", "b", 5, client_id="me", sequence=2), MISMATCH, tries=2)
    assert retried_writes_take_effect_once(told([FIRST, refused, read(3, "k", "b")])).verdict is Verdict.INVALID


@pytest.mark.parametrize(
    "history",
    [
        [done(1, RETRIED, 5, tries=2), fresh(1.5, "k", "a"), SECOND],
        [done(1, RETRIED, 5, tries=2), SECOND, read(3, "k", "a")],
        [done(1, RETRIED, 5, tries=2), SECOND, done(3, Put("k", "a"), 9), fresh(4, "k", "a")],
        [asked_for(1, RETRIED, LOST, tries=2), SECOND, fresh(4, "k", "a")],
        [FIRST, SECOND, fresh(4, "k", "a")],
    ],
    ids=["not overwritten", "a read that may be old", "written by another too", "unknown", "never asked for again"],
)
def test_it_was_not_done_twice(history: list[Operation]) -> None:
    assert retried_writes_take_effect_once(told(history)).verdict is Verdict.VALID


def test_a_check_of_nothing_finds_nothing_broken() -> None:
    refused = asked_for(1, Put("k", "a"), Told(Outcome.FAILED, "not leader"))
    assert {check(told([refused])).verdict for check in CHECKS} == {Verdict.VALID}


# Nodes that do so


def played(name: str, seed: int = 1) -> SimulatedCluster:
    scenario = SCENARIOS[name]
    cluster = SimulatedCluster(scenario.plan(seed=seed))
    with cluster:
        scenario.play(cluster)
    return cluster


APPLY = KeyValueStore.apply


def test_a_store_that_does_half_a_batch_is_seen_by_who_reads_several_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    def half(store: KeyValueStore, index: int, command: Command) -> Result:
        if isinstance(command.operation, Batch) and index % 5 == 0:
            command = msgspec.structs.replace(command, operation=Batch(command.operation.operations[:1]))
        return APPLY(store, index, command)

    monkeypatch.setattr(KeyValueStore, "apply", half)
    scenario = SCENARIOS["faults_at_random[batches]"]
    cluster = SimulatedCluster(scenario.plan(seed=1))
    with cluster:
        scenario.play(cluster)
    assert several_keys_are_read_at_once(cluster.evidence()).verdict is Verdict.INVALID


def test_a_store_that_does_a_retried_write_again_is_seen_by_who_reads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def again(store: KeyValueStore, index: int, command: Command) -> Result:
        return APPLY(store, index, msgspec.structs.replace(command, sequence=0))

    monkeypatch.setattr(KeyValueStore, "apply", again)
    verdicts = (retried_writes_take_effect_once(evidence_of(seed)).verdict for seed in range(SEEDS))
    assert Verdict.INVALID in verdicts


def evidence_of(seed: int) -> Evidence:
    case = case_of(seed, 5)
    cluster = SimulatedCluster(case.plan)
    with cluster.opened():
        Player(cluster, case).play()
    return cluster.evidence()


def test_a_linearizable_read_is_fresh_also_where_clocks_differ() -> None:
    fast = {"event": "clock_rate", "at_s": 0.5, "node": "n2", "rate": 10.0}
    history = [done(1, RETRIED, 5, tries=2), SECOND, fresh(4, "k", "a")]
    assert retried_writes_take_effect_once(told(history, [fast])).verdict is Verdict.INVALID


NOISE = {"event": "noise", "at_s": 0.5, "links": "client->n1", "detail": "loss 0 duplication 0.5 reordering 0"}


@pytest.mark.parametrize("event", ["kill", "died", "shut_down", "restart"])
def test_however_a_node_ended_it_may_show_what_is_older_when_it_is_back(event: str) -> None:
    ended = {"event": event, "at_s": 3.5, "node": "n1"}
    assert reads_never_go_back(told(GONE_BACK, [ended])).verdict is Verdict.VALID


def test_a_start_that_only_the_node_has_written_down_excuses_it_too() -> None:
    traces = {"n1": ({"event": "start", "at_s": 3.5},)}
    assert reads_never_go_back(Evidence(tuple(GONE_BACK), traces, ())).verdict is Verdict.VALID


def test_where_requests_may_come_twice_a_value_may_come_back() -> None:
    assert reads_never_go_back(told(GONE_BACK, [NOISE])).verdict is Verdict.VALID


def test_a_refusal_amid_noise_is_no_promise_that_it_was_not_done() -> None:
    refused = asked_for(1, RETRIED, Told(Outcome.FAILED, "no leader"), tries=2)
    found = retried_writes_take_effect_once(told([refused, fresh(3, "k", "a")], [NOISE]))
    assert found.verdict is Verdict.VALID


def test_a_read_by_a_lease_shows_a_write_done_twice_only_where_clocks_are_alike() -> None:
    history = [done(1, RETRIED, 5, tries=2), SECOND, read(4, "k", "a", by=Freshness.LEASE)]
    fast = {"event": "clock_rate", "at_s": 0.5, "node": "n2", "rate": 10.0}
    assert retried_writes_take_effect_once(told(history)).verdict is Verdict.INVALID
    assert retried_writes_take_effect_once(told(history, [fast])).verdict is Verdict.VALID
