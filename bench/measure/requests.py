"""What a client sees while nothing is broken."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from bench.measure.load import Timed, drive
from bench.measure.registry import measurement
from bench.measure.result import Aim, Measured, MeasurementError, Series
from bench.measure.setting import Setting
from bench.systems.protocol import System

CLIENTS = 64
KEYS = 1000
VALUE = "x" * 100
WARM_UP = 100
"""Requests that are not counted: connections, caches and the code itself are cold."""


@measurement(count=2000)
def writes(setting: Setting) -> Measured:
    """One client's write: from before the request is sent until the acknowledgement is read, through its client
    link."""
    return _latencies(setting, "write", puts, Aim("p99", "<", 20))


@measurement(count=2000)
def reads(setting: Setting) -> Measured:
    """One client's linearizable read: from before the request is sent until the answer is read, through its client
    link."""
    return _latencies(setting, "consistent read", _reads, Aim("p99", "<", 15))


@measurement(seconds=10)
def throughput(setting: Setting) -> Measured:
    """64 clients, each writing as soon as its last write is acknowledged: how many are acknowledged in each second.

    Each write is first fsynced by a majority. The latencies are those of the same writes, as in `writes`.
    """
    with setting.cluster() as cluster:
        system, leader = cluster.system, cluster.node_plan(cluster.wait_for_leader()).client
        began_s = time.monotonic() + 1
        ends_s = began_s + setting.seconds
        waiting = itertools.takewhile(lambda _: time.monotonic() < ends_s, puts(system))
        answers = []
        for answer in _acknowledged(system, drive(leader, waiting, connections=CLIENTS)):
            if answer.sent_s >= began_s:
                answers.append(answer)
                setting.on_progress(answer.answered_s - began_s, setting.seconds)
    return Measured(
        [
            Series("acknowledged writes", "1/s", _rates(answers, began_s, setting.seconds), Aim("p50", ">=", 1500)),
            Series(f"write among {CLIENTS}", "ms", [answer.latency_ms for answer in answers]),
        ]
    )


def puts(system: System, keys: int = KEYS) -> Iterator[bytes]:
    """Endless writes of `VALUE`, to so many keys in turn."""
    return (system.put_request(f"k{number % keys}", VALUE) for number in itertools.count())


def _reads(system: System) -> Iterator[bytes]:
    return itertools.repeat(system.read_request("k0"))


def _latencies(setting: Setting, name: str, requests: Callable[[System], Iterator[bytes]], aim: Aim) -> Measured:
    with setting.cluster() as cluster:
        system, leader = cluster.system, cluster.node_plan(cluster.wait_for_leader()).client
        list(_acknowledged(system, drive(leader, itertools.islice(puts(system), WARM_UP))))
        answers = _acknowledged(system, drive(leader, itertools.islice(requests(system), setting.count)))
        return Measured([Series(name, "ms", [answer.latency_ms for answer in setting.counted(answers)], aim)])


def _acknowledged(system: System, answers: Iterable[Timed]) -> Iterator[Timed]:
    """The same answers. Raises MeasurementError for a refusal, whose short time would flatter the result."""
    for answer in answers:
        if not system.is_acknowledged(answer.status):
            raise MeasurementError(f"a request was answered {answer.status}; is the machine too busy to keep a leader?")
        yield answer


def _rates(answers: Iterable[Timed], began_s: float, seconds: float) -> list[float]:
    """How many were answered in each whole second."""
    counts = Counter(int(answer.answered_s - began_s) for answer in answers)
    return [float(counts[second]) for second in range(max(1, int(seconds)))]
