"""Our node on the bench: its environment, its status, and what its answers mean to a client."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from bench.cluster import NodeStatus
from bench.history import History, Operation, Outcome
from bench.workload import Invocation
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
    plan: NodePlan, *, profile: str, dial: Mapping[Address, Address], first_members: tuple[NodePlan, ...]
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
        "KONSUL_RAFT_DIAL": ",".join(f"{meant}={dialled}" for meant, dialled in dial.items()),
    }
    if first_members:
        peers = ",".join(f"{member.name}@{member.raft}" for member in first_members)
        variables |= {"KONSUL_RAFT_BOOTSTRAP": "true", "KONSUL_RAFT_PEERS": peers}
    return variables


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


class KonsulClient:
    """A client of one node, through its client link; each call is recorded, and no redirect is followed."""

    def __init__(self, number: int, plan: NodePlan, history: History) -> None:
        self._number = number
        self._plan = plan
        self._history = history
        self._session = new_session()

    def put(self, key: str, value: str) -> Operation:
        return self._perform("put", key, value, lambda url: self._request("PUT", url, {"value": value}))

    def cas(self, key: str, value: str, modify_index: int) -> Operation:
        body = {"value": value, "cas": modify_index}
        return self._perform("cas", key, value, lambda url: self._request("PUT", url, body))

    def delete(self, key: str) -> Operation:
        return self._perform("delete", key, None, lambda url: self._request("DELETE", url))

    def get(self, key: str, *, consistent: bool = False) -> Operation:
        query = "?consistent=true" if consistent else ""
        return self._perform("get", key, None, lambda url: self._request("GET", url + query))

    def ask(self, invocation: Invocation) -> Operation:
        """One step of a workload."""
        kind, key, value, consistent, modify_index = invocation
        calls: dict[str, Callable[[], Operation]] = {
            "put": lambda: self.put(key, value or ""),
            "get": lambda: self.get(key, consistent=consistent),
            "delete": lambda: self.delete(key),
            "cas": lambda: self.cas(key, value or "", modify_index or 0),
        }
        return calls[kind]()

    def _request(self, method: str, url: str, body: Mapping[str, Any] | None = None) -> requests.Response:
        return self._session.request(method, url, json=body, timeout=CLIENT_TIMEOUT_S, allow_redirects=False)

    def _perform(self, kind: str, key: str, value: str | None, send: Callable[[str], requests.Response]) -> Operation:
        invoked_s = time.monotonic()
        try:
            response = send(f"http://{self._plan.client}/kv/{key}")
            outcome, body = judge(kind, response.status_code, response.json())
            reason = str(body.get("error", ""))
        except requests.RequestException as error:
            # Behind a proxy a dead node looks like one that took the request and fell silent: nothing is certain.
            outcome, body, reason = Outcome.UNKNOWN, {}, type(error).__name__
        return self._history.record(
            Operation(
                client=self._number,
                node=self._plan.name,
                kind=kind,
                key=key,
                value=value,
                outcome=outcome,
                invoked_s=invoked_s,
                completed_s=time.monotonic(),
                result=body.get("value") if kind == "get" and outcome is Outcome.OK else None,
                modify_index=body.get("modify_index"),
                reason=reason,
            )
        )


def judge(kind: str, status: int, body: Mapping[str, Any]) -> tuple[Outcome, Mapping[str, Any]]:
    """What an answer tells its client about the operation."""
    if status < 300 or (status == 404 and kind == "get"):
        return Outcome.OK, body
    if (status < 500 and body.get("error") != "superseded") or body.get("error") in DEFINITELY_NOT:
        return Outcome.FAILED, body
    return Outcome.UNKNOWN, body
