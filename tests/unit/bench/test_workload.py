"""What clients ask, and how it is written down."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from bench.case import plan
from bench.cluster import Client
from bench.history import History, as_one
from bench.operations import (
    Cas,
    Delete,
    Get,
    Item,
    Join,
    Leave,
    Operation,
    Outcome,
    Put,
    Question,
    SetAll,
    TakeSnapshot,
    Told,
    Transfer,
    Try,
    key_by_key,
    with_changes,
)
from bench.simulated.cluster import SimulatedCluster
from bench.workload import COUNTER, LIST, WORKLOADS, Pace, Script, Talker, retrying, script_of, until_done

DONE = Told(Outcome.OK, modify_index=7)
LOST = Told(Outcome.UNKNOWN, "ReadTimeout")
REFUSED = Told(Outcome.FAILED, "not leader")
OVERWRITTEN = Told(Outcome.FAILED, "overwritten")
MISMATCH = Told(Outcome.FAILED, "cas mismatch")

SECOND = Put("k", "v", client_id="me", sequence=2)
"""A client's second write."""


class Noting:
    """A client whose every question is answered like this, and put into a history."""

    def __init__(self, told: Told) -> None:
        self.history = History()
        self._told = told
        self.client = Client(self._ask)

    def _ask(self, asked: Question) -> Operation:
        return self.history.completed(self.history.invoked(1, "n1", asked, 1.0), self._told, 2.0)

    @property
    def parts(self) -> list[Operation]:
        return [part for operation in self.history for part in key_by_key(operation)]


def test_of_a_batch_each_part_is_an_operation_of_its_key() -> None:
    noting = Noting(LOST)
    noting.client.set_all({"a": "1", "b": "2"})
    noting.client.set_all({"a": "3", "b": "4"}, {"a": 0, "b": 7})
    noting.client.delete_all(["a", "b"])
    assert [part.asked for part in noting.parts] == [
        Put("a", "1"),
        Put("b", "2"),
        Cas("a", "3", 0),
        Cas("b", "4", 7),
        Delete("a"),
        Delete("b"),
    ]
    assert {(part.told, part.invoked_s, part.completed_s) for part in noting.parts} == {(LOST, 1.0, 2.0)}


def test_what_a_read_of_several_keys_found_is_read_key_by_key() -> None:
    noting = Noting(Told(Outcome.OK, result={"a": "1"}))
    assert noting.client.get_all(["a", "b"]).values == {"a": "1"}
    assert [(read.asked, read.value) for read in noting.parts] == [(Get("a"), "1"), (Get("b"), None)]


def test_what_an_operator_asks_is_in_the_history_as_it_is_and_is_of_no_key() -> None:
    noting = Noting(DONE)
    noting.client.join("n4")
    noting.client.leave("n4")
    noting.client.transfer("n2")
    noting.client.snapshot()
    asked = [operation.asked for operation in noting.history]
    assert asked == [Join("n4"), Leave("n4"), Transfer("n2"), TakeSnapshot()]
    assert not noting.parts


def history_of(*answers: Told, asked: Question = SECOND) -> Operation:
    """All tries of one write: try `n` is of node `n`, and takes a second."""
    history = History()
    for number, told in enumerate(answers, 1):
        history.completed(history.invoked(1, f"n{number}", asked, 2.0 * number), told, 2.0 * number + 1)
    (operation,) = history
    return operation


def test_the_tries_of_a_write_are_one_operation_from_the_first_question_to_the_last_answer() -> None:
    write = history_of(LOST, REFUSED, DONE)
    assert (write.outcome, write.modify_index, write.node) == (Outcome.OK, 7, "n3")
    assert (write.invoked_s, write.completed_s) == (2.0, 7.0)
    assert write.tries == (Try("n1", 2.0), Try("n2", 4.0), Try("n3", 6.0))


def test_a_write_has_failed_only_when_none_of_its_tries_can_take_effect_any_more() -> None:
    assert history_of(REFUSED, OVERWRITTEN).outcome is Outcome.FAILED
    assert history_of(LOST, OVERWRITTEN).outcome is Outcome.UNKNOWN
    assert history_of(LOST, OVERWRITTEN, REFUSED).outcome is Outcome.UNKNOWN


