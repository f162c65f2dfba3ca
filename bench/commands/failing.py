"""What the world did wrong, in one line with the way out, and exit status 2."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

import click


@contextlib.contextmanager
def in_one_line() -> Iterator[None]:
    """Turn the errors a user can mend into a line on stderr. A bug of ours keeps its traceback."""
    try:
        yield
    except click.UsageError as error:
        where = f"; see {error.ctx.command_path} --help" if error.ctx else ""
        click.echo(f"bench: {error.format_message().rstrip('.')}{where}", err=True)
        sys.exit(2)
    except Exception as error:
        if not isinstance(error, _mendable()):
            raise
        click.echo(f"bench: {error}", err=True)
        sys.exit(2)


def _mendable() -> tuple[type[Exception], ...]:
    from bench.cluster import NoSuchNodeError, WaitTimeoutError
    from bench.live.folders import UnusableFolderError
    from bench.live.ports import NoFreePortError
    from bench.live.registry import RegistryError
    from bench.live.remote import RemoteError
    from bench.measure.registry import UnknownMeasurementError
    from bench.measure.result import MeasurementError
    from bench.scenarios import UnknownScenarioError
    from faults.acquire import ToxiproxyUnavailableError
    from faults.lifeline import NoSuchLifelineError
    from faults.toxiproxy import ToxiproxyError

    return (
        NoSuchNodeError,
        WaitTimeoutError,
        UnusableFolderError,
        NoFreePortError,
        RegistryError,
        RemoteError,
        UnknownScenarioError,
        UnknownMeasurementError,
        MeasurementError,
        NoSuchLifelineError,
        ToxiproxyUnavailableError,
        ToxiproxyError,
        PermissionError,
        NotADirectoryError,
        FileExistsError,
    )
