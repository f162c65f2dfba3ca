"""Which histories are linearizable: against trying everything, and the classic ones by hand."""

from __future__ import annotations

import itertools
import math
import random
import re
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from bench.calls import calls_of
from bench.checkers import Budget, check_linearizable, linearizability, linearizable, stale_reads_are_true
from bench.checkers.guess import has_order_of_ranks
from bench.checkers.linearizability import Checked
from bench.checkers.orders import Part
from bench.evidence import Evidence, Record
from bench.models import ILLEGAL, MODELS, Call, Model, Refused, append, counter, kv, members, register
from bench.operations import (
    Cas,
    Delete,
    DeleteAll,
    Freshness,
    Get,
    GetAll,
    Item,
    Operation,
    Outcome,
    Put,
    Question,
    SetAll,
    Told,
)
from bench.player import Player
from bench.search.explore import case_of
from bench.simulated.cluster import SimulatedCluster
from bench.verdict import Finding, Verdict
from tests.unit.bench.linearizing import ASKING, MODEL_OF, compare, history

clients = itertools.count()


def call(does: str, value: Any = None, told: Any = None, *, at: tuple[float, float], key: str | None = None) -> Call:
    """One of a client of its own."""
    return Call(next(clients), does, value, told, *at, key)


def crashed(does: str, value: Any, at_s: float) -> Call:
    return Call(next(clients), does, value, None, at_s, math.inf, known=False)


def write(value: Any, began_s: float, ended_s: float) -> Call:
    return call("write", value, at=(began_s, ended_s))


def read(told: Any, began_s: float, ended_s: float) -> Call:
    return call("read", None, told, at=(began_s, ended_s))


def cas(expected: Any, new: Any, did: bool, began_s: float, ended_s: float) -> Call:
    return call("cas", (expected, new), did, at=(began_s, ended_s))


def is_legal(*calls: Call, model: Model = register) -> bool:
    return judged(*calls, model=model).verdict is Verdict.VALID


def judged(*calls: Call, model: Model = register, budget: Budget | None = None) -> Checked:
    return check_linearizable(calls, model, budget)


# By trying everything


@pytest.mark.parametrize("seed", range(4))
def test_both_searches_say_what_trying_everything_says(seed: int) -> None:
    """And are stuck at the same call, up to which there is an order."""
    found = compare(2100, seed)
    assert {(kind, legal) for kind in ASKING for legal in (True, False)} == set(found)


@pytest.mark.parametrize("kind", ASKING)
def test_what_a_real_object_did_is_linearizable(kind: str) -> None:
    rng = random.Random(kind)
    for _ in range(20):
        found = check_linearizable(history(kind, rng, 40, clients=4, crashes=0.1), MODELS[MODEL_OF[kind]])
        assert found.verdict is Verdict.VALID, found


# The classic ones


def test_a_read_may_not_be_older_than_a_write_that_was_over() -> None:
    assert not is_legal(write(1, 0, 1), read(None, 2, 3))
    assert is_legal(write(1, 0, 2.5), read(None, 2, 3)), "both at once"
    assert is_legal(write(1, 0, 2), read(None, 2, 3)), "at one instant is at once"


def test_two_reads_may_not_see_a_write_come_and_go() -> None:
    assert not is_legal(write(1, 0, 10), read(1, 1, 2), read(None, 3, 4))
    assert is_legal(write(1, 0, 10), read(None, 1, 2), read(1, 3, 4))


def test_an_update_is_not_lost() -> None:
    both = [call("add", 1, at=(0, 1)), call("add", 1, at=(0, 1))]
    assert is_legal(*both, call("read", None, 2, at=(2, 3)), model=counter)
    assert not is_legal(*both, call("read", None, 1, at=(2, 3)), model=counter)


def test_a_cas_takes_effect_once() -> None:
    assert not is_legal(write(1, 0, 1), cas(1, 2, True, 2, 3), cas(1, 2, True, 2, 3))
    assert is_legal(write(1, 0, 1), cas(1, 2, True, 2, 3), cas(1, 2, False, 2, 3))


def test_a_cas_that_was_refused_saw_something_else() -> None:
    assert not is_legal(write(1, 0, 1), cas(1, 2, False, 2, 3))


