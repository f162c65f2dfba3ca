"""The HTTP port: Konsul's /cluster/*, /kv/*, /health and /metrics.

What a failed write means is in its `error`, and clients decide by it: "not leader", "no leader" and "overwritten" say
that it never happened, "leadership lost" and "timeout" that it may have, or may yet.
"""

from __future__ import annotations

import time
from concurrent.futures import Future
from typing import Annotated, TypeVar
from urllib.parse import quote

import msgspec
from flask import Blueprint, Flask, Response, request

from node.driver import (
    JOIN_TIMEOUT_S,
    Driver,
    JoinTimeoutError,
    LeadershipLostError,
    OverwrittenError,
    StoppingError,
)
from node.driver import Status as NodeStatus
from node.http import ApiError, body_as, json_response, new_app
from node.kv import Command, Delete, Index, KeyValueStore, Put, Result, Status
from node.metrics import Metrics, role_at
from node.raft import MembershipChangeError, NotLeaderError, Role
from node.raft.messages import Name
from node.standalone import Standalone

T = TypeVar("T")

MAX_BODY = 1024 * 1024
WRITE_TIMEOUT_S = 5.0
NO_LEADER = "No leader is currently elected. The cluster may be initializing or partitioned."

ROLE_NAMES = {
    Role.FOLLOWER: "Follower",
    Role.PRE_CANDIDATE: "Candidate",
    Role.CANDIDATE: "Candidate",
    Role.LEADER: "Leader",
}


class PutBody(msgspec.Struct):
    value: str
    cas: Index | None = None
    flags: Index = 0
    client_id: Annotated[str, msgspec.Meta(max_length=128)] = ""
    sequence: Index = 0


class JoinBody(msgspec.Struct):
    node_id: Name
    address: Annotated[str, msgspec.Meta(pattern=r"^[^\s:@,=]+:[0-9]{1,5}$")]


def client_app(backend: Driver | Standalone, store: KeyValueStore) -> Flask:
    """The whole surface; without a cluster /cluster/* answers 503."""
    app = new_app("konsul", max_body=MAX_BODY)
    driver = backend if isinstance(backend, Driver) else None
    app.register_blueprint(_kv(backend, store))
    app.register_blueprint(_cluster(driver))
    app.register_blueprint(_health(driver))
    return app


def metrics_app(driver: Driver) -> Flask:
    """/metrics alone, for the port where SEED.md asks."""
    app = new_app("metrics", max_body=MAX_BODY)
    app.register_blueprint(_health(driver))
    return app


def _kv(backend: Driver | Standalone, store: KeyValueStore) -> Blueprint:
    kv = Blueprint("kv", __name__, url_prefix="/kv")

    @kv.get("/<path:key>")
    def get(key: str) -> Response:
        if _flag("consistent"):
            _await(backend, backend.confirm_read())
        value = store.get(key)
        if value is None:
            raise ApiError(404, "key not found", f"there is no key {key}")
        body: dict[str, object] = {"key": key, "value": value.value}
        if _flag("metadata"):
            body |= {"modify_index": value.modify_index, "create_index": value.create_index, "flags": value.flags}
        return json_response(body)

    @kv.put("/<path:key>")
    def put(key: str) -> Response:
        body = body_as(PutBody)
        command = Command(Put(key, body.value, body.flags, body.cas), body.client_id, body.sequence)
        result = _decided(_await(backend, backend.write(command)), key)
        return json_response({"message": "key set", "key": key, "modify_index": result.modify_index})

    @kv.delete("/<path:key>")
    def delete(key: str) -> Response:
        cas = request.args.get("cas")
        if cas is not None and not (cas.isascii() and cas.isdigit()):
            raise ApiError(400, "bad request", f"cas is {cas!r}; it must be a modify_index")
        command = Command(Delete(key, None if cas is None else int(cas)))
        result = _decided(_await(backend, backend.write(command)), key)
        return json_response({"message": "key deleted", "key": key, "modify_index": result.modify_index})

    return kv


def _cluster(driver: Driver | None) -> Blueprint:
    cluster = Blueprint("cluster", __name__, url_prefix="/cluster")

    def enabled() -> Driver:
        if driver is None:
            raise ApiError(503, "clustering not enabled", "start the node with KONSUL_RAFT_ENABLED=true")
        return driver

    @cluster.get("/leader")
    def leader() -> Response:
        status = enabled().status
        leader = status.leader_at(time.monotonic())
        if leader is None:
            raise ApiError(503, "no leader", NO_LEADER)
        return json_response(
            {
                "leader_id": leader,
                "leader_addr": _raft_address(status, leader),
                "is_self": leader == status.node_id,
            }
        )

    @cluster.get("/status")
    def status() -> Response:
        return json_response(describe(enabled().status, time.monotonic()))

    @cluster.get("/peers")
    def peers() -> Response:
        found = _peers(enabled().status)
        return json_response({"peers": found, "count": len(found)})

    @cluster.post("/join")
    def join() -> Response:
        body = body_as(JoinBody)
        driver = enabled()
        _await(driver, driver.join(body.node_id, body.address), timeout_s=JOIN_TIMEOUT_S + WRITE_TIMEOUT_S)
        return json_response({"status": "ok"})

    return cluster


