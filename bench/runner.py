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

from bench.checkers import faults_touched_traffic
from bench.cluster import Cluster, PromiseBrokenError, WaitTimeoutError
from bench.evidence import Evidence, Record
from bench.live.folders import new_folder
from bench.scenarios import Scenario
from bench.verdict import Finding, Verdict, combined
from bench.worlds import C, World, read_evidence

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
            "evidence": [str(self.folder)],
        }
        return "\n".join(f"{title}\n" + "\n".join(lines) for title, lines in sections.items())


def run(
    scenario: Scenario,
    *,
    runs: Path,
    world: World[C],
    nodes: int | None = None,
    profile: str = "low-latency",
    on_failure: Callable[[C], None] | None = None,
) -> Run:
    """Play `scenario` on a cluster of its own in `world`, and judge what came of it.

    `on_failure` is called with the cluster still up when the story went wrong. Errors of the bench itself (no free
    port, no Toxiproxy) are raised; they are no verdict on the nodes.
    """
    started = time.monotonic()
    folder = new_folder(runs, world.folder(scenario.name))
    if world.name in scenario.impossible:
        findings = [Finding("world", Verdict.SKIPPED, scenario.impossible[world.name])]
    else:
        findings = _played(scenario, folder, world, nodes or scenario.nodes, profile, on_failure)
    finished = Run(scenario, folder, tuple(findings), time.monotonic() - started)
    verdict = {"scenario": scenario.name, "verdict": finished.verdict, "findings": [asdict(f) for f in findings]}
    (folder / "verdict.json").write_text(json.dumps(verdict, indent=2) + "\n")
    return finished


def _played(
    scenario: Scenario,
    folder: Path,
    world: World[C],
    nodes: int,
    profile: str,
    on_failure: Callable[[C], None] | None,
) -> list[Finding]:
    with world.cluster(folder, nodes=nodes, profile=profile, setup=scenario.setup) as cluster:
        story = _play(scenario, cluster)
        if story.verdict is not Verdict.VALID and on_failure is not None:
            on_failure(cluster)
    _store_history(folder, cluster)
    evidence = world.evidence(folder, cluster)
    return [story, *(_checked(check, evidence) for check in (*scenario.checks, faults_touched_traffic))]


def _play(scenario: Scenario, cluster: Cluster) -> Finding:
    """Tell the story. A broken assertion or promise, or a wait that ran out, is the nodes' failure."""
    try:
        scenario.play(cluster)
    except (AssertionError, PromiseBrokenError, WaitTimeoutError) as error:
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


def _store_history(folder: Path, cluster: Cluster) -> None:
    lines = (json.dumps(vars(operation)) for operation in cluster.history)
    (folder / "history.jsonl").write_text("".join(f"{line}\n" for line in lines))