def test_a_crashed_write_may_take_effect_late_or_never_and_once() -> None:
    late = crashed("write", 2, 1)
    assert is_legal(write(1, 0, 0.5), late, read(1, 2, 3), read(2, 4, 5))
    assert is_legal(write(1, 0, 0.5), late, read(1, 2, 3), read(1, 4, 5))
    assert not is_legal(write(1, 0, 0.5), late, read(2, 2, 3), read(1, 4, 5))
    assert not is_legal(write(1, 0, 0.5), late, read(2, 2, 3), write(3, 4, 5), read(2, 6, 7))


def test_a_crashed_write_takes_no_effect_before_it_was_asked_for() -> None:
    assert not is_legal(read(2, 0, 1), crashed("write", 2, 1.5))


def test_of_crashed_writes_that_do_the_same_each_takes_effect_once() -> None:
    twins = [crashed("add", 1, 0), crashed("add", 1, 0)]
    for seen, legal in ((0, True), (1, True), (2, True), (3, False)):
        assert is_legal(*twins, call("read", None, seen, at=(1, 2)), model=counter) is legal


def test_a_list_only_grows() -> None:
    calls = [call("append", 1, at=(0, 1)), call("append", 2, at=(0, 1))]
    assert is_legal(*calls, call("read", None, [2, 1], at=(2, 3)), model=append)
    assert not is_legal(*calls, call("read", None, [2], at=(2, 3)), model=append)


def test_a_set_has_what_was_added() -> None:
    added = call("add", 1, at=(0, 1))
    assert is_legal(added, call("read", None, [1], at=(2, 3)), model=members)
    assert not is_legal(added, call("read", None, [], at=(2, 3)), model=members)


def test_a_model_of_ones_own_is_a_function_and_a_line() -> None:
    def step(state: tuple[Any, ...], call: Call) -> Any:
        match call.does:
            case "push":
                return (*state, call.value)
            case "pop" if state and call.told == state[-1]:
                return state[:-1]
        return ILLEGAL

    stack = Model("stack", (), step)
    pushed = [call("push", 1, at=(0, 1)), call("push", 2, at=(2, 3))]
    assert is_legal(*pushed, call("pop", None, 2, at=(4, 5)), model=stack)
    assert not is_legal(*pushed, call("pop", None, 1, at=(4, 5)), model=stack)


# What a counterexample shows


def test_the_counterexample_is_the_shortest_part_that_is_illegal() -> None:
    before = [write(number, number, number + 0.5) for number in range(20)]
    slow, wrong = write(77, 15, 30), read(3, 25, 26)
    found = judged(*before, slow, wrong, read(77, 31, 32)).counterexample
    assert found is not None
    assert (found.call, found.completed, found.overlapping, found.state) == (wrong, 21, (slow,), 77)
    assert set(before) <= set(found.order)
    assert [line for line in found.lines() if "read: told 3" in line]


def test_of_many_keys_the_illegal_one_is_named() -> None:
    calls = [call("write", 1, at=(0, 1), key=f"k{number}") for number in range(9)]
    found = judged(*calls, call("read", None, 2, at=(2, 3), key="k5"))
    assert found.counterexample is not None
    assert (found.verdict, found.counterexample.part, found.parts["k5"]) == (Verdict.INVALID, "k5", 2)
    assert "of k5" in found.reason


# What carries no verdict


@pytest.mark.parametrize(
    ("calls", "why"),
    [
        ([write(1, 2, 1)], "before it was invoked"),
        ([write(1, math.nan, 1)], "has no time"),
        ([write(1, 0, math.nan)], "has no time"),
        ([write(1, -math.inf, 0)], "has no time"),
        ([write(1, 0, math.inf)], "was never completed"),
        ([call("dance", at=(0, 1))], "dance of client .* is nothing that the model register knows; it knows cas, get"),
        ([Call(3, "write", 1, None, 0, 2), Call(3, "read", None, 1, 1, 3)], "write of client 3 at 0 and read at 1"),
        ([Call(3, "write", 1, None, 0, math.inf, known=False), Call(3, "read", None, 1, 1, 3)], "two calls under way"),
    ],
)
def test_what_is_no_history_is_not_judged(calls: list[Call], why: str) -> None:
    found = judged(*calls)
    assert found.verdict is Verdict.UNKNOWN
    assert re.search(why, found.reason)


def test_a_client_may_ask_again_when_it_has_given_up() -> None:
    given_up = Call(3, "write", 1, None, 0, 1, known=False)
    assert is_legal(given_up, Call(3, "read", None, None, 1, 2), Call(3, "read", None, 1, 2, 3))


