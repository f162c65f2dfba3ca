"""How a function becomes a scenario, and how scenarios are found."""

from __future__ import annotations

import difflib
import fnmatch
import inspect
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from bench import case
from bench.case import Plan, Settings
from bench.cluster import NEEDS
from bench.schedule import MOST_NODES
from bench.verdict import Check

Story = TypeVar("Story", bound=Callable[..., None])

MARK = "scenarios"
"""The attribute of a function that has what was made of it."""
EVERY = "all"
"""The name that means all scenarios."""
LIMIT_S = 300.0
"""So long a story may take, unless it says otherwise: many times what the longest of ours takes."""


class ScenarioError(ValueError):
    """No scenario can be made of this; the text says why not."""


class UnknownScenarioError(LookupError):
    """There is no scenario of this name; the text has the nearest ones."""


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A story with the promise that it tells of, and all that it takes to play it."""

    name: str
    family: str
    promise: str
    play: Callable[..., None]
    """Of one `Cluster`."""
    nodes: int
    minimum: int = 1
    """The smallest cluster in which the story makes sense."""
    spare: int = 0
    """How many nodes run beside the members, until they are joined."""
    checks: tuple[Check, ...] = ()
    """What the evidence goes through."""
    needs: tuple[str, ...] = ()
    """What a cluster must be able to do (`bench.cluster.NEEDS`); where it cannot, the scenario is SKIPPED."""
    settings: Settings = field(default_factory=Settings)
    """What nodes and clients are told before they start, but for the timings of the profile."""
    limit_s: float = LIMIT_S
    """So long the story may take, by the clock on the wall in either world."""
    file: Path | None = None
    """Where it is from, unless it is one of the bench's own."""

    def plan(
        self,
        nodes: int | None = None,
        *,
        profile: str = "low-latency",
        seed: int = 0,
        system: str = "konsul",
        flaw: str | None = None,
    ) -> Plan:
        """What its cluster is made of; `nodes` is another size than its own."""
        return case.plan(
            nodes or self.nodes,
            spare=self.spare,
            seed=seed,
            profile=profile,
            settings=self.settings,
            system=system,
            flaw=flaw,
        )


def scenario(
    *,
    nodes: int | Callable[..., int],
    checks: Sequence[Check],
    minimum: int | None = None,
    spare: int = 0,
    needs: Sequence[str] = (),
    settings: Settings | None = None,
    limit_s: float = LIMIT_S,
    each: Mapping[str, Sequence[Any]] | None = None,
) -> Callable[[Story], Story]:
    """Mark a function, whose docstring begins with its promise, as a scenario, or as a family of one for every
    combination of `each`'s parameters; `nodes` may depend on these. The fields of `Scenario` say what the rest means.

    Raises ScenarioError.
    """

    def mark(function: Story) -> Story:
        title = function.__name__
        promise = inspect.cleandoc(function.__doc__ or "").strip().partition("\n")[0]
        if not promise:
            raise ScenarioError(f"{title} has no docstring; its first line says what is promised")
        if scenarios_of(function.__globals__.get(title)) or scenarios_of(function):
            raise ScenarioError(f"two scenarios are called {title}; the second would take the first one's place")
        members = []
        for values in itertools.product(*(each or {}).values()):
            arguments = dict(zip(each or {}, values, strict=True))
            size = nodes(**arguments) if callable(nodes) else nodes
            member = Scenario(
                name=f"{title}[{'-'.join(map(_label, values))}]" if values else title,
                family=title,
                promise=promise,
                play=partial(function, **arguments),
                nodes=size,
                minimum=size if minimum is None else minimum,
                spare=spare,
                checks=tuple(checks),
                needs=tuple(needs),
                settings=settings or Settings(),
                limit_s=limit_s,
            )
            _check(member)
            members.append(member)
        vars(function)[MARK] = tuple(by_name(members).values())
        return function

    return mark


def scenarios_of(function: object) -> tuple[Scenario, ...]:
    """What `scenario` has made of a function: nothing, if it is not marked."""
    return getattr(function, MARK, ())


def _check(made: Scenario) -> None:
    """Raises ScenarioError for what nobody can play."""
    if not 1 <= made.minimum <= made.nodes <= MOST_NODES:
        raise ScenarioError(f"{made.name}: 1 <= minimum <= nodes <= {MOST_NODES} must hold")
    if made.spare < 0:
        raise ScenarioError(f"{made.name}: no cluster has {made.spare} nodes to spare")
    if not made.limit_s > 0:
        raise ScenarioError(f"{made.name}: no story ends within {made.limit_s:g} s; limit_s must be more than 0")
    unknown = [need for need in made.needs if need not in NEEDS]
    if unknown:
        raise ScenarioError(f"{made.name}: nobody can need {', '.join(unknown)}; there are {', '.join(NEEDS)}")


def gather(module: ModuleType) -> dict[str, Scenario]:
    """The scenarios that are defined in this module, by name, in the order of their definition. What a module has only
    imported is another's. Raises ScenarioError for two of one name."""
    functions = [value for value in vars(module).values() if inspect.isfunction(value)]
    own = dict.fromkeys(function for function in functions if function.__module__ == module.__name__)
    return by_name(member for function in own for member in scenarios_of(function))


def by_name(scenarios: Iterable[Scenario]) -> dict[str, Scenario]:
    """Raises ScenarioError for two of one name."""
    named: dict[str, Scenario] = {}
    for scenario in scenarios:
        if scenario.name in named:
            raise ScenarioError(f"two scenarios are called {scenario.name}")
        named[scenario.name] = scenario
    return named


def find(name: str, among: Mapping[str, Scenario], listing: str = "python -m bench list") -> list[Scenario]:
    """What is meant by this name: the scenario or the family that is called so; otherwise all of them for `all`, and
    those that a pattern such as ``split_*`` fits. `listing` is the command that shows them. Raises
    UnknownScenarioError."""
    meanings: list[Callable[[Scenario], bool]] = [
        lambda scenario: name in (scenario.name, scenario.family),
        lambda _: name == EVERY,
        lambda scenario: _fits(scenario, name),
    ]
    for is_meant in meanings:
        if found := [scenario for scenario in among.values() if is_meant(scenario)]:
            return found
    known = {*among, *(scenario.family for scenario in among.values())}
    near = difflib.get_close_matches(name, known, n=3)
    guess = f"; did you mean {', '.join(near)}?" if near else "."
    raise UnknownScenarioError(f"there is no scenario {name!r}{guess} See: {listing}")


def _fits(scenario: Scenario, pattern: str) -> bool:
    """Brackets stand for themselves, as in members' names."""
    literal = pattern.replace("[", "[[]")
    return any(fnmatch.fnmatchcase(name, literal) for name in (scenario.name, scenario.family))


def _label(value: object) -> str:
    return str(getattr(value, "__name__", value))
