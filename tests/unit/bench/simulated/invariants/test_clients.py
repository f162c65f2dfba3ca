"""State machines that part, writes that take effect twice, and answers that are not true."""

from __future__ import annotations

import pytest

from bench.history import Outcome
from bench.simulated.invariants import Invariants, InvariantViolationError, Ledger, clients
from bench.simulated.invariants.ledger import note_content, note_digest
from bench.simulated.requests import Told
from node.machine.kv import Command, Delete, KeyValueStore, Put, Result, Status
from tests.unit.bench.simulated.invariants.steps import assert_violated, entry


def test_state_machines_that_differ_at_an_index_are_seen() -> None:
    ledger = Ledger()
    note_digest(ledger, 1, b"x")
    clients.state_machines_agree(ledger, "b", 1, b"x")
    assert_violated(clients.state_machines_agree, ledger, "c", 1, b"y", words="c applied something else up to index 1")


def test_state_machines_that_hold_something_else_after_the_same_entries_are_seen() -> None:
    ledger = Ledger()
    note_content(ledger, 7, b"x")
    clients.contents_agree(ledger, "b", 7, b"x")
    clients.contents_agree(ledger, "b", 8, b"y")
    assert_violated(clients.contents_agree, ledger, "c", 7, b"", words="c holds something else after index 7")


class Performing:
    """A store that is told to perform commands, by one server and then by another; `store` may be made to err."""

    def __init__(self) -> None:
        self.watcher = Invariants()
        self.store = KeyValueStore()

    def perform(self, index: int, command: Command, *, name: str = "a", result: Result | None = None) -> None:
        came = self.store.apply(index, command)
        self.watcher.performed(name, entry(index, 1, command.encode()), result or came, self.store, 1.0)


def write(sequence: int, operation: Put | Delete | None = None) -> Command:
    return Command(operation or Put("k", "v"), "me", sequence)


def test_a_write_that_takes_effect_again_is_seen() -> None:
    servers = Performing()
    servers.perform(1, write(1))
    servers.perform(2, write(1))
    servers.perform(3, Command(Put("k", "w")))
    servers.store = KeyValueStore()
    with pytest.raises(InvariantViolationError, match="a made of write 1 of me at 1: done, 1; again at 4: done, 4"):
        servers.perform(4, write(1))


def test_a_write_that_takes_effect_again_and_does_not_say_so_is_seen() -> None:
    servers = Performing()
    servers.perform(1, write(1))
    servers.store.apply(2, Command(Put("k", "v")))
    with pytest.raises(InvariantViolationError, match="a did write 1 of me again at 2"):
        servers.perform(2, write(1))


def test_a_delete_that_takes_effect_again_and_does_not_say_so_is_seen() -> None:
    servers = Performing()
    servers.perform(1, Command(Put("k", "v")))
    servers.perform(2, write(1, Delete("k")))
    servers.perform(3, Command(Put("k", "v")))
    servers.perform(4, write(1, Delete("k")))
    servers.store.apply(5, Command(Delete("k")))
    with pytest.raises(InvariantViolationError, match="a did write 1 of me again at 5"):
        servers.perform(5, write(1, Delete("k")))


def test_a_retry_that_comes_after_the_clients_next_write_must_be_told_that_nobody_knows() -> None:
    servers = Performing()
    servers.perform(1, write(1))
    servers.perform(2, write(2))
    servers.perform(3, write(1))
    with pytest.raises(InvariantViolationError, match="writes_take_effect_once"):
        servers.perform(4, write(1), result=Result(Status.DONE, 1))


def test_a_new_write_that_is_taken_for_an_old_one_is_seen() -> None:
    servers = Performing()
    with pytest.raises(InvariantViolationError, match="a took write 1 of me for one from before"):
        servers.perform(1, write(1), result=Result(Status.SUPERSEDED, 0))


def test_a_server_that_makes_something_else_of_a_command_than_others_did_is_seen() -> None:
    servers = Performing()
    servers.perform(1, write(1))
    servers.perform(2, write(1))
    servers.store = KeyValueStore()
    servers.perform(1, write(1), name="b")
    restored = servers.store = KeyValueStore(servers.store.values())
    assert not restored.sessions()
    with pytest.raises(InvariantViolationError, match="b made of entry 2: done, 2; others: done, 1"):
        servers.perform(2, write(1), name="b")


@pytest.mark.parametrize(
    "told",
    [
        Told(Outcome.OK, modify_index=2),
        Told(Outcome.FAILED, "cas mismatch", modify_index=1),
        Told(Outcome.FAILED, "key not found"),
    ],
)
def test_a_client_that_is_told_something_else_than_what_came_of_its_write_is_seen(told: Told) -> None:
    servers = Performing()
    servers.perform(1, write(1))
    servers.perform(2, write(1))
    servers.watcher.ledger.open_tries["me", 1] = 3
    servers.watcher.told("me", 1, Told(Outcome.OK, modify_index=1), 1.0)
    servers.watcher.told("me", 1, Told(Outcome.UNKNOWN, "ReadTimeout"), 1.0)
    servers.watcher.told("me", 1, Told(Outcome.FAILED, "overwritten"), 1.0)
    with pytest.raises(InvariantViolationError, match="what came of it is done, 1 at 1"):
        servers.watcher.told("me", 1, told, 1.0)


def test_a_client_that_is_told_of_a_write_that_nobody_performed_is_seen() -> None:
    with pytest.raises(InvariantViolationError, match="what came of it is nothing yet"):
        Invariants().told("me", 1, Told(Outcome.OK, modify_index=1), 1.0)


def test_an_acknowledged_write_that_is_not_committed_is_seen() -> None:
    ledger = Ledger(committed=[0, 1, 2])
    clients.acknowledged_is_committed(ledger, "a", 2, 2, 1)
    assert_violated(clients.acknowledged_is_committed, ledger, "a", 3, 2, 1, words="entry 3 of term 2, not committed")
    assert_violated(clients.acknowledged_is_committed, ledger, "a", 2, 1, 1, words="entry 2 of term 1, not committed")


def test_a_write_put_before_what_was_known_when_it_was_asked_for_is_seen() -> None:
    ledger = Ledger(committed=[0, 1, 2])
    assert_violated(clients.acknowledged_is_committed, ledger, "a", 2, 2, 2, words="at 2 that was asked for after 2")


@pytest.mark.parametrize("kind", ["consistent", "leader"])
def test_a_read_that_misses_what_was_known_before_it_is_seen(kind: str) -> None:
    clients.reads_are_not_stale(Ledger(), "a", kind, 3, 3)
    clients.reads_are_not_stale(Ledger(), "a", "default", 2, 3)
    assert_violated(clients.reads_are_not_stale, Ledger(), "a", kind, 2, 3, words="from index 2; 3 was known")
