"""Histories of other tools: read, written, and refused with the line where they are no history."""

from __future__ import annotations

import contextlib
import math
import random
from typing import Any

import pytest

from bench import history_formats
from bench.checkers import check_linearizable
from bench.history_formats import HistoryFormatError, jepsen, porcupine, read
from bench.models import ILLEGAL, MODELS, Call, Model, Refused, kv, register
from bench.operations import Item
from bench.verdict import Verdict
from tests.unit.bench.linearizing import ASKING, MODEL_OF, history, mutated

LOG = """\
INFO  jepsen.core - Running test
INFO  jepsen.util - 0	:invoke	:read	nil
INFO  jepsen.util - 1	:invoke	:write	4
INFO  jepsen.util - 0	:ok	:read	nil
INFO  jepsen.util - :nemesis	:info	:start	nil
INFO  jepsen.util - 1	:info	:write	:timed-out
INFO  jepsen.util - 2	:invoke	:cas	[4 1]
INFO  jepsen.util - 0	:invoke	:cas	[3 1]
INFO  jepsen.util - 2	:ok	:cas	[4 1]
INFO  jepsen.util - 0	:fail	:cas	[3 1]
INFO  jepsen.util - 2	:invoke	:read	nil
INFO  jepsen.util - 2	:fail	:read	:timed-out
"""
EDN = """\
; a remark
[#jepsen.history.Op{:index 0, :time 10, :type :invoke, :process 0, :f :write, :value 1}
 {:index 1, :time 20, :type :info, :process :nemesis, :f :start, :value {:n1 #{"n2" "n3"}}}
 {:index 2, :time 30, :type :ok, :process 0, :f :write, :value 1}
 {:index 3, :time 40, :type :invoke, :process 1, :f :read, :value nil} {:index 4, :time 50, :type :ok,
  :process 1, :f :read, :value 1}]
"""
KEY_VALUE = """\
{:process 0, :type :invoke, :f :append, :key "0", :value "x"}
{:process 1, :type :invoke, :f :get, :key "1", :value nil}
{:process 0, :type :ok, :f :append, :key "0", :value "x"}
{:process 1, :type :ok, :f :get, :key "1", :value ""}
{:process 0, :type :invoke, :f :get, :key "0", :value nil}
{:process 0, :type :ok, :f :get, :key "0", :value "x"}
"""


def of(text: str) -> list[Call]:
    return read(text.splitlines(keepends=True))


def test_the_log_of_jepsen_is_read() -> None:
    assert [(call.client, call.does, call.value, call.told, call.known) for call in of(LOG)] == [
        (0, "read", None, None, True),
        (1, "write", 4, None, False),
        (2, "cas", (4, 1), True, True),
        (0, "cas", (3, 1), False, True),
    ]
    assert check_linearizable(of(LOG), register).verdict is Verdict.VALID


def test_a_vector_of_edn_is_read_with_its_times() -> None:
    assert of(EDN) == [
        Call(0, "write", 1, None, 10e-9, 30e-9),
        Call(1, "read", None, 1, 40e-9, 50e-9),
    ]


def test_the_key_value_text_of_porcupine_is_read() -> None:
    calls = of(KEY_VALUE)
    assert [(call.key, call.does, call.value, call.told) for call in calls] == [
        ("0", "append", "x", None),
        ("1", "get", None, None),
        ("0", "get", None, "x"),
    ]
    assert check_linearizable(calls, kv).verdict is Verdict.VALID


@pytest.mark.parametrize("kind", ASKING)
def test_what_was_written_is_read_again_and_judged_the_same(kind: str) -> None:
    rng = random.Random(kind)
    for _ in range(100):
        calls = mutated(kind, rng, history(kind, rng, 6))
        again = of("\n".join(jepsen(calls)))
        verdicts = [check_linearizable(each, MODELS[MODEL_OF[kind]]).verdict for each in (calls, again)]
        assert verdicts[0] is verdicts[1], calls


def test_every_kind_of_call_comes_back() -> None:
    items = (Item("a", 'quo"ted\n'), Item("b", None, 3))
    calls = [
        Call(0, "set_all", items, 3, 1, 2),
        Call(0, "set_all", items, Refused(), 3, 4),
        Call(0, "cas_index", ("v", 3), Refused(4), 5, 6, "k"),
        Call(0, "delete", None, 7, 7, 8, "k"),
        Call(0, "get", None, None, 9, 10, "k"),
        Call(0, "cas", (1, None), False, 11, 12, "k"),
        Call(0, "put", "", None, 13, 14, "k", known=False),
        Call(1, "put", "", None, 15, math.inf, "k", known=False),
    ]
    assert of("\n".join(jepsen(calls))) == calls


def test_porcupine_is_told_what_it_knows() -> None:
    calls = of(KEY_VALUE)
    written = list(porcupine(calls))
    assert written[0] == KEY_VALUE.splitlines()[0]
    assert [call[1:] for call in of("\n".join(written))] == [call[1:] for call in calls]
    with pytest.raises(HistoryFormatError, match="delete cannot be said"):
        list(porcupine([Call(0, "delete", None, 7, 7, 8, "k")]))


