"""The table of scenarios, and how one gets into it."""

from __future__ import annotations

import difflib
import inspect
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from bench.cluster import Setup
from bench.evidence import Evidence
from bench.verdict import Finding

Check = Callable[[Evidence], Finding]


class UnknownScenarioError(LookupError):
    """There is no scenario of this name; the text has the nearest ones."""


@dataclass(frozen=True)
class Scenario:
    name: str
    family: str
    nodes: int
    minimum: int
    """The smallest cluster in which the story makes sense."""
    checks: tuple[Check, ...]
    play: Callable[..., None]
    """Of one `Cluster`, or of what more its world has."""
    promise: str
    impossible: Mapping[str, str] = field(default_factory=dict)
    """The worlds in which it cannot be played, by name, and why."""
    setup: Setup = field(default_factory=Setup)


SCENARIOS: dict[str, Scenario] = {}


def scenario(
    *,
    nodes: int | Callable[..., int],
    checks: Sequence[Check],
    minimum: int | None = None,
    each: Mapping[str, Sequence[Any]] | None = None,
    impossible: Mapping[str, str] | None = None,
    setup: Setup | None = None,
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a function as a scenario, or as a family of one for every combination of `each`'s parameters."""

    def register(function: Callable[..., None]) -> Callable[..., None]:
        promise = inspect.cleandoc(function.__doc__ or "").splitlines()[0]
        names = list(each or {})
        for values in itertools.product(*(each or {}).values()):
            arguments = dict(zip(names, values, strict=True))
            suffix = f"[{'-'.join(map(_label, values))}]" if values else ""
            size = nodes(**arguments) if callable(nodes) else nodes
            name = f"{function.__name__}{suffix}"
            assert name not in SCENARIOS, f"two scenarios are called {name}"
            SCENARIOS[name] = Scenario(
                name,
                function.__name__,
                size,
                size if minimum is None else minimum,
                tuple(checks),
                partial(function, **arguments),
                promise,
                impossible or {},
                setup or Setup(),
            )
        return function

    return register


def find(name: str) -> list[Scenario]:
    """The scenario of this name, or all members of the family of this name. Raises UnknownScenarioError."""
    found = [scenario for scenario in SCENARIOS.values() if name in (scenario.name, scenario.family)]
    if not found:
        known = sorted({scenario.family for scenario in SCENARIOS.values()} | set(SCENARIOS))
        near = difflib.get_close_matches(name, known, n=3) or sorted({s.family for s in SCENARIOS.values()})
        raise UnknownScenarioError(f"there is no scenario {name!r}; did you mean {', '.join(near)}? See: bench list")
    return found


def _label(value: object) -> str:
    return str(getattr(value, "__name__", value))
