"""What a measurement found, as values."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench.measure.statistics import Summary


class MeasurementError(Exception):
    """It cannot be measured: the cluster did not do what was to be timed."""


COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@dataclass(frozen=True)
class Aim:
    """What we aim for: that a figure of the summary compares so with the bound, which is in the unit of the values."""

    figure: str
    """p50, p99 or max."""
    comparison: str
    bound: float

    def is_met(self, summary: Summary) -> bool:
        return COMPARISONS[self.comparison](asdict(summary)[self.figure], self.bound)

    def words(self, unit: str) -> str:
        return f"{self.figure} {self.comparison} {self.bound:g}{unit[1:] if unit.startswith('1/') else f' {unit}'}"


@dataclass(frozen=True)
class Series:
    """Values of one kind, in `unit`, and what we aim for, if we do."""

    name: str
    unit: str
    values: Sequence[float]
    aim: Aim | None = None

    @property
    def summary(self) -> Summary:
        return Summary.of(self.values)

    def as_json(self) -> Mapping[str, Any]:
        summary, aim = self.summary, self.aim
        met = aim and {**asdict(aim), "words": aim.words(self.unit), "met": aim.is_met(summary)}
        return {"name": self.name, "unit": self.unit, **asdict(summary), "aim": met}


@dataclass(frozen=True)
class Table:
    """Values that are only understood over time."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Measured:
    series: Sequence[Series]
    table: Table | None = None

    def as_json(self) -> Mapping[str, Any]:
        series = [found.as_json() for found in self.series]
        return {"series": series, "table": asdict(self.table) if self.table else None}
