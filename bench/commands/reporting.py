"""What came of runs, for programs: as JSON, and as JUnit's XML, which CI servers read."""

from __future__ import annotations

import contextlib
import json
import re
import sys
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import click

from bench.runner import Run
from bench.scenarios import Scenario
from bench.verdict import Verdict, worst

ELEMENTS = {
    Verdict.INVALID: ("failure", "failures"),
    Verdict.UNKNOWN: ("error", "errors"),
    Verdict.SKIPPED: ("skipped", "skipped"),
}
"""What JUnit calls one of them and how many; a test without any has passed."""
WRONG = (Verdict.INVALID, Verdict.UNKNOWN)
NOT_IN_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""The characters that XML 1.0 has no way to write (production 2)."""


@dataclass(frozen=True)
class Played:
    """One scenario, played with one seed."""

    scenario: Scenario
    seed: int
    run: Run | None
    """None if it did not come to an end."""
    words: str = ""
    """What a reader has to know of it, if it went wrong."""

    @property
    def verdict(self) -> Verdict:
        return self.run.verdict if self.run is not None else Verdict.UNKNOWN


@dataclass
class Report:
    """What was played, in order."""

    world: str
    profile: str
    flaw: str | None
    evidence: Path
    kept: bool
    """Whether anybody wants it; a million runs are many."""
    explained: bool
    """Whether each run that went wrong is to be explained."""
    played: list[Played] = field(default_factory=list)
    interrupted: bool = False

    def of(self, scenario: Scenario, seed: int, play: Callable[[], Run]) -> Run:
        """What comes of this play, which is reported even if it is interrupted or fails."""
        try:
            run = play()
        except KeyboardInterrupt:
            self.played.append(Played(scenario, seed, None, "interrupted"))
            raise
        except Exception as error:
            self.played.append(Played(scenario, seed, None, f"it could not be played: {error}"))
            raise
        if self.kept:
            words = run.explain() if self.explained and run.verdict in WRONG else ""
            self.played.append(Played(scenario, seed, run, words))
        return run

    def as_json(self) -> dict[str, Any]:
        verdicts = Counter(one.verdict for one in self.played)
        return {
            "world": self.world,
            "profile": self.profile,
            "flaw": self.flaw,
            "verdict": worst(verdicts),
            "totals": {verdict: verdicts[verdict] for verdict in Verdict},
            "seconds": round(sum(one.run.seconds for one in self.played if one.run is not None), 3),
            "interrupted": self.interrupted,
            "evidence": str(self.evidence),
            "runs": [
                {
                    "scenario": one.scenario.name,
                    "family": one.scenario.family,
                    "file": str(one.scenario.file) if one.scenario.file is not None else None,
                    "seed": self.seed_of(one),
                    **(as_json(one.run) if one.run is not None else {"verdict": one.verdict, "error": one.words}),
                }
                for one in self.played
            ],
        }

    def seed_of(self, one: Played) -> int | None:
        """None on real processes, which have none."""
        return one.seed if self.world == "simulated" else None

    def as_junit(self) -> bytes:
        suites = ET.Element("testsuites", name="python -m bench run")
        suite = ET.SubElement(suites, "testsuite", name=self.world)
        properties = ET.SubElement(suite, "properties")
        for name, value in {"profile": self.profile, "flaw": self.flaw, "evidence": str(self.evidence)}.items():
            if value is not None:
                _add(properties, "property", name=name, value=value)
        for one in self.played:
            _add_case(suite, one, self.world, self.seed_of(one))
        if not self.played:
            # A report of no tests would pass for a report of tests that passed.
            case = _add(suite, "testcase", classname=self.world, name="python -m bench run", time="0")
            _add(case, "error", message="nothing was run")
        counted = {"tests": "testcase", **{plural: name for name, plural in ELEMENTS.values()}}
        for element in (suites, suite):
            element.attrib |= {plural: str(len(list(suite.iter(name)))) for plural, name in counted.items()}
            element.set("time", _seconds(self.played))
        ET.indent(suites)
        document: bytes = ET.tostring(suites, encoding="utf-8", xml_declaration=True)
        return document


def as_json(run: Run) -> dict[str, Any]:
    return {
        "verdict": run.verdict,
        "seconds": round(run.seconds, 3),
        "digest": run.digest,
        "folder": str(run.folder),
        "again": run.again,
        "findings": [
            {
                "check": one.check,
                "verdict": one.verdict,
                "reason": one.reason,
                "details": one.details,
                "witness": one.witness,
            }
            for one in run.findings
        ],
    }


@contextlib.contextmanager
def stdout_for_json(wanted: bool) -> Iterator[TextIO]:
    """Where the document is to be printed, and in the block nothing else: what a scenario prints goes to stderr."""
    stdout = sys.stdout
    with contextlib.redirect_stdout(sys.stderr) if wanted else contextlib.nullcontext():
        yield stdout


@contextlib.contextmanager
def reported(report: Report, json_to: TextIO | None, junit: Path | None) -> Iterator[None]:
    """When the block ends, even if it is interrupted or fails, the report is written there. Raises UsageError before
    the block for a file that cannot be written."""
    file = junit.absolute() if junit is not None else None
    if file is not None:
        # A program that is killed must not leave an earlier report as if it were this one's.
        _write(file, b"")
    try:
        yield
    except KeyboardInterrupt:
        report.interrupted = True
        raise
    finally:
        if json_to is not None:
            click.echo(json.dumps(report.as_json(), indent=2), file=json_to)
        if file is not None:
            _write(file, report.as_junit())


def _write(file: Path, content: bytes) -> None:
    try:
        file.write_bytes(content)
    except OSError as error:
        raise click.UsageError(f"--junit {file} cannot be written: {error.strerror}") from error


def reasons(run: Run) -> str:
    """Why its verdict is what it is, in one line."""
    decisive = (one for one in run.findings if one.verdict is run.verdict)
    return "; ".join(f"{one.check}: {' '.join(one.reason.split())}" for one in decisive)


def _add_case(suite: ET.Element, one: Played, world: str, seed: int | None) -> None:
    scenario = one.scenario
    where = scenario.file.stem if scenario.file is not None else "bench"
    name = scenario.name if seed is None else f"{scenario.name}, seed {seed}"
    case = _add(suite, "testcase", classname=f"{world}.{where}", name=name, time=_seconds([one]))
    if one.verdict in ELEMENTS:
        message = reasons(one.run) if one.run is not None else one.words
        _add(case, ELEMENTS[one.verdict][0], one.words, type=one.verdict, message=message)
    if one.run is not None:
        _add(case, "system-out", f"evidence in {one.run.folder}")


def _add(parent: ET.Element, tag: str, text: str | None = None, **attributes: str) -> ET.Element:
    added = ET.SubElement(parent, tag, {name: _writable(value) for name, value in attributes.items()})
    added.text = _writable(text) if text else None
    return added


def _seconds(played: Iterable[Played]) -> str:
    return f"{sum(one.run.seconds for one in played if one.run is not None):.3f}"


def _writable(words: str) -> str:
    """What XML has no way to write is written as Python writes it."""
    return NOT_IN_XML.sub(lambda found: found[0].encode("unicode_escape").decode(), words)
