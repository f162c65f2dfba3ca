from __future__ import annotations

from typing import Any

import msgspec
import pytest

from node import wire
from node.raft import AppendEntries, Entry, EntryKind, PreVote
from node.server import Origin

MESSAGE = PreVote(sender="n1", recipient="n2", term=1, next_term=2, last_log_index=0, last_log_term=0)
ENVELOPE = wire.Envelope(
    sender="n1", cluster_id="ours", raft_address="a:7001", http_address="a:8500", messages=(MESSAGE, MESSAGE)
)


def test_what_is_sent_arrives_as_it_was() -> None:
    entries = (Entry(1, 1, EntryKind.COMMAND, bytes(range(256))), Entry(2, 1, EntryKind.NOOP, b""))
    append = AppendEntries(
        sender="n1",
        recipient="n2",
        term=1,
        prev_log_index=0,
        prev_log_term=0,
        entries=entries,
        leader_commit=1,
        sent_at_s=0.1,
    )
    envelope = msgspec.structs.replace(ENVELOPE, messages=(MESSAGE, append))
    assert wire.decode(wire.encode(envelope)) == envelope


def test_an_envelope_says_where_its_sender_is_reached_by_peers_and_by_clients() -> None:
    assert ENVELOPE.origin == Origin("n1", "ours", raft_address="a:7001", http_address="a:8500")


@pytest.mark.parametrize(
    "changes",
    [
        *({field: address} for field in ("raft_address", "http_address") for address in ("a:0", "a:65536", "a", ":1")),
        *({field: 7} for field in ("sender", "cluster_id", "raft_address", "http_address", "messages")),
        {"sender": "n3"},
        {"messages": [{**msgspec.to_builtins(MESSAGE), "sender": "n3"}]},
        {"messages": [msgspec.to_builtins(MESSAGE), {"type": "PreVote", "sender": "n1"}]},
    ],
)
def test_an_envelope_that_no_node_writes_is_refused(changes: dict[str, Any]) -> None:
    body = msgspec.json.encode({**msgspec.to_builtins(ENVELOPE), **changes})
    with pytest.raises(msgspec.MsgspecError):
        wire.decode(body)
