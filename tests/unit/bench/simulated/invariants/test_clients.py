"""State machines that part, writes that take effect twice, and answers that are not true."""

from __future__ import annotations

import math

import pytest

from bench.cluster import PromiseBrokenError
from bench.operations import (
    Cas,
    Delete,
    DeleteAll,
    Freshness,
    GetAll,
    Item,
    Outcome,
    Put,
    SetAll,
    Told,
    Writing,
    with_changes,
)
from bench.simulated.invariants import Invariants, Ledger, clients
from bench.simulated.invariants.ledger import Disk, note_content, note_digest
from bench.simulated.requests import Request
from node.machine.kv import Batch, Command, Decision, DeleteKey, KeyValueStore, Result, SetKey, Value
from node.raft import LogPosition
from node.server import Answer
from tests.unit.bench.simulated.invariants.steps import SAID, assert_violated, entry, server


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


def write(sequence: int, operation: SetKey | DeleteKey | None = None) -> Command:
    return Command(operation or SetKey("k", "v"), "me", sequence)


def test_a_write_that_takes_effect_again_is_seen() -> None:
    servers = Performing()
    servers.perform(1, write(1))
    servers.perform(2, write(1))
    servers.perform(3, Command(SetKey("k", "w")))
    servers.store = KeyValueStore()
    with pytest.raises(PromiseBrokenError, match="a made of write 1 of me at 1: done, 1; again at 4: done, 4"):
        servers.perform(4, write(1))


def test_a_write_that_takes_effect_again_and_does_not_say_so_is_seen() -> None:
    servers = Performing()
    servers.perform(1, write(1))
    servers.store.apply(2, Command(SetKey("k", "v")))
    with pytest.raises(PromiseBrokenError, match="a did write 1 of me again at 2"):
        servers.perform(2, write(1))


def test_a_delete_that_takes_effect_again_and_does_not_say_so_is_seen() -> None:
    servers = Performing()
    servers.perform(1, Command(SetKey("k", "v")))
    servers.perform(2, write(1, DeleteKey("k")))
    servers.perform(3, Command(SetKey("k", "v")))
    servers.perform(4, write(1, DeleteKey("k")))
    servers.store.apply(5, Command(DeleteKey("k")))
    with pytest.raises(PromiseBrokenError, match="a did write 1 of me again at 5"):
        servers.perform(5, write(1, DeleteKey("k")))


def test_a_retry_that_comes_after_the_clients_next_write_must_be_told_that_nobody_knows() -> None:
    servers = Performing()
    servers.perform(1, write(1))
    servers.perform(2, write(2))
    servers.perform(3, write(1))
    with pytest.raises(PromiseBrokenError, match="writes_take_effect_once"):
        servers.perform(4, write(1), result=Result(Decision.DONE, 1))


def test_a_new_write_that_is_taken_for_an_old_one_is_seen() -> None:
    servers = Performing()
    with pytest.raises(PromiseBrokenError, match="a took write 1 of me for one from before"):
        servers.perform(1, write(1), result=Result(Decision.SUPERSEDED, 0))


def test_a_server_that_makes_something_else_of_a_command_than_others_did_is_seen() -> None:
    servers = Performing()
    servers.perform(1, write(1))
    servers.perform(2, write(1))
    servers.store = KeyValueStore()
    servers.perform(1, write(1), name="b")
    restored = servers.store = KeyValueStore(servers.store.values())
    assert not restored.sessions()
    with pytest.raises(PromiseBrokenError, match="b made of entry 2: done, 2; others: done, 1"):
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
    with pytest.raises(PromiseBrokenError, match="what came of it is done, 1 at 1"):
        servers.watcher.told("me", 1, told, 1.0)


def test_a_client_that_is_told_of_a_write_that_nobody_performed_is_seen() -> None:
    with pytest.raises(PromiseBrokenError, match="what came of it is nothing yet"):
        Invariants().told("me", 1, Told(Outcome.OK, modify_index=1), 1.0)


