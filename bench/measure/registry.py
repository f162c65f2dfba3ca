"""The measurements by name."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass

from bench.measure.result import Measured
from bench.measure.setting import Setting

MODULES = ("requests", "outages", "lifetimes", "judging", "recording")


class UnknownMeasurementError(LookupError):
    """No measurement has this name."""


@dataclass(frozen=True)
class Measurement:
    name: str
    run: Callable[[Setting], Measured]
    count: int
    """How many values it takes by default."""
    seconds: float

    @property
    def module(self) -> str:
        return self.run.__module__.rpartition(".")[2]

    @property
    def about(self) -> str:
        """What is measured between which instants, in one line."""
        return " ".join((self.run.__doc__ or "").partition("\n\n")[0].split())


_FOUND: dict[str, Measurement] = {}


def measurement(*, count: int = 1, seconds: float = 10.0) -> Callable[[Callable[[Setting], Measured]], Measurement]:
    """Register a function under its own name."""

    def register(function: Callable[[Setting], Measured]) -> Measurement:
        found = Measurement(function.__name__, function, count, seconds)
        _FOUND[found.name] = found
        return found

    return register


def measurements() -> dict[str, Measurement]:
    """All of them, in the order of their modules."""
    for module in MODULES:
        importlib.import_module(f"bench.measure.{module}")
    # Somebody may have imported a later module first.
    return dict(sorted(_FOUND.items(), key=lambda found: MODULES.index(found[1].module)))


def find(name: str) -> Measurement:
    known = measurements()
    if name not in known:
        raise UnknownMeasurementError(f"there is no measurement {name}; there are {', '.join(known)}")
    return known[name]
