"""State machine safety (Raft §5.4.3, Figure 3): no two servers apply different entries at one index."""

from __future__ import annotations

from bench.checkers.stable import rests_on_stable_storage
from bench.evidence import Evidence
from bench.operations import Outcome
from bench.timeline import line
from bench.verdict import Finding, Verdict
from bench.words import counted

CHECK = "logs_agree"


@rests_on_stable_storage
def logs_agree(evidence: Evidence) -> Finding:
    """Wherever two nodes (or two incarnations of one) had applied up to the same index, their digests are the same.

    The digest chains every entry up to its index, so one equal digest vouches for all before it.
    """
    digests: dict[int, dict[str, str]] = {}
    when: dict[int, float] = {}
    last: dict[str, int] = {}
    for node, trace in evidence.traces.items():
        for record in trace:
            if record["event"] != "applied":
                continue
            last[node] = record["index"]
            seen = digests.setdefault(record["index"], {})
            when[record["index"]] = max(when.get(record["index"], 0.0), record["at_s"])
            if seen.setdefault(node, record["digest"]) != record["digest"]:
                reason = f"{node} applied two different logs up to {record['index']}"
                return Finding(CHECK, Verdict.INVALID, reason, record["at_s"], _writes_at(record["index"], evidence))
    for index, seen in sorted(digests.items()):
        if len(set(seen.values())) > 1:
            told = ", ".join(f"{node} {digest}" for node, digest in sorted(seen.items()))
            reason = f"up to index {index} different logs were applied: {told}"
            return Finding(CHECK, Verdict.INVALID, reason, when[index], _writes_at(index, evidence))
    shared = [index for index, seen in digests.items() if len(seen) > 1]
    if not shared:
        return Finding(CHECK, Verdict.UNKNOWN, "no two nodes ever applied up to the same index")
    return Finding(CHECK, Verdict.VALID, f"{counted(len(shared), 'index', 'indexes')} compared, up to {max(shared)}")


def _writes_at(index: int, evidence: Evidence) -> tuple[str, ...]:
    """The acknowledged writes that are told to stand there."""
    stand_there = (operation for operation in evidence.history if operation.modify_index == index)
    return tuple(line(operation) for operation in stand_there if operation.outcome is Outcome.OK)
