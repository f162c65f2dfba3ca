"""Durability: what was acknowledged is there. For histories in which every key is written once."""

from __future__ import annotations

from bench.evidence import Evidence
from bench.history import Operation, Outcome
from bench.verdict import Finding, Verdict

CHECK = "acknowledged_writes_survive"


def acknowledged_writes_survive(evidence: Evidence) -> Finding:
    """Every acknowledged put was read back later, from each node that was read, with its value.

    Plain reads are local and may be stale, so a scenario reads back only after all nodes agreed. A write that nobody
    read afterwards, or a key written twice, makes it UNKNOWN.
    """
    written: dict[str, Operation] = {}
    for operation in evidence.history:
        if operation.kind == "put" and operation.outcome is not Outcome.FAILED:
            if operation.key in written:
                return Finding(CHECK, Verdict.UNKNOWN, f"{operation.key} was written twice; this check needs one write")
            written[operation.key] = operation
    acknowledged = {key: put for key, put in written.items() if put.outcome is Outcome.OK}
    unread = set(acknowledged)
    for read in evidence.history:
        put = acknowledged.get(read.key)
        if read.kind != "get" or read.outcome is not Outcome.OK or put is None or read.invoked_s < put.completed_s:
            continue
        if read.result != put.value:
            return Finding(CHECK, Verdict.INVALID, _lost(put, read))
        unread.discard(read.key)
    if unread or not acknowledged:
        return Finding(
            CHECK, Verdict.UNKNOWN, f"{len(unread)} of {len(acknowledged)} acknowledged writes not read back"
        )
    return Finding(CHECK, Verdict.VALID, f"{len(acknowledged)} acknowledged writes, each read back")


def _lost(put: Operation, read: Operation) -> str:
    return (
        f"{put.key} = {put.value!r} was acknowledged by {put.node} at {put.completed_s:.6f}, "
        f"but {read.node} read {read.result!r} at {read.invoked_s:.6f}"
    )