def test_an_acknowledged_write_that_is_not_committed_is_seen() -> None:
    ledger = Ledger(committed=[0, 1, 2])
    clients.acknowledged_is_committed(ledger, "a", 2, 2, 1)
    assert_violated(clients.acknowledged_is_committed, ledger, "a", 3, 2, 1, words="entry 3 of term 2, not committed")
    assert_violated(clients.acknowledged_is_committed, ledger, "a", 2, 1, 1, words="entry 2 of term 1, not committed")


def test_a_write_put_before_what_was_known_when_it_was_asked_for_is_seen() -> None:
    ledger = Ledger(committed=[0, 1, 2])
    assert_violated(clients.acknowledged_is_committed, ledger, "a", 2, 2, 2, words="at 2 that was asked for after 2")


@pytest.mark.parametrize("freshness", [Freshness.LEASE, Freshness.LINEARIZABLE])
def test_a_read_that_misses_what_was_known_before_it_is_seen(freshness: Freshness) -> None:
    clients.reads_are_not_stale(Ledger(), "a", freshness, 3, 3)
    clients.reads_are_not_stale(Ledger(), "a", Freshness.STALE, 2, 3)
    assert_violated(clients.reads_are_not_stale, Ledger(), "a", freshness, 2, 3, words="from index 2; 3 was known")


@pytest.mark.parametrize(
    ("operation", "result"),
    [
        (SetKey("k", "w"), Result(Decision.CONFLICT, 1)),
        (SetKey("k", "w", cas=9), Result(Decision.DONE, 2)),
        (DeleteKey("k"), Result(Decision.MISSING, 0)),
        (DeleteKey("other"), Result(Decision.CONFLICT, 0)),
    ],
)
def test_a_command_that_comes_to_something_else_than_it_says_is_seen(
    operation: SetKey | DeleteKey, result: Result
) -> None:
    servers = Performing()
    servers.perform(1, write(1))
    with pytest.raises(PromiseBrokenError, match="commands_do_what_they_say: a made of entry 2"):
        servers.perform(2, write(2, operation), result=result)


@pytest.mark.parametrize("left", [SetKey("k", "v"), SetKey("k", "w", flags=1), DeleteKey("k")])
def test_a_command_that_leaves_something_else_than_it_says_is_seen(left: SetKey | DeleteKey) -> None:
    servers = Performing()
    servers.store.apply(1, Command(left))
    with pytest.raises(PromiseBrokenError, match="commands_do_what_they_say: a made of entry 1"):
        servers.watcher.performed(
            "a", entry(1, 1, write(1, SetKey("k", "w")).encode()), Result(Decision.DONE, 1), servers.store, 1.0
        )


ASKED: list[tuple[Writing, SetKey | DeleteKey | Batch]] = [
    (Put("k", "v"), SetKey("k", "v")),
    (Cas("k", "v", 0), SetKey("k", "v", cas=0)),
    (Delete("k"), DeleteKey("k")),
    (Delete("k", 3), DeleteKey("k", 3)),
    (SetAll((Item("k", "v", 3),)), Batch((SetKey("k", "v", cas=3),))),
    (DeleteAll((Item("k"),)), Batch((DeleteKey("k"),))),
]


@pytest.mark.parametrize(("asked", "means"), ASKED)
def test_an_acknowledgement_of_anything_else_than_was_asked_is_seen(
    asked: Writing, means: SetKey | DeleteKey | Batch
) -> None:
    """Also one without its client, or without what it was to depend on."""
    mine = with_changes(asked, client_id="me", sequence=1)
    others = [operation for _, operation in ASKED if operation != means]
    right = Command(means, "me", 1)
    for index, command in enumerate([right, Command(means), *(Command(other, "me", 1) for other in others)], 1):
        servers = Performing()
        servers.perform(index, command)
        ledger = servers.watcher.ledger
        if command == right:
            clients.acknowledged_is_what_was_asked(ledger, "a", mine, index)
        else:
            words = f"a acknowledged entry {index} for"
            assert_violated(clients.acknowledged_is_what_was_asked, ledger, "a", mine, index, words=words)
    assert_violated(clients.acknowledged_is_what_was_asked, Ledger(), "a", mine, 1, words="there stands None")


