"""The HTTP port: Konsul's /cluster/*, /kv/*, /batch/kv/*, /health and /metrics, as Flask applications.

Nothing is decided here. A request becomes a value, the server is asked and waited for, and a reply becomes bytes. What
is asked and what is told is in `endpoints`, `replies` and `descriptions`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial

from flask import Flask, Response, request

from node.driver import Driver
from node.identity import Identity, UnidentifiedError
from node.machine.kv import KeyValueStore
from node.metrics import Metrics
from node.questions import MEANINGS, PATIENCE_S, AddServer, Answer, Question
from node.standalone import Standalone
from node.status import Status
from node.web import descriptions
from node.web.endpoints import ENDPOINTS, Endpoint, asks_nobody, reply_to
from node.web.http import body_by, new_app, response_of
from node.web.replies import NOT_CLUSTERED, ApiError, HttpRequest, Reply, check_identity, must_identify, turned_away

MAX_BODY = 1024 * 1024

Identify = Callable[[str], Identity]
"""Says who answers at a Raft address. Raises UnidentifiedError."""

Description = Callable[[Status | None, float], Reply]
"""What is said by a status, at a reading of the node's clock."""

DESCRIPTIONS = {"/cluster/leader": descriptions.leader, "/cluster/peers": descriptions.peers}
HEALTH = {"/health": descriptions.alive, "/health/live": descriptions.alive, "/health/ready": descriptions.ready}


def client_app(
    backend: Driver | Standalone,
    store: KeyValueStore,
    identify: Identify | None = None,
    *,
    hosts: frozenset[str] = frozenset(),
) -> Flask:
    """The whole surface; without a cluster /cluster/* answers 503. Whoever is to join is asked by `identify`."""
    app = new_app("konsul", max_body=MAX_BODY, hosts=hosts)
    driver = backend if isinstance(backend, Driver) else None
    serving = partial(_serve, backend, driver, store, identify)
    for endpoint in ENDPOINTS:
        view = partial(serving, endpoint)
        app.add_url_rule(endpoint.path, f"{endpoint.method} {endpoint.path}", view, methods=[endpoint.method])
    _describe(app, driver, DESCRIPTIONS | HEALTH)
    _add_status(app, driver)
    _add_metrics(app, driver)
    return app


def metrics_app(driver: Driver, *, hosts: frozenset[str] = frozenset()) -> Flask:
    """/metrics and /health alone, for KONSUL_METRICS_PORT."""
    app = new_app("metrics", max_body=MAX_BODY, hosts=hosts)
    _describe(app, driver, HEALTH)
    _add_metrics(app, driver)
    return app


# What is asked of the server


def _serve(
    backend: Driver | Standalone,
    driver: Driver | None,
    store: KeyValueStore,
    identify: Identify | None,
    endpoint: Endpoint,
    name: str = "",
) -> Response:
    """Answer a request, in the order in which a mistake is told: of the request, of this node, of who is to join."""
    asked = _read(endpoint, name)
    question = endpoint.question_of(asked)
    away = turned_away(asked, question, _status(driver), time.monotonic())
    if away is not None:
        return response_of(away)
    if isinstance(question, AddServer) and identify is not None and driver is not None:
        _check_who_joins(question, driver.status, identify)
    answer = Answer(None, store.get_all(question.keys)) if asks_nobody(question) else _ask(backend, question)
    # Both are read after the answer has come.
    status, now = _status(driver), time.monotonic()
    return response_of(reply_to(endpoint, asked, answer, status, now))


def _read(endpoint: Endpoint, name: str) -> HttpRequest:
    """The request as a value. Raises ApiError for a body that is not what the endpoint takes."""
    decoder = endpoint.body if endpoint.needs_body or request.get_data() else None
    body = None if decoder is None else body_by(decoder)
    return HttpRequest(request.path, request.args, request.query_string.decode(), name, body)


def _ask(backend: Driver | Standalone, question: Question) -> Answer:
    """Ask, and wait as long as a client may."""
    try:
        return backend.ask(question).result(PATIENCE_S[type(question)])
    except tuple(MEANINGS) as error:
        return Answer(None, error=error)


def _check_who_joins(join: AddServer, status: Status, identify: Identify) -> None:
    """Raises ApiError where nobody answers at the address that is to join, or somebody else."""
    if not must_identify(join, status):
        return
    try:
        found = identify(join.address)
    except UnidentifiedError as error:
        raise ApiError(400, "unreachable", f"{error}; start {join.server_id} there, then join it") from error
    check_identity(join, status, found.node_id, found.cluster_id)


def _status(driver: Driver | None) -> Status | None:
    return None if driver is None else driver.status


# What the node says of itself


def _describe(app: Flask, driver: Driver | None, said_at: Mapping[str, Description]) -> None:
    for path, said in said_at.items():
        app.add_url_rule(path, path, partial(_say, driver, said))


def _say(driver: Driver | None, said: Description) -> Response:
    return response_of(said(_status(driver), time.monotonic()))


def _add_status(app: Flask, driver: Driver | None) -> None:
    @app.get("/cluster/status")
    def status() -> Response:
        if driver is None:
            return response_of(NOT_CLUSTERED)
        said = descriptions.described(driver.status, driver.messages_sent(), time.monotonic())
        return response_of(Reply(200, said))


def _add_metrics(app: Flask, driver: Driver | None) -> None:
    if driver is None:
        return
    metrics = Metrics(lambda: driver.status, driver.outcomes, driver.meters)

    @app.get("/metrics")
    def scrape() -> Response:
        return Response(metrics.render(), content_type="text/plain; version=0.0.4; charset=utf-8")
