"""One run, its phases from top to bottom: open, play, collect, check, store.

Failures are told apart by whose they are. A broken promise, a failed assertion and a wait that runs out are the nodes':
INVALID. Anything else that an author's code raises, and code that never ends, is the author's: that tells nothing of
the nodes, so UNKNOWN. What the bench itself could not do (no free port, no Toxiproxy) is raised, and is no verdict.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic

from bench import judging, store, telling, timeline, words
from bench.case import Case
from bench.checkers.interference import in_the_way
from bench.checkers.stable import excused
from bench.cluster import Cluster, PromiseBrokenError, WaitTimeoutError
from bench.evidence import STORY_OVER, Evidence
from bench.limits import LimitReachedError, time_limit
from bench.manifest import RunKind
from bench.mistakes import as_python_tells, headline, line_of, shown
from bench.operations import Operation, Outcome
from bench.player import OWED_IN_THE_END, Player
from bench.scenarios.registry import LIMIT_S, Scenario
from bench.store import Findings, Recording
from bench.verdict import Check, Finding, Verdict, Witness, combined
from bench.worlds import C, World

OUTCOME = "outcome"
"""The finding of the scenario or the case itself, told while it was played."""
SERVED = "with every fault over all nodes agree, and clients are served"
"""What a case promises."""
MOST_UNDER_WAY = 5
"""So many of the operations under way are told of when a promise is broken."""
SEEN_BY = {
    "nothing_fails": Witness.STATUSES,
    "all_agree_in_the_end": Witness.STATUSES,
    "clients_are_served_in_the_end": Witness.CLIENTS,
}
"""What tells that one of these promises is broken; all others that are watched for meanwhile are the core's."""
PATIENCE = 3
"""A case may take this many times its length, and a scenario's limit besides: real processes take their time."""


@dataclass(frozen=True)
class Run:
    """What came of a run; the rest is in its folder."""

    name: str
    folder: Path
    findings: tuple[Finding, ...]
    seconds: float
    digest: str | None
    """A digest of everything that happened, if the run can be repeated to the byte."""

    @property
    def verdict(self) -> Verdict:
        return combined(self.findings)

    @property
    def case_file(self) -> Path:
        """The case that the run played, if it played one."""
        return self.folder / store.CASE

    @property
    def again(self) -> str:
        """The command that repeats it; empty if none does."""
        return next(telling.again(store.read(self.folder)), "")

    def explain(self) -> str:
        """The findings, what happened when, and the end of the log: what a reader needs before opening the folder."""
        return telling.explain(store.read(self.folder))


@dataclass(frozen=True)
class Story(Generic[C]):
    """What is played on a cluster, and how its evidence is judged."""

    promise: str
    opened: Callable[[C], AbstractContextManager[object]]
    play: Callable[[C], None]
    limit_s: float
    checks: tuple[Check, ...]
    has_author: bool = True
    """Whether mistakes in it are an author's; otherwise they are the bench's own."""


def run_scenario(
    scenario: Scenario,
    *,
    runs: Path,
    world: World[C],
    nodes: int | None = None,
    profile: str = "low-latency",
    seed: int = 0,
    flaw: str | None = None,
    limit_s: float | None = None,
    on_failure: Callable[[C, Finding], None] | None = None,
) -> Run:
    """Play `scenario` on a cluster of its own in `world`, and judge what came of it. If the story goes wrong,
    `on_failure` is called with the cluster still up and what was found. Raises what the bench itself could not do."""
    checks = judging.of_a_scenario(scenario.checks)
    allowed_s = scenario.limit_s if limit_s is None else limit_s
    story = Story[C](scenario.promise, lambda cluster: cluster, scenario.play, allowed_s, checks)
    plan = scenario.plan(nodes, profile=profile, seed=seed, flaw=flaw)
    with store.begin(
        runs,
        kind=RunKind.SCENARIO,
        name=scenario.name,
        file=scenario.file,
        world=world.name,
        plan=plan,
        profile=profile,
        nodes=nodes,
        limit_s=limit_s,
        checks=map(judging.name_of, checks),
    ) as recording:
        cluster = world.cluster(plan, recording)
        if cannot := _cannot(cluster, (*scenario.needs, *_flawed(flaw))):
            return _skipped(recording, cannot)
        return _run(story, cluster, world, recording, on_failure=on_failure)


def run_case(
    case: Case,
    *,
    runs: Path,
    world: World[Any],
    name: str = "case",
    file: Path | None = None,
    kind: RunKind = RunKind.CASE,
    leave_out: bool = False,
    checks: tuple[Check, ...] = judging.OF_A_CASE,
) -> Run:
    """Play `case` on a cluster of its own in `world`, and judge what came of it. With `leave_out`, faults that cannot
    be played there are left out, and findings list them. Raises what the bench itself could not do."""
    with store.begin(
        runs,
        kind=kind,
        name=name,
        file=file,
        world=world.name,
        plan=case.plan,
        checks=map(judging.name_of, checks),
    ) as recording:
        cluster = world.cluster(case.plan, recording)
        cannot = _cannot(cluster, case.needs)
        flawed = _cannot(cluster, _flawed(case.flaw))
        if flawed or (cannot and not leave_out):
            recording.plays(case)
            return _skipped(recording, flawed | cannot)
        played = case.without(frozenset(cannot))
        left_out = [_left_out(case, need, reason) for need, reason in cannot.items()]
        recording.plays(played, ["; ".join([finding.reason, *finding.details]) for finding in left_out])
        story = Story[Any](
            SERVED,
            lambda cluster: cluster.opened(),
            lambda cluster: Player(cluster, played).play(),
            LIMIT_S + PATIENCE * case.schedule.length_s,
            checks,
            has_author=False,
        )
        return _run(story, cluster, world, recording, told=left_out)


