"""The endpoints that ask something of the server: what each asks, and how it tells what came of it. Pure.

    request -> question_of -> turned_away? -> (the server answers) -> reply_to -> reply

The Flask application (`node.web.client_api`) and the simulated world both go this way. Around it they only read what
came, wait for the server, and write what goes.

A write that names a `client_id` (non-empty) and a `sequence` (from 1, one more for each write) takes effect once,
however often it is sent. The two are in the body of a PUT or a batch, and in the query of a DELETE.

Reads: `?consistency=default` returns what this node has applied, however old. `consistent` (or `?consistent=true`) is
linearizable by a round of heartbeats, and `leader` by the leader's lease. The lease is checked again when the value has
been read: a node that was stopped in between does not answer with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeGuard

import msgspec

from node.machine.kv import Batch, Command, Decision, DeleteKey, Result, SetKey, Value
from node.questions import (
    REFUSALS,
    AddServer,
    Answer,
    Consistency,
    MakeSnapshot,
    Question,
    Read,
    RemoveServer,
    TransferLeadership,
    Write,
)
from node.status import Status
from node.web import bodies
from node.web.replies import ApiError, HttpRequest, Reply, told_instead

MAX_DIGITS = 19
KINDS = {kind.value: kind for kind in Consistency}
FLAGS = {"true": True, "1": True, "": True, "false": False, "0": False}

Body = Mapping[str, object]


class Endpoint(NamedTuple):
    """One method of one path."""

    method: str
    path: str
    """As Flask writes it: <name> is a node, <path:name> a key, which may have slashes."""
    question_of: Callable[[HttpRequest], Question]
    """What is asked of the server. Raises ApiError for a request that makes no sense."""
    told: Callable[[HttpRequest, Any], Body]
    """The body for an answer's value. Raises ApiError where the value is a refusal."""
    body: msgspec.json.Decoder[Any] | None = None
    """What the request's body must be; None if it is not looked at."""
    needs_body: bool = True


def reply_to(endpoint: Endpoint, request: HttpRequest, answer: Answer, status: Status | None, now: float) -> Reply:
    """What a client is told at `now`, by the node's clock, if this is what came of its question. `status` is what the
    node says of itself by then; None without a cluster."""
    answer = answer.at(now)
    if answer.error is not None:
        return told_instead(answer.error, request, status, now)
    try:
        return Reply(200, endpoint.told(request, answer.value))
    except ApiError as error:
        return error.reply


def asks_nobody(question: Question) -> TypeGuard[Read]:
    """Whether it is answered from what this node has applied, past the server: such a read may be stale anyway."""
    return isinstance(question, Read) and question.consistency is Consistency.DEFAULT


# Keys


def _get(request: HttpRequest) -> Read:
    return Read((request.name,), _consistency(request))


def _found(request: HttpRequest, values: Mapping[str, Value | None]) -> Body:
    value = values[request.name]
    if value is None:
        raise ApiError(404, "key not found", f"there is no key {request.name}")
    return {"key": request.name, **(_described(value) if _flag(request, "metadata") else {"value": value.value})}


def _put(request: HttpRequest) -> Write:
    body: bodies.PutBody = request.body
    return _write(SetKey(request.name, body.value, body.flags, body.cas), body.client_id, body.sequence)


def _was_put(request: HttpRequest, result: Result) -> Body:
    return {"message": "key set", "key": request.name, "modify_index": _decided(result, request.name)}


def _delete(request: HttpRequest) -> Write:
    client_id, sequence = request.query.get("client_id", ""), _number(request, "sequence") or 0
    try:
        bodies.check_session(client_id, sequence)
    except ValueError as error:
        raise ApiError(400, "bad request", str(error)) from error
    return _write(DeleteKey(request.name, _number(request, "cas")), client_id, sequence)


def _was_deleted(request: HttpRequest, result: Result) -> Body:
    return {"message": "key deleted", "key": request.name, "modify_index": _decided(result, request.name)}


# Konsul's batches: up to 1000 keys, each once; a write is one log entry, all of it or nothing


def _get_all(request: HttpRequest) -> Read:
    return Read(tuple(request.body.keys), _consistency(request))


def _all_found(request: HttpRequest, values: Mapping[str, Value | None]) -> Body:
    def shown(value: Value) -> object:
        return _described(value) if _flag(request, "metadata") else value.value

    found = {key: shown(value) for key, value in values.items() if value is not None}
    return {"found": found, "not_found": [key for key, value in values.items() if value is None]}


