"""What clients are promised: of the state machines that serve them, of their sessions, and of what they are told."""

from __future__ import annotations

from bench.history import DECISIONS, Outcome
from bench.simulated import requests
from bench.simulated.invariants.ledger import Ledger, Performed, modify_indexes
from bench.simulated.invariants.violation import violated
from bench.simulated.requests import Told
from node.machine.kv import KeyValueStore, Result, Status

# State machines


def state_machines_agree(ledger: Ledger, name: str, index: int, digest: bytes) -> None:
    """State Machine Safety, where it is felt: equal hash chains at an equal applied index."""
    if ledger.digests.get(index, digest) != digest:
        violated(state_machines_agree, f"{name} applied something else up to index {index} than others did")


def contents_agree(ledger: Ledger, name: str, index: int, content: bytes) -> None:
    """State Machine Safety, for what is kept and not only for what was applied: the chain of the entries travels in a
    snapshot, so a server that restored it and lost every value still agrees on all of them. `content` is the checksum
    of what it holds."""
    if ledger.contents.get(index, content) != content:
        violated(contents_agree, f"{name} holds something else after index {index} than others did")


def commands_have_one_result(ledger: Ledger, name: str, index: int, result: Result, store: KeyValueStore) -> None:
    """State Machine Safety, for what clients are told and what became of the keys: the same on every server and in all
    its lives, whether it had the entries before from its log or from a snapshot."""
    first = ledger.performed[index]
    if (result, modify_indexes(store, first.keys)) != (first.result, first.modify_indexes):
        words = f"{name} made of entry {index}: {_outcome(result)}; others: {_outcome(first.result)}"
        violated(commands_have_one_result, words)


# Sessions


def writes_take_effect_once(ledger: Ledger, name: str, done: Performed) -> None:
    """Thesis 6.3: where a write of one client and sequence stands in the log again, nothing changes, and what came of
    it is what it was the first time; of one that came after its client's next, that is not known any more.

    Asked once for each index, in their order: of whoever performs it first."""
    if ledger.repeats(done):
        _must_change_nothing(ledger, name, done)
    elif done.result.status is Status.SUPERSEDED:
        latest = ledger.sequences.get(done.client_id, 0)
        words = f"{name} took write {done.sequence} of {done.client_id} for one from before its write {latest}"
        violated(writes_take_effect_once, words)


def _must_change_nothing(ledger: Ledger, name: str, again: Performed) -> None:
    write = f"write {again.sequence} of {again.client_id}"
    first = ledger.writes.get((again.client_id, again.sequence), again)
    superseded = again.sequence < ledger.sequences[again.client_id]
    if again.result != (Result(Status.SUPERSEDED, 0) if superseded else first.result):
        words = f"{name} made of {write} at {first.log_index}: {_outcome(first.result)}; again at {again.log_index}"
        violated(writes_take_effect_once, f"{words}: {_outcome(again.result)}")
    if again.modify_indexes != tuple(ledger.modify_indexes.get(key, 0) for key in again.keys):
        violated(writes_take_effect_once, f"{name} did {write} again at {again.log_index}")


# What they are told


def acknowledged_is_committed(ledger: Ledger, name: str, index: int, term: int, required_index: int) -> None:
    """Durability of the acknowledged; and linearizability of writes: later than all that was known when it was asked
    for."""
    if index > ledger.commit_index or ledger.committed[index] != term:
        violated(acknowledged_is_committed, f"{name} acknowledged entry {index} of term {term}, not committed")
    if index <= required_index:
        violated(acknowledged_is_committed, f"{name} put a write at {index} that was asked for after {required_index}")


def clients_are_told_what_came_of_it(ledger: Ledger, client_id: str, sequence: int, told: Told) -> None:
    """Thesis 6.3: whichever server answers, and to whichever try, it tells of the one effect that the write had."""
    if told.outcome is not Outcome.OK and told.reason not in DECISIONS:
        return
    done = ledger.writes.get((client_id, sequence))
    if done is None or told != requests.decided(done.result):
        came = f"{_outcome(done.result)} at {done.log_index}" if done else "nothing yet"
        words = f"{client_id} was told of its write {sequence}: {told.outcome.value} {told.reason} {told.modify_index}"
        violated(clients_are_told_what_came_of_it, f"{words}; what came of it is {came}")


def reads_are_not_stale(ledger: Ledger, name: str, kind: str, served_index: int, required_index: int) -> None:
    """Linearizability of reads, by log index: whatever anybody had been told before is seen (thesis 6.4)."""
    if kind != "default" and served_index < required_index:
        words = f"{name} answered a {kind} read from index {served_index}; {required_index} was known before it"
        violated(reads_are_not_stale, words)


def _outcome(result: Result) -> str:
    return f"{result.status.value}, {result.modify_index}"
