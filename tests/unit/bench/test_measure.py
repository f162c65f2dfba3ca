"""What the measurements' figures mean."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

from bench.cli import cli
from bench.commands import measuring
from bench.measure import judging
from bench.measure.histories import Shape
from bench.measure.registry import Measurement, UnknownMeasurementError, find, measurements
from bench.measure.result import Aim, Measured, Series, Table
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
    series = [Series("write", "ms", [2.0, 1.0], Aim("p99", "<", 20)), Series("size", "MiB", [3.0])]
    result = Measured(series, Table(["seconds"], [["1"]]))
    aim = {"figure": "p99", "comparison": "<", "bound": 20, "words": "p99 < 20 ms", "met": True}
    assert json.loads(json.dumps(result.as_json())) == {
        "series": [
            {"name": "write", "unit": "ms", "n": 2, "p50": 1.0, "p99": 2.0, "max": 2.0, "aim": aim},
            {"name": "size", "unit": "MiB", "n": 1, "p50": 3.0, "p99": 3.0, "max": 3.0, "aim": None},
        ],
        "table": {"headings": ["seconds"], "rows": [["1"]]},
    }


@pytest.mark.parametrize(
    ("aim", "unit", "words", "met"),
    [
        (Aim("p99", "<", 99), "ms", "p99 < 99 ms", False),
        (Aim("p99", "<=", 99), "ms", "p99 <= 99 ms", True),
        (Aim("max", "<", 100.5), "MiB", "max < 100.5 MiB", True),
        (Aim("p50", ">", 50), "1/s", "p50 > 50/s", False),
        (Aim("p50", ">=", 50), "1/s", "p50 >= 50/s", True),
    ],
)
def test_an_aim_says_in_words_what_it_holds_a_summary_to(aim: Aim, unit: str, words: str, met: bool) -> None:
    assert (aim.words(unit), aim.is_met(Summary.of(HUNDRED))) == (words, met)


def test_the_table_of_figures_says_whether_an_aim_is_met_or_missed_and_stays_in_80_columns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    series = [
        Series("acknowledged writes", "1/s", [1499.0], Aim("p50", ">=", 1500)),
        Series("near again after 2 s", "ms", [99.99], Aim("p99", "<", 100)),
        Series("outage", "ms", [1.0]),
    ]
    monkeypatch.setattr(measuring, "get_toxiproxy", lambda *_: Path())
    monkeypatch.setattr(measuring, "find", lambda name: Measurement(name, lambda _: Measured(series), 1, 1))
    monkeypatch.setattr(measuring, "console", lambda: Console(width=80))
    done = CliRunner().invoke(cli, ["measure", "writes"])
    assert done.exit_code == 0, "figures are no verdict"
    missed, met, neither = (line.split() for line in done.output.splitlines() if re.search(r"1499|99\.99|1\.00", line))
    assert (missed[-1], met[-1], neither[-1]) == ("missed", "met", "1.00")
    assert max(map(len, done.output.splitlines())) <= 80


def test_judging_is_measured_without_a_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LONG", "MANY", "HARD"):
        monkeypatch.setattr(judging, name, Shape(50, 3, 0.1))
    for name in ("ETCD_HISTORIES", "HARD_HISTORIES", "SEEDS"):
        monkeypatch.setattr(judging, name, 2)
    monkeypatch.setattr(measuring, "get_toxiproxy", lambda: pytest.fail("nobody asked for it"))
    done = CliRunner().invoke(cli, ["measure", "judging", "--count", "2", "--json"])
    assert done.exit_code == 0, done.output
    series = {one["name"]: one for one in json.loads(done.stdout)["judging"]["series"]}
    assert [one["aim"]["met"] for one in series.values() if one["aim"]] == [True, True]
    hard = [one["n"] for name, one in series.items() if name.startswith("20 clients")]
    assert (sum(hard), series["the same, judged"]["n"]) == (4, 4)


def test_every_measurement_says_between_which_instants() -> None:
    for measurement in measurements().values():
        assert ":" in measurement.about or measurement.about.startswith("From "), measurement.name


def test_an_unknown_measurement_is_told_which_there_are() -> None:
    with pytest.raises(UnknownMeasurementError, match=r"no measurement wirtes; there are writes, reads"):
        find("wirtes")
