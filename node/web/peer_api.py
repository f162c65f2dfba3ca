"""The Raft port. POST /raft/messages takes an `Envelope` and answers 202 as soon as the driver has it in its inbox.
GET /raft/identity says which node this is; a leader asks before it lets the node in.

The answers carry nothing of Raft: the core's responses are messages of their own, on the reverse link.
"""

from __future__ import annotations

import msgspec
from flask import Flask, Response, request

from node import wire
from node.driver import Driver
from node.identity import Identity
from node.status import lets_in
from node.web.http import json_response, new_app
from node.web.replies import ApiError


def peer_app(driver: Driver, *, hosts: frozenset[str] = frozenset()) -> Flask:
    app = new_app("raft", max_body=wire.MAX_BYTES, hosts=hosts)

    @app.post(wire.PATH)
    def messages() -> Response:
        try:
            envelope = wire.decode(request.get_data())
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise ApiError(400, "bad request", f"not a batch of Raft messages: {error}") from error
        _check_membership(driver, envelope)
        driver.deliver(envelope)
        # Not 204: waitress closes the connection after an answer without a body, and what the peer had already written
        # on it is lost until the next heartbeat.
        return json_response({}, 202)

    @app.get(wire.IDENTITY_PATH)
    def identity() -> Response:
        status = driver.status
        return json_response(Identity(status.node_id, status.cluster_id))

    return app


def _check_membership(driver: Driver, envelope: wire.Envelope) -> None:
    """Refuse at once, with a reason, what the server would ignore (`node.server` checks the same again)."""
    status = driver.status
    if not lets_in(status.configuration, status.cluster_id, envelope.sender, envelope.cluster_id):
        raise ApiError(
            403,
            "not a member",
            f"{envelope.sender} does not belong to the cluster of {status.node_id}; join it first, on its leader",
        )
    strays = {message.recipient for message in envelope.messages} - {status.node_id}
    if strays or envelope.sender == status.node_id:
        raise ApiError(421, "misdirected", f"this is {status.node_id}; the message is not for it")