def hard(width: int) -> list[Call]:
    """Of so many writes at once each could be the last, and none was."""
    return [*(write(number, 0, 1) for number in range(width)), read(-1, 2, 3)]


def test_what_the_budget_does_not_decide_is_not_guessed() -> None:
    calls = hard(20)
    found = judged(*calls, budget=Budget(steps=20_000))
    assert (found.verdict, found.reason) == (
        Verdict.UNKNOWN,
        "not decided within 20,000 steps, with 1 of 1 parts undecided",
    )
    assert found.steps < 21_000
    found = judged(*calls, budget=Budget(remembered=2_000))
    assert "not decided with 2,000 configurations in memory" in found.reason
    ticks = itertools.count()
    found = judged(*calls, budget=Budget(seconds=3, clock=lambda: next(ticks)))
    assert "not decided within 3 s" in found.reason
    with pytest.raises(ValueError, match="clock"):
        Budget(seconds=3)


def test_an_illegal_part_is_found_beside_one_that_cannot_be_decided() -> None:
    at_k = [one._replace(key="k") for one in hard(25)]
    at_j = [call("write", 1, at=(0, 1), key="j"), call("read", None, 2, at=(2, 3), key="j")]
    found = judged(*at_k, *at_j, budget=Budget(steps=100_000))
    assert (found.verdict, found.counterexample and found.counterexample.part) == (Verdict.INVALID, "j")


def test_many_crashed_writes_are_no_matter_for_who_keeps_the_least_sets() -> None:
    wild = [crashed("write", number, number) for number in range(40)]
    calls = [
        one
        for number in range(40)
        for one in (write("x", number, number + 0.2), read(number, number + 0.3, number + 0.6))
    ]
    assert judged(*wild, *calls).verdict is Verdict.VALID
    assert judged(*wild, *calls, read("none", 100, 101)).verdict is Verdict.INVALID


def raising(state: Any, call: Call) -> Any:
    raise LookupError("where is it")


def ending(state: Any, call: Call) -> Any:
    raise SystemExit(0)


FAILING: dict[str, tuple[Callable[[Any, Call], Any], str]] = {
    "raises": (raising, "LookupError: where is it"),
    "ends the program": (ending, "SystemExit: 0"),
    "returns a list": (lambda *_: [1], "TypeError: unhashable type: 'list'"),
}


@pytest.mark.parametrize("how", FAILING)
def test_a_model_that_fails_is_named(how: str) -> None:
    step, why = FAILING[how]
    found = judged(write(1, 0, 1), model=Model("odd", 0, step))
    assert found.verdict is Verdict.UNKNOWN
    assert re.fullmatch(f"the model odd failed at write of client \\d+: {why}", found.reason)


class Odd:
    """A state that can neither be compared nor shown."""

    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        raise LookupError("which one")

    def __repr__(self) -> str:
        raise LookupError("which one")


def test_a_model_whose_states_cannot_be_compared_is_named() -> None:
    odd = Model("odd", Odd(), lambda *_: Odd(), looks=lambda call: call.does == "read")
    found = judged(read(1, 0, 1), write(1, 0, 1), model=odd)
    assert (found.verdict, found.reason) == (Verdict.UNKNOWN, "the model odd failed: LookupError: which one")


def test_a_state_that_cannot_be_shown_takes_nothing_from_a_verdict() -> None:
    found = judged(write(1, 0, 1), model=Model("odd", Odd(), lambda *_: ILLEGAL)).counterexample
    assert found is not None
    assert [*found.lines()][-1] == "after which the state is one that cannot be shown: LookupError"


def test_a_model_that_cannot_take_calls_apart_is_named() -> None:
    found = judged(write(1, 0, 1), model=Model("odd", 0, raising, partition=lambda calls: {"": calls[9].value}))
    assert found.reason == "the model odd failed: IndexError: tuple index out of range"


def test_a_model_whose_states_never_end_is_stopped_by_the_budget() -> None:
    fresh = itertools.count()
    endless = Model("endless", 0, lambda *_: next(fresh))
    found = judged(*hard(12)[:-1], call("read", None, None, at=(0, 1)), model=endless, budget=Budget(steps=5_000))
    assert found.verdict in (Verdict.VALID, Verdict.UNKNOWN)
    assert found.steps <= 6_000


# Of our own store

MISMATCH = "cas mismatch"


def op(at_s: float, asked: Question, told: Told, *, client: int | None = None, lasts_s: float = 0.5) -> Operation:
    return Operation(next(clients) if client is None else client, "n1", asked, told, at_s, at_s + lasts_s)


