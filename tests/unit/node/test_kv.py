from __future__ import annotations

import itertools
import threading

import pytest

from node.machine import kv
from node.machine.kv import Batch, Command, Decision, DeleteKey, KeyValueStore, Result, SetKey, Value


def say(store: KeyValueStore, index: int, client: str) -> Result:
    """The first and only write of this client, as it stands in the log at `index`."""
    return store.apply(index, Command(SetKey(f"of-{client}", "v"), client_id=client, sequence=1))


def remembered(store: KeyValueStore) -> list[str]:
    return [client for client, _ in store.sessions()]


def test_a_put_keeps_where_the_key_was_created_and_last_changed() -> None:
    store = KeyValueStore()
    store.apply(3, Command(SetKey("k", "a")))
    store.apply(5, Command(SetKey("k", "b", flags=7)))
    value = store.get("k")
    assert value is not None
    assert (value.value, value.flags, value.create_index, value.modify_index) == ("b", 7, 3, 5)


def test_a_cas_takes_effect_only_on_the_index_it_names() -> None:
    store = KeyValueStore()
    assert store.apply(1, Command(SetKey("k", "a", cas=0))) == Result(Decision.DONE, 1)
    assert store.apply(2, Command(SetKey("k", "b", cas=0))) == Result(Decision.CONFLICT, 1)
    assert store.apply(3, Command(DeleteKey("k", cas=2))) == Result(Decision.CONFLICT, 1)
    assert store.apply(4, Command(DeleteKey("k", cas=1))) == Result(Decision.DONE, 4)
    assert store.apply(5, Command(DeleteKey("k"))) == Result(Decision.MISSING, 0)


def test_a_write_that_stands_twice_in_the_log_takes_effect_once() -> None:
    """Raft §8: a retry must not undo what was written in between, and is told the first answer."""
    store = KeyValueStore()
    first = store.apply(1, Command(SetKey("k", "a"), client_id="c", sequence=1))
    store.apply(2, Command(SetKey("k", "b")))
    assert store.apply(3, Command(SetKey("k", "a"), client_id="c", sequence=1)) == first
    value = store.get("k")
    assert value is not None
    assert value.value == "b"


def test_a_command_comes_back_from_the_log_as_it_went_in() -> None:
    command = Command(SetKey("k", "ü\n", flags=3, cas=9), client_id="c", sequence=4)
    assert Command.decode(command.encode()) == command


def test_a_late_retry_is_not_told_the_answer_of_a_later_write() -> None:
    store = KeyValueStore()
    store.apply(1, Command(SetKey("k", "a"), client_id="c", sequence=2))
    assert store.apply(2, Command(SetKey("other", "b"), client_id="c", sequence=1)).status is Decision.SUPERSEDED
    assert store.get("other") is None


def test_the_client_seen_longest_ago_is_forgotten_first_and_its_write_takes_effect_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The bound of exactly once, unlike thesis 6.3, where a client whose session is gone is told so."""
    monkeypatch.setattr(kv, "SESSIONS", 3)
    store = KeyValueStore()
    for index, client in enumerate("abcd", 1):
        say(store, index, client)
    assert remembered(store) == ["b", "c", "d"]
    assert say(store, 5, "b") == Result(Decision.DONE, 2)
    assert say(store, 6, "a") == Result(Decision.DONE, 6)


def test_a_client_that_asks_again_is_remembered_as_long_as_one_that_is_new(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kv, "SESSIONS", 3)
    store = KeyValueStore()
    for index, client in enumerate("abcad", 1):
        say(store, index, client)
    assert say(store, 6, "a") == Result(Decision.DONE, 1)
    assert remembered(store) == ["c", "d", "a"]


def test_never_more_clients_are_remembered_than_there_are_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kv, "SESSIONS", 3)
    store = KeyValueStore()
    for index in range(1, 50):
        say(store, index, f"c{index * index % 11}")
        assert len(store.sessions()) <= 3


def test_a_batch_with_one_cas_that_does_not_hold_changes_nothing_and_says_which() -> None:
    store = KeyValueStore()
    store.apply(1, Command(SetKey("a", "1")))
    store.apply(2, Command(SetKey("b", "1")))
    batch = Batch((SetKey("a", "2", cas=1), SetKey("b", "2", cas=1), DeleteKey("c", cas=5)))
    assert store.apply(3, Command(batch)) == Result(Decision.CONFLICT, 0, {"b": 2, "c": 0})
    assert [value.value for _, value in store.values()] == ["1", "1"]


def test_a_batch_takes_effect_at_one_index() -> None:
    store = KeyValueStore()
    store.apply(1, Command(SetKey("a", "1")))
    batch = Batch((SetKey("a", "2", flags=3, cas=1), DeleteKey("gone"), SetKey("b", "2", cas=0)))
    assert store.apply(2, Command(batch, "c", 1)) == Result(Decision.DONE, 2)
    assert store.apply(3, Command(batch, "c", 1)) == Result(Decision.DONE, 2)
    assert dict(store.values()) == {"a": Value("2", 3, 1, 2), "b": Value("2", 0, 2, 2)}


def test_a_batch_comes_back_from_the_log_as_it_went_in() -> None:
    command = Command(Batch((SetKey("k", "v"), DeleteKey("l", cas=2))), client_id="c", sequence=4)
    assert Command.decode(command.encode()) == command


def test_a_batch_is_read_whole_while_another_thread_makes_it() -> None:
    """Read one by one, a fourth of these reads had keys of two batches."""
    store, keys = KeyValueStore(), [f"k{number}" for number in range(5)]
    done = threading.Event()

    def set_again_and_again() -> None:
        for index in itertools.count(1):
            store.apply(index, Command(Batch(tuple(SetKey(key, str(index)) for key in keys))))
            if done.is_set():
                return

    writer = threading.Thread(target=set_again_and_again)
    writer.start()
    try:
        for _ in range(20_000):
            found = {value and value.value for value in store.get_all(keys).values()}
            assert len(found) == 1, found
    finally:
        done.set()
        writer.join()
