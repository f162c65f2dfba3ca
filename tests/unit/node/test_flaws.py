from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from node import flaws
from node.raft import Raft
from node.raft.rules import Rules


def rules() -> set[str]:
    return overridden(Rules)


def overridden(flawed: type[Rules]) -> set[str]:
    return {name for name, value in vars(flawed).items() if inspect.isfunction(value)}


@pytest.mark.parametrize("name", flaws.names())
def test_a_flaw_breaks_exactly_one_rule(name: str) -> None:
    flawed = flaws.load(name)
    assert flawed.__bases__ == (Raft,)
    assert len(overridden(flawed)) == 1
    assert overridden(flawed) <= rules()


def test_every_rule_has_a_flaw() -> None:
    assert rules() == set().union(*(overridden(flaws.load(name)) for name in flaws.names()))


def test_nothing_imports_a_flaw() -> None:
    root = Path(__file__).parents[3]
    importing = [
        str(file)
        for room in ("node", "faults", "bench")
        for file in (root / room).rglob("*.py")
        if any(f"node.flaws.{name}" in file.read_text() for name in flaws.names())
    ]
    assert importing == []


def test_an_unknown_flaw_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(LookupError, match="no flaw 'os'; there are ack_last_index"):
        flaws.load("os")
