"""Errors that a user can mend: one line that says how, and exit status 2."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

import click

INTERRUPTED = 130
"""As in shells. Not 1, which would blame the nodes."""


@contextlib.contextmanager
def in_one_line() -> Iterator[None]:
    """Turn the errors a user can mend into a line on stderr. A bug of ours keeps its traceback; a mistake in a user's
    own file is shown as Python shows it."""
    try:
        yield
    except click.UsageError as error:
        where = f"; see {error.ctx.command_path} --help" if error.ctx else ""
        _say(f"{error.format_message().rstrip('.')}{where}")
        sys.exit(2)
    except KeyboardInterrupt:
        _say("interrupted")
        sys.exit(INTERRUPTED)
    except Exception as error:
        from bench.scenarios.files import UserCodeError

        if isinstance(error, UserCodeError):
            click.echo(str(error), err=True)
        elif isinstance(error, _mendable()):
            _say(str(error))
        else:
            raise
        sys.exit(2)


def _say(words: str) -> None:
    from bench.commands.showing import console, tell

    tell(console(stderr=True), f"bench: {words}")


def _mendable() -> tuple[type[Exception], ...]:
    from bench.case import CaseError
    from bench.cluster import NoSuchNodeError, WaitTimeoutError
    from bench.history_formats import HistoryFormatError
    from bench.live.ports import NoFreePortError
    from bench.live.registry import RegistryError
    from bench.live.remote import RemoteError
    from bench.measure.registry import UnknownMeasurementError
    from bench.measure.result import MeasurementError
    from bench.scenarios import UnknownScenarioError
    from bench.scenarios.files import UserFileError
    from bench.store import StoreError, UnusableFolderError
    from bench.systems import UnknownSystemError
    from faults.acquire import ToxiproxyUnavailableError
    from faults.lifeline import NoSuchLifelineError
    from faults.toxiproxy import ToxiproxyError

    return (
        HistoryFormatError,
        NoSuchNodeError,
        WaitTimeoutError,
        UnusableFolderError,
        CaseError,
        StoreError,
        NoFreePortError,
        RegistryError,
        RemoteError,
        UnknownScenarioError,
        UnknownSystemError,
        UserFileError,
        UnknownMeasurementError,
        MeasurementError,
        NoSuchLifelineError,
        ToxiproxyUnavailableError,
        ToxiproxyError,
        PermissionError,
        NotADirectoryError,
        FileExistsError,
    )
