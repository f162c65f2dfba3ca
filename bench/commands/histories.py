"""check FILE: whether a history that some tool has written is linearizable."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TextIO

import click

from bench.checkers import Budget, check_linearizable
from bench.checkers.linearizability import Checked
from bench.commands.showing import VERDICT_COLOURS, console, tell
from bench.history_formats import FORMS, LARGEST, LONGEST_LINE, HistoryFormatError, read
from bench.limits import LimitReachedError, time_limit
from bench.models import MODELS, Call, Model
from bench.verdict import Verdict

GRACE_S = 1.0
"""How much longer than it may a check is waited for, before its model counts as one that does not return."""
REMEMBERED = 2_000_000
"""Configurations: about half a GiB."""


class ModelName(click.ParamType[Model]):
    """A model by name, or by file and name for one of a user's own."""

    name = "model"

    def convert(self, value: str | Model, param: click.Parameter | None, ctx: click.Context | None) -> Model:
        if isinstance(value, Model):
            return value
        file, _, name = value.rpartition("::")
        found = getattr(_executed(file), name, None) if file else MODELS.get(name)
        if isinstance(found, Model):
            return found
        where = f"{file} has no Model called {name}" if file else f"there is no model {name}"
        raise click.BadParameter(f"{where}; there are {', '.join(MODELS)}, and FILE.py::NAME for your own", ctx, param)


def _executed(file: str) -> object:
    from bench.scenarios.files import executed

    return executed(Path(file).absolute())


model_option = click.option(
    "--model",
    type=ModelName(),
    help=f"By which model a history is judged: {', '.join(MODELS)}, or FILE.py::NAME; kv if none is named, which knows "
    "what a register does, too.",
)
seconds_option = click.option(
    "--seconds",
    type=click.FloatRange(min=0, min_open=True),
    default=60.0,
    show_default=True,
    help="How long a history may take.",
)
form_option = click.option(
    "--to",
    "form",
    type=click.Choice(list(FORMS)),
    help="Judge nothing, and write the history in this form to stdout: writes, and the reads that promise to be fresh.",
)


def is_history(run: str) -> bool:
    """Whether this names something that is there, and is no folder, as runs are."""
    try:
        return Path(run).exists() and not Path(run).is_dir()
    except (OSError, ValueError):
        return False


def judge_file(path: Path, model: Model | None, seconds: float, form: str | None) -> int:
    """The exit status. Raises HistoryFormatError."""
    try:
        calls = _calls_in(path)
    except HistoryFormatError as error:
        raise HistoryFormatError(f"{path}: {error}") from error
    except OSError as error:
        raise HistoryFormatError(f"{path}: {error.strerror}") from error
    if form is not None:
        tell_as(form, calls)
        return 0
    out = console()
    with out.status("judging"):
        checked = _judged(calls, model or MODELS["kv"], seconds)
    if checked.counterexample is not None:
        for line in checked.counterexample.lines():
            tell(out, f"  {line}")
    tell(out, f" {checked.reason}", beside=f"[{VERDICT_COLOURS[checked.verdict]}]{checked.verdict}[/]")
    return checked.verdict.exit_status


def _calls_in(path: Path) -> list[Call]:
    """Raises HistoryFormatError, OSError."""
    if not path.is_file():
        raise HistoryFormatError("it is no file")
    if path.stat().st_size > LARGEST:
        raise HistoryFormatError(f"it has more than {LARGEST:,} bytes, the most that is read of a history")
    with path.open(encoding="utf-8", errors="replace") as file:
        return read(_lines(file))


def _judged(calls: list[Call], model: Model, seconds: float) -> Checked:
    budget = Budget(steps=10**12, remembered=REMEMBERED, seconds=seconds, clock=time.monotonic)
    try:
        with time_limit(seconds + GRACE_S):
            return check_linearizable(calls, model, budget)
    except LimitReachedError:
        return Checked(Verdict.UNKNOWN, f"the model {model.name} does not return: it was stopped after {seconds:g} s")
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001
        return Checked(Verdict.UNKNOWN, f"the model {model.name} failed: {type(error).__name__}: {error}")


def _lines(file: TextIO) -> Iterator[str]:
    """No more of a line than it takes to see that it is too long."""
    return iter(lambda: file.readline(LONGEST_LINE + 1), "")


def tell_as(form: str, calls: Iterable[Call]) -> None:
    """Raises HistoryFormatError."""
    for line in FORMS[form](calls):
        click.echo(line)
