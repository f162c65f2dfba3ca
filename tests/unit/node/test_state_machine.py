from __future__ import annotations

import pytest

from node.machine import kv
from node.machine.kv import Batch, Command, Decision, DeleteKey, SetKey
from node.machine.state_machine import ROWS_PER_LINE, Frozen, StateMachine
from node.raft import Entry, EntryKind


def entry(index: int, operation: SetKey | DeleteKey | Batch, client_id: str = "", sequence: int = 0) -> Entry:
    return Entry(index, 1, EntryKind.COMMAND, Command(operation, client_id, sequence).encode())


def filled(keys: int = 3 * ROWS_PER_LINE + 1) -> StateMachine:
    machine = StateMachine()
    for index in range(1, keys + 1):
        machine.apply(entry(index, SetKey(f"k{index}", "ü\n", flags=index), f"client{index % 700}", index))
    return machine


def restored(machine: StateMachine) -> StateMachine:
    copy = StateMachine()
    copy.restore(Frozen.decode(machine.freeze().encode()))
    return copy


def test_a_restored_machine_is_the_one_that_was_frozen() -> None:
    machine = filled()
    machine.apply(entry(9000, DeleteKey("k7")))
    copy = restored(machine)
    assert copy.digest == machine.digest
    assert list(copy.store.values()) == list(machine.store.values())
    assert copy.store.get("k9") == machine.store.get("k9")


def test_servers_that_applied_the_same_write_the_same_snapshot_however_they_got_there() -> None:
    """One from the log alone, one over a snapshot in between."""
    straight, over_a_snapshot = filled(), restored(filled())
    for machine in (straight, over_a_snapshot):
        for index in range(9000, 9100):
            machine.apply(entry(index, DeleteKey(f"k{index - 8999}")))
            machine.apply(entry(index + 500, SetKey(f"k{index - 8999}", "again"), "client5", index))
    assert straight.freeze().encode() == over_a_snapshot.freeze().encode()


def test_what_is_frozen_does_not_see_later_writes() -> None:
    machine = filled(10)
    before = machine.freeze().encode()
    frozen = machine.freeze()
    machine.apply(entry(11, SetKey("k1", "later"), "client1", 11))
    assert frozen.encode() == before


def test_exactly_once_survives_a_snapshot() -> None:
    """Raft §8: a retry that comes after the log before it was compacted is still known for one."""
    machine = StateMachine()
    first = machine.apply(entry(1, SetKey("k", "a"), "c", 1))
    machine.apply(entry(2, SetKey("k", "b")))
    copy = restored(machine)
    assert copy.apply(entry(3, SetKey("k", "a"), "c", 1)) == first
    value = copy.store.get("k")
    assert value is not None
    assert value.value == "b"


def test_a_restored_machine_forgets_the_same_client_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise one server would take a retry for new where another knows it."""
    monkeypatch.setattr(kv, "SESSIONS", 3)
    machine = StateMachine()
    for index, client in enumerate("abca", 1):
        machine.apply(entry(index, SetKey(client, "1"), client, 1))
    copy = restored(machine)
    for either in (machine, copy):
        either.apply(entry(5, SetKey("d", "1"), "d", 1))
        assert [client for client, _ in either.store.sessions()] == ["c", "a", "d"]
    assert copy.freeze().encode() == machine.freeze().encode()


def test_an_empty_machine_can_be_restored_too() -> None:
    assert restored(StateMachine()).freeze() != filled(1).freeze()
    assert len(restored(StateMachine()).store) == 0


def test_an_entry_that_is_no_command_changes_the_digest_alone() -> None:
    machine = StateMachine()
    assert machine.apply(Entry(1, 1, EntryKind.NOOP, b"")) is None
    assert machine.digest != bytes(8)
    assert len(machine.store) == 0


def test_what_became_of_commands_is_counted_by_kind() -> None:
    machine = StateMachine()
    machine.apply(entry(1, SetKey("k", "a")))
    machine.apply(entry(2, Batch((SetKey("k", "b", cas=7),))))
    assert machine.outcomes == {("set", Decision.DONE): 1, ("batch_set_cas", Decision.CONFLICT): 1}


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: b"SQLite format 3\0",
        lambda data: data[: len(data) // 2],
        lambda data: data[: data.rindex(b"\n[") + 1],
        lambda data: data + b"[]\n",
        lambda data: data.replace(b'"format":1', b'"format":9'),
        lambda data: data.replace(b'["k3",', b'["k4",'),
    ],
)
def test_what_is_no_snapshot_is_refused(damage: object) -> None:
    assert callable(damage)
    with pytest.raises(ValueError, match="no snapshot of a key-value store"):
        Frozen.decode(damage(filled().freeze().encode()))


def test_entries_alike_but_for_their_term_give_different_digests() -> None:
    """Two leaders may have put the same command at one index; only one of the logs is the cluster's."""
    data = Command(SetKey("k", "v")).encode()
    digests = set()
    for term in (1, 2):
        machine = StateMachine()
        machine.apply(Entry(1, term, EntryKind.COMMAND, data))
        digests.add(machine.digest)
    assert len(digests) == 2
