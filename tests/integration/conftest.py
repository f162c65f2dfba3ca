from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.live.ports import Ports
from faults.toxiproxy import find_server
from tests.integration.shell import Shell


@pytest.fixture(scope="session")
def toxiproxy() -> Path:
    """The real toxiproxy-server; got once, whichever worker asks first."""
    return find_server(lambda step: print(step, flush=True))


@pytest.fixture
def ports() -> Iterator[Ports]:
    """Ports that nobody else on the machine takes while the test lasts, as the bench has them.

    A port that was merely free a moment ago may be the near end of somebody's connection by now.
    """
    found = Ports()
    yield found
    found.close()


@pytest.fixture
def shell(tmp_path: Path, ports: Ports) -> Iterator[Shell]:
    found = Shell(tmp_path, ports)
    yield found
    found.end()