def _health(driver: Driver | None) -> Blueprint:
    health = Blueprint("health", __name__)

    def answer(status: str, code: int = 200) -> Response:
        if driver is None:
            return json_response({"status": status, "cluster": {"enabled": False}}, code)
        now, node = time.monotonic(), driver.status
        cluster = {"enabled": True, "state": ROLE_NAMES[role_at(node, now)], "leader": node.leader_at(now)}
        return json_response({"status": status, "cluster": cluster}, code)

    @health.get("/health")
    @health.get("/health/live")
    def live() -> Response:
        return answer("ok")

    @health.get("/health/ready")
    def ready() -> Response:
        if driver is None or driver.status.leader_at(time.monotonic()) is not None:
            return answer("ok")
        return answer("no leader", 503)

    if driver is not None:
        metrics = Metrics(lambda: driver.status)

        @health.get("/metrics")
        def scrape() -> Response:
            return Response(metrics.render(), content_type="text/plain; version=0.0.4; charset=utf-8")

    return health


def describe(status: NodeStatus, now: float) -> dict[str, object]:
    """GET /cluster/status."""
    leader = status.leader_at(now)
    return {
        "node_id": status.node_id,
        "state": ROLE_NAMES[role_at(status, now)],
        "leader_id": leader,
        "leader_addr": _raft_address(status, leader) if leader else None,
        "peers": _peers(status),
        "last_index": status.last_index,
        "applied_index": status.applied_index,
        "commit_index": status.commit_index,
        "stats": {
            "term": status.term,
            "last_log_index": status.last_index,
            "last_log_term": status.last_term,
            "commit_index": status.commit_index,
            "applied_index": status.applied_index,
            "fsm_pending": status.commit_index - status.applied_index,
            "num_peers": max(0, len(status.configuration.servers) - 1),
            "log_digest": status.log_digest,
            "messages_sent": status.messages_sent,
        },
    }


def _peers(status: NodeStatus) -> list[dict[str, str]]:
    return [
        {"id": server.id, "address": server.address, "state": server.suffrage.value}
        for server in status.configuration.servers
    ]


def _raft_address(status: NodeStatus, node: str) -> str:
    server = status.configuration.get(node)
    return server.address if server else ""


def _flag(name: str) -> bool:
    return request.args.get(name, "false").lower() in ("true", "1", "")


def _decided(result: Result, key: str) -> Result:
    if result.status is Status.CONFLICT:
        raise ApiError(
            409,
            "cas mismatch",
            f"{key} is at modify_index {result.modify_index}",
            modify_index=result.modify_index,
        )
    if result.status is Status.MISSING:
        raise ApiError(404, "key not found", f"there is no key {key}")
    return result


def _await(backend: Driver | Standalone, future: Future[T], timeout_s: float = WRITE_TIMEOUT_S) -> T:
    """The future's result, or the error that tells a client what it may believe."""
    try:
        return future.result(timeout_s)
    except NotLeaderError:
        assert isinstance(backend, Driver)
        raise _redirect(backend.status) from None
    except TimeoutError as error:
        raise ApiError(504, "timeout", "not decided in time; it may or may not take effect") from error
    except LeadershipLostError as error:
        raise ApiError(503, "leadership lost", str(error)) from error
    except OverwrittenError as error:
        raise ApiError(503, "overwritten", str(error)) from error
    except StoppingError as error:
        raise ApiError(503, "stopping", str(error)) from error
    except MembershipChangeError as error:
        raise ApiError(400, "bad request", str(error)) from error
    except JoinTimeoutError as error:
        raise ApiError(504, "join timeout", str(error)) from error


def _redirect(status: NodeStatus) -> ApiError:
    """307 to where the leader serves clients, if that is known."""
    leader = status.leader_at(time.monotonic())
    where = status.http_addresses.get(leader) if leader else None
    if leader is None or where is None:
        return ApiError(503, "no leader", NO_LEADER)
    query = f"?{request.query_string.decode()}" if request.query_string else ""
    return ApiError(
        307,
        "not leader",
        f"{status.node_id} does not lead; {leader} does",
        location=f"http://{where}{quote(request.path)}{query}",
        leader_addr=_raft_address(status, leader),
    )
