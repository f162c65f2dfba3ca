"""What clients ask, and how it is written down."""

from __future__ import annotations

from bench.cluster import Client
from bench.history import History, Operation, Outcome
from bench.workload import Invocation, found_in, recorded


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
