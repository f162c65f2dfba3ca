"""What operators are promised: what "done" means for a change of members, a transfer of leadership and a snapshot."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from bench.operations import Join, Leave, TakeSnapshot, Transfer
from bench.simulated.invariants.ledger import Ledger, Step
from bench.simulated.invariants.violation import listed, violated
from bench.simulated.requests import Request
from node.raft import Suffrage, TimeoutNow


def joined_is_a_voter(ledger: Ledger, name: str, request: Request, value: Any) -> None:
    """A server that joined is a voter at the address that was asked for, in a committed configuration."""
    join = request.asked
    assert isinstance(join, Join)
    for configuration in ledger.configurations_since(request.required_index):
        server = configuration.get(join.node)
        if server is not None and server.address == join.address and server.suffrage is Suffrage.VOTER:
            return
    violated(joined_is_a_voter, f"{name} says that {join.node} at {join.address} is in; that was never committed")


def who_left_is_gone(ledger: Ledger, name: str, request: Request, value: Any) -> None:
    """A server that left is missing from a committed configuration that was in force since."""
    leave = request.asked
    assert isinstance(leave, Leave)
    since = ledger.configurations_since(request.required_index)
    if all(configuration.get(leave.node) is not None for configuration in since):
        violated(who_left_is_gone, f"{name} says that {leave.node} is gone; that was never committed")


def successor_was_elected(ledger: Ledger, name: str, request: Request, value: Any) -> None:
    """The server named as the next leader was elected, in a later term than any in which the asked server led."""
    reigned = max((term for term, leader in ledger.leaders.items() if leader == name), default=0)
    if not any(term > reigned and leader == value for term, leader in ledger.leaders.items()):
        violated(successor_was_elected, f"{name} says that {value} leads after it, which nobody elected")


def the_one_asked_for_is_told_to_stand(ledger: Ledger, step: Step) -> None:
    """Thesis 3.10: a leader tells whoever was asked for to stand. Only where the choice was left to it, or where it is
    no voter any more, it may be another."""
    asked: Collection[str | None] = ledger.successors.get(step.name, ())
    if None in asked or step.name not in step.voters:
        return
    for message in step.effects.messages:
        if isinstance(message, TimeoutNow) and message.recipient not in asked:
            words = f"{step.name} tells {message.recipient} to stand; asked for was"
            violated(the_one_asked_for_is_told_to_stand, f"{words} {listed(filter(None, asked))}")


def snapshot_is_there(ledger: Ledger, name: str, request: Request, value: Any) -> None:
    """A snapshot that was asked for is durable, and includes all that the server had applied when it was asked."""
    index = ledger.disks[name].snapshot_index
    if not request.applied_index <= value <= index:
        words = f"{name} says that it has a snapshot of {value}, asked at {request.applied_index}; its disk has {index}"
        violated(snapshot_is_there, words)


ON_DONE: Mapping[type, Callable[[Ledger, str, Request, Any], None]] = {
    Join: joined_is_a_voter,
    Leave: who_left_is_gone,
    Transfer: successor_was_elected,
    TakeSnapshot: snapshot_is_there,
}
