"""A history is what clients asked and were told, as it happened, in memory and in lines of JSON."""

from __future__ import annotations

import math

import pytest

from bench.history import Event, History, HistoryError, decode, encode, operations
from bench.operations import (
    NO_ANSWER,
    Cas,
    Delete,
    DeleteAll,
    Freshness,
    Get,
    GetAll,
    Item,
    Join,
    Leave,
    Outcome,
    Put,
    Question,
    SetAll,
    TakeSnapshot,
    Told,
    Transfer,
)

ASKED: list[tuple[Question, Told]] = [
    (Put("k", "v"), Told(Outcome.OK, modify_index=3)),
    (Put("k", "v", client_id="me", sequence=4), Told(Outcome.FAILED, "not leader", message="go away", elsewhere="n2")),
    (Cas("k", "v", 0), Told(Outcome.FAILED, "cas mismatch", modify_index=3)),
    (Delete("k"), Told(Outcome.FAILED, "key not found")),
    (Delete("k", 7), Told(Outcome.UNKNOWN, "ReadTimeout")),
    (SetAll((Item("a", "1"), Item("b", "2", 0))), Told(Outcome.OK, modify_index=5)),
    (DeleteAll((Item("a"), Item("b", None, 2))), Told(Outcome.OK, modify_index=6)),
    (Get("k"), Told(Outcome.OK)),
    (Get("k", Freshness.LEASE), Told(Outcome.OK, result="")),
    (Get("k", Freshness.LINEARIZABLE), Told(Outcome.OK, result="v")),
    (GetAll(("a", "b")), Told(Outcome.OK, result={"a": "1"})),
    (Join("n4", "n4:7000"), Told(Outcome.OK)),
    (Leave("n4"), Told(Outcome.OK)),
    (Transfer(), Told(Outcome.OK, result="n2")),
    (Transfer("n3"), Told(Outcome.UNKNOWN, "not in time")),
    (TakeSnapshot(), Told(Outcome.OK)),
]


def recorded() -> tuple[History, list[Event]]:
    events: list[Event] = []
    return History(events.append), events


def test_what_is_written_makes_the_operations_that_are_in_memory() -> None:
    history, events = recorded()
    for at_s, (asked, told) in enumerate(ASKED):
        number = history.invoked(at_s % 3, "n1", asked, at_s)
        history.completed(number, told, at_s + 0.5)
    lines = [encode(event) for event in events]
    assert [decode(line) for line in lines] == events
    assert operations(map(decode, lines)) == tuple(history)
    assert [(operation.asked, operation.told) for operation in history] == ASKED


def test_a_question_is_written_before_it_is_answered_and_its_answer_after() -> None:
    history, events = recorded()
    number = history.invoked(0, "n1", Put("k", "v"), 1.0)
    assert len(events) == 1
    history.completed(number, Told(Outcome.OK, modify_index=3), 2.0)
    assert [type(event).__name__ for event in events] == ["Invoked", "Completed"]


def test_what_is_under_way_at_the_end_is_there_and_nobody_knows_what_came_of_it() -> None:
    history, events = recorded()
    first, second = (history.invoked(client, "n1", Put("k", str(client)), 1.0) for client in (0, 1))
    history.completed(second, Told(Outcome.OK, modify_index=3), 2.0)
    for found in (tuple(history), operations(events)):
        assert [operation.client for operation in found] == [1, 0]
        assert (found[-1].told, found[-1].completed_s) == (NO_ANSWER, math.inf)
    history.completed(first, Told(Outcome.UNKNOWN, "ReadTimeout"), 9.0)
    assert tuple(history)[-1].reason == "ReadTimeout"


def test_a_try_that_is_under_way_leaves_a_write_that_was_acknowledged_as_it_is() -> None:
    history, _ = recorded()
    write = Put("k", "v", client_id="me", sequence=1)
    history.completed(history.invoked(0, "n1", write, 1.0), Told(Outcome.OK, modify_index=3), 2.0)
    history.invoked(0, "n2", write, 3.0)
    (operation,) = history
    assert (operation.outcome, operation.completed_s, len(operation.tries)) == (Outcome.OK, 2.0, 2)


def test_events_of_no_one_history_are_refused() -> None:
    history, events = recorded()
    number = history.invoked(0, "n1", Get("k"), 1.0)
    history.completed(number, Told(Outcome.OK), 2.0)
    asked, answered = events
    for wrong in ([answered], [asked, answered, answered], [asked, asked]):
        with pytest.raises(HistoryError, match="question 0"):
            operations(wrong)


def test_a_line_has_only_what_is_not_as_usual() -> None:
    history, events = recorded()
    number = history.invoked(0, "n1", Put("k", "v"), 1.0)
    history.completed(number, Told(Outcome.OK, modify_index=3), 2.0)
    assert [encode(event) for event in events] == [
        b'{"event":"invoked","at_s":1.0,"number":0,"client":0,"node":"n1","asked":{"ask":"put","key":"k","value":"v"}}',
        b'{"event":"completed","at_s":2.0,"number":0,"outcome":"ok","modify_index":3}',
    ]
