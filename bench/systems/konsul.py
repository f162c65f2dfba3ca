"""Our node on the bench: how it is started, what it says of itself, and how a client reaches it."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from pathlib import Path

import requests

from bench.case import Plan, Settings
from bench.cluster import NodeStatus
from bench.operations import Freshness, Get, Outcome, Put, Question, Told
from bench.systems import early
from bench.systems.konsul_http import (
    STATUS,
    UNREADABLE,
    HttpRequest,
    StatusBody,
    as_bytes,
    request_of,
    sent_to,
    told,
)
from bench.systems.module import NodeProcess
from bench.systems.protocol import NodePlan
from faults.links import Address

MODULE = "node"
"""Run as ``python -m node``."""

STATUS_TIMEOUT_S = 1.0


class _OwnSession(threading.local):
    """One session per thread: `requests` does not promise that a session can be shared."""

    def __init__(self) -> None:
        self.requests = new_session()


def new_session() -> requests.Session:
    """A session that uses no proxy of the environment: everything is on this machine."""
    session = requests.Session()
    session.trust_env = False
    return session


class KonsulSystem:
    """A `bench.systems.protocol.System`."""

    name = "konsul"

    def __init__(self) -> None:
        self._session = _OwnSession()

    def can(self, need: str) -> str | None:
        """Everything that can be done to a process and its links, and everything that can be asked."""
        return None

    # Processes

    def prepare(self) -> None:
        early.preload()

    def start(
        self, node: NodePlan, cluster: Plan, *, founders: Sequence[NodePlan], stream: logging.Handler
    ) -> NodeProcess:
        env = environment(node, cluster, founders)
        return NodeProcess(MODULE, node.name, env=env, folder=node.folder, stream=stream, zero_s=node.zero_s)

    # What clients ask

    def connect(self, node: NodePlan, peers: Mapping[str, NodePlan], timeout_s: float) -> KonsulConnection:
        return KonsulConnection(node, peers, timeout_s)

    def examples(self, node: NodePlan) -> Sequence[str]:
        # With -L they go on working once another node leads. A redirected PUT stays one because -X says so each time.
        url = f"http://{node.client}"
        return (
            f'curl -L -X PUT {url}/kv/greeting -d \'{{"value": "hello"}}\'',
            f"curl -L {url}/kv/greeting",
            f"curl -L {url}/cluster/leader",
        )

    def put_request(self, key: str, value: str) -> bytes:
        return as_bytes(request_of(Put(key, value), {}))

    def read_request(self, key: str) -> bytes:
        return as_bytes(request_of(Get(key, Freshness.LINEARIZABLE), {}))

    def is_acknowledged(self, status: int) -> bool:
        return status == HTTPStatus.OK

    # What a node says of itself

    def status(self, node: NodePlan) -> NodeStatus | None:
        body = self._read(node)
        if body is None:
            return None
        stats = body.stats
        return NodeStatus(
            name=node.name,
            role=body.state,
            term=stats.term,
            leader=body.leader_id,
            last_index=body.last_index,
            commit_index=body.commit_index,
            applied_index=body.applied_index,
            log_digest=stats.log_digest,
            addresses={peer.id: peer.address for peer in body.peers},
            staged=tuple(peer.id for peer in body.peers if peer.state != "Voter"),
            snapshot_index=stats.last_snapshot_index,
        )

    def messages_sent(self, node: NodePlan) -> Mapping[Address, int] | None:
        body = self._read(node)
        return None if body is None else {Address.parse(to): sent for to, sent in body.stats.messages_sent.items()}

    def _read(self, node: NodePlan) -> StatusBody | None:
        try:
            answer = self._session.requests.get(f"http://{node.http}/cluster/status", timeout=STATUS_TIMEOUT_S)
            return STATUS.decode(answer.content)
        except (requests.RequestException, *UNREADABLE):
            return None

    # What a node has on its disk

    def snapshot_files(self, node: NodePlan) -> list[Path]:
        return sorted((node.data / "snapshots").glob("*.snap"), key=lambda path: int(path.stem.partition("-")[2]))

    def data_files(self, node: NodePlan) -> Mapping[str, list[Path]]:
        """The log is the database with its journal; snapshots have a folder of their own."""
        found = {"log": node.data.glob("*"), "snapshots": (node.data / "snapshots").rglob("*")}
        return {kind: [path for path in paths if path.is_file()] for kind, paths in found.items()}

    def disk_bytes(self, node: NodePlan) -> Mapping[str, int]:
        return {kind: _bytes_of(files) for kind, files in self.data_files(node).items()}


def _bytes_of(files: Iterable[Path]) -> int:
    """The size of those that are still there."""
    total = 0
    for file in files:
        with contextlib.suppress(FileNotFoundError):
            total += file.stat().st_size
    return total


# A client


class KonsulConnection:
    """A `bench.systems.protocol.Connection`. It follows no redirect."""

    def __init__(self, node: NodePlan, peers: Mapping[str, NodePlan], timeout_s: float) -> None:
        self._url = f"http://{node.client}"
        self._addresses = {peer: plan.raft for peer, plan in peers.items()}
        self._served_at = {str(plan.client): peer for peer, plan in peers.items()}
        """The node of each client link's address."""
        self._timeout_s = timeout_s
        self._session = new_session()

    def ask(self, asked: Question) -> Told:
        try:
            answer = self._send(request_of(asked, self._addresses))
        except requests.RequestException as error:
            # Through a proxy a dead node looks like one that took the request and fell silent: nothing is certain.
            return Told(Outcome.UNKNOWN, type(error).__name__)
        elsewhere = sent_to(answer.headers.get("Location", ""), self._served_at)
        return told(asked, answer.status_code, answer.content, elsewhere)

    def close(self) -> None:
        self._session.close()

    def _send(self, request: HttpRequest) -> requests.Response:
        return self._session.request(
            request.method,
            f"{self._url}{request.path}",
            json=request.body,
            timeout=self._timeout_s,
            allow_redirects=False,
        )


