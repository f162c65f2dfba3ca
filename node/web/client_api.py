"""The HTTP port: Konsul's /cluster/*, /kv/*, /batch/kv/*, /health and /metrics.

The `error` of a failed write says what became of it, and clients decide by that. "not leader", "no leader",
"transferring", "overwritten", "stopping" and "cas mismatch" mean that the write never happened. "leadership lost",
"timeout" and "superseded" mean that it may have happened, or may yet.

A write that names a `client_id` (non-empty) and a `sequence` (from 1, one more for each write) takes effect once,
however often it is sent. The two are in the body of a PUT or a batch, and in the query of a DELETE.

Reads: `?consistency=default` returns what this node has applied, however old. `consistent` (or `?consistent=true`) is
linearizable by a round of heartbeats, and `leader` by the leader's lease. The lease is checked again when the value has
been read: a node that was stopped in between does not answer with it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

import msgspec
from flask import Blueprint, Flask, Response, request

from node.driver import Driver
from node.identity import Identity, UnidentifiedError
from node.machine.kv import Command, Decision, DeleteKey, KeyValueStore, Result, SetKey, Value
from node.metrics import Metrics
from node.questions import (
    MEANINGS,
    PATIENCE_S,
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
    meaning_of,
)
from node.raft import NotLeaderError, Suffrage
from node.standalone import Standalone
from node.status import Status
from node.web import bodies
from node.web.bodies import BatchBody, JoinBody
from node.web.http import ApiError, body_by, json_response, new_app

MAX_BODY = 1024 * 1024
MAX_DIGITS = 19
NO_LEADER = "No leader is currently elected. The cluster may be initializing or partitioned."

UNDECIDED = "not decided in time; it may or may not take effect"

Identify = Callable[[str], Identity]


def client_app(
    backend: Driver | Standalone,
    store: KeyValueStore,
    identify: Identify | None = None,
    *,
    hosts: frozenset[str] = frozenset(),
) -> Flask:
    """The whole surface; without a cluster /cluster/* answers 503. `identify` says who answers at a Raft address."""
    app = new_app("konsul", max_body=MAX_BODY, hosts=hosts)
    driver = backend if isinstance(backend, Driver) else None
    app.register_blueprint(_kv(backend, store))
    app.register_blueprint(_batch(backend, store))
    app.register_blueprint(_cluster(driver))
    app.register_blueprint(_membership(driver, identify))
    app.register_blueprint(_health(driver))
    return app


def metrics_app(driver: Driver, *, hosts: frozenset[str] = frozenset()) -> Flask:
    """/metrics and /health alone, for KONSUL_METRICS_PORT."""
    app = new_app("metrics", max_body=MAX_BODY, hosts=hosts)
    app.register_blueprint(_health(driver))
    return app


def _kv(backend: Driver | Standalone, store: KeyValueStore) -> Blueprint:
    kv = Blueprint("kv", __name__, url_prefix="/kv")

    @kv.get("/<path:key>")
    def get(key: str) -> Response:
        value = _read(backend, store, (key,))[key]
        if value is None:
            raise ApiError(404, "key not found", f"there is no key {key}")
        return json_response({"key": key, **(_described(value) if _flag("metadata") else {"value": value.value})})

    @kv.put("/<path:key>")
    def put(key: str) -> Response:
        body = body_by(bodies.PUT)
        command = Command(SetKey(key, body.value, body.flags, body.cas), body.client_id, body.sequence)
        result = _write(backend, command, key)
        return json_response({"message": "key set", "key": key, "modify_index": result.modify_index})

    @kv.delete("/<path:key>")
    def delete(key: str) -> Response:
        client_id, sequence = request.args.get("client_id", ""), _number("sequence") or 0
        try:
            bodies.check_session(client_id, sequence)
        except ValueError as error:
            raise ApiError(400, "bad request", str(error)) from error
        command = Command(DeleteKey(key, _number("cas")), client_id, sequence)
        result = _write(backend, command, key)
        return json_response({"message": "key deleted", "key": key, "modify_index": result.modify_index})

    return kv


def _batch(backend: Driver | Standalone, store: KeyValueStore) -> Blueprint:
    """Konsul's batches: up to 1000 keys, each once; a write is one log entry, all of it or nothing."""
    batch = Blueprint("batch", __name__, url_prefix="/batch/kv")

    @batch.post("/get")
    def get() -> Response:
        keys = body_by(bodies.BATCH_GET).keys
        values = _read(backend, store, tuple(keys))
        found = {key: _shown(value) for key, value in values.items() if value is not None}
        return json_response({"found": found, "not_found": [key for key, value in values.items() if value is None]})

    def register(path: str, decoder: msgspec.json.Decoder[BatchBody]) -> None:
        def write() -> Response:
            body = body_by(decoder)
            command = Command(body.batch(), body.client_id, body.sequence)
            result = _write(backend, command, "batch")
            keys = [operation.key for operation in body.batch().operations]
            message = f"{body.DONE} {len(keys)} keys"
            return json_response(
                {"message": message, "keys": keys, "count": len(keys), "modify_index": result.modify_index}
            )

        batch.add_url_rule(path, path, write, methods=["POST"])

    for path, decoder in bodies.BATCHES.items():
        register(f"/{path}", decoder)
    return batch


def _cluster(driver: Driver | None) -> Blueprint:
    cluster = Blueprint("cluster", __name__, url_prefix="/cluster")

    def enabled() -> Driver:
        return _enabled(driver)

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
        driver = enabled()
        return json_response(describe(driver.status, driver.messages_sent(), time.monotonic()))

    @cluster.get("/peers")
    def peers() -> Response:
        found = _peers(enabled().status)
        return json_response({"peers": found, "count": len(found)})

    @cluster.post("/snapshot")
    def snapshot() -> Response:
        return json_response({"status": "ok", "index": _ask(enabled(), MakeSnapshot()).value})

    return cluster


def _membership(driver: Driver | None, identify: Identify | None) -> Blueprint:
    """What only the leader does."""
    membership = Blueprint("membership", __name__, url_prefix="/cluster")

    def leader() -> Driver:
        found = _enabled(driver)
        if not found.status.is_leader_at(time.monotonic()):
            raise _redirect(found.status)
        return found

    @membership.post("/join")
    def join() -> Response:
        body = body_by(bodies.JOIN)
        driver = leader()
        if identify is not None:
            _check_identity(driver.status, body, identify)
        _ask(driver, AddServer(body.node_id, body.address))
        return json_response({"status": "ok"})

    @membership.delete("/leave/<id>")
    def leave(id: str) -> Response:
        _ask(leader(), RemoveServer(id))
        return json_response({"status": "ok"})

    @membership.post("/transfer-leadership")
    def transfer() -> Response:
        to = body_by(bodies.TRANSFER).to if request.get_data() else None
        return json_response({"status": "ok", "leader_id": _ask(leader(), TransferLeadership(to)).value})

    return membership


def _enabled(driver: Driver | None) -> Driver:
    if driver is None:
        raise ApiError(503, "clustering not enabled", "start the node with KONSUL_RAFT_ENABLED=true")
    return driver


def _check_identity(status: Status, body: JoinBody, identify: Identify) -> None:
    """Refuse a server that does not answer, or is another one. A known voter, say after a restart, is not asked."""
    known = status.configuration.get(body.node_id)
    if known is not None and known.address == body.address and known.suffrage is Suffrage.VOTER:
        return
    try:
        found = identify(body.address)
    except UnidentifiedError as error:
        raise ApiError(400, "unreachable", f"{error}; start {body.node_id} there, then join it") from error
    if found.node_id != body.node_id:
        raise ApiError(400, "another node", f"{found.node_id} answers at {body.address}, not {body.node_id}")
    if found.cluster_id not in ("", status.cluster_id):
        raise ApiError(
            409, "another cluster", f"{body.node_id} belongs to another cluster; start it with an empty data folder"
        )


def _health(driver: Driver | None) -> Blueprint:
    health = Blueprint("health", __name__)

    def answer(status: str, code: int = 200) -> Response:
        if driver is None:
            return json_response({"status": status, "cluster": {"enabled": False}}, code)
        now, node = time.monotonic(), driver.status
        cluster = {"enabled": True, "state": node.state_at(now), "leader": node.leader_at(now)}
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
        metrics = Metrics(lambda: driver.status, driver.outcomes, driver.meters)

        @health.get("/metrics")
        def scrape() -> Response:
            return Response(metrics.render(), content_type="text/plain; version=0.0.4; charset=utf-8")

    return health


def describe(status: Status, messages_sent: Mapping[str, int], now: float) -> dict[str, object]:
    """GET /cluster/status."""
    leader = status.leader_at(now)
    return {
        "node_id": status.node_id,
        "state": status.state_at(now),
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
            "last_snapshot_index": status.snapshot_index,
            "last_snapshot_term": status.snapshot_term,
            "num_peers": max(0, len(status.configuration.servers) - 1),
            "log_digest": status.digest.hex(),
            "messages_sent": messages_sent,
        },
    }


def _peers(status: Status) -> list[dict[str, str]]:
    return [
        {"id": server.id, "address": server.address, "state": server.suffrage.value}
        for server in status.configuration.servers
    ]


def _raft_address(status: Status, node: str) -> str:
    server = status.configuration.get(node)
    return server.address if server else ""


def _flag(name: str) -> bool:
    """Whether a flag of the query is set. Raises ApiError 400 for a value that is neither true nor false."""
    value = request.args.get(name, "false").lower()
    if value not in ("true", "1", "", "false", "0"):
        raise ApiError(400, "bad request", f"{name} is {value!r}; it must be true or false")
    return value in ("true", "1", "")


def _number(name: str) -> int | None:
    """A number from the query; None when the query does not have it. Raises ApiError 400."""
    value = request.args.get(name)
    if value is not None and not (value.isascii() and value.isdigit() and len(value) < MAX_DIGITS):
        raise ApiError(400, "bad request", f"{name} is {value!r}; it must be a whole number")
    return None if value is None else int(value)


def _described(value: Value) -> dict[str, object]:
    return {
        "value": value.value,
        "modify_index": value.modify_index,
        "create_index": value.create_index,
        "flags": value.flags,
    }


def _shown(value: Value) -> object:
    return _described(value) if _flag("metadata") else value.value


def _read(backend: Driver | Standalone, store: KeyValueStore, keys: tuple[str, ...]) -> Mapping[str, Value | None]:
    """The values of these keys, as fresh as the query wants them. A default read may be stale, so it asks nobody."""
    asked = request.args.get("consistency", "consistent" if _flag("consistent") else "default")
    if asked not in list(Consistency):
        raise ApiError(400, "bad request", f"consistency is {asked!r}; it must be default, consistent or leader")
    if asked == Consistency.DEFAULT:
        return store.get_all(keys)
    found: Mapping[str, Value | None] = _ask(backend, Read(keys, Consistency(asked))).value
    return found


def _write(backend: Driver | Standalone, command: Command, what: str) -> Result:
    """The result of the write. Raises ApiError when the state machine refused it."""
    result: Result = _ask(backend, Write(command.encode())).value
    refusal = REFUSALS.get(result.status)
    if refusal is None:
        return result
    fields: dict[str, Any] = {}
    if result.status is Decision.CONFLICT:
        fields = {"conflicts": result.conflicts} if result.conflicts else {"modify_index": result.modify_index}
    raise ApiError(refusal.status, refusal.name, _refused(result, what), **fields)


def _refused(result: Result, what: str) -> str:
    match result.status:
        case Decision.MISSING:
            return f"there is no key {what}"
        case Decision.SUPERSEDED:
            return "a later write of this client was applied; this one may have been before it"
    found = ", ".join(f"{key} is at {index}" for key, index in result.conflicts.items())
    return f"nothing was changed: {found}" if found else f"{what} is at modify_index {result.modify_index}"


def _ask(backend: Driver | Standalone, question: Question) -> Answer:
    """The answer. Raises the ApiError that tells a client what it may conclude."""
    try:
        answer = backend.ask(question).result(PATIENCE_S[type(question)]).at(time.monotonic())
        if answer.error is not None:
            raise answer.error
    except NotLeaderError:
        assert isinstance(backend, Driver)
        raise _redirect(backend.status) from None
    except tuple(MEANINGS) as error:
        meaning = meaning_of(error, leader_known=False)
        raise ApiError(meaning.status, meaning.name, str(error) or UNDECIDED) from error
    return answer


def _redirect(status: Status) -> ApiError:
    """307 to where the leader serves clients, if that is known."""
    elsewhere = status.elsewhere_at(time.monotonic())
    meaning = meaning_of(NotLeaderError(None), leader_known=elsewhere is not None)
    if elsewhere is None:
        return ApiError(meaning.status, meaning.name, NO_LEADER)
    leader, where = elsewhere
    query = f"?{request.query_string.decode()}" if request.query_string else ""
    return ApiError(
        meaning.status,
        meaning.name,
        f"{status.node_id} does not lead; {leader} does",
        location=f"http://{where}{quote(request.path)}{query}",
        leader_addr=_raft_address(status, leader),
    )