def test_what_a_state_machine_said_to_one_try_holds_for_all_of_them_in_any_order() -> None:
    assert history_of(LOST, MISMATCH).outcome is Outcome.FAILED
    assert history_of(MISMATCH, LOST).outcome is Outcome.FAILED
    assert history_of(DONE, LOST).outcome is Outcome.OK


def test_a_try_that_is_under_way_leaves_its_write_open() -> None:
    history = History()
    history.completed(history.invoked(1, "n1", SECOND, 1.0), REFUSED, 2.0)
    history.invoked(1, "n2", SECOND, 3.0)
    (write,) = history
    assert (write.outcome, write.invoked_s, write.completed_s) == (Outcome.UNKNOWN, 1.0, math.inf)


@pytest.mark.parametrize("other", [{"client_id": "you"}, {"sequence": 3}, {"key": "l"}])
def test_writes_of_other_clients_sequences_and_keys_are_operations_of_their_own(other: dict[str, Any]) -> None:
    history = History()
    for asked in (SECOND, with_changes(SECOND, **other)):
        history.completed(history.invoked(1, "n1", asked, 1.0), DONE, 2.0)
    assert [operation.tries for operation in history] == [(), ()]


def test_two_writes_that_say_not_whose_they_are_are_two() -> None:
    history = History()
    for _ in range(2):
        history.completed(history.invoked(1, "n1", Put("k", "v"), 1.0), DONE, 2.0)
    assert len(list(history)) == 2


def three_puts(seen: list[Operation]) -> Script:
    for key in "abc":
        yield Get(key)
        seen.append((yield Put(key, "v")))


def answered(asked: Question | None, told: Told) -> Operation:
    assert asked is not None
    return Operation(1, "n1", asked, told, 1.0, 2.0)


def test_a_write_is_asked_for_with_one_sequence_until_it_is_decided_and_a_read_without() -> None:
    seen: list[Operation] = []
    script = retrying(three_puts(seen), "me")
    read = next(script)
    assert read == Get("a")
    assert script.send(answered(read, LOST)) == read
    write = script.send(answered(read, DONE))
    assert write == Put("a", "v", client_id="me", sequence=1)
    assert [script.send(answered(write, told)) for told in (LOST, REFUSED, OVERWRITTEN)] == [write] * 3
    read = script.send(answered(write, DONE))
    assert read == Get("b")
    assert script.send(answered(read, DONE)) == Put("b", "v", client_id="me", sequence=2)
    assert [(one.outcome, len(one.tries)) for one in seen] == [(Outcome.OK, 4)]


def test_a_mismatch_is_no_reason_to_ask_again() -> None:
    seen: list[Operation] = []
    script = retrying(three_puts(seen), "me")
    refused = answered(script.send(answered(next(script), DONE)), MISMATCH)
    assert script.send(refused) == Get("b")
    assert seen == [refused]


def test_who_is_not_served_asks_the_next_node_for_the_same_write() -> None:
    talker = Talker(retrying(three_puts([]), "me"), ["n1", "n2", "n3"])
    talker.told(answered(talker.asks, DONE))
    asked = []
    for told in (LOST, REFUSED, DONE):
        asked.append((talker.node, talker.asks))
        talker.told(answered(talker.asks, told))
    write = Put("a", "v", client_id="me", sequence=1)
    assert asked == [("n1", write), ("n2", write), ("n3", write)]
    assert (talker.node, talker.acknowledged) == ("n3", 1)


def test_who_has_asked_everything_asks_nothing_more() -> None:
    talker = Talker(until_done(Put("k", "v"), may_go_on=lambda: True), ["n1", "n2"])
    talker.told(answered(talker.asks, REFUSED))
    assert talker.asks == Put("k", "v")
    talker.told(answered(talker.asks, DONE))
    assert talker.asks is None


def test_what_is_asked_for_until_it_is_done_is_given_up_when_whoever_asks_may_not_go_on() -> None:
    talker = Talker(until_done(Put("k", "v"), may_go_on=lambda: False), ["n1"])
    talker.told(answered(talker.asks, LOST))
    assert talker.asks is None


def test_a_batch_is_one_write_however_often_it_is_asked_for() -> None:
    batch = SetAll((Item("a", "1"), Item("b", "2")), client_id="me", sequence=1)
    tries = [answered(batch, LOST), answered(batch, DONE)]
    assert [part.asked for part in key_by_key(as_one(*tries))] == [Put("a", "1"), Put("b", "2")]


# The workloads by name


