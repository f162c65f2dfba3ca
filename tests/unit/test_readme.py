"""The README knows what can be set and what can be typed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bench.cli import COMMANDS
from bench.commands.options import PROFILES

ROOT = Path(__file__).parents[2]
VARIABLE = re.compile(r"\b(?:KONSUL|BENCH|TOXIPROXY)_[A-Z_]*[A-Z]\b")
README = (ROOT / "README.md").read_text()


def test_the_readme_names_the_variables_that_are_read_and_no_other() -> None:
    code = "".join(path.read_text() for room in ("node", "faults", "bench") for path in (ROOT / room).rglob("*.py"))
    assert set(VARIABLE.findall(README)) == set(VARIABLE.findall(code))


@pytest.mark.parametrize("word", [*COMMANDS, *PROFILES, "VALID", "INVALID", "UNKNOWN", "SKIPPED"])
def test_the_readme_speaks_of_every_command_profile_and_verdict(word: str) -> None:
    assert re.search(rf"[` ]{word}\b", README)
