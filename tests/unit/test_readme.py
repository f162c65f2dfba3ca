"""The README knows what can be set and what can be typed, and what it shows of a scenario happens."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench.case import PROFILES
from bench.cli import COMMANDS, cli

ROOT = Path(__file__).parents[2]
VARIABLE = re.compile(r"\b(?:KONSUL|BENCH|TOXIPROXY)_[A-Z_]*[A-Z]\b")
README = (ROOT / "README.md").read_text()


def test_the_readme_names_the_variables_that_are_read_and_no_other() -> None:
    code = "".join(path.read_text() for room in ("node", "faults", "bench") for path in (ROOT / room).rglob("*.py"))
    assert set(VARIABLE.findall(README)) == set(VARIABLE.findall(code))


@pytest.mark.parametrize("word", [*COMMANDS, *PROFILES, "VALID", "INVALID", "UNKNOWN", "SKIPPED"])
def test_the_readme_speaks_of_every_command_profile_and_verdict(word: str) -> None:
    assert re.search(rf"[` ]{word}\b", README)


def block(name: str) -> str:
    """The block of code behind the mark of this name."""
    found = re.search(rf"<!-- {name} -->\n```\w+\n(.*?)```", README, re.DOTALL)
    assert found is not None, f"the README has no block {name}"
    return found[1]


def mended(content: str) -> str:
    """As the README's diff has it."""
    lines = block("mended").splitlines()
    for before, after in zip(lines[::2], lines[1::2], strict=True):
        assert (before[0], after[0]) == ("-", "+")
        assert before[1:] in content
        content = content.replace(before[1:], after[1:])
    return content


@pytest.fixture
def my_scenarios(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BENCH_RUNS", raising=False)
    path = tmp_path / "my_scenarios.py"
    path.write_text(block("written"))
    return path


def test_the_readmes_own_scenario_fails_as_shown(my_scenarios: Path) -> None:
    command, *shown = block("failing").splitlines()
    done = CliRunner().invoke(cli, command.removeprefix("$ python -m bench ").split())
    assert done.exit_code == 1
    missing = [line for line in shown if line not in done.output.splitlines()]
    assert missing == [], f"the README shows what is not said any more; what is said:\n{done.output}"


def test_the_readmes_own_scenario_is_mended_as_shown(my_scenarios: Path) -> None:
    my_scenarios.write_text(mended(my_scenarios.read_text()))
    command, line, summary, where, *_ = block("valid").splitlines()
    done = CliRunner().invoke(cli, command.removeprefix("$ python -m bench ").split())
    assert done.exit_code == 0, done.output
    assert done.output.splitlines()[-2:] == [summary, where.replace("/home/you", str(my_scenarios.parent))]
    assert line.rpartition(" s  ")[2] in done.output


def test_the_readmes_case_plays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_RUNS", str(tmp_path / "runs"))
    shown = re.search(r"```json\n(.*?)```", README, re.DOTALL)
    assert shown is not None
    file = tmp_path / "case.json"
    file.write_text(shown[1])
    done = CliRunner().invoke(cli, ["play", str(file)])
    assert done.exit_code == 0, done.output