def done(at_s: float, asked: Question, index: int | None, **more: Any) -> Operation:
    return op(at_s, asked, Told(Outcome.OK, modify_index=index), **more)


def refused(at_s: float, asked: Question, index: int | None = None, reason: str = MISMATCH) -> Operation:
    return op(at_s, asked, Told(Outcome.FAILED, reason, modify_index=index))


def unknown(at_s: float, asked: Question) -> Operation:
    return op(at_s, asked, Told(Outcome.UNKNOWN, "ReadTimeout"))


def got(
    at_s: float, value: str | None, by: Freshness = Freshness.LINEARIZABLE, key: str = "k", **more: Any
) -> Operation:
    return op(at_s, Get(key, by), Told(Outcome.OK, result=value), **more)


def found_in(*operations: Operation, timeline: tuple[Record, ...] = ()) -> Finding:
    return linearizable(Evidence(operations, {}, timeline))


def batch(*items: tuple[str, int | None]) -> SetAll:
    return SetAll(tuple(Item(key, "b", index) for key, index in items))


PUT = done(1, Put("k", "a"), 5)
UNTOLD = (PUT, done(2, batch(("k", None), ("j", None)), None))
"""Of what was put last nobody was told the index."""
LEGAL: dict[str, tuple[Operation, ...]] = {
    "a cas at the key's index": (PUT, done(2, Cas("k", "b", 5), 6), got(3, "b")),
    "a cas of an absent key": (done(2, Cas("k", "b", 0), 6), got(3, "b")),
    "a refused cas tells the key's index": (PUT, refused(2, Cas("k", "b", 1), 5), got(3, "a")),
    "a crashed write may have any later index": (PUT, unknown(2, Put("k", "b")), done(3, Cas("k", "c", 7), 9)),
    "a deletion": (PUT, done(2, Delete("k"), 6), got(3, None)),
    "a deletion of nothing": (refused(2, Delete("k"), None, "key not found"), got(3, None)),
    "all of a batch": (done(2, SetAll((Item("k", "b"), Item("j", "b"))), 6), got(3, "b"), got(3, "b", key="j")),
    "a batch that was refused": (
        PUT,
        refused(2, SetAll((Item("k", "b", 4), Item("j", "b"))), 0),
        got(3, None, key="j"),
    ),
    "a batch whose index is learnt at one key": (
        *UNTOLD,
        done(3, Cas("k", "c", 7), 9),
        done(4, Cas("j", "c", 7), 10),
    ),
    "an index that was refused for another key's sake": (
        *UNTOLD,
        refused(3, batch(("k", 7), ("i", 3))),
        done(4, Cas("k", "c", 7), 9),
    ),
    "a batch of deletions": (PUT, done(2, DeleteAll((Item("k"), Item("j"))), 6), got(3, None)),
    "what failed for certain has not happened": (PUT, refused(2, Put("k", "b"), None, "no leader"), got(3, "a")),
    "an old read may be old": (PUT, got(3, None, Freshness.STALE), got(3, "a", Freshness.LEASE)),
    "a read of several is an old one": (PUT, op(3, GetAll(("k",)), Told(Outcome.OK, result={}))),
}
ILLEGAL_ONES: dict[str, tuple[Operation, ...]] = {
    "an old read": (PUT, got(3, None)),
    "an old read by a lease": (PUT, got(3, None, Freshness.LEASE)),
    "a cas at another index": (PUT, done(2, Cas("k", "b", 4), 6)),
    "a cas that took effect twice": (PUT, done(2, Cas("k", "b", 5), 6), done(3, Cas("k", "b", 5), 7)),
    "a refused cas whose index is right": (PUT, refused(2, Cas("k", "b", 5), 5)),
    "a refused cas that tells a wrong index": (PUT, refused(2, Cas("k", "b", 1), 4)),
    "a crashed write at an earlier index": (PUT, unknown(2, Put("k", "b")), done(3, Cas("k", "c", 4), 9)),
    "a crashed write at two indexes": (
        PUT,
        unknown(2, Put("k", "b")),
        refused(3, Cas("k", "c", 1), 7),
        refused(4, Cas("k", "c", 1), 8),
    ),
    "half a batch": (done(2, SetAll((Item("k", "b"), Item("j", "b"))), 6), got(3, "b"), got(4, None, key="j")),
    "a batch that was refused without a reason": (PUT, refused(2, SetAll((Item("k", "b", 5),)), 0)),
    "a batch at two indexes": (*UNTOLD, done(3, Cas("k", "c", 7), 9), done(4, Cas("j", "c", 8), 10)),
    "an index behind that of a later write": (*UNTOLD, done(3, Put("j", "b"), 9), done(4, Cas("k", "c", 10), 11)),
    "untold indexes out of the log's order": (
        PUT,
        done(2, Put("j", "b"), None),
        done(3, Put("k", "b"), None),
        done(4, batch(("j", 8), ("k", 7)), None),
    ),
    "an index that was refused and then taken": (*UNTOLD, refused(3, batch(("k", 7))), done(4, Cas("k", "c", 7), 9)),
    "an index that was refused at one key and taken at the other": (
        *UNTOLD,
        refused(3, batch(("k", 7))),
        done(4, Put("k", "c"), None),
        done(5, Cas("j", "c", 7), 9),
    ),
    "writes out of the log's order": (PUT, done(2, Put("j", "b"), 4)),
    "two writes at one index": (PUT, done(2, Put("k", "b"), 5)),
    "a deletion of nothing that is acknowledged": (done(2, Delete("k"), 6),),
}


