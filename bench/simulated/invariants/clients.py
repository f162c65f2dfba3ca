"""What clients are promised about the state machines that serve them, about their sessions, and about what they are
told."""

from __future__ import annotations

import math
from collections.abc import Sequence

from bench.operations import (
    DECISIONS,
    Cas,
    Delete,
    DeleteAll,
    Freshness,
    Get,
    GetAll,
    Outcome,
    Put,
    SetAll,
    Told,
    Writing,
)
from bench.simulated.invariants.ledger import Ledger, Performed, parts, refuses
from bench.simulated.invariants.violation import violated
from bench.simulated.requests import Request
from node.machine.kv import Batch, Decision, DeleteKey, KeyValueStore, Result, SetKey, Value
from node.server import Answer

# State machines


def state_machines_agree(ledger: Ledger, name: str, index: int, digest: bytes) -> None:
    """State Machine Safety, where it shows: equal hash chains at an equal applied index."""
    if ledger.digests.get(index, digest) != digest:
        violated(state_machines_agree, f"{name} applied something else up to index {index} than others did", index)


def contents_agree(ledger: Ledger, name: str, index: int, content: bytes) -> None:
    """State Machine Safety for the content, not only for the entries applied. A snapshot carries the hash chain of the
    entries, so a server that restored the chain and lost every value would still pass `state_machines_agree`.
    `content` is the checksum of what the server holds."""
    if ledger.contents.get(index, content) != content:
        violated(contents_agree, f"{name} holds something else after index {index} than others did", index)


def commands_have_one_result(ledger: Ledger, name: str, index: int, result: Result, store: KeyValueStore) -> None:
    """State Machine Safety for results and for the values of keys: the same on every server and in all its lives,
    whether it had the earlier entries from its log or from a snapshot."""
    first = ledger.performed[index]
    if (result, tuple([store.get(key) for key in first.keys])) != (first.result, first.values):
        words = f"{name} made of entry {index}: {_outcome(result)}; others: {_outcome(first.result)}"
        violated(commands_have_one_result, words, index)


def commands_do_what_they_say(ledger: Ledger, name: str, done: Performed) -> None:
    """A write that is done leaves what it says, a refused one leaves what was there, and a CAS is decided by what was
    there.

    Called once for each index, in order, except for writes that stand in the log again: `writes_take_effect_once`
    judges those.
    """
    index, operations = done.log_index, parts(done.operation)
    former = tuple([ledger.value_at(key, index) for key in done.keys])
    status, expected = _status_of(done.operation, former), former
    if status is Decision.DONE:
        expected = tuple([_written(*one, index) for one in zip(operations, former, strict=True)])
    if (done.result.status, done.values) != (status, expected):
        violated(commands_do_what_they_say, f"{name} made of entry {done.log_index}: {_outcome(done.result)}", index)


def _status_of(operation: SetKey | DeleteKey | Batch, former: Sequence[Value | None]) -> Decision:
    """What must come of the operation, given what stood at its keys."""
    for part, value in zip(parts(operation), former, strict=True):
        if part.cas is not None and part.cas != (value.modify_index if value else 0):
            return Decision.CONFLICT
    return Decision.MISSING if isinstance(operation, DeleteKey) and former[0] is None else Decision.DONE


def _written(operation: SetKey | DeleteKey, former: Value | None, index: int) -> Value | None:
    if isinstance(operation, DeleteKey):
        return None
    return Value(operation.value, operation.flags, former.create_index if former else index, index)


# Sessions


def writes_take_effect_once(ledger: Ledger, name: str, done: Performed) -> None:
    """Thesis 6.3: a write of the same client and sequence that stands in the log again changes nothing, and its result
    is that of the first time, or SUPERSEDED once its client has written something later.

    Called once for each index, in order, for the server that performs it first.
    """
    if ledger.repeats(done):
        _must_change_nothing(ledger, name, done)
    elif done.result.status is Decision.SUPERSEDED:
        latest = ledger.sequences.get(done.client_id, 0)
        words = f"{name} took write {done.sequence} of {done.client_id} for one from before its write {latest}"
        violated(writes_take_effect_once, words)


def _must_change_nothing(ledger: Ledger, name: str, again: Performed) -> None:
    write = f"write {again.sequence} of {again.client_id}"
    first = ledger.writes.get((again.client_id, again.sequence), again)
    superseded = again.sequence < ledger.sequences[again.client_id]
    if again.result != (Result(Decision.SUPERSEDED, 0) if superseded else first.result):
        words = f"{name} made of {write} at {first.log_index}: {_outcome(first.result)}; again at {again.log_index}"
        violated(writes_take_effect_once, f"{words}: {_outcome(again.result)}", first.log_index, again.log_index)
    if again.values != tuple(ledger.value_at(key, again.log_index) for key in again.keys):
        violated(writes_take_effect_once, f"{name} did {write} again at {again.log_index}", again.log_index)


# What they are told


def acknowledged_is_what_was_asked(ledger: Ledger, name: str, asked: Writing, index: int) -> None:
    """The command at which a client is told that its write stands is that write: what it asked for, and whose it
    is."""
    done = ledger.performed.get(index)
    stands = None if done is None else (done.operation, done.client_id, done.sequence)
    if stands != (_meant(asked), asked.client_id, asked.sequence):
        words = f"{name} acknowledged entry {index} for {asked}; there stands {stands}"
        violated(acknowledged_is_what_was_asked, words)