def test_a_client_that_was_not_told_goes_on_as_another() -> None:
    calls = [Call("a", "put", 1, None, 1, 2, "k", known=False), Call("a", "put", 2, None, 3, 4, "k")]
    assert [call.client for call in of("\n".join(jepsen(calls)))] == [0, 1]


ASKS = "{:process 0, :type :invoke, :f :read, :value nil}"
TOLD = "{:process 0, :type :ok, :f :read, :value 1}"
WRONG: dict[str, tuple[str, str]] = {
    "nothing": ("", "there is nothing in it"),
    "a tale": ("Once upon a time\n", "line 1: this is neither EDN nor a line of Jepsen's log"),
    "told before it asked": (f"{TOLD}\n{ASKS}", "line 1: client 0 is told .* and has none under way"),
    "told twice": (f"{ASKS}\n{TOLD}\n{TOLD}", "line 3: client 0 is told"),
    "asked twice": (f"{ASKS}\n{ASKS}", "line 2: client 0 asks, and its call of line 1 is open"),
    "a client that nobody is": (f"{ASKS}\n{TOLD.replace('0', '9', 1)}", "line 2: client 9 is told"),
    "another call": (f"{ASKS}\n{TOLD.replace(':read', ':write')}", "line 2: this tells of another call"),
    "another value": (
        "{:process 0, :type :invoke, :f :write, :value 1}\n{:process 0, :type :ok, :f :write, :value 2}",
        "line 2: this tells of another call than client 0 made in line 1",
    ),
    "cut off": (f"[{ASKS}\n{TOLD[:-1]}", "line 2: it ends, and { of line 2 is not closed"),
    "cut off in a text": ('{:process 0, :value "abc', "line 1: this text does not end"),
    "closed too often": (f"{ASKS}}}", "line 1: } closes what is not open"),
    "closed by another": ("[{:process 0]", "line 1: ] closes what is not open"),
    "no map": ("[1 2 3]", "line 1: an event is a map, and this is 1"),
    "no event": ("{:a 1}", "line 1: this map has no :process"),
    "a key alone": ("{:process}", "line 1: this map has a key without a value"),
    "a key twice": ("{:process 0 :process 1}", "line 1: this map has a key twice"),
    "no type": ("{:process 0 :f :read}", "line 1: this event has :type None"),
    "an odd type": (f"{ASKS}\n{TOLD.replace(':ok', ':okay')}", "line 2: okay is no type of event"),
    "an odd time": ('{:process 0 :type :ok :f :read :time "now"}', "line 1: this event has :time 'now'"),
    "no value": ("{:process 0 :type @@}", "line 1: this is no value of EDN: @@"),
    "a bad text": (r'{:process 0 :type "\q"}', "line 1: this text cannot be read"),
    "time going back": (
        "{:process 0, :type :invoke, :f :read, :time 9}\n{:process 1, :type :invoke, :f :read, :time 8}",
        "line 2: time goes back: events are out of order",
    ),
    "shuffled": (
        "{:process 0, :type :invoke, :f :read, :index 9}\n{:process 1, :type :invoke, :f :read, :index 8}",
        "line 2: index 8 comes after 9: events are out of order",
    ),
    "an odd batch": ("{:process 0, :type :invoke, :f :set_all, :value 7}", "line 1: this batch is no vector"),
    "nested for ever": ("[" * 100_000, "line 1: more than 32 brackets are open"),
    "an edited log": (f"{LOG}INFO  jepsen.util - 3	:invoke\n", "line 13: this is no event: 3"),
    "a log that tells of nobody": (f"{LOG}INFO  jepsen.util - 3	:ok	:read	1\n", "line 13: client 3 is told"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_no_history_is_refused_with_its_line(what: str) -> None:
    text, why = WRONG[what]
    with pytest.raises(HistoryFormatError, match=why):
        of(text)


def test_what_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_formats, "LONGEST_LINE", 60)
    with pytest.raises(HistoryFormatError, match="line 2: it is longer than 60 characters"):
        of(f"{ASKS}\n{' ' * 70}")
    monkeypatch.setattr(history_formats, "LARGEST", 100)
    with pytest.raises(HistoryFormatError, match="line 3: the history is longer than 100 characters"):
        of(f"{ASKS}\n{TOLD}\n{ASKS}")


OURS_ASKED = '{"event":"invoked","at_s":%s,"number":%d,"client":0,"node":"n1","asked":%s}\n'
OURS_TOLD = '{"event":"completed","at_s":%s,"number":%d,"outcome":"ok","result":%s,"modify_index":%s}\n'
PUT, GET = '{"ask":"put","key":"k","value":"a"}', '{"ask":"get","key":"k","freshness":"linearizable"}'
WROTE = OURS_ASKED % (1, 0, PUT) + OURS_TOLD % (2, 0, "null", 5)
OURS = WROTE + OURS_ASKED % (3, 1, GET) + OURS_TOLD % (4, 1, '"a"', "null")


def test_our_own_history_is_read() -> None:
    assert [(call.does, call.value, call.told, call.invoked_s) for call in of(OURS)] == [
        ("put", "a", 5, 1.0),
        ("get", None, "a", 3.0),
    ]
    for model in (kv, register):
        assert check_linearizable(of(OURS), model).verdict is Verdict.VALID
        assert check_linearizable(of(OURS.replace('"a","m', '"b","m')), model).verdict is Verdict.INVALID


OURS_WRONG: dict[str, tuple[str, str]] = {
    "cut off": (OURS[:-9], "line 4: "),
    "answered before it was asked": (OURS_TOLD % (2, 0, "null", 5) + WROTE, "line 1: question 0 is answered"),
    "answered earlier than it was asked": (WROTE.replace('s":2', 's":0.5'), "line 2: question 0 is answered at 0.5,"),
    "answered twice": (WROTE + OURS_TOLD % (2, 0, "null", 5), "line 3: question 0 is answered, and nobody"),
    "asked twice": (WROTE[: WROTE.index("\n") + 1] * 2, "line 2: question 0 is asked twice"),
    "a question that nobody asked": (WROTE + OURS_TOLD % (2, 9, "null", 5), "line 3: question 9 is answered"),
    "an event of EDN": (WROTE + "{:process 0}\n", "line 3: JSON is malformed"),
    "an empty line": (f"{WROTE}\n{WROTE}", "line 3: "),
    "nested for ever": ('{"a":' * 100_000, "line 1: "),
    "a field with the end of a line in it": ('{"event":"invoked","a\\n\\u001b[31m":1}', r"line 1: .*`a\?\?\[31m`"),
    "binary": ("\0\1\2\ufffd", "line 1: this is neither EDN"),
}


@pytest.mark.parametrize("what", OURS_WRONG)
def test_what_is_no_history_of_ours_is_refused_with_its_line(what: str) -> None:
    text, why = OURS_WRONG[what]
    with pytest.raises(HistoryFormatError, match=why):
        of(text)


def test_so_much_is_read_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_formats, "MOST_VALUES", 10)
    assert len(of(ASKS)) == 1
    with pytest.raises(HistoryFormatError, match="line 2: an event has more than 10 values"):
        of(f"{ASKS}\n{{:process 0 :value [1 2 3 4 5 6 7 8]}}")
    monkeypatch.setattr(history_formats, "MOST_EVENTS", 3)
    for text in (KEY_VALUE, OURS):
        with pytest.raises(HistoryFormatError, match="line 4: the history has more than 3 events"):
            of(text)
    monkeypatch.setattr(history_formats, "MOST_LINES", 5)
    with pytest.raises(HistoryFormatError, match="line 6: the history has more than 5 lines"):
        of(LOG)


