"""Whoever judges only reads, which is read from the files: nothing there could write to what a judge was given."""

from __future__ import annotations

import ast
from pathlib import Path
from types import MappingProxyType

import pytest

from bench.simulated import invariants

ROOM = Path(invariants.__file__).parent
WRITING = {"__init__", "ledger", "progress", "rest", "touch", "violation", "watch"}
"""What is noted, who notes or lets time pass, and what judges nothing; every other file of the room judges."""
JUDGING = sorted(file for file in ROOM.glob("*.py") if file.stem not in WRITING)
NOTING = ("ledger", "progress", "touch")
BUILT_IN = {"setattr", "delattr"} | {
    name
    for mutable, frozen in ((dict, MappingProxyType), (set, frozenset), (list, tuple))
    for name in set(dir(mutable)) - set(dir(frozen))
}
"""What a container can do that its unchanging kin cannot: setdefault, update, add, pop, append, clear and the like."""


def name_of(node: ast.AST) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def is_stored(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute | ast.Subscript) and not isinstance(node.ctx, ast.Load)


def own() -> set[str]:
    """The functions and methods of the ledger, and of all that is in it, that write."""
    files = [ast.parse((ROOM / f"{stem}.py").read_text()) for stem in NOTING]
    functions = [node for file in files for node in ast.walk(file) if isinstance(node, ast.FunctionDef)]
    return {
        function.name
        for function in functions
        if function.name.startswith("note_")
        or any(is_stored(node) or name_of(node) in BUILT_IN for node in ast.walk(function))
    }


WRITERS = BUILT_IN | own()


def writes(source: str) -> list[str]:
    """Every place that could change what was there before. Something new, a judge builds in one go."""
    return [
        ast.unparse(node)
        for node in ast.walk(ast.parse(source))
        if is_stored(node)
        or name_of(node) in WRITERS
        or isinstance(node, ast.AugAssign | ast.Delete | ast.Global | ast.Nonlocal)
    ]


@pytest.mark.parametrize("file", JUDGING, ids=lambda file: str(file.stem))
def test_who_judges_writes_nothing(file: Path) -> None:
    assert writes(file.read_text()) == []


def test_the_subjects_judge() -> None:
    subjects = {"elections", "logs", "commits", "membership", "clients", "replies", "operators", "status", "liveness"}
    assert {file.stem for file in JUDGING} == subjects


@pytest.mark.parametrize(
    "line",
    [
        "ledger.leaders[term] = step.name",
        "ledger.leaders.setdefault(term, step.name)",
        "step.before.contact_s = step.now_s",
        "step.at_s += 1",
        "del ledger.leases[step.name]",
        "votes = ledger.votes; votes.update({})",
        "ledger.told_to_stand.add(('c', 3))",
        "ledger.committed.append(1)",
        "ledger.disks['a'].save(None, (), None)",
        "ledger.touch.led(1.0)",
        "note_votes(ledger, step)",
        "forget = ledger.wiped.clear; forget()",
        "setattr(server, 'term', 1)",
        "for ledger.touch in (): pass",
    ],
)
def test_a_judge_that_writes_is_seen(line: str) -> None:
    assert writes(f"def judge(ledger, step, server):\n    {line}\n")


def test_a_judge_that_reads_and_remembers_for_itself_is_none_that_writes() -> None:
    reads = (
        "contact_s = step.before.contact_s\n    known = [i for i in ledger.votes.items() if i in ledger.disks.get('a')]"
    )
    assert not writes(f"def judge(ledger, step):\n    {reads}\n")
