"""Durability: what was acknowledged is there. For histories in which every key is put once."""

from __future__ import annotations

from bench.evidence import Evidence
from bench.operations import Get, Operation, Outcome, Put, key_by_key
from bench.verdict import Finding, Verdict

CHECK = "acknowledged_writes_survive"


def acknowledged_writes_survive(evidence: Evidence) -> Finding:
    """Every acknowledged put was read back later, from each node that was read, with its value.

    Plain reads are local and may be stale, so a scenario reads back only after all nodes agreed. An acknowledged put
    that nobody read afterwards makes the finding UNKNOWN, and so does a key that was put twice.
    """
    operations = [part for operation in evidence.history for part in key_by_key(operation)]
    puts: dict[str, tuple[str, Operation]] = {}
    for put in operations:
        match put.asked:
            case Put(key=key, value=value) if put.outcome is not Outcome.FAILED:
                if key in puts:
                    return Finding(CHECK, Verdict.UNKNOWN, f"{key} was written twice; this check needs one write")
                puts[key] = value, put
    acknowledged = {key: (value, put) for key, (value, put) in puts.items() if put.outcome is Outcome.OK}
    unread = set(acknowledged)
    for read in operations:
        match read.asked:
            case Get(key=key) if key in acknowledged and read.outcome is Outcome.OK:
                value, put = acknowledged[key]
                if read.invoked_s < put.completed_s:
                    continue
                if read.value != value:
                    return Finding(CHECK, Verdict.INVALID, _lost(key, value, put, read))
                unread.discard(key)
    if unread or not acknowledged:
        reason = f"{len(unread)} of {len(acknowledged)} acknowledged writes not read back"
        return Finding(CHECK, Verdict.UNKNOWN, reason)
    return Finding(CHECK, Verdict.VALID, f"{len(acknowledged)} acknowledged writes, each read back")


def _lost(key: str, value: str, put: Operation, read: Operation) -> str:
    return (
        f"{key} = {value!r} was acknowledged by {put.node} at {put.completed_s:.6f}, "
        f"but {read.node} read {read.value!r} at {read.invoked_s:.6f}"
    )
