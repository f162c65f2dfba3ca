"""What travels between nodes: `Envelope`, one POST to /raft/messages, as JSON with every field checked on arrival."""

from __future__ import annotations

from typing import Annotated

import msgspec

from node.raft.messages import AnyMessage, Name
from node.server import Origin

PATH = "/raft/messages"
IDENTITY_PATH = "/raft/identity"
MAX_BYTES = 8 * 1024 * 1024
"""Room for one message's entries (`FlowLimits.bytes_per_message`, or one largest value) several times over."""


PORTS = 65536

HostPort = Annotated[str, msgspec.Meta(pattern=r"^[^\s:@,=/]+:[0-9]{1,5}$")]


def check_address(address: str) -> str:
    """Raises ValueError for a port that cannot exist; the pattern of `HostPort` checks the rest."""
    if not 0 < int(address.rpartition(":")[2]) < PORTS:
        raise ValueError(f"{address} has no port between 1 and {PORTS - 1}")
    return address


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """Messages from one node to another, with what the core has no use for: where the sender can be reached."""

    sender: Name
    cluster_id: str
    """The cluster the sender belongs to; empty as long as the sender knows none."""
    raft_address: HostPort
    http_address: HostPort
    messages: tuple[AnyMessage, ...]

    @property
    def origin(self) -> Origin:
        return Origin(self.sender, self.cluster_id, self.raft_address, self.http_address)

    def __post_init__(self) -> None:
        check_address(self.raft_address)
        check_address(self.http_address)
        for message in self.messages:
            if message.sender != self.sender:
                raise ValueError(f"an envelope from {self.sender} holds a message from {message.sender}")


_DECODER = msgspec.json.Decoder(Envelope)
"""Made while there is one thread. msgspec prepares a type when it is first decoded, and two threads that do so at once
crash the process with a null pointer: of some 150 nodes started on a busy machine, four died of their peers' first
answers."""


def encode(envelope: Envelope) -> bytes:
    return msgspec.json.encode(envelope)


def decode(body: bytes) -> Envelope:
    """Raises msgspec.MsgspecError (malformed JSON, unknown type, missing or wrong field)."""
    return _DECODER.decode(body)
