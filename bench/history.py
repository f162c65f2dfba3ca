"""Operations and histories: what clients asked and what they were told, as values.

An operation's outcome is OK (acknowledged), FAILED (it definitely did not happen) or UNKNOWN (it may or may not have
happened, now or later). A timeout is UNKNOWN, never FAILED: the request may be waiting in a socket somewhere. Times are
seconds on the machine's monotonic clock, the one every node of the cluster stamps its trace with.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    OK = "ok"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Operation:
    """One call of one client: from `invoked_s` to `completed_s`, and what came back."""

    client: int
    node: str
    kind: str
    """``put``, ``get``, ``delete`` or ``cas``."""
    key: str
    value: str | None
    """What was asked to be written, None for a read or a delete."""
    outcome: Outcome
    invoked_s: float
    completed_s: float
    result: str | None = None
    """What a successful read returned; None for a missing key."""
    modify_index: int | None = None
    reason: str = ""
    """Why it was not OK, in the node's words."""


class History:
    """Operations in the order in which they completed. Appending is atomic; reading sees a prefix."""

    def __init__(self) -> None:
        self._operations: list[Operation] = []

    def record(self, operation: Operation) -> Operation:
        self._operations.append(operation)
        return operation

    def __iter__(self) -> Iterator[Operation]:
        return iter(tuple(self._operations))

    def __len__(self) -> int:
        return len(self._operations)
