"""Operations as clients saw them, for tests of what they are judged by."""

from __future__ import annotations

from collections.abc import Iterable

from bench.evidence import Evidence, Record
from bench.operations import Freshness, Get, GetAll, Operation, Outcome, Question, Told, Try

LOST = Told(Outcome.UNKNOWN, "ReadTimeout")
MISMATCH = Told(Outcome.FAILED, "cas mismatch", modify_index=1)


def done(at_s: float, asked: Question, index: int, node: str = "n1", tries: int = 0) -> Operation:
    """An acknowledged write, which took a tenth of a second."""
    return asked_for(at_s, asked, Told(Outcome.OK, modify_index=index), node, tries)


def asked_for(at_s: float, asked: Question, told: Told, node: str = "n1", tries: int = 0) -> Operation:
    each = tuple(Try(node, at_s + number / 100) for number in range(tries))
    return Operation(0, node, asked, told, at_s, at_s + 0.1, each)


def read(at_s: float, key: str, value: str | None, node: str = "n1", by: Freshness = Freshness.STALE) -> Operation:
    return asked_for(at_s, Get(key, by), Told(Outcome.OK, result=value), node)


def fresh(at_s: float, key: str, value: str | None, node: str = "n1") -> Operation:
    return read(at_s, key, value, node, Freshness.LINEARIZABLE)


def read_all(at_s: float, found: dict[str, str | None], node: str = "n1") -> Operation:
    there = {key: value for key, value in found.items() if value is not None}
    return asked_for(at_s, GetAll(tuple(found)), Told(Outcome.OK, result=there), node)


def told(history: Iterable[Operation], timeline: Iterable[Record] = ()) -> Evidence:
    return Evidence(tuple(history), {}, tuple(timeline))