@pytest.mark.parametrize("what", LEGAL)
def test_a_store_may_tell(what: str) -> None:
    assert found_in(*LEGAL[what]).verdict is Verdict.VALID


@pytest.mark.parametrize("what", ILLEGAL_ONES)
def test_a_store_may_not_tell(what: str) -> None:
    found = found_in(*ILLEGAL_ONES[what])
    assert found.verdict is Verdict.INVALID
    assert found.at_s is not None
    assert [line for line in found.details if "asks n1" in line]


def test_a_read_by_a_lease_is_believed_as_long_as_clocks_run_alike() -> None:
    clock = {"event": "clock_rate", "at_s": 0.5, "node": "n1", "rate": 0.0}
    assert found_in(PUT, got(3, None, Freshness.LEASE), timeline=(clock,)).verdict is Verdict.VALID
    assert found_in(PUT, got(3, None), timeline=(clock,)).verdict is Verdict.INVALID


def test_what_a_disk_forgot_is_not_held_against_the_nodes() -> None:
    wiped = {"event": "restart", "at_s": 2, "node": "n1", "wipe": True}
    assert found_in(PUT, got(3, None), timeline=(wiped,)).verdict is Verdict.UNKNOWN


def test_where_requests_come_twice_a_refused_one_may_have_been_taken_on() -> None:
    noise = {
        "event": "noise",
        "at_s": 0.5,
        "links": "client->n1,n1->n2",
        "detail": "loss 0 duplication 0.5 reordering 0",
    }
    between_nodes = noise | {"links": "n1->n2"}
    numbered = done(1, Put("k", "a", client_id="c", sequence=1), 5)
    history = (numbered, refused(2, Put("k", "b", client_id="d", sequence=1), None, "not leader"), got(3, "b"))
    assert found_in(*history, timeline=(between_nodes,)).verdict is Verdict.INVALID
    assert found_in(*history, timeline=(noise,)).verdict is Verdict.VALID
    stale = (*history[:2], got(3, "b", Freshness.STALE))
    for timeline, verdict in (((noise,), Verdict.VALID), ((between_nodes,), Verdict.INVALID)):
        assert stale_reads_are_true(Evidence(stale, {}, timeline)).verdict is verdict
    later = (done(2, Put("k", "b", client_id="d", sequence=1), 6), got(3, "a"))
    assert found_in(numbered, *later, timeline=(noise,)).verdict is Verdict.INVALID
    assert found_in(PUT, *later, timeline=(noise,)).verdict is Verdict.VALID, "PUT is not numbered"


def test_a_long_run_has_steps_for_each_of_its_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linearizability, "BUDGET", Budget(steps=10))
    assert found_in(*(done(at_s, Put("k", "v"), at_s) for at_s in range(1, 100))).verdict is Verdict.VALID


def test_a_run_in_which_nothing_was_asked_shows_nothing() -> None:
    assert found_in().verdict is Verdict.UNKNOWN
    assert found_in(got(1, "a", Freshness.STALE)).verdict is Verdict.UNKNOWN