@pytest.mark.parametrize("seed", range(3))
def test_a_history_that_was_cut_or_edited_anywhere_is_read_or_refused(seed: int) -> None:
    rng = random.Random(seed)
    for text in (LOG, EDN, KEY_VALUE, OURS):
        for _ in range(300):
            at, length = rng.randrange(len(text)), rng.randrange(4)
            edited = text[:at] + rng.choice(["", "}", '"', "9", ":", "[", " "]) + text[at + length :]
            with contextlib.suppress(HistoryFormatError):
                read(edited.splitlines(keepends=True))


def test_a_call_that_only_a_model_of_one_s_own_knows_is_told_what_its_completion_says() -> None:
    def step(state: tuple[int, ...], call: Call) -> Any:
        if call.does == "push":
            return (*state, call.value)
        return state[:-1] if state and call.told == state[-1] else ILLEGAL

    stack = Model("stack", (), step)
    pushed = ["{:type :invoke :f :push :value 1 :process 0}", "{:type :ok :f :push :value 1 :process 0}"]
    for told, verdict in ((1, Verdict.VALID), (2, Verdict.INVALID)):
        popped = ["{:type :invoke :f :pop :value nil :process 1}", f"{{:type :ok :f :pop :value {told} :process 1}}"]
        assert check_linearizable(read([*pushed, *popped]), stack).verdict is verdict


INDEPENDENT = """{:type :invoke :f :write :value [3 1] :process 0}
{:type :ok :f :write :value [3 1] :process 0}
{:type :invoke :f :write :value [4 7] :process 0}
{:type :ok :f :write :value [4 7] :process 0}
{:type :invoke :f :read :value [3 nil] :process 1}
{:type :ok :f :read :value [3 1] :process 1}"""


def test_in_jepsen_s_independent_tests_each_key_is_an_object_of_its_own() -> None:
    calls = read(INDEPENDENT.splitlines())
    assert {(call.key, call.does, call.value, call.told) for call in calls} == {
        ("3", "write", 1, None),
        ("4", "write", 7, None),
        ("3", "read", None, 1),
    }
    assert check_linearizable(calls, register).verdict is Verdict.VALID


def test_a_value_without_its_key_in_an_independent_test_is_no_history() -> None:
    with pytest.raises(HistoryFormatError, match=r"line 3: .*no pair of a key and a value"):
        read(INDEPENDENT.replace("[4 7]", "7").splitlines())