def written(name: str, client: int) -> Iterator[tuple[str, str]]:
    """What a client writes to which key if each of its questions is answered as it hopes."""
    script = script_of(name, client, random.Random(client))
    asked = next(script)
    for index in range(1, 300):
        for part in key_by_key(answered(asked, DONE)):
            if isinstance(part.asked, Put | Cas):
                yield part.asked.key, part.asked.value
        asked = script.send(answered(asked, Told(Outcome.OK, modify_index=index)))


@pytest.mark.parametrize("name", sorted(set(WORKLOADS) - {"counter"}))
def test_no_two_writes_of_a_workload_leave_the_same_at_a_key(name: str) -> None:
    """A read then says whose write it saw."""
    counted = Counter((*written(name, 1), *written(name, 2)))
    assert len(counted) > 20
    assert max(counted.values()) == 1


@pytest.mark.parametrize("name", sorted(set(WORKLOADS) - {"counter"}))
def test_a_client_that_retries_says_whose_each_write_is_and_another_never_asks_twice(name: str) -> None:
    for retries in (True, False):
        script = script_of(name, 7, random.Random(7), retries=retries)
        asked = next(script)
        while not isinstance(asked, Put | Cas | SetAll):
            asked = script.send(answered(asked, DONE))
        assert (asked.client_id, asked.sequence > 0) == (("client-7", True) if retries else ("", False))
        assert (script.send(answered(asked, LOST)) == asked) is retries


def test_a_client_that_does_not_know_what_is_there_finds_out_before_it_changes_it() -> None:
    script = script_of("append", 1, random.Random(3), retries=False)
    asked = next(script)
    seen: list[Question] = []
    while len(seen) < 40:
        seen.append(asked)
        match asked:
            case Cas(expected_index=0):
                asked = script.send(answered(asked, Told(Outcome.FAILED, "cas mismatch", modify_index=9)))
            case Cas():
                assert asked.expected_index == 9
                assert asked.value.startswith("before 1.")
                asked = script.send(answered(asked, LOST))
            case _:
                asked = script.send(answered(asked, Told(Outcome.OK, result="before")))
    assert any(isinstance(one, Cas) and one.expected_index for one in seen)


def test_lists_and_counters_are_begun_anew_before_they_are_long() -> None:
    for name, kind in (("append", LIST), ("counter", COUNTER)):
        keys = dict.fromkeys(key for key, _ in written(name, 1))
        assert len(keys) > 4
        assert all(key.startswith(kind) for key in keys)


def test_a_closed_loop_pauses_after_each_answer_however_late_it_came() -> None:
    pace = Pace(0.25)
    assert [pace.wait_s(asking_s, 0.5) for asking_s in (0.0, 3.0)] == [0.25, 0.25]


def test_a_rate_is_kept_as_long_as_answers_come_in_time() -> None:
    pace = Pace(rate_per_s=10)
    assert [pace.wait_s(asking_s, 0.5) for asking_s in (0.0, 0.04, 3.0)] == pytest.approx([0.1, 0.06, 0.0])


@pytest.mark.parametrize(("pace", "least", "most"), [(Pace(rate_per_s=50), 60, 120), (Pace(1.0), 2, 20)])
def test_clients_ask_as_often_as_their_pace_says(pace: Pace, least: int, most: int) -> None:
    cluster = cluster_of_three()
    with cluster:
        cluster.wait_for_leader()
        with cluster.workload("register", 1, ["leader"], pace=pace):
            cluster.pass_time(cluster.now_s + 2)
        assert least <= len(list(cluster.history)) <= most


def test_clients_of_several_workloads_never_take_one_another_s_names() -> None:
    cluster = cluster_of_three()
    with cluster:
        cluster.wait_for_leader()
        with cluster.workload("keys", 2), cluster.workload("keys", 2), cluster.writing(2):
            cluster.pass_time(cluster.now_s + 1)
        keys = Counter(one.asked.key for one in cluster.history if isinstance(one.asked, Put))
        assert len(keys) > 20
        assert max(keys.values()) == 1


def test_there_is_no_workload_of_another_name() -> None:
    with (
        pytest.raises(LookupError, match="there is no workload 'mixd'; there are register, keys"),
        cluster_of_three().workload("mixd"),
    ):
        pass


def cluster_of_three() -> SimulatedCluster:
    return SimulatedCluster(plan(3, profile="low-latency"))
