"""One run of one scenario, its phases from top to bottom: start, play, collect, check, store.

A run's folder, ``runs/<scenario>/<UTC time>/``, holds everything it left behind: the cluster's own files (logs, traces,
the bench's timeline), ``history.jsonl``, and ``verdict.json``.
"""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.cluster import Cluster, WaitTimeoutError
from bench.evidence import Evidence, Record
from bench.live.cluster import LiveCluster
from bench.live.folders import new_folder
from bench.scenarios import Scenario
from bench.verdict import Finding, Verdict, combined

LOG_TAIL = 40


@dataclass(frozen=True)
class Run:
    scenario: Scenario
    folder: Path
    findings: tuple[Finding, ...]
    seconds: float

    @property
    def verdict(self) -> Verdict:
        return combined(self.findings)

    def explain(self) -> str:
        """The findings, what happened when, and the end of the log: what a reader needs before opening the folder."""
        findings = [f"  {finding.verdict:8}{finding.check}: {finding.reason}" for finding in self.findings]
        log = self.folder / "cluster.log"
        tail = log.read_text(errors="replace").splitlines()[-LOG_TAIL:] if log.exists() else []
        sections = {
            f"{self.scenario.name}: {self.verdict}": findings,
            "timeline": timeline(read_evidence(self.folder)),
            "end of the log": tail,
            "everything": [str(self.folder)],
        }
        return "\n".join(f"{title}\n" + "\n".join(lines) for title, lines in sections.items())


def run(
    scenario: Scenario,
    *,
    runs: Path,
    server: Path,
    nodes: int | None = None,
    profile: str = "low-latency",
    on_failure: Callable[[LiveCluster], None] | None = None,
) -> Run:
    """Play `scenario` on a cluster of its own and judge what came of it.

    `on_failure` is called with the cluster still up when the story went wrong. Errors of the bench itself (no free
    port, no Toxiproxy) are raised; they are no verdict on the nodes.
    """
    started = time.monotonic()
    folder = new_folder(runs, scenario.name)
    findings: list[Finding] = []
    with LiveCluster(folder, nodes=nodes or scenario.nodes, profile=profile, server=server) as cluster:
        findings.append(_play(scenario, cluster))
        if findings[0].verdict is not Verdict.VALID and on_failure is not None:
            on_failure(cluster)
    _store_history(folder, cluster)
    evidence = read_evidence(folder, cluster)
    findings += [_checked(check, evidence) for check in scenario.checks]
    finished = Run(scenario, folder, tuple(findings), time.monotonic() - started)
    verdict = {"scenario": scenario.name, "verdict": finished.verdict, "findings": [asdict(f) for f in findings]}
    (folder / "verdict.json").write_text(json.dumps(verdict, indent=2) + "\n")
    return finished


def _play(scenario: Scenario, cluster: Cluster) -> Finding:
    """Tell the story. A broken assertion or a wait that ran out is the nodes' failure."""
    try:
        scenario.play(cluster)
    except (AssertionError, WaitTimeoutError) as error:
        where = traceback.extract_tb(error.__traceback__)[1:]
        line = next((f"{Path(frame.filename).name}:{frame.lineno}" for frame in reversed(where)), "")
        return Finding("story", Verdict.INVALID, f"{line} {error or 'assertion failed'}".strip())
    return Finding("story", Verdict.VALID, scenario.promise)


def _checked(check: Callable[[Evidence], Finding], evidence: Evidence) -> Finding:
    """A checker that crashes has found nothing out."""
    try:
        return check(evidence)
    except Exception as error:  # noqa: BLE001
        reason = f"the checker failed: {error!r}\n{traceback.format_exc()}"
        return Finding(getattr(check, "__name__", str(check)), Verdict.UNKNOWN, reason)


def read_evidence(folder: Path, cluster: Cluster | None = None) -> Evidence:
    traces = {path.parent.name: _read_lines(path) for path in sorted(folder.glob("nodes/*/trace.jsonl"))}
    history = tuple(cluster.history) if cluster is not None else ()
    return Evidence(history, traces, _read_lines(folder / "events.jsonl"))


def timeline(evidence: Evidence) -> list[str]:
    """What the bench did and how roles changed, in order, in seconds from the first of it."""
    told = [(record["at_s"], "bench", record) for record in evidence.timeline]
    for node, trace in evidence.traces.items():
        told += [(record["at_s"], node, record) for record in trace if record["event"] in ("start", "role", "stop")]
    told.sort(key=lambda item: item[0])
    start = told[0][0] if told else 0.0
    return [f"  {at_s - start:9.4f}  {who:6} {_in_words(record)}" for at_s, who, record in told]


def _in_words(record: Record) -> str:
    fields = [f"{key}={value}" for key, value in record.items() if key not in ("at_s", "event")]
    return " ".join([record["event"], *fields])


def _read_lines(path: Path) -> tuple[Record, ...]:
    """One record a line; a last line that a kill cut short is left out."""
    if not path.exists():
        return ()
    whole, _, _ = path.read_text().rpartition("\n")
    return tuple(json.loads(line) for line in whole.splitlines())


def _store_history(folder: Path, cluster: Cluster) -> None:
    lines = (json.dumps(asdict(operation)) for operation in cluster.history)
    (folder / "history.jsonl").write_text("".join(f"{line}\n" for line in lines))
