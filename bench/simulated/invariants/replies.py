"""What clients are promised about the HTTP replies of the servers: where they are sent, until when a value is good, and
that what they read in a reply is what came of their question.

What is judged here is what the client makes of a reply, not what the server meant by its answer: `invariants.clients`
judges the answers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import unquote

from bench.operations import (
    Freshness,
    Get,
    GetAll,
    Join,
    Leave,
    Outcome,
    Question,
    TakeSnapshot,
    Transfer,
)
from bench.simulated.invariants.ledger import Ledger
from bench.simulated.invariants.violation import violated
from bench.simulated.requests import Replied, arriving
from node.machine.kv import Decision
from node.server import Status

SUCCESS = 300
"""Any HTTP status below."""
REDIRECT = 307


def replies_are_understood(ledger: Ledger, name: str, replied: Replied) -> None:
    """A client to which a success is replied can read what came of its question. Called if it does not take the reply
    for one."""
    reply, told = replied.reply, replied.told
    if reply.status < SUCCESS:
        words = f"{name} replied {reply.status} to {replied.request.asked}: {reply.body}"
        violated(replies_are_understood, f"{words}; its client takes that for {told.outcome.value}: {told.reason}")


def only_what_is_done_is_told_as_done(ledger: Ledger, name: str, replied: Replied) -> None:
    """A client is told of a success only if that is what came of its question, and is told what came of it. Called for
    what a client takes for a success."""
    asked, answer, told = replied.request.asked, replied.answer, replied.told
    came = None if answer is None or answer.error is not None else _success(asked, answer.value)
    if came != (told.result, told.modify_index):
        words = f"{name} told the client that asked {asked}: {told.result or ''} {told.modify_index or ''}".rstrip()
        violated(only_what_is_done_is_told_as_done, f"{words}; the server's answer was {answer}")


def _success(asked: Question, value: Any) -> tuple[object, int | None] | None:
    """What a client must be told that this is the answer's value, as the result and the modify_index; None if it is a
    refusal."""
    match asked:
        case Get(key=key):
            return (found.value if (found := value.get(key)) else None), None
        case GetAll(keys=keys):
            return {key: found.value for key in keys if (found := value.get(key))}, None
        case Transfer():
            return value, None
        case Join() | Leave() | TakeSnapshot():
            return None, None
    return (None, value.modify_index) if value.status is Decision.DONE else None


def lease_reads_are_told_within_the_lease(ledger: Ledger, name: str, replied: Replied) -> None:
    """Thesis 6.4.1, to its end: between the server's answer and the reply a node may have been stopped, and a value
    that was good then is told only while the lease holds."""
    request, answer = replied.request, replied.answer
    if request.freshness is not Freshness.LEASE or answer is None:
        return
    now = ledger.servers[name].clock.at(replied.at_s)
    if now >= answer.until_s:
        words = f"{name} told of a value at {now} that was good until {answer.until_s}"
        violated(lease_reads_are_told_within_the_lease, words)


def redirects_lead_to_who_leads(ledger: Ledger, name: str, replied: Replied) -> None:
    """A client is sent to where the leader serves clients, as far as the node knows, and never back to where it is."""
    location, leads = replied.reply.location or "nowhere", _leader(replied.status)
    if leads is None or not location.startswith(f"http://{leads}/"):
        words = f"{name} sends to {location}; as it knows, {leads or 'nobody'} leads"
        violated(redirects_lead_to_who_leads, words)


def redirects_keep_what_was_asked(ledger: Ledger, name: str, replied: Replied) -> None:
    """Whoever follows a redirect asks the same thing again."""
    _, _, _, target = (replied.reply.location or "").split("/", 3)
    asked = arriving(replied.request.asked).target
    if unquote(f"/{target}") != unquote(asked):
        violated(redirects_keep_what_was_asked, f"{name} was asked for {asked}, and sends to /{target}")


def who_knows_of_a_leader_says_so(ledger: Ledger, name: str, replied: Replied) -> None:
    """A client is told that there is no leader only by a node that can send it nowhere."""
    leads = _leader(replied.status)
    if replied.told.reason == "no leader" and leads is not None and not replied.status.ended:
        violated(who_knows_of_a_leader_says_so, f"{name} says that nobody leads; it knows that {leads} does")


def _leader(status: Status) -> str | None:
    """Where another server serves clients that this one takes for the leader."""
    return None if status.leader in (None, status.node_id) else status.http_addresses.get(status.leader or "")


Judge = Callable[[Ledger, str, Replied], None]

ON_SUCCESS: tuple[Judge, ...] = (lease_reads_are_told_within_the_lease, only_what_is_done_is_told_as_done)
ON_REDIRECT: tuple[Judge, ...] = (redirects_lead_to_who_leads, redirects_keep_what_was_asked)
ON_REFUSAL: tuple[Judge, ...] = (who_knows_of_a_leader_says_so, replies_are_understood)


def on_reply(replied: Replied) -> tuple[Judge, ...]:
    """What judges it, in order: an invariant that explains another's failure comes before it."""
    if replied.told.outcome is Outcome.OK:
        return ON_SUCCESS
    return ON_REDIRECT if replied.reply.status == REDIRECT else ON_REFUSAL


def redirects_come_to_the_leader(leader: str, way: Sequence[str]) -> None:
    """Once all agree who leads, a client that follows redirects from any member comes to the leader, and at once:
    nobody sends it in a circle. `way` has the nodes that it came to."""
    if way[-1] != leader or len(way) > 2:
        violated(redirects_come_to_the_leader, f"redirects lead {' -> '.join(way)}; {leader} leads")
