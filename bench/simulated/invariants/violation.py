"""How a broken promise is reported."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NoReturn

from bench.cluster import PromiseBrokenError


def violated(invariant: Callable[..., None], words: str) -> NoReturn:
    """The promise has the name of its invariant's function."""
    raise PromiseBrokenError(invariant.__name__, words)


def listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"
