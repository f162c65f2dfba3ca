"""Our node on the bench: its environment, its status, and what its answers mean to a client."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

import requests

from bench.cluster import Client, NodeStatus, Setup
from bench.history import History, Operation, Outcome
from bench.workload import Invocation, recorded
from faults.links import Address

MODULE = "node"
"""Run as ``python -m node``."""

PROFILES: dict[str, tuple[str, str, str]] = {
    "default": ("1s", "1s", "500ms"),
    "low-latency": ("500ms", "1s", "250ms"),
    "high-latency": ("2s", "2s", "1s"),
    "tight": ("100ms", "100ms", "50ms"),
}
"""Heartbeat, election and leader lease timeouts: SEED.md's tuning guidelines, and the shortest that a quiet machine
keeps a leader with."""

DEFINITELY_NOT = {
    "not leader",
    "no leader",
    "clustering not enabled",
    "overwritten",
    "stopping",
    "cas mismatch",
    "transferring",
}
"""`error`s that say the write never happened."""
STATUS_TIMEOUT_S = 1.0
CLIENT_TIMEOUT_S = 8.0


@dataclass(frozen=True)
class NodePlan:
    """Where a node lives."""

    name: str
    http: Address
    """The node's own HTTP port; only the bench asks there, behind the faults' back."""
    client: Address
    """Its client link, which is what people and clients are shown."""
    raft: Address
    folder: Path

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def trace(self) -> Path:
        return self.folder / "trace.jsonl"


def environment(
    plan: NodePlan,
    *,
    profile: str,
    setup: Setup,
    dial: Mapping[Address, Address],
    first_members: tuple[NodePlan, ...],
) -> dict[str, str]:
    """What `python -m node` is told; `first_members` is the first configuration, for the node that founds it."""
    heartbeat, election, lease = PROFILES[profile]
    variables = {
        "KONSUL_HOST": plan.http.host,
        "KONSUL_PORT": str(plan.http.port),
        "KONSUL_METRICS_PORT": "off",
        "KONSUL_HTTP_ADVERTISE_ADDR": str(plan.client),
        "KONSUL_RAFT_ENABLED": "true",
        "KONSUL_RAFT_NODE_ID": plan.name,
        "KONSUL_RAFT_BIND_ADDR": str(plan.raft),
        "KONSUL_RAFT_ADVERTISE_ADDR": str(plan.raft),
        "KONSUL_RAFT_DATA_DIR": str(plan.data),
        "KONSUL_RAFT_TRACE_FILE": str(plan.trace),
        "KONSUL_RAFT_HEARTBEAT_TIMEOUT": heartbeat,
        "KONSUL_RAFT_ELECTION_TIMEOUT": election,
        "KONSUL_RAFT_LEADER_LEASE_TIMEOUT": lease,
        "KONSUL_RAFT_SNAPSHOT_THRESHOLD": str(setup.snapshot_threshold),
        "KONSUL_RAFT_TRAILING_LOGS": str(setup.trailing_logs),
        "KONSUL_RAFT_DIAL": ",".join(f"{meant}={dialled}" for meant, dialled in dial.items()),
    }
    if first_members:
        peers = ",".join(f"{member.name}@{member.raft}" for member in first_members)
        variables |= {"KONSUL_RAFT_BOOTSTRAP": "true", "KONSUL_RAFT_PEERS": peers}
    return variables


def snapshot_files(plan: NodePlan) -> list[Path]:
    """Oldest first; what the node has set aside as damaged is not among them."""
    return sorted((plan.data / "snapshots").glob("*.snap"), key=lambda path: int(path.stem.partition("-")[2]))


def new_session() -> requests.Session:
    """A session that follows no proxy of the environment: everything is on this machine."""
    session = requests.Session()
    session.trust_env = False
    return session


def read_status(session: requests.Session, plan: NodePlan) -> NodeStatus | None:
    """What the node says of itself, None when it says nothing in time."""
    body = _read(session, plan)
    if body is None:
        return None
    stats = body["stats"]
    return NodeStatus(
        name=plan.name,
        role=body["state"],
        term=stats["term"],
        leader=body["leader_id"],
        last_index=body["last_index"],
        commit_index=body["commit_index"],
        applied_index=body["applied_index"],
        log_digest=stats["log_digest"],
        members=tuple(peer["id"] for peer in body["peers"]),
        snapshot_index=stats["last_snapshot_index"],
    )


def read_messages_sent(session: requests.Session, plan: NodePlan) -> Mapping[str, int] | None:
    """How many messages this incarnation tried to send to each peer, None when it does not say so in time."""
    body = _read(session, plan)
    return None if body is None else dict(body["stats"]["messages_sent"])


def _read(session: requests.Session, plan: NodePlan) -> Any:
    try:
        return session.get(f"http://{plan.http}/cluster/status", timeout=STATUS_TIMEOUT_S).json()
    except requests.RequestException:
        return None


class Request(NamedTuple):
    method: str
    path: str
    body: Mapping[str, Any] | None = None


def _put(asked: Invocation) -> Request:
    cas = {} if asked.modify_index is None else {"cas": asked.modify_index}
    return Request("PUT", f"/kv/{asked.key}", {"value": asked.value, **cas, **_identity(asked)})


def _delete(asked: Invocation) -> Request:
    cas = {} if asked.modify_index is None else {"cas": asked.modify_index}
    query = urlencode({**cas, **_identity(asked)})
    return Request("DELETE", f"/kv/{asked.key}{'?' if query else ''}{query}")


def _batch_set(asked: Invocation) -> Request:
    return _batch("set", asked, {"items": {item.key: item.value for item in asked.items}})


def _batch_delete(asked: Invocation) -> Request:
    return _batch("delete", asked, {"keys": [item.key for item in asked.items]})


def _batch(path: str, asked: Invocation, body: dict[str, Any]) -> Request:
    body |= _identity(asked)
    expected = {item.key: item.modify_index for item in asked.items if item.modify_index is not None}
    if not expected:
        return Request("POST", f"/batch/kv/{path}", body)
    return Request("POST", f"/batch/kv/{path}-cas", {**body, "expected_indices": expected})


def _identity(asked: Invocation) -> dict[str, Any]:
    """What makes the node take all tries of a write for one."""
    return {"client_id": asked.client_id, "sequence": asked.sequence} if asked.sequence else {}


REQUESTS: dict[str, Callable[[Invocation], Request]] = {
    "put": _put,
    "cas": _put,
    "get": lambda asked: Request("GET", f"/kv/{asked.key}{'?consistent=true' if asked.consistent else ''}"),
    "delete": _delete,
    "batch_set": _batch_set,
    "batch_delete": _batch_delete,
    "batch_get": lambda asked: Request("POST", "/batch/kv/get", {"keys": [item.key for item in asked.items]}),
    "join": lambda asked: Request("POST", "/cluster/join", {"node_id": asked.key, "address": asked.value}),
    "leave": lambda asked: Request("DELETE", f"/cluster/leave/{asked.key}"),
    "transfer": lambda asked: Request("POST", "/cluster/transfer-leadership", {"to": asked.key} if asked.key else None),
    "snapshot": lambda asked: Request("POST", "/cluster/snapshot"),
}
RESULTS: dict[str, Callable[[Mapping[str, Any]], str | None]] = {
    "get": lambda body: body.get("value"),
    "batch_get": lambda body: json.dumps(body["found"]),
    "transfer": lambda body: body["leader_id"],
}
"""What a successful answer tells besides that it was one."""


class KonsulClient(Client):
    """A client of one node, through its client link; each call is recorded, and no redirect is followed.

    `addresses` has every node's Raft address, for who is to be joined.
    """

    def __init__(self, number: int, plan: NodePlan, history: History, addresses: Mapping[str, Address]) -> None:
        self._number = number
        self._plan = plan
        self._history = history
        self._addresses = addresses
        self._session = new_session()

    def ask(self, invocation: Invocation) -> Operation:
        if invocation.kind == "join" and invocation.value is None:
            invocation = invocation._replace(value=str(self._addresses[invocation.key]))
        invoked_s = time.monotonic()
        try:
            response = self._send(REQUESTS[invocation.kind](invocation))
            outcome, body = judge(invocation.kind, response.status_code, response.json())
            reason = str(body.get("error", ""))
        except requests.RequestException as error:
            # Behind a proxy a dead node looks like one that took the request and fell silent: nothing is certain.
            outcome, body, reason = Outcome.UNKNOWN, {}, type(error).__name__
        result = RESULTS.get(invocation.kind)
        operation = Operation(
            client=self._number,
            node=self._plan.name,
            kind=invocation.kind,
            key=invocation.key,
            value=invocation.value,
            outcome=outcome,
            invoked_s=invoked_s,
            completed_s=time.monotonic(),
            result=result(body) if result is not None and outcome is Outcome.OK else None,
            modify_index=body.get("modify_index"),
            reason=reason,
            client_id=invocation.client_id,
            sequence=invocation.sequence,
        )
        return recorded(self._history, invocation, operation)

    def _send(self, request: Request) -> requests.Response:
        return self._session.request(
            request.method,
            f"http://{self._plan.client}{request.path}",
            json=request.body,
            timeout=CLIENT_TIMEOUT_S,
            allow_redirects=False,
        )


def judge(kind: str, status: int, body: Mapping[str, Any]) -> tuple[Outcome, Mapping[str, Any]]:
    """What an answer tells its client about the operation."""
    if status < 300 or (status == 404 and kind == "get"):
        return Outcome.OK, body
    if (status < 500 and body.get("error") != "superseded") or body.get("error") in DEFINITELY_NOT:
        return Outcome.FAILED, body
    return Outcome.UNKNOWN, body
