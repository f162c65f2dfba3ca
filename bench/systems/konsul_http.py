"""What our node is asked over HTTP, and what its answers mean to a client.

`request_of` makes one request of a question, and `told` makes of its answer what a client may believe. An answer that
cannot be read is UNKNOWN, whatever its status says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Literal, NamedTuple, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from bench.operations import (
    Cas,
    Delete,
    DeleteAll,
    Freshness,
    Get,
    GetAll,
    Join,
    Leave,
    Outcome,
    Put,
    Question,
    SetAll,
    TakeSnapshot,
    Told,
    Transfer,
    Writing,
)
from faults.links import Address

T = TypeVar("T")

DEFINITELY_NOT = {
    "not leader",
    "no leader",
    "clustering not enabled",
    "overwritten",
    "stopping",
    "cas mismatch",
    "transferring",
}
"""Errors that say that nothing happened, nor ever will."""

# What it is asked


class HttpRequest(NamedTuple):
    method: str
    path: str
    body: Mapping[str, Any] | None = None


READS = {
    Freshness.STALE: "",
    Freshness.LEASE: "?consistency=leader",
    Freshness.LINEARIZABLE: "?consistent=true",
}


def request_of(asked: Question, addresses: Mapping[str, Address]) -> HttpRequest:
    """`addresses` says where each node lives, for a node that is to join."""
    match asked:
        case Put(key=key, value=value):
            return HttpRequest("PUT", _path(key), {"value": value, **_identity(asked)})
        case Cas(key=key, value=value, expected_index=expected):
            return HttpRequest("PUT", _path(key), {"value": value, "cas": expected, **_identity(asked)})
        case Delete(key=key, expected_index=expected):
            query = urlencode({**({} if expected is None else {"cas": expected}), **_identity(asked)})
            return HttpRequest("DELETE", f"{_path(key)}{'?' if query else ''}{query}")
        case SetAll(items=items):
            return _batch("set", asked, {"items": {item.key: item.value for item in items}})
        case DeleteAll(items=items):
            return _batch("delete", asked, {"keys": [item.key for item in items]})
        case Get(key=key, freshness=freshness):
            return HttpRequest("GET", f"{_path(key)}{READS[freshness]}")
        case GetAll(keys=keys):
            return HttpRequest("POST", "/batch/kv/get", {"keys": keys})
        case Join(node=node, address=address):
            return HttpRequest("POST", "/cluster/join", {"node_id": node, "address": address or str(addresses[node])})
        case Leave(node=node):
            return HttpRequest("DELETE", f"/cluster/leave/{node}")
        case Transfer(to=to):
            return HttpRequest("POST", "/cluster/transfer-leadership", {"to": to} if to else None)
        case TakeSnapshot():
            return HttpRequest("POST", "/cluster/snapshot")


def _path(key: str) -> str:
    return f"/kv/{quote(key, safe='')}"


def _batch(what: str, asked: SetAll | DeleteAll, body: Mapping[str, Any]) -> HttpRequest:
    """Either no key has an expected index, or all have."""
    body = {**body, **_identity(asked)}
    expected = {item.key: item.expected_index for item in asked.items if item.expected_index is not None}
    if not expected:
        return HttpRequest("POST", f"/batch/kv/{what}", body)
    return HttpRequest("POST", f"/batch/kv/{what}-cas", {**body, "expected_indices": expected})


def _identity(asked: Writing) -> dict[str, Any]:
    """What makes the node take all tries of a write as one write."""
    return {"client_id": asked.client_id, "sequence": asked.sequence} if asked.sequence else {}


def as_bytes(request: HttpRequest) -> bytes:
    """The whole request, for a caller that writes it to a socket."""
    head = f"{request.method} {request.path} HTTP/1.1\r\nHost: localhost\r\n".encode()
    if request.body is None:
        return head + b"\r\n"
    body = msgspec.json.encode(request.body)
    return b"%sContent-Length: %d\r\n\r\n%s" % (head, len(body), body)


# What it answers


class StoredBody(msgspec.Struct):
    modify_index: int


class FoundBody(msgspec.Struct):
    value: str


class AllFoundBody(msgspec.Struct):
    found: dict[str, str]


class LedBody(msgspec.Struct):
    leader_id: str


class DoneBody(msgspec.Struct):
    status: Literal["ok"]


class RefusedBody(msgspec.Struct):
    error: str
    message: str = ""
    modify_index: int | None = None


class PeerBody(msgspec.Struct):
    id: str
    address: str
    state: str


class StatsBody(msgspec.Struct):
    term: int
    log_digest: str
    last_snapshot_index: int
    messages_sent: dict[str, int]


class StatusBody(msgspec.Struct):
    state: str
    leader_id: str | None
    peers: list[PeerBody]
    last_index: int
    applied_index: int
    commit_index: int
    stats: StatsBody


# Made before any thread: msgspec prepares a type at its first use, and crashes if two threads do that at once.
STORED = msgspec.json.Decoder(StoredBody)
FOUND = msgspec.json.Decoder(FoundBody)
ALL_FOUND = msgspec.json.Decoder(AllFoundBody)
LED = msgspec.json.Decoder(LedBody)
DONE = msgspec.json.Decoder(DoneBody)
REFUSED = msgspec.json.Decoder(RefusedBody)
STATUS = msgspec.json.Decoder(StatusBody)
Answers = tuple[msgspec.json.Decoder[Any], Callable[[Any], Told]]
WRITTEN: Answers = STORED, lambda body: Told(Outcome.OK, modify_index=body.modify_index)
CHANGED: Answers = DONE, lambda body: Told(Outcome.OK)
ANSWERS: Mapping[type, Answers] = {
    Get: (FOUND, lambda body: Told(Outcome.OK, result=body.value)),
    GetAll: (ALL_FOUND, lambda body: Told(Outcome.OK, result=body.found)),
    Transfer: (LED, lambda body: Told(Outcome.OK, result=body.leader_id)),
    **dict.fromkeys((Join, Leave, TakeSnapshot), CHANGED),
    **dict.fromkeys((Put, Cas, Delete, SetAll, DeleteAll), WRITTEN),
}
"""For each question, the body of a success and what it tells."""
UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What a decoder raises for a body that it cannot read."""