def test_what_a_client_was_told_decides_what_is_said_of_its_call() -> None:
    kinds = [
        PUT,
        unknown(2, Put("k", "b")),
        refused(3, Delete("k"), None, "key not found"),
        refused(4, Put("k", "c"), None, "no leader"),
    ]
    calls = list(calls_of(kinds))
    assert [(call.does, call.known, call.told) for call in calls] == [
        ("put", True, 5),
        ("put", False, None),
        ("delete", True, Refused(0)),
    ]


def test_a_usual_run_takes_a_step_or_two_for_each_call() -> None:
    rng = random.Random(3)
    calls = [one._replace(client=next(clients)) for one in history("kv", rng, 12, crashes=0)]
    many = [one._replace(key=f"k{number}") for number in range(50) for one in calls]
    many = [one._replace(client=(one.client, one.key)) for one in many]
    found = check_linearizable(many, kv)
    assert (found.verdict, found.steps < 10 * len(many)) == (Verdict.VALID, True)


def test_ten_thousand_calls_of_five_clients_at_one_key_take_ten_steps_each_at_most() -> None:
    found = check_linearizable(history("register", random.Random(5), 10_000, clients=5, crashes=0), register)
    assert (found.verdict, found.steps < 100_000) == (Verdict.VALID, True)


# Reads that may be old


def test_a_read_that_may_be_old_shows_what_somebody_wrote_before() -> None:
    def told(*operations: Operation) -> Finding:
        return stale_reads_are_true(Evidence(operations, {}, ()))

    old = Freshness.STALE
    assert told(PUT, done(2, Put("k", "b"), 6), got(3, "a", old), got(3, None, old)).verdict is Verdict.VALID
    assert told(unknown(1, Put("k", "b")), got(3, "b", old)).verdict is Verdict.VALID
    assert "which nobody wrote" in told(PUT, got(3, "b", old)).reason
    assert "which nobody wrote" in told(refused(1, Put("k", "b"), None, "no leader"), got(3, "b", old)).reason
    late = told(got(3, "b", old), done(4, Put("k", "b"), 6))
    assert (late.verdict, late.at_s) == (Verdict.INVALID, 3.5)
    assert "was only asked for at 4.0000" in late.reason
    several = op(3, GetAll(("k", "j")), Told(Outcome.OK, result={"k": "a", "j": "z"}))
    assert told(PUT, several).verdict is Verdict.INVALID


def test_a_counterexample_says_what_a_read_could_have_been_told() -> None:
    """An old read, while another write is at work: it could have been told the one value or the other."""
    history = [
        call("put", "a", 1, at=(1, 2), key="k"),
        call("put", "b", 2, at=(3, 4), key="k"),
        call("put", "c", 3, at=(4.5, 6), key="k"),
        call("get", None, "a", at=(5, 7), key="k"),
    ]
    found = check_linearizable(history, kv).counterexample
    assert found is not None
    ((read, seen),) = found.could_see
    assert (read.told, seen) == ("a", ("b", "c"))
    assert "it could have been told 'b', 'c'" in [line.strip() for line in found.lines()]


def test_however_much_is_unknown_a_log_that_tells_its_order_decides() -> None:
    """Two minutes of faults, in which hundreds of writes have no outcome: no search decided that."""
    case = msgspec.structs.replace(case_of(1, 5, length_s=120), workload="mixed", retries=False)
    cluster = SimulatedCluster(case.plan)
    with cluster.opened():
        Player(cluster, case).play()
    evidence = cluster.evidence()
    unknown = [one for one in evidence.history if one.outcome is Outcome.UNKNOWN]
    assert len(unknown) > 100
    assert linearizable(evidence).verdict is Verdict.VALID


def test_no_order_is_guessed_in_which_a_write_comes_before_it_was_asked_for() -> None:
    unknown = crashed("put", "h", 5)._replace(key="k")
    history = [
        unknown,
        call("cas_index", ("x", 2), 3, at=(0, 10), key="k"),
        call("put", "w", 4, at=(1, 2), key="k"),
    ]
    assert not has_order_of_ranks(Part(kv, history), kv)


def test_no_order_is_guessed_in_which_a_write_comes_before_a_read_that_had_ended() -> None:
    unknown = crashed("put", "h", 5)._replace(key="k")
    history = [
        unknown,
        call("put", "w", 1, at=(0, 20), key="k"),
        call("get", None, "w", at=(0, 2), key="k"),
        call("get", None, "h", at=(0, 10), key="k"),
        call("get", None, "w", at=(11, 12), key="k"),
    ]
    assert not has_order_of_ranks(Part(kv, history), kv)