REFUSED = Told(Outcome.FAILED, "overwritten")


def test_a_write_that_was_refused_for_certain_and_has_happened_is_seen() -> None:
    servers = Performing()
    servers.watcher.ledger.open_tries["me", 1] = 2
    servers.perform(1, write(1))
    servers.watcher.told("me", 1, REFUSED, 1.0)
    with pytest.raises(PromiseBrokenError, match="write 1 has not happened: overwritten; it stands at 1"):
        servers.watcher.told("me", 1, REFUSED, 1.0)


def test_a_write_that_was_refused_for_certain_and_happens_later_is_seen() -> None:
    servers = Performing()
    servers.watcher.ledger.open_tries["me", 1] = 1
    servers.watcher.told("me", 1, REFUSED, 1.0)
    with pytest.raises(PromiseBrokenError, match="a performed write 1 of me at 1, of which it was told for"):
        servers.perform(1, write(1))


def read(*keys: str) -> Request:
    return Request(1, "a", GetAll(keys), 0, lambda request, told: None)


def test_a_read_that_is_told_what_did_not_stand_there_is_seen() -> None:
    servers = Performing()
    servers.perform(1, Command(SetKey("k", "v")))
    servers.perform(3, Command(SetKey("k", "w")))
    first, last = Value("v", 0, 1, 1), Value("w", 0, 1, 3)
    for index, value in ((0, None), (1, first), (2, first), (3, last), (9, last)):
        told = {"k": value, "other": None}
        answer = Answer("me", told, position=LogPosition(index, 1))
        clients.reads_tell_what_stands(servers.watcher.ledger, "a", read("k", "other"), answer)
        wrong = answer._replace(value={**told, "k": last if value is first else first})
        request = read("k", "other")
        assert_violated(
            clients.reads_tell_what_stands, servers.watcher.ledger, "a", request, wrong, words=f"a says of {index}"
        )


@pytest.mark.parametrize(("until_s", "at_s"), [(math.inf, 1.0), (5.1, 1.0), (5.0, 5.0)])
def test_a_read_by_a_lease_that_outlives_it_is_seen(until_s: float, at_s: float) -> None:
    ledger = Ledger(servers={"a": server(lease_until_s=5.0)})
    clients.lease_reads_end_with_the_lease(ledger, "a", Answer("me", until_s=5.0), 4.9)
    answer = Answer("me", until_s=until_s)
    assert_violated(clients.lease_reads_end_with_the_lease, ledger, "a", answer, at_s, words="it has one to 5.0")


def test_a_linearizable_read_by_a_lease_is_seen() -> None:
    judge = clients.linearizable_reads_rest_on_no_clock
    judge(Ledger(), "a", Answer("me"))
    assert_violated(judge, Ledger(), "a", Answer("me", until_s=5.0), words="a answered by a lease, until 5.0")


def test_a_read_that_is_told_before_what_it_rests_on_is_applied_is_seen() -> None:
    ledger = Ledger(published={"a": SAID})
    clients.reads_rest_on_what_is_applied(ledger, "a", 0)
    assert_violated(clients.reads_rest_on_what_is_applied, ledger, "a", 1, words="stands at 1; it has applied 0")


def test_a_read_of_a_server_that_has_said_nothing_yet_may_rest_on_its_snapshot() -> None:
    """A client may be quicker than the first word of a server that has just started."""
    ledger = Ledger(disks={"a": Disk(snapshot_index=3)})
    clients.reads_rest_on_what_is_applied(ledger, "a", 3)
    assert_violated(clients.reads_rest_on_what_is_applied, ledger, "a", 4, words="stands at 4; it has applied 3")
