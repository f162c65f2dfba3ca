"""Lists, counters and sets that clients change together add up."""

from __future__ import annotations

import pytest

from bench import judging
from bench.checkers import (
    availability,
    some_fault_touched_traffic,
    the_bench_did_not_interfere,
    totals_add_up,
)
from bench.evidence import Evidence
from bench.operations import Cas, Freshness, Operation, Outcome, Put, Told
from bench.scenarios import SCENARIOS
from bench.simulated.cluster import SimulatedCluster
from bench.verdict import Verdict
from bench.workload import COUNTER, LIST, SET
from node.machine.kv import Command, KeyValueStore, Result, SetKey
from tests.unit.bench.told import LOST, MISMATCH, asked_for, done, fresh, read, told

LISTED, NUMBER, MEMBERS = f"{LIST}-0", f"{COUNTER}-0", f"{SET}-0"
A, AB = done(1, Cas(LISTED, "a", 0), 5), done(2, Cas(LISTED, "a b", 5), 6)
ONE, TWO = done(1, Cas(NUMBER, "1", 0), 5), done(2, Cas(NUMBER, "2", 5), 6)
IN_A, IN_B = done(1, Cas(MEMBERS, "a", 0), 5), done(2, Cas(MEMBERS, "a b", 5), 6)
REFUSED = asked_for(2, Cas(LISTED, "a c", 0), MISMATCH)

WRONG: dict[str, tuple[list[Operation], str]] = {
    "lost from a list": ([A, AB, fresh(3, LISTED, "a")], "b was put into"),
    "out of order": ([A, AB, fresh(3, LISTED, "b a")], "neither list is the beginning of the other"),
    "twice in a list": ([A, AB, read(3, LISTED, "a b a")], "twice, which was put there once"),
    "of nobody": ([A, AB, read(3, LISTED, "a b x")], "has x, which nobody has put there"),
    "refused and there": ([A, REFUSED, read(3, LISTED, "a c")], "has c, which was refused"),
    "lost from a set": ([IN_A, IN_B, fresh(3, MEMBERS, "a")], "b was put into"),
    "twice in a set": ([IN_A, IN_B, read(3, MEMBERS, "b a b")], "twice"),
    "counted too few": ([ONE, TWO, fresh(3, NUMBER, "1")], "had been counted 2 times for certain"),
    "counted too many": ([ONE, read(1.5, NUMBER, "2"), TWO], "1 at most"),
    "lost by another change": ([IN_A, done(2, Cas(MEMBERS, "b", 0), 6)], "a was put into"),
    "from the future": ([read(0.5, LISTED, "a"), A], "has a, which"),
    "out of order, and short": (
        [A, AB, done(3, Cas(LISTED, "a b c", 6), 7), read(4, LISTED, "b")],
        "neither list is the beginning of the other",
    ),
    "never counted": ([ONE, fresh(3, NUMBER, None)], "was read as 0"),
}


@pytest.mark.parametrize("why", WRONG)
def test_it_does_not_add_up(why: str) -> None:
    history, words = WRONG[why]
    found = totals_add_up(told(history))
    assert found.verdict is Verdict.INVALID
    assert words in found.reason


RIGHT: dict[str, list[Operation]] = {
    "a list that grows": [A, fresh(1.5, LISTED, "a"), AB, fresh(3, LISTED, "a b")],
    "a read that may be old": [A, AB, read(3, LISTED, "a")],
    "a set in any order": [IN_A, IN_B, fresh(3, MEMBERS, "b a")],
    "what nobody was told of": [ONE, asked_for(2, Cas(NUMBER, "2", 5), LOST), fresh(3, NUMBER, "2")],
    "what nobody was told of, and never came": [ONE, asked_for(2, Cas(NUMBER, "2", 5), LOST), fresh(3, NUMBER, "1")],
    "what was asked for meanwhile": [ONE, fresh(2.05, NUMBER, "2"), TWO],
    "a list that somebody else writes over": [A, AB, done(3, Put(LISTED, "mine"), 9), fresh(4, LISTED, "mine")],
    "no list at all": [done(1, Put("list-0", ""), 5), fresh(2, "list-0", "whatever")],
}


@pytest.mark.parametrize("why", RIGHT)
def test_it_adds_up(why: str) -> None:
    assert totals_add_up(told(RIGHT[why])).verdict is Verdict.VALID


def test_a_read_by_a_lease_is_not_fresh_where_clocks_differ() -> None:
    history = [A, AB, read(3, LISTED, "a", by=Freshness.LEASE)]
    fast = {"event": "clock_rate", "at_s": 0.5, "node": "n2", "rate": 10.0}
    assert totals_add_up(told(history)).verdict is Verdict.INVALID
    assert totals_add_up(told(history, [fast])).verdict is Verdict.VALID


def test_where_requests_may_come_twice_a_refusal_that_no_state_machine_made_is_none() -> None:
    late = asked_for(2, Cas(LISTED, "a b", 5), Told(Outcome.FAILED, "no leader"))
    noise = {"event": "noise", "at_s": 0.5, "links": "client->n1", "detail": "loss 0 duplication 0.5 reordering 0"}
    history = [A, late, fresh(3, LISTED, "a b")]
    assert totals_add_up(told(history)).verdict is Verdict.INVALID
    assert totals_add_up(told(history, [noise])).verdict is Verdict.VALID


@pytest.mark.parametrize(("workload", "told_of"), [("append", "list"), ("counter", "counter"), ("set", "set")])
def test_of_each_workload_the_totals_add_up_amid_faults(workload: str, told_of: str) -> None:
    found = totals_add_up(played(workload))
    assert found.verdict is Verdict.VALID
    assert told_of in found.reason
    assert "acknowledged change" in found.reason


@pytest.mark.parametrize("workload", ["append", "counter", "set"])
def test_a_store_that_now_and_then_overlooks_what_a_write_expects_is_seen(
    workload: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply = KeyValueStore.apply

    def overlook(store: KeyValueStore, index: int, command: Command) -> Result:
        operation = command.operation
        if isinstance(operation, SetKey) and index % 7 == 0:
            command = Command(SetKey(operation.key, operation.value), command.client_id, command.sequence)
        return apply(store, index, command)

    monkeypatch.setattr(KeyValueStore, "apply", overlook)
    assert totals_add_up(played(workload)).verdict is Verdict.INVALID


def played(workload: str) -> Evidence:
    scenario = SCENARIOS[f"faults_at_random[{workload}]"]
    cluster = SimulatedCluster(scenario.plan(seed=2))
    with cluster:
        scenario.play(cluster)
    return cluster.evidence()


def test_a_request_that_was_held_up_until_the_noise_began_may_come_twice() -> None:
    held = asked_for(1.5, Cas(LISTED, "a b", 5), Told(Outcome.FAILED, "no leader"))
    noise = {"event": "noise", "at_s": 1.55, "links": "client->n1", "detail": "loss 0 duplication 0.5 reordering 0"}
    later = noise | {"at_s": 1.65}
    history = [A, held, fresh(3, LISTED, "a b")]
    assert totals_add_up(told(history, [noise])).verdict is Verdict.VALID
    assert totals_add_up(told(history, [later])).verdict is Verdict.INVALID


def test_every_check_that_can_convict_is_asked_of_what_is_explored() -> None:
    figures = {availability, some_fault_touched_traffic, the_bench_did_not_interfere}
    assert set(judging.OF_A_CASE) - set(judging.CONVICTING) == figures
