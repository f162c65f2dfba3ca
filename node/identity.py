"""Who answers at an address, which is asked before a server is let in.

With an address where nobody answers, a cluster would have a voter that cannot vote. With an address where somebody else
answers, it would send its log to a stranger.
"""

from __future__ import annotations

import http.client
from collections.abc import Mapping

import msgspec

from node import wire
from node.config import Address
from node.dialling import NoWayError, resolved, target_of
from node.raft.messages import Name

TIMEOUT_S = 1.0


class Identity(msgspec.Struct, frozen=True):
    """What GET /raft/identity answers."""

    node_id: Name
    cluster_id: str
    """Empty as long as the node belongs to no cluster."""


_DECODER = msgspec.json.Decoder(Identity)


class UnidentifiedError(Exception):
    """No node of ours answers there; the text says what happened instead."""


def ask(address: str, dial: Mapping[str, Address]) -> Identity:
    """Who answers at `address`, dialled as its peers dial it. Raises UnidentifiedError."""
    try:
        target = target_of(address, dial, resolved)
    except NoWayError as error:
        raise UnidentifiedError(str(error)) from error
    connection = http.client.HTTPConnection(target.host, target.port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", wire.IDENTITY_PATH, headers={"Host": address})
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != http.HTTPStatus.OK:
            said = body.decode(errors="replace").strip()
            raise UnidentifiedError(f"what answers at {address} does not say who it is: {said}")
        return _DECODER.decode(body)
    except (OSError, http.client.HTTPException) as error:
        raise UnidentifiedError(f"nobody answers at {address} ({error or type(error).__name__})") from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise UnidentifiedError(f"what answers at {address} is no node: {error}") from error
    finally:
        connection.close()
