from __future__ import annotations

from collections.abc import Sequence

from node import wire
from node.raft import PreVote
from node.raft.messages import AnyMessage
from node.transport import Transport


def envelope(messages: Sequence[AnyMessage]) -> wire.Envelope:
    return wire.Envelope(
        sender="n1", cluster_id="", raft_address="127.0.0.1:1", http_address="", messages=tuple(messages)
    )


def test_an_attempt_counts_though_the_peer_refuses_it() -> None:
    transport = Transport(envelope, lambda peer: None, dial={}, settled_s=1)
    try:
        for peer in ("n2", "n3", "n2"):
            message = PreVote(sender="n1", recipient=peer, term=1, next_term=2, last_log_index=0, last_log_term=0)
            transport.send(message, "127.0.0.1:1")
        assert transport.attempts() == {"n2": 2, "n3": 1}
    finally:
        transport.close()
