"""How a broken promise is reported."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NoReturn

from bench.cluster import PromiseBrokenError


def violated(invariant: Callable[..., None], words: str, *indexes: int) -> NoReturn:
    """The promise has the name of its invariant's function; `indexes` is where in the log it was broken."""
    raise PromiseBrokenError(invariant.__name__, words, indexes=indexes)


def listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"
