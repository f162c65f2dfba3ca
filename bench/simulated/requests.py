"""A client's call of one node as the HTTP request that it is, and what the client makes of the reply.

The request is the one that a client of real processes sends (`bench.systems.konsul_http`), and its reply is read as
theirs. Between the two are the node's own endpoints (`node.web.endpoints`). No rule is added here: a path finds its
endpoint in the node's table, in the place of Flask, and bodies and replies stay plain data, without their JSON text.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote

import msgspec

from bench.operations import Freshness, Get, Outcome, Question, Told
from bench.systems import konsul_http
from node.server import Answer, Status
from node.server import Question as ServerQuestion
from node.web.endpoints import ENDPOINTS, Endpoint
from node.web.replies import ApiError, HttpRequest, Reply, not_taken

CONNECTION_LOST = Told(Outcome.UNKNOWN, "ConnectionError")
NO_ANSWER = Told(Outcome.UNKNOWN, "ReadTimeout")


WHOLE = {(endpoint.method, endpoint.path): endpoint for endpoint in ENDPOINTS}
NAMING = [(found.method, found.path.partition("<")[0], found) for found in ENDPOINTS if "<" in found.path]
"""The endpoints whose path ends with a name, with what comes before it."""


class Arriving(NamedTuple):
    """A request as the node has it."""

    target: str
    """The path and the query, as the client wrote them."""
    endpoint: Endpoint
    """Whose it is."""
    read: HttpRequest
    question: ServerQuestion | Reply
    """What the node takes it for; or how it refuses it, as one that makes no sense."""


@lru_cache(maxsize=128)
def arriving(asked: Question) -> Arriving:
    """What arrives when this is asked. It depends on nothing else, and clients ask again and again. Raises LookupError
    if there is no such endpoint."""
    sent = konsul_http.request_of(asked, {})
    quoted, _, query = sent.path.partition("?")
    path = unquote(quoted)
    endpoint, name = _endpoint_at(sent.method, path)
    read = HttpRequest(path, dict(parse_qsl(query, keep_blank_values=True)), query, name)
    try:
        read = read._replace(body=_body_of(sent, endpoint))
        return Arriving(sent.path, endpoint, read, endpoint.question_of(read))
    except msgspec.ValidationError as error:
        return Arriving(sent.path, endpoint, read, not_taken(error).reply)
    except ApiError as error:
        return Arriving(sent.path, endpoint, read, error.reply)


def _body_of(sent: konsul_http.HttpRequest, endpoint: Endpoint) -> object:
    if endpoint.body is None or (sent.body is None and not endpoint.needs_body):
        return None
    return msgspec.convert(sent.body, endpoint.body.type)


def _endpoint_at(method: str, path: str) -> tuple[Endpoint, str]:
    whole = WHOLE.get((method, path))
    if whole is not None:
        return whole, ""
    for takes, start, endpoint in NAMING:
        if method == takes and path.startswith(start):
            return endpoint, path[len(start) :]
    raise LookupError(f"there is no {method} {path}")


class Request:
    """One call, from its invocation until it is settled: answered, broken off, or given up."""

    __slots__ = (
        "answered",
        "applied_index",
        "asked",
        "client",
        "done",
        "node",
        "required_index",
        "settled",
    )

    def __init__(
        self, client: int, node: str, asked: Question, required_index: int, done: Callable[[Request, Told], None]
    ) -> None:
        self.client = client
        self.node = node
        self.asked = asked
        self.required_index = required_index
        """The highest index that any client had been told of when this was asked."""
        self.applied_index = sys.maxsize
        """What the node had applied when this reached it."""
        self.done = done
        self.answered = False
        """By the node; the answer may still be under way, or lost."""
        self.settled = False

    @property
    def question(self) -> ServerQuestion:
        """What the node takes it for, which must not refuse it."""
        question = arriving(self.asked).question
        assert not isinstance(question, Reply)
        return question

    @property
    def freshness(self) -> Freshness:
        """How fresh its client wants a read to be, whatever the node takes it for."""
        return self.asked.freshness if isinstance(self.asked, Get) else Freshness.STALE


class Replied(NamedTuple):
    """A node has replied to a request."""

    request: Request
    answer: Answer | None
    """What came of the question; None if it was not asked."""
    status: Status
    """What the node says of itself at that moment."""
    reply: Reply
    told: Told
    """What the client makes of it."""
    at_s: float


def told_by(reply: Reply, asked: Question, served_at: Mapping[str, str]) -> Told:
    """What the client makes of a reply; `served_at` has the node at each address that serves clients."""
    elsewhere = konsul_http.sent_to(reply.location, served_at) if reply.location else ""
    return konsul_http.told(asked, reply.status, reply.body, elsewhere)
