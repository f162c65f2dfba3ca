"""Judges evidence by checks, which are known by name, after a run and whenever it is judged again.

A check is a function from evidence to a finding. Those of `bench.checkers` are known by their names alone. Those of a
user's own are found only in the file that the user gives: nothing that a stored run names is ever executed.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from bench import checkers
from bench.checkers import (
    CLIENTS,
    SAFETY,
    availability,
    faults_touched_traffic,
    leadership_is_handed_over,
    nobody_disturbs_a_leader,
    nodes_say_one_thing,
    served_while_a_majority_is_well,
    some_fault_touched_traffic,
    the_bench_did_not_interfere,
)
from bench.evidence import Evidence
from bench.limits import LimitReachedError, time_limit
from bench.mistakes import as_python_tells
from bench.store import Findings, StoredRun
from bench.verdict import Check, Finding, Verdict, Witness, combined

OURS: dict[str, Check] = {
    name: function
    for name, function in inspect.getmembers(checkers, inspect.isfunction)
    if inspect.get_annotations(function).get("return") == Finding.__name__
}
OF_A_CASE: tuple[Check, ...] = (
    *SAFETY,
    *CLIENTS,
    nodes_say_one_thing,
    served_while_a_majority_is_well,
    some_fault_touched_traffic,
    the_bench_did_not_interfere,
    availability,
)
"""A case has no checks of its own."""
BY_NODES: tuple[Check, ...] = (*SAFETY, leadership_is_handed_over, nobody_disturbs_a_leader)
"""The checks of ours that rest on the nodes' traces."""
WITNESSES: Mapping[Check, Witness] = {
    **dict.fromkeys(BY_NODES, Witness.TRACES),
    **dict.fromkeys((*CLIENTS, served_while_a_majority_is_well), Witness.CLIENTS),
    nodes_say_one_thing: Witness.STATUSES,
}
"""What the checks of ours rest on that can find a promise broken."""
CONVICTING: tuple[Check, ...] = tuple(check for check in OF_A_CASE if check in WITNESSES)
"""Those of a case that can find a promise broken."""
FROM_OUTSIDE: tuple[Check, ...] = tuple(check for check in OF_A_CASE if check not in BY_NODES)
"""Those of a case that read no trace, except for when each node started and stopped."""
LIMIT_S = 120.0
"""How long one check may take."""
OWN = "own:"
"""Stands before the name of a user's own check."""
DID_NOT_END = Finding("outcome", Verdict.UNKNOWN, "the run did not end")


def of_a_scenario(own: Iterable[Check]) -> tuple[Check, ...]:
    """A scenario's own checks, and those of every scenario. Where faults fall where they may, not each is asked to have
    met something."""
    own = tuple(own)
    met = () if some_fault_touched_traffic in own else (faults_touched_traffic,)
    return (*own, served_while_a_majority_is_well, *met, the_bench_did_not_interfere, availability)


def name_of(check: Check) -> str:
    """The name that a run keeps the check by. A user's own check cannot be taken for one of ours, whatever it is
    called. Two of a user's own may have the same name, as those that one function makes; their order tells them apart.
    """
    name = getattr(check, "__name__", type(check).__name__)
    return name if OURS.get(name) is check else f"{OWN}{name}"


def from_outside(checks: Iterable[str]) -> bool:
    """Whether none of these takes a node's trace for true."""
    return not set(checks).intersection(map(name_of, BY_NODES))


def find(name: str, own: Iterable[Check] = ()) -> Check | None:
    """The check of this name, among ours or `own`; None if there is none."""
    return OURS.get(name) or next((check for check in own if name_of(check) == name), None)


def judge(check: Check, evidence: Evidence) -> Finding:
    """What the check finds; UNKNOWN if it fails or does not end."""
    name = name_of(check).removeprefix(OWN)
    try:
        with time_limit(LIMIT_S):
            found: object = check(evidence)
    except LimitReachedError:
        return Finding(name, Verdict.UNKNOWN, f"the check did not end within {LIMIT_S:g} s")
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001
        *traceback, last = as_python_tells(error).splitlines()
        return Finding(name, Verdict.UNKNOWN, f"the check failed: {last}", details=tuple(traceback))
    if not isinstance(found, Finding):
        return Finding(name, Verdict.UNKNOWN, f"the check returned {found!r}, which is no Finding")
    return replace(found, witness=WITNESSES.get(check))


@dataclass(frozen=True)
class Judgement:
    """A stored run judged again, beside its stored findings."""

    findings: Findings
    said: Findings | None
    """None if the run did not end."""

    @property
    def verdict(self) -> Verdict:
        return combined(self.findings.all)

    @property
    def agrees(self) -> bool:
        """Whether judging again gives the stored findings."""
        return self.findings == self.said


def judge_again(run: StoredRun, own: Iterable[Check] = ()) -> Judgement:
    """Judge a run from its evidence, by the checks it was judged by, some of which may be in `own`. What was told while
    it was played stays as it is. Raises StoreError."""
    said = run.findings()
    told = (DID_NOT_END,) if said is None else said.told
    played = said is None or not said.all or combined(said.all) is not Verdict.SKIPPED
    names = run.manifest.checks if played else ()
    evidence = run.evidence()
    left = list(own)
    return Judgement(Findings(told=told, judged=tuple(_by_name(name, left, evidence) for name in names)), said)


def _by_name(name: str, left: list[Check], evidence: Evidence) -> Finding:
    """Judge by the check of this name, which is taken out of `left` if it is there."""
    check = find(name, left)
    if check in left:
        left.remove(check)
    if check is None:
        known = name.removeprefix(OWN)
        where = "say with --scenarios in which file it is" if known != name else "this bench has none of this name"
        return Finding(known, Verdict.UNKNOWN, f"there is no such check; {where}")
    return judge(check, evidence)