def _write_all(request: HttpRequest) -> Write:
    body: bodies.BatchBody = request.body
    return _write(body.batch(), body.client_id, body.sequence)


def _all_written(request: HttpRequest, result: Result) -> Body:
    modify_index, body = _decided(result, "batch"), request.body
    keys = [operation.key for operation in body.batch().operations]
    message = f"{body.DONE} {len(keys)} keys"
    return {"message": message, "keys": keys, "count": len(keys), "modify_index": modify_index}


# Operators


def _join(request: HttpRequest) -> AddServer:
    return AddServer(request.body.node_id, request.body.address)


def _leave(request: HttpRequest) -> RemoveServer:
    return RemoveServer(request.name)


def _transfer(request: HttpRequest) -> TransferLeadership:
    return TransferLeadership(request.body.to if request.body is not None else None)


def _snapshot(request: HttpRequest) -> MakeSnapshot:
    return MakeSnapshot()


def _changed(request: HttpRequest, value: object) -> Body:
    return {"status": "ok"}


def _handed_over(request: HttpRequest, leader: str) -> Body:
    return {"status": "ok", "leader_id": leader}


def _taken(request: HttpRequest, index: int) -> Body:
    return {"status": "ok", "index": index}


ENDPOINTS = (
    Endpoint("GET", "/kv/<path:name>", _get, _found),
    Endpoint("PUT", "/kv/<path:name>", _put, _was_put, bodies.PUT),
    Endpoint("DELETE", "/kv/<path:name>", _delete, _was_deleted),
    Endpoint("POST", "/batch/kv/get", _get_all, _all_found, bodies.BATCH_GET),
    *(Endpoint("POST", f"/batch/kv/{what}", _write_all, _all_written, body) for what, body in bodies.BATCHES.items()),
    Endpoint("POST", "/cluster/join", _join, _changed, bodies.JOIN),
    Endpoint("DELETE", "/cluster/leave/<name>", _leave, _changed),
    Endpoint("POST", "/cluster/transfer-leadership", _transfer, _handed_over, bodies.TRANSFER, needs_body=False),
    Endpoint("POST", "/cluster/snapshot", _snapshot, _taken),
)


# What several of them share


def _consistency(request: HttpRequest) -> Consistency:
    """How fresh the query wants a read to be. Raises ApiError 400."""
    asked = request.query.get("consistency", "consistent" if _flag(request, "consistent") else "default")
    kind = KINDS.get(asked)
    if kind is None:
        raise ApiError(400, "bad request", f"consistency is {asked!r}; it must be default, consistent or leader")
    return kind


def _flag(request: HttpRequest, name: str) -> bool:
    """Whether a flag of the query is set. Raises ApiError 400 for a value that is neither true nor false."""
    value = request.query.get(name, "false").lower()
    if value not in FLAGS:
        raise ApiError(400, "bad request", f"{name} is {value!r}; it must be true or false")
    return FLAGS[value]


def _number(request: HttpRequest, name: str) -> int | None:
    """A number from the query; None when the query does not have it. Raises ApiError 400."""
    value = request.query.get(name)
    if value is not None and not (value.isascii() and value.isdigit() and len(value) < MAX_DIGITS):
        raise ApiError(400, "bad request", f"{name} is {value!r}; it must be a whole number")
    return None if value is None else int(value)


def _described(value: Value) -> Body:
    return {
        "value": value.value,
        "modify_index": value.modify_index,
        "create_index": value.create_index,
        "flags": value.flags,
    }


def _write(operation: SetKey | DeleteKey | Batch, client_id: str, sequence: int) -> Write:
    return Write(Command(operation, client_id, sequence).encode())


def _decided(result: Result, what: str) -> int:
    """The modify_index of a write that is done. Raises ApiError when the state machine refused it."""
    refusal = REFUSALS.get(result.status)
    if refusal is None:
        return result.modify_index
    fields: dict[str, Any] = {}
    if result.status is Decision.CONFLICT:
        fields = {"conflicts": result.conflicts} if result.conflicts else {"modify_index": result.modify_index}
    raise ApiError(refusal.status, refusal.name, _why(result, what), **fields)


def _why(result: Result, what: str) -> str:
    match result.status:
        case Decision.MISSING:
            return f"there is no key {what}"
        case Decision.SUPERSEDED:
            return "a later write of this client was applied; this one may have been before it"
    found = ", ".join(f"{key} is at {index}" for key, index in result.conflicts.items())
    return f"nothing was changed: {found}" if found else f"{what} is at modify_index {result.modify_index}"