def _meant(asked: Writing) -> SetKey | DeleteKey | Batch:
    """What a client means by its question, in the state machine's terms."""
    match asked:
        case Put(key=key, value=value):
            return SetKey(key, value)
        case Cas(key=key, value=value, expected_index=expected):
            return SetKey(key, value, cas=expected)
        case Delete(key=key, expected_index=expected):
            return DeleteKey(key, expected)
        case SetAll(items=items):
            return Batch(tuple(SetKey(item.key, item.value or "", cas=item.expected_index) for item in items))
        case DeleteAll(items=items):
            return Batch(tuple(DeleteKey(item.key, item.expected_index) for item in items))


def acknowledged_is_committed(ledger: Ledger, name: str, index: int, term: int, required_index: int) -> None:
    """What is acknowledged is committed (durability), and stands after all that was known when it was asked for
    (linearizability of writes)."""
    if index > ledger.commit_index or ledger.committed[index] != term:
        violated(acknowledged_is_committed, f"{name} acknowledged entry {index} of term {term}, not committed", index)
    if index <= required_index:
        violated(
            acknowledged_is_committed,
            f"{name} put a write at {index} that was asked for after {required_index}",
            required_index,
        )


SAYS = {
    Decision.DONE: (Outcome.OK, ""),
    Decision.CONFLICT: (Outcome.FAILED, "cas mismatch"),
    Decision.MISSING: (Outcome.FAILED, "key not found"),
    Decision.SUPERSEDED: (Outcome.UNKNOWN, "superseded"),
}
"""What a client must be told of each decision, and why."""


def clients_are_told_what_came_of_it(ledger: Ledger, client_id: str, sequence: int, told: Told) -> None:
    """Thesis 6.3: whichever server answers, and whichever try, the answer tells of the one effect that the write had,
    and where it stands, or what a CAS of one key found."""
    if told.outcome is not Outcome.OK and told.reason not in DECISIONS:
        return
    done = ledger.writes.get((client_id, sequence))
    if done is None or (told.outcome, told.reason, told.modify_index) != (*SAYS[done.result.status], _stands(done)):
        came = f"{_outcome(done.result)} at {done.log_index}" if done else "nothing yet"
        words = f"{client_id} was told of its write {sequence}: {told.outcome.value} {told.reason} {told.modify_index}"
        violated(clients_are_told_what_came_of_it, f"{words}; what came of it is {came}")


def _stands(done: Performed) -> int | None:
    """The index that the client must be told with it."""
    found = done.result.status is Decision.CONFLICT and not isinstance(done.operation, Batch)
    return done.result.modify_index if found or done.result.status is Decision.DONE else None


def refused_is_not_done(ledger: Ledger, client_id: str, sequence: int, told: Told) -> None:
    """A write whose every try was refused for certain has not happened. A request may come twice, so arrivals at a
    server are counted, not tries."""
    write = client_id, sequence
    if refuses(told) and ledger.open_tries[write] <= 1 and write in ledger.writes:
        words = f"{client_id} was told for certain that its write {sequence} has not happened: {told.reason}"
        index = ledger.writes[write].log_index
        violated(refused_is_not_done, f"{words}; it stands at {index}", index)


def refused_is_never_done(ledger: Ledger, name: str, done: Performed) -> None:
    """Nor will such a write ever happen."""
    if ledger.open_tries.get((done.client_id, done.sequence)) == 0:
        words = f"{name} performed write {done.sequence} of {done.client_id} at {done.log_index}"
        violated(refused_is_never_done, f"{words}, of which it was told for certain that it would not")


def reads_tell_what_stands(ledger: Ledger, name: str, request: Request, answer: Answer) -> None:
    """A read is told of each key what stood there at the index that the read rests on."""
    asked = request.asked
    assert isinstance(asked, Get | GetAll)
    assert answer.position is not None
    index = answer.position.index
    stood = {key: ledger.value_at(key, index) for key in ([asked.key] if isinstance(asked, Get) else asked.keys)}
    if answer.value != stood:
        violated(reads_tell_what_stands, f"{name} says of {index}: {answer.value}; there stood {stood}", index)


def reads_rest_on_what_is_applied(ledger: Ledger, name: str, index: int) -> None:
    """Thesis 6.4, step 4: no read is answered before the server has applied the index that the read rests on. A server
    that has just started and has said nothing yet has applied what its snapshot includes."""
    said = ledger.published.get(name)
    applied_index = said.applied_index if said is not None else ledger.disks[name].snapshot_index
    if index > applied_index:
        words = f"{name} told a read of what stands at {index}; it has applied {applied_index}"
        violated(reads_rest_on_what_is_applied, words)


def lease_reads_end_with_the_lease(ledger: Ledger, name: str, answer: Answer, at_s: float) -> None:
    """Thesis 6.4.1: a read that rests on a lease is answered while the lease holds, and is good no longer than that."""
    server = ledger.servers[name]
    if not server.clock.at(at_s) < answer.until_s <= server.lease_until_s:
        words = f"{name} answered a read by its lease until {answer.until_s}; it has one to {server.lease_until_s}"
        violated(lease_reads_end_with_the_lease, words)


def linearizable_reads_rest_on_no_clock(ledger: Ledger, name: str, answer: Answer) -> None:
    """Thesis 6.4: who asks for a round of heartbeats is not answered by a lease, which clocks could make too long."""
    if answer.until_s != math.inf:
        violated(linearizable_reads_rest_on_no_clock, f"{name} answered by a lease, until {answer.until_s}")


def reads_are_not_stale(
    ledger: Ledger, name: str, freshness: Freshness, served_index: int, required_index: int
) -> None:
    """Linearizability of reads, by log index: a read that its client wants to be fresh sees whatever any client had
    been told before (thesis 6.4)."""
    if freshness is not Freshness.STALE and served_index < required_index:
        words = f"{name} answered a {freshness} read from index {served_index}; {required_index} was known before it"
        violated(reads_are_not_stale, words, required_index)


def _outcome(result: Result) -> str:
    return f"{result.status.value}, {result.modify_index}"
