"""Waiting for a condition of the real world: checked at short intervals, until a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from bench.cluster import WaitTimeoutError

T = TypeVar("T")

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.001, 0.02


def wait_until(
    condition: Callable[[], T | None], what: str, timeout_s: float = 30.0, *, seen: Callable[[], str] | None = None
) -> T:
    """The condition's first true value. Raises WaitTimeoutError naming `what`, and the lines of what was `seen`
    last."""
    deadline = time.monotonic() + timeout_s
    pause_s = FIRST_PAUSE_S
    while not (found := condition()):
        if time.monotonic() > deadline:
            told = f". Seen last:{seen()}" if seen is not None else ""
            raise WaitTimeoutError(f"not within {timeout_s:g} s: {what}{told}")
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
    return found
