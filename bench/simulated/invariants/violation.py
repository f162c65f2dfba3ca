"""How a broken promise is told."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NoReturn

from bench.cluster import PromiseBrokenError


class InvariantViolationError(PromiseBrokenError):
    """A promise was broken; `name` is the invariant's function, the text what was seen."""

    def __init__(self, name: str, words: str) -> None:
        super().__init__(f"{name}: {words}")
        self.name = name
        self.words = words

    def __reduce__(self) -> tuple[type[InvariantViolationError], tuple[str, str]]:
        return type(self), (self.name, self.words)


def violated(invariant: Callable[..., None], words: str) -> NoReturn:
    raise InvariantViolationError(invariant.__name__, words)


def listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"