Body = bytes | Mapping[str, object]
"""As it came, or as what JSON would make of it."""


def told(asked: Question, status: int, body: Body, elsewhere: str = "") -> Told:
    """What an answer tells the client about its question; `elsewhere` is where it sends the client."""
    try:
        return _done(asked, body) if status < HTTPStatus.MULTIPLE_CHOICES else _refused(asked, status, body, elsewhere)
    except UNREADABLE as error:
        return Told(Outcome.UNKNOWN, f"status {status}, and a body that cannot be read: {error}")


def _done(asked: Question, body: Body) -> Told:
    decoder, what_it_tells = ANSWERS[type(asked)]
    return what_it_tells(_read(decoder, body))


def _refused(asked: Question, status: int, body: Body, elsewhere: str) -> Told:
    refused = _read(REFUSED, body)
    if isinstance(asked, Get) and refused.error == "key not found":
        return Told(Outcome.OK)
    of_the_question = status < HTTPStatus.INTERNAL_SERVER_ERROR and refused.error != "superseded"
    outcome = Outcome.FAILED if of_the_question or refused.error in DEFINITELY_NOT else Outcome.UNKNOWN
    return Told(outcome, refused.error, None, refused.modify_index, refused.message, elsewhere)


def _read(decoder: msgspec.json.Decoder[T], body: Body) -> T:
    return decoder.decode(body) if isinstance(body, bytes) else msgspec.convert(body, decoder.type)


def sent_to(location: str, served_at: Mapping[str, str]) -> str:
    """Where a `Location` sends a client: the node that `served_at` has at the address, else the address."""
    address = urlsplit(location).netloc
    return served_at.get(address, address)