# Its environment


def environment(node: NodePlan, cluster: Plan, founders: Sequence[NodePlan]) -> dict[str, str]:
    """The variables for ``python -m node``; `founders` are the first configuration, for the node that founds the
    cluster."""
    variables = {
        "KONSUL_HOST": node.http.host,
        "KONSUL_PORT": str(node.http.port),
        "KONSUL_METRICS_PORT": "off",
        "KONSUL_HTTP_ADVERTISE_ADDR": str(node.client),
        "KONSUL_RAFT_ENABLED": "true",
        "KONSUL_RAFT_NODE_ID": node.name,
        "KONSUL_RAFT_BIND_ADDR": str(node.raft),
        "KONSUL_RAFT_ADVERTISE_ADDR": str(node.raft),
        "KONSUL_RAFT_DATA_DIR": str(node.data),
        "KONSUL_RAFT_TRACE_FILE": str(node.trace),
        "KONSUL_RAFT_TRACE_ZERO": _duration(node.zero_s),
        "KONSUL_RAFT_DIAL": ",".join(f"{meant}={dialled}" for meant, dialled in node.dial.items()),
        **_settings(cluster.settings),
    }
    if cluster.flaw is not None:
        variables["KONSUL_RAFT_FLAW"] = cluster.flaw
    if founders:
        peers = ",".join(f"{founder.name}@{founder.raft}" for founder in founders)
        variables |= {"KONSUL_RAFT_BOOTSTRAP": "true", "KONSUL_RAFT_PEERS": peers}
    return variables


LIMITS = (
    "bytes_per_message",
    "entries_in_flight",
    "bytes_in_flight",
    "entries_applied_at_once",
    "snapshot_chunk_bytes",
    "snapshot_bytes_in_flight",
    "unanswered_bytes",
    "waiting_messages",
)
"""The settings that a node knows by the same names."""


def _settings(settings: Settings) -> dict[str, str]:
    return {
        "KONSUL_RAFT_HEARTBEAT_TIMEOUT": _duration(settings.heartbeat_timeout_s),
        "KONSUL_RAFT_ELECTION_TIMEOUT": _duration(settings.election_timeout_s),
        "KONSUL_RAFT_LEADER_LEASE_TIMEOUT": _duration(settings.leader_lease_timeout_s),
        "KONSUL_RAFT_COMMIT_TIMEOUT": _duration(settings.commit_timeout_s),
        "KONSUL_RAFT_MAX_APPEND_ENTRIES": str(settings.entries_per_message),
        "KONSUL_RAFT_LIMITS": ",".join(f"{name}={getattr(settings, name)}" for name in LIMITS),
        "KONSUL_RAFT_SNAPSHOT_INTERVAL": _duration(settings.snapshot_interval_s),
        "KONSUL_RAFT_SNAPSHOT_THRESHOLD": str(settings.snapshot_threshold),
        "KONSUL_RAFT_TRAILING_LOGS": str(settings.trailing_logs),
    }


def _duration(seconds: float) -> str:
    """As Go writes a duration, to the microsecond."""
    return f"{seconds:.6f}s"
