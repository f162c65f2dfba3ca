"""What clients ask, and how it is written down."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from bench.cluster import Client
from bench.history import History, Operation, Outcome, Try
from bench.workload import Invocation, Script, Session, found_in, recorded, retrying


class Noting(Client):
    """Answers each question with `outcome` and `result`, and puts it into a history."""

    def __init__(self, outcome: Outcome, result: str | None = None) -> None:
        self.history = History()
        self._outcome = outcome
        self._result = result

    def ask(self, invocation: Invocation) -> Operation:
        key, value = invocation.key, invocation.value
        operation = Operation(1, "n1", invocation.kind, key, value, self._outcome, 1.0, 2.0, self._result, 7)
        return recorded(self.history, invocation, operation)


def test_of_a_batch_the_history_has_the_parts_each_an_operation_of_its_key() -> None:
    client = Noting(Outcome.UNKNOWN)
    client.set_all({"a": "1", "b": "2"})
    client.set_all({"a": "3", "b": "4"}, {"a": 0, "b": 7})
    client.delete_all(["a", "b"])
    assert [(part.kind, part.key, part.value) for part in client.history] == [
        ("put", "a", "1"),
        ("put", "b", "2"),
        ("cas", "a", "3"),
        ("cas", "b", "4"),
        ("delete", "a", None),
        ("delete", "b", None),
    ]
    assert {(part.outcome, part.invoked_s, part.completed_s) for part in client.history} == {
        (Outcome.UNKNOWN, 1.0, 2.0)
    }


def test_what_a_batch_found_is_read_key_by_key() -> None:
    client = Noting(Outcome.OK, '{"a": "1"}')
    assert found_in(client.get_all(["a", "b"])) == {"a": "1"}
    assert [(read.kind, read.key, read.result) for read in client.history] == [("get", "a", "1"), ("get", "b", None)]


def test_what_an_operator_asks_is_in_the_history_as_it_is() -> None:
    client = Noting(Outcome.OK)
    client.join("n4")
    client.leave("n4")
    client.transfer("n2")
    client.snapshot()
    asked = [(operation.kind, operation.key) for operation in client.history]
    assert asked == [("join", "n4"), ("leave", "n4"), ("transfer", "n2"), ("snapshot", "")]


def told(outcome: Outcome, reason: str = "", at_s: float = 1.0, node: str = "n1", **more: Any) -> Operation:
    """What came of a try of a client's second write, which took a second."""
    return Operation(1, node, "put", "k", "v", outcome, at_s, at_s + 1, None, reason=reason, **{"sequence": 2, **more})


LOST = told(Outcome.UNKNOWN, "ReadTimeout")
REFUSED = told(Outcome.FAILED, "not leader", 3.0, "n2")
OVERWRITTEN = told(Outcome.FAILED, "overwritten", 3.0, "n2")
DONE = told(Outcome.OK, "", 5.0, "n3", modify_index=7)
MISMATCH = told(Outcome.FAILED, "cas mismatch", 5.0, "n3")


def as_recorded(*tries: Operation) -> Operation:
    history = History()
    for one in tries:
        history.record(one)
    (operation,) = history
    return operation


def test_the_tries_of_a_write_are_one_operation_from_the_first_question_to_the_last_answer() -> None:
    write = as_recorded(LOST, REFUSED, DONE)
    assert (write.outcome, write.modify_index, write.node) == (Outcome.OK, 7, "n3")
    assert (write.invoked_s, write.completed_s) == (1.0, 6.0)
    assert write.tries == (Try("n1", 1.0), Try("n2", 3.0), Try("n3", 5.0))


def test_a_write_has_failed_only_when_none_of_its_tries_can_take_effect_any_more() -> None:
    assert as_recorded(REFUSED, OVERWRITTEN).outcome is Outcome.FAILED
    assert as_recorded(LOST, OVERWRITTEN).outcome is Outcome.UNKNOWN
    assert as_recorded(LOST, OVERWRITTEN, REFUSED).outcome is Outcome.UNKNOWN


def test_what_a_state_machine_said_to_one_try_holds_for_all_of_them_in_any_order() -> None:
    assert as_recorded(LOST, MISMATCH).outcome is Outcome.FAILED
    assert as_recorded(MISMATCH, LOST).outcome is Outcome.FAILED
    assert as_recorded(DONE, LOST).outcome is Outcome.OK


def test_writes_of_other_clients_keys_and_sequences_and_those_without_are_operations_of_their_own() -> None:
    history = History()
    for one in (DONE, replace(DONE, client_id="d"), replace(DONE, sequence=3), replace(DONE, key="l")):
        history.record(one)
    for _ in range(2):
        history.record(replace(DONE, sequence=0))
    assert len(list(history)) == 6
    assert not any(operation.tries for operation in history)


def three_puts(seen: list[Operation]) -> Script:
    for key in "abc":
        yield Invocation("get", key)
        seen.append((yield Invocation("put", key, "v")))


def test_a_write_is_asked_for_with_one_sequence_until_it_is_decided_and_a_read_without() -> None:
    seen: list[Operation] = []
    script = retrying(three_puts(seen), "me")
    assert next(script) == Invocation("get", "a")
    assert script.send(replace(LOST, kind="get")) == Invocation("get", "a")
    write = script.send(replace(DONE, kind="get"))
    assert write == Invocation("put", "a", "v", client_id="me", sequence=1)
    assert [script.send(answer) for answer in (LOST, REFUSED, OVERWRITTEN)] == [write] * 3
    assert script.send(DONE) == Invocation("get", "b")
    assert script.send(replace(DONE, kind="get")) == Invocation("put", "b", "v", client_id="me", sequence=2)
    assert [(one.outcome, len(one.tries)) for one in seen] == [(Outcome.OK, 4)]


def test_a_mismatch_is_no_reason_to_ask_again() -> None:
    seen: list[Operation] = []
    script = retrying(three_puts(seen), "me")
    next(script)
    script.send(DONE)
    assert script.send(MISMATCH) == Invocation("get", "b")
    assert seen == [MISMATCH]


def test_who_is_not_served_asks_the_next_node_for_the_same_write() -> None:
    session = Session(retrying(three_puts([]), "me"), ["n1", "n2", "n3"])
    session.told(replace(DONE, kind="get"))
    asked = []
    for answer in (LOST, REFUSED, DONE):
        asked.append((session.node, session.invocation.key, session.invocation.sequence))
        session.told(answer)
    assert asked == [("n1", "a", 1), ("n2", "a", 1), ("n3", "a", 1)]
    assert (session.node, session.acknowledged) == ("n3", 1)
