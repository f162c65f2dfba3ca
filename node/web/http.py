"""What the HTTP surfaces share: who is let in, JSON in and out, errors as JSON, and sockets to listen on.

Each surface has a server and threads of its own. Writes that wait for a majority hold a thread each, and if votes had
to queue behind them, the cluster could not elect the leader that those writes are waiting for.
"""

from __future__ import annotations

import errno
import logging
import socket
from collections.abc import Sequence
from typing import TypeVar

import msgspec
import psutil
from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from node.config import Config, ConfigError, FirstFree
from node.web.hosts import names_of, why_refused
from node.web.replies import ApiError, Reply, not_taken

T = TypeVar("T")

BACKLOG = 1024
PORTS_TRIED = 100
WILDCARDS = {"0.0.0.0", "::"}


def new_app(name: str, *, max_body: int, hosts: frozenset[str] = frozenset()) -> Flask:
    """A Flask application whose every error is JSON, and that answers to `hosts` and to the names of loopback."""
    app = Flask(name, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = max_body
    # An error raised by an error handler ends the thread instead of becoming an answer.
    app.config["PROPAGATE_EXCEPTIONS"] = True
    app.register_error_handler(ApiError, _answer_api_error)
    app.register_error_handler(HTTPException, _answer_http_exception)
    app.register_error_handler(Exception, _answer_bug)

    @app.before_request
    def let_in() -> None:
        headers = request.environ
        refusal = why_refused(headers.get("HTTP_HOST"), headers.get("HTTP_ORIGIN"), hosts)
        if refusal is not None:
            raise ApiError(*refusal)

    return app


def body_by(decoder: msgspec.json.Decoder[T]) -> T:
    """The request's body, JSON whatever its header says (`curl -d` says it is a form). Raises ApiError 400.

    The decoder must be made before there are threads: `node.wire` says why.
    """
    try:
        return decoder.decode(request.get_data())
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise not_taken(error) from error


def json_response(value: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value) + b"\n", status, content_type="application/json")


def response_of(reply: Reply) -> Response:
    response = json_response(reply.body, reply.status)
    if reply.location is not None:
        response.headers["Location"] = reply.location
    return response


def _answer_api_error(error: ApiError) -> Response:
    return response_of(error.reply)


def _answer_http_exception(error: HTTPException) -> Response:
    return json_response({"error": error.name.lower(), "message": error.description}, error.code or 500)


def _answer_bug(error: Exception) -> Response:
    if isinstance(error, MemoryError):
        raise error
    logging.getLogger(__name__).error("a request failed: %s %s", request.method, request.path, exc_info=error)
    return json_response({"error": "internal error", "message": "the node could not answer; see its log"}, 500)


def own_hosts(config: Config, listeners: Sequence[socket.socket]) -> frozenset[str]:
    """The names by which this node may be asked for: those it was given, those it listens on, and, if it listens on
    every interface, all names of this machine."""
    hosts = [*config.hosts, *(listener.getsockname()[0] for listener in listeners)]
    if WILDCARDS.intersection(hosts):
        interfaces = psutil.net_if_addrs().values()
        hosts += [socket.gethostname(), *(found.address for interface in interfaces for found in interface)]
    return names_of(hosts)


def bind(host: str, port: int | FirstFree, purpose: str) -> socket.socket:
    """A listening socket on `port`, or on the first free port from there. Raises ConfigError when there is none."""
    first, tried = (port, 1) if isinstance(port, int) else (port.port, PORTS_TRIED)
    reason = ""
    for candidate in range(first, first + tried):
        listener = socket.socket()
        if isinstance(port, int):
            # Only for a port that was asked for. With this option, a port that another process holds without listening
            # on it looks free. A bench holds the ports of its links like that, and taking one breaks the bench.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, candidate))
            listener.listen(BACKLOG)
        except OSError as error:
            listener.close()
            reason = f"{host}:{candidate} cannot be listened on ({error.strerror or error})"
            if error.errno != errno.EADDRINUSE:
                break
        else:
            return listener
    raise ConfigError(f"{reason}, for {purpose}; choose another, or stop what holds it")
