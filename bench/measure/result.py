"""What a measurement found, as values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench.measure.statistics import Summary


class MeasurementError(Exception):
    """It cannot be measured: the cluster did not do what was to be timed."""


@dataclass(frozen=True)
class Series:
    """Values of one kind, in `unit`, and what we aim for."""

    name: str
    unit: str
    values: Sequence[float]
    target: str = ""

    @property
    def summary(self) -> Summary:
        return Summary.of(self.values)


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
        summaries = [
            {"name": found.name, "unit": found.unit, **asdict(found.summary), "target": found.target}
            for found in self.series
        ]
        return {"series": summaries, "table": asdict(self.table) if self.table else None}
