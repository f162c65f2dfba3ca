"""What `--help` says, and how it looks in 80 columns."""

from __future__ import annotations

import re

import click
import pytest
from click.testing import CliRunner

from bench import cli as commands
from bench.cli import COMMANDS, cli
from bench.commands.measuring import USUAL
from bench.manifest import code_digest
from bench.measure.registry import measurements
from bench.scenarios import SCENARIOS
from bench.simulated.flaws import flaw_names

WIDTH = 80
ALL = ["", *COMMANDS]


def helped(command: str, option: str = "--help") -> str:
    done = CliRunner(env={"COLUMNS": str(WIDTH)}).invoke(cli, [*filter(None, [command]), option])
    assert done.exit_code == 0
    return done.output


def options_of(command: str) -> list[click.Option]:
    found = cli.get_command(click.Context(cli), command)
    assert found is not None
    return [param for param in found.params if isinstance(param, click.Option)]


@pytest.mark.parametrize("command", ALL)
def test_help_is_had_by_two_options_and_fits_80_columns_without_being_cut(command: str) -> None:
    said = helped(command)
    assert helped(command, "-h") == said
    assert [line for line in said.splitlines() if len(line) > WIDTH] == []
    _usage, _, rest = said.partition("\n\n")
    assert [line for line in rest.splitlines() if line.endswith("...")] == []


def test_the_list_of_commands_says_in_a_sentence_what_each_does() -> None:
    _, _, listed = helped("").partition("Commands:\n")
    lines = listed.partition("\n\n")[0].splitlines()
    assert [line.split()[0] for line in lines] == list(COMMANDS)
    assert [line for line in lines if not line.endswith((".", ")."))] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_each_option_is_explained_in_a_sentence(command: str) -> None:
    unsaid = [option.name for option in options_of(command) if not re.fullmatch(r"(?s)[A-Z].*\.", option.help or "")]
    assert unsaid == []


@pytest.mark.parametrize("command", ALL)
def test_help_ends_with_an_example_that_can_be_copied(command: str) -> None:
    assert re.search(rf"Examples?:\s.*python -m bench {command}", helped(command), re.DOTALL)


@pytest.mark.parametrize(
    ("command", "names"),
    [
        ("run", [scenario.family for scenario in SCENARIOS.values()]),
        ("list", [scenario.family for scenario in SCENARIOS.values()]),
        ("run", flaw_names()),
        ("explore", flaw_names()),
        ("measure", [*measurements(), *USUAL]),
    ],
)
def test_what_can_be_named_is_named(command: str, names: list[str]) -> None:
    assert set(names) <= set(re.findall(r"\w+", helped(command)))


def test_the_version_is_the_sources_that_every_run_names() -> None:
    done = CliRunner().invoke(cli, ["--version"])
    assert (done.exit_code, len(done.output.splitlines())) == (0, 1)
    assert code_digest()[:8] in done.output


@pytest.mark.parametrize("argv", ["run -h", "run kill_leader --help", "measure -h", "up -h", "--version", "list"])
def test_who_asks_for_words_starts_no_process(argv: str, monkeypatch: pytest.MonkeyPatch) -> None:
    preloaded: list[str] = []
    monkeypatch.setattr("bench.systems.early.preload", lambda: preloaded.append(argv))
    monkeypatch.setattr("sys.argv", ["bench", *argv.split()])
    with pytest.raises(SystemExit):
        commands.main()
    assert preloaded == []
