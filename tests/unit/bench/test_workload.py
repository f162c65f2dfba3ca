"""What clients ask, and how it is written down."""

from __future__ import annotations

import math
from typing import Any

import pytest

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
from bench.workload import Script, Talker, retrying, until_done

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
