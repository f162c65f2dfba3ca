"""What came of a run, in words: the findings with what shows them, what happened when, and how to repeat it."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path

from bench import judging, timeline
from bench.evidence import Evidence
from bench.manifest import RunKind
from bench.store import CASE, RunState, StoredRun
from bench.verdict import Finding, Verdict

PROGRAM = "python -m bench"
USUAL_PROFILE = "low-latency"
"""Of `run`, which need not be named to repeat one."""
LOG_TAIL = 20
LONGEST = 60
"""So many lines of what happened are told, if not all are asked for: the last of them, and the first."""
FIRST = 10


def explain(run: StoredRun, *, whole: bool = False) -> str:
    """All that a reader needs before opening the folder; with `whole`, everything that happened. Raises StoreError."""
    said, evidence = run.findings(), run.evidence()
    happened = timeline.lines(evidence)
    title = f"{run.manifest.name}: {outcome(run)}"
    sections = {
        title: findings(said.all if said is not None else (), evidence),
        "what happened, in seconds from the beginning": happened if whole else _shortened(happened, run),
        "the end of the log": run.log_tail(LOG_TAIL),
        "evidence": [str(run.folder), *([f"digest {run.manifest.digest}"] if run.manifest.digest else [])],
        "once more": list(again(run)),
    }
    told = (_section(about, lines) for about, lines in sections.items() if lines or about == title)
    return "\n".join(told)


def _section(about: str, lines: Iterable[str]) -> str:
    return "\n".join([about, *(f"  {line}" for line in lines)])


def outcome(run: StoredRun) -> str:
    """The verdict, or why there is none."""
    match run.state:
        case RunState.GOING_ON:
            return f"still going on, in process {run.manifest.pid}"
        case RunState.CUT_OFF:
            return "it did not end"
        case RunState.ENDED:
            return str(run.manifest.verdict or "ended, without a verdict")


def findings(found: Iterable[Finding], evidence: Evidence | None = None) -> list[str]:
    """Each in its lines."""
    return [line for one in found for line in finding(one, evidence)]


def finding(finding: Finding, evidence: Evidence | None = None) -> Iterator[str]:
    """What was found, and in further lines what shows it. With the evidence, also which faults were in force when a
    promise was seen to be broken."""
    yield f"{finding.verdict:8}{finding.check}: {finding.reason}"
    below = " " * 8
    if finding.verdict is Verdict.INVALID and finding.witness is not None:
        yield f"{below}seen from {finding.witness}"
    yield from (f"{below}{line}" for line in finding.details)
    if evidence is None or finding.at_s is None or finding.verdict is not Verdict.INVALID:
        return
    yield from (f"{below}in force then: {line}" for line in timeline.in_force(evidence, finding.at_s))


def again(run: StoredRun) -> Iterator[str]:
    """The command that repeats it, if one does."""
    manifest = run.manifest
    world = [] if manifest.world == "live" else ["--world", manifest.world]
    match manifest.kind:
        case RunKind.SCENARIO:
            name = f"{_near(Path(manifest.file))}::{manifest.name}" if manifest.file is not None else manifest.name
            options = [*world, *([] if manifest.world == "live" else ["--seed", str(manifest.plan.seed)])]
            options += ["--nodes", str(manifest.nodes)] if manifest.nodes is not None else []
            options += ["--profile", manifest.profile] if manifest.profile not in (None, USUAL_PROFILE) else []
            options += ["--limit", f"{manifest.limit_s:g}s"] if manifest.limit_s is not None else []
            options += ["--flaw", manifest.plan.flaw] if manifest.plan.flaw is not None else []
            yield shlex.join([*PROGRAM.split(), "run", name, *options])
        case RunKind.CASE | RunKind.EXPLORE:
            leave_out = ["--leave-out"] if manifest.left_out else []
            live = ["--world", "live"] if manifest.world == "live" else []
            outside = ["--outside"] if judging.from_outside(manifest.checks) else []
            yield shlex.join([*PROGRAM.split(), "play", str(_near(run.folder / CASE)), *live, *leave_out, *outside])


def _near(path: Path) -> Path:
    """As seen from here, if it lies below."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def _shortened(lines: list[str], run: StoredRun) -> list[str]:
    left_out = len(lines) - LONGEST
    if left_out <= 0:
        return lines
    more = f"{left_out} more; all of it: {PROGRAM} show {run.id}"
    return [*lines[:FIRST], f"      ...  {more}", *lines[-(LONGEST - FIRST) :]]
