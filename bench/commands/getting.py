"""The toxiproxy-server for a command. If it has to be got first, stderr says how far that is."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path

from rich.filesize import decimal
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.status import Status

from bench.commands.showing import console, tell
from faults import acquire
from faults.acquire import Stage, Step, find_server
from faults.signals import handled

BAR_WIDTH = 16


def get_toxiproxy(status: Status | None = None) -> Path:
    """Its path; what `status` shows is put aside while it is being got. Raises ToxiproxyUnavailableError."""
    # They end it as Ctrl-C does, so that what is at work on it ends too.
    interrupted = handled((signal.SIGTERM, signal.SIGHUP), signal.default_int_handler)
    with interrupted, _shown(status) as show:
        return find_server(show)


@contextlib.contextmanager
def _shown(status: Status | None) -> Iterator[acquire.Progress]:
    """On a terminal each step as it goes on; elsewhere a line where a way begins, and one where it ends. Nothing before
    the first step."""
    aside = console(stderr=True)
    text = TextColumn("{task.description}")
    bar = Progress(SpinnerColumn(), text, BarColumn(BAR_WIDTH), TimeElapsedColumn(), console=aside, transient=True)
    with contextlib.ExitStack() as exits:

        def show(step: Step) -> None:
            if not bar.tasks:
                bar.add_task("")
                if status is not None:
                    status.stop()
                    exits.callback(status.start)
                if aside.is_terminal:
                    exits.enter_context(bar)
            ended = step.stage in (Stage.DONE, Stage.FAILED)
            if step.stage is Stage.BEGINS:
                bar.reset(bar.task_ids[0], total=None)
            if ended or (step.stage is Stage.BEGINS and not aside.is_terminal):
                tell(aside, str(step))
            if not ended:
                words, task = escape(_in_words(step)), bar.task_ids[0]
                bar.update(task, description=words, completed=step.done, total=step.total, refresh=True)

        yield show


def _in_words(step: Step) -> str:
    if not step.done:
        return str(step)
    return f"{step}, {decimal(step.done)}{f' of {decimal(step.total)}' if step.total is not None else ''}"
