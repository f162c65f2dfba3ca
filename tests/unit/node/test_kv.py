from __future__ import annotations

from node.kv import Command, Delete, KeyValueStore, Put, Result, Status


def test_a_put_keeps_where_the_key_was_created_and_last_changed() -> None:
    store = KeyValueStore()
    store.apply(3, Command(Put("k", "a")))
    store.apply(5, Command(Put("k", "b", flags=7)))
    value = store.get("k")
    assert value is not None
    assert (value.value, value.flags, value.create_index, value.modify_index) == ("b", 7, 3, 5)


def test_a_cas_takes_effect_only_on_the_index_it_names() -> None:
    store = KeyValueStore()
    assert store.apply(1, Command(Put("k", "a", cas=0))) == Result(Status.DONE, 1)
    assert store.apply(2, Command(Put("k", "b", cas=0))) == Result(Status.CONFLICT, 1)
    assert store.apply(3, Command(Delete("k", cas=2))) == Result(Status.CONFLICT, 1)
    assert store.apply(4, Command(Delete("k", cas=1))) == Result(Status.DONE, 4)
    assert store.apply(5, Command(Delete("k"))) == Result(Status.MISSING, 0)


def test_a_write_that_stands_twice_in_the_log_takes_effect_once() -> None:
    """Raft §8: a retry must not undo what was written in between, and is told the first answer."""
    store = KeyValueStore()
    first = store.apply(1, Command(Put("k", "a"), client_id="c", sequence=1))
    store.apply(2, Command(Put("k", "b")))
    assert store.apply(3, Command(Put("k", "a"), client_id="c", sequence=1)) == first
    value = store.get("k")
    assert value is not None
    assert value.value == "b"


def test_a_command_comes_back_from_the_log_as_it_went_in() -> None:
    command = Command(Put("k", "ü\n", flags=3, cas=9), client_id="c", sequence=4)
    assert Command.decode(command.encode()) == command
