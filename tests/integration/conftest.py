from __future__ import annotations

from pathlib import Path

import pytest

from faults.toxiproxy import find_server


@pytest.fixture(scope="session")
def toxiproxy() -> Path:
    """The real toxiproxy-server; got once, whichever worker asks first."""
    return find_server(lambda message: print(message, flush=True))