def _run(
    story: Story[C],
    cluster: C,
    world: World[C],
    recording: Recording,
    *,
    told: Iterable[Finding] = (),
    on_failure: Callable[[C, Finding], None] | None = None,
) -> Run:
    def judged(finding: Finding) -> Run:
        recording.over()
        digest = world.collect(cluster, recording)
        evidence = recording.evidence()
        found = tuple(judging.judge(check, evidence) for check in story.checks)
        return _stored(recording, Findings(told=(*told, _excused(finding, evidence)), judged=found), digest)

    try:
        finding = _played(story, cluster, on_failure)
    except KeyboardInterrupt:
        judged(Finding(OUTCOME, Verdict.UNKNOWN, "interrupted"))
        raise
    return judged(finding)


def _played(story: Story[C], cluster: C, on_failure: Callable[[C, Finding], None] | None) -> Finding:
    """Nothing of the cluster runs any more when this returns."""
    try:
        with story.opened(cluster):
            finding = _told(story, cluster)
            cluster.note(STORY_OVER)
            if finding.verdict is not Verdict.VALID and on_failure is not None:
                on_failure(cluster, finding)
            return finding
    except PromiseBrokenError as last:
        # What a node does when the story is over, after it has failed, says less than how it failed.
        return _broken(cluster, cluster.broken or last)


def _told(story: Story[C], cluster: C) -> Finding:
    """The story's own finding. Raises the bench's own mistakes."""
    try:
        with time_limit(story.limit_s):
            story.play(cluster)
        if cluster.broken is not None:
            raise cluster.broken
    except LimitReachedError as error:
        reason = f"{line_of(error)} it did not end within {story.limit_s:g} s".strip()
        return Finding(OUTCOME, Verdict.UNKNOWN, reason, cluster.now_s, shown(error))
    except WaitTimeoutError as error:
        return Finding(OUTCOME, Verdict.INVALID, headline(error), _failed_s(cluster, error), shown(error))
    except PromiseBrokenError as error:
        return _broken(cluster, cluster.broken or error)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        if not story.has_author:
            raise
        if isinstance(error, AssertionError):
            return Finding(OUTCOME, Verdict.INVALID, headline(error), _failed_s(cluster, error), shown(error))
        *traceback, last = as_python_tells(error).splitlines()
        return Finding(OUTCOME, Verdict.UNKNOWN, f"{line_of(error)} {last}".strip(), cluster.now_s, tuple(traceback))
    return Finding(OUTCOME, Verdict.VALID, story.promise)


def _broken(cluster: Cluster, error: PromiseBrokenError) -> Finding:
    at_s = cluster.now_s if error.at_s is None else error.at_s
    shows = tuple(_concerned(cluster.history, error))
    return Finding(error.promise, Verdict.INVALID, error.words, at_s, shows, SEEN_BY.get(error.promise, Witness.CORE))


def _concerned(history: Iterable[Operation], broken: PromiseBrokenError) -> Iterator[str]:
    """The acknowledged writes that stand where the promise was broken, and what was being asked just then, in words."""
    for operation in history:
        if operation.outcome is Outcome.OK and operation.modify_index in broken.indexes:
            yield f"acknowledged: {timeline.line(operation).strip()}"
    under_way = [operation for operation in history if math.isinf(operation.completed_s)]
    yield from (f"under way: {timeline.line(operation).strip()}" for operation in under_way[-MOST_UNDER_WAY:])


def _failed_s(cluster: Cluster, error: BaseException) -> float:
    """When the story failed: before the blocks that it was in had ended, if there were any."""
    failed_s = cluster.failed_s if cluster.still.last is error else None
    return cluster.now_s if failed_s is None else failed_s


def _excused(finding: Finding, evidence: Evidence) -> Finding:
    """What did not come about in time is not held against nodes that the bench itself had got in the way of, or whose
    links were faulty and gone past; and what was broken, not against nodes whose disks forgot what they had saved."""
    if finding.check != OUTCOME:
        finding = excused(finding, evidence)
    excuse = in_the_way(evidence)
    if finding.verdict is not Verdict.INVALID or excuse is None:
        return finding
    if finding.check not in (OUTCOME, *OWED_IN_THE_END):
        return finding
    return replace(finding, verdict=Verdict.UNKNOWN, reason=f"{finding.reason}; but {excuse}")


def _cannot(cluster: Cluster, needs: Iterable[str]) -> dict[str, str]:
    """Which of these needs the cluster cannot meet, and why."""
    return {need: reason for need in needs if (reason := cluster.can(need)) is not None}


def _flawed(flaw: str | None) -> tuple[str, ...]:
    """What a plan with this flaw needs."""
    return () if flaw is None else ("flaws",)


def _left_out(case: Case, need: str, reason: str) -> Finding:
    faults = [f"left out: {words.planned(fault)}" for fault in case.schedule.faults if need in fault.needs]
    return Finding(f"without {need}", Verdict.SKIPPED, reason, details=tuple(faults))


def _skipped(recording: Recording, cannot: dict[str, str]) -> Run:
    reasons = [Finding(need, Verdict.SKIPPED, reason) for need, reason in cannot.items()]
    return _stored(recording, Findings(told=tuple(reasons)), None)


def _stored(recording: Recording, findings: Findings, digest: str | None) -> Run:
    recording.finish(findings, digest)
    manifest = recording.manifest
    return Run(manifest.name, recording.folder, findings.all, manifest.seconds or 0.0, digest)
