"""What came of a run, in words: the findings, what happened when, and the end of the log."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

import msgspec

from bench import words
from bench.evidence import Evidence, Record
from bench.schedule import AnyFault
from bench.store import RunState, StoredRun
from bench.verdict import Finding

LOG_TAIL = 40
TOLD = ("start", "role", "stop")
"""The records of a node's trace that are told beside what the bench did."""


def explain(run: StoredRun) -> str:
    """All that a reader needs before opening the folder. Raises StoreError."""
    said = run.findings()
    sections = {
        f"{run.manifest.name}: {outcome(run)}": findings(said.all if said is not None else ()),
        "timeline": timeline(run.evidence()),
        "end of the log": run.log_tail(LOG_TAIL),
        "evidence": [str(run.folder)],
    }
    return "\n".join("\n".join([title, *lines]) for title, lines in sections.items())


def outcome(run: StoredRun) -> str:
    """The verdict, or why there is none."""
    match run.state:
        case RunState.GOING_ON:
            return f"still going on, in process {run.manifest.pid}"
        case RunState.CUT_OFF:
            return "it did not end"
        case RunState.ENDED:
            return str(run.manifest.verdict or "ended, without a verdict")


def findings(found: Iterable[Finding]) -> list[str]:
    return [f"  {finding.verdict:8}{finding.check}: {finding.reason}" for finding in found]


def timeline(evidence: Evidence) -> list[str]:
    """What the bench did and how roles changed, in order, in seconds from the first record."""
    told = [(record["at_s"], "bench", record) for record in evidence.timeline]
    for node, trace in evidence.traces.items():
        told += [(record["at_s"], node, record) for record in trace if record["event"] in TOLD]
    told.sort(key=lambda item: item[0])
    start = told[0][0] if told else 0.0
    return [f"  {at_s - start:9.4f}  {who:6} {_in_words(record)}" for at_s, who, record in told]


def _in_words(record: Record) -> str:
    match record:
        case {"event": "remark", "words": said}:
            return str(said)
        case {"event": "begins" | "over" as event, "fault": fault}:
            # In a run that did not end, this may have been edited since; then it is told as it stands there.
            with contextlib.suppress(msgspec.ValidationError):
                return f"{'' if event == 'begins' else 'over: '}{words.fault(msgspec.convert(fault, AnyFault))}"
    fields = [f"{key}={value}" for key, value in record.items() if key not in ("at_s", "event")]
    return " ".join([record["event"], *fields])
