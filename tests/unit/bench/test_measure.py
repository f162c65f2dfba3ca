"""What the measurements' figures mean."""

from __future__ import annotations

import json

import pytest

from bench.measure.registry import UnknownMeasurementError, find, measurements
from bench.measure.result import Measured, Series, Table
from bench.measure.statistics import Summary, percentile

HUNDRED = [float(value) for value in range(100, 0, -1)]


def test_a_percentile_is_a_value_that_was_measured() -> None:
    assert percentile([1.0, 2.0], 50) == 1.0
    assert percentile([1.0, 2.0], 51) == 2.0


@pytest.mark.parametrize(("percent", "value"), [(0, 1), (1, 1), (50, 50), (99, 99), (99.5, 100), (100, 100)])
def test_a_percentile_is_the_nearest_rank(percent: float, value: float) -> None:
    assert percentile(HUNDRED, percent) == value


def test_of_twenty_values_the_99th_percentile_is_the_worst() -> None:
    assert Summary.of(HUNDRED[:20]) == Summary(n=20, p50=90, p99=100, max=100)


@pytest.mark.parametrize(("values", "percent"), [([], 50), ([1.0], 101), ([1.0], -1)])
def test_nothing_has_no_percentile(values: list[float], percent: float) -> None:
    with pytest.raises(ValueError, match="percentile"):
        percentile(values, percent)


def test_a_result_survives_json() -> None:
    result = Measured([Series("write", "ms", [2.0, 1.0], "p99 < 20 ms")], Table(["seconds"], [["1"]]))
    assert json.loads(json.dumps(result.as_json())) == {
        "series": [
            {"name": "write", "unit": "ms", "n": 2, "p50": 1.0, "p99": 2.0, "max": 2.0, "target": "p99 < 20 ms"}
        ],
        "table": {"headings": ["seconds"], "rows": [["1"]]},
    }


def test_every_measurement_says_between_which_instants() -> None:
    for measurement in measurements().values():
        assert ":" in measurement.about or measurement.about.startswith("From "), measurement.name


def test_an_unknown_measurement_is_told_which_there_are() -> None:
    with pytest.raises(UnknownMeasurementError, match=r"no measurement wirtes; there are writes, reads"):
        find("wirtes")
