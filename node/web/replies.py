"""What the HTTP port says of a question: a reply as a value, and all that decides it, whatever was asked. Pure.

The `error` of a failed write says what became of it, and clients decide by that. "not leader", "no leader",
"transferring", "overwritten", "stopping" and "cas mismatch" mean that the write never happened. "leadership lost",
"timeout" and "superseded" mean that it may have happened, or may yet. What each error of the server means is in
`node.questions`.

Every `now` is a reading of the node's own clock at the moment at which the reply is made. A node may have been stopped
since its server answered, so an answer is looked at again then (`Answer.at`), and so is the lease (`Status`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import quote

from node.questions import (
    MEANINGS,
    NOT_LEADER,
    AddServer,
    Meaning,
    Question,
    Read,
    RemoveServer,
    TransferLeadership,
    Write,
    meaning_of,
)
from node.raft import NotLeaderError, Suffrage
from node.status import Status

UNDECIDED = "not decided in time; it may or may not take effect"

OF_ANY_NODE = (Read, Write)
"""What a node serves that belongs to no cluster."""
OF_LEADERS = (AddServer, RemoveServer, TransferLeadership)
"""What a node does not take unless it leads. The others are taken by the server, which knows whether it leads."""


class HttpRequest(NamedTuple):
    """A request, as far as a reply depends on it."""

    path: str
    """Decoded."""
    query: Mapping[str, str]
    query_string: str = ""
    """The same, as it came."""
    name: str = ""
    """What the path ends with, where that is a key or a node."""
    body: Any = None
    """As its endpoint wants it (`node.web.bodies`); None without one."""


class Reply(NamedTuple):
    status: int
    body: Mapping[str, object]
    """What is encoded as JSON."""
    location: str | None = None
    """Where to ask instead, for a redirect."""


class ApiError(Exception):
    """A reply that is an error: status, Konsul's short `error`, a `message` for the reader, and more fields."""

    def __init__(self, status: int, error: str, message: str, **fields: object) -> None:
        super().__init__(message)
        self.reply = Reply(status, {"error": error, "message": message, **fields})


def meant(meaning: Meaning, message: str) -> Reply:
    """A reply with this meaning."""
    return Reply(meaning.status, {"error": meaning.name, "message": message})


NOT_CLUSTERED = ApiError(503, "clustering not enabled", "start the node with KONSUL_RAFT_ENABLED=true").reply
NO_LEADER = meant(
    MEANINGS[NotLeaderError],
    "No leader is currently elected. The cluster may be initializing or partitioned.",
)


def not_taken(error: Exception) -> ApiError:
    """For a body that could not be decoded."""
    return ApiError(400, "bad request", f"the body is not what this endpoint takes: {error}")


def turned_away(request: HttpRequest, question: Question, status: Status | None, now: float) -> Reply | None:
    """What a client is told before its question is asked, if the server is not to be asked at all; `status` is None
    without a cluster."""
    if isinstance(question, OF_ANY_NODE):
        return None
    if status is None:
        return NOT_CLUSTERED
    if isinstance(question, OF_LEADERS) and not status.is_leader_at(now):
        return redirect(request, status, now)
    return None


def told_instead(error: Exception, request: HttpRequest, status: Status | None, now: float) -> Reply:
    """What a client is told in place of a value; `error` is one of `node.questions.MEANINGS`."""
    if isinstance(error, NotLeaderError):
        assert status is not None, "without a cluster nobody needs to lead"
        return redirect(request, status, now)
    return meant(meaning_of(error), str(error) or UNDECIDED)


def redirect(request: HttpRequest, status: Status, now: float) -> Reply:
    """307 to where the leader serves clients, with the path and the query that were asked for, if that is known."""
    elsewhere = status.elsewhere_at(now)
    if elsewhere is None:
        return NO_LEADER
    leader, where = elsewhere
    query = f"?{request.query_string}" if request.query_string else ""
    words = f"{status.node_id} does not lead; {leader} does"
    body = {"error": NOT_LEADER.name, "message": words, "leader_addr": raft_address(status, leader)}
    return Reply(NOT_LEADER.status, body, f"http://{where}{quote(request.path)}{query}")


def raft_address(status: Status, node: str) -> str:
    """Where its peers reach a node; empty if it is no member."""
    server = status.configuration.get(node)
    return server.address if server else ""


# Who may join


def must_identify(join: AddServer, status: Status) -> bool:
    """Whether the server that is to join has to say who it is. A known voter, say after a restart, is not asked."""
    known = status.configuration.get(join.server_id)
    return known is None or known.address != join.address or known.suffrage is not Suffrage.VOTER


def check_identity(join: AddServer, status: Status, node_id: str, cluster_id: str) -> None:
    """`node_id` of `cluster_id` answers at the address that is to join; the latter is empty for a node of no cluster.
    Raises ApiError for another node, and for one with another cluster's history."""
    if node_id != join.server_id:
        raise ApiError(400, "another node", f"{node_id} answers at {join.address}, not {join.server_id}")
    if cluster_id not in ("", status.cluster_id):
        words = f"{join.server_id} belongs to another cluster; start it with an empty data folder"
        raise ApiError(409, "another cluster", words)
