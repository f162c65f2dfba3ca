"""What a client feels while nothing is broken."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Iterable, Iterator

from bench.measure.load import Answer, drive, get, put
from bench.measure.registry import measurement
from bench.measure.result import MeasurementError, Result, Series
from bench.measure.setting import Setting, address_of

CLIENTS = 64
KEYS = 1000
VALUE = "x" * 100
WARM_UP = 100
"""Requests that are not counted: connections, caches and the code itself are cold."""


@measurement(count=2000)
def writes(setting: Setting) -> Result:
    """One client's write: from before the request is sent until the acknowledgement is read, by its client link."""
    return _latencies(setting, "write", puts(), target="p99 < 20 ms")


@measurement(count=2000)
def reads(setting: Setting) -> Result:
    """One client's linearizable read: from before the request is sent until the answer is read, by its client link."""
    return _latencies(setting, "consistent read", itertools.repeat(get("/kv/k0?consistent=true")), target="p99 < 15 ms")


@measurement(seconds=10)
def throughput(setting: Setting) -> Result:
    """64 clients, each writing as soon as its last write is acknowledged: how many are acknowledged in each second.

    Each is fsynced by a majority before. The latencies are those of the same writes, as in `writes`.
    """
    with setting.cluster() as cluster:
        leader = address_of(cluster, cluster.wait_for_leader())
        began_s = time.monotonic() + 1
        ends_s = began_s + setting.seconds
        waiting = itertools.takewhile(lambda _: time.monotonic() < ends_s, puts())
        answers = []
        for answer in _acknowledged(drive(leader, waiting, connections=CLIENTS)):
            if answer.sent_s >= began_s:
                answers.append(answer)
                setting.on_progress(answer.answered_s - began_s, setting.seconds)
    return Result(
        [
            Series("acknowledged writes", "1/s", _rates(answers, began_s, setting.seconds), "p50 >= 1500 /s"),
            Series(f"write among {CLIENTS}", "ms", [answer.latency_ms for answer in answers]),
        ]
    )


def puts(keys: int = KEYS) -> Iterator[bytes]:
    """Writes of `VALUE`, to so many keys in turn, without end."""
    return (put(f"k{number % keys}", VALUE) for number in itertools.count())


def _latencies(setting: Setting, name: str, requests: Iterable[bytes], target: str) -> Result:
    with setting.cluster() as cluster:
        leader = address_of(cluster, cluster.wait_for_leader())
        list(_acknowledged(drive(leader, itertools.islice(puts(), WARM_UP))))
        answers = _acknowledged(drive(leader, itertools.islice(requests, setting.count)))
        return Result([Series(name, "ms", [answer.latency_ms for answer in setting.counted(answers)], target)])


def _acknowledged(answers: Iterable[Answer]) -> Iterator[Answer]:
    """The same; raises MeasurementError at one that is a refusal, whose time would be nothing but flattery."""
    for answer in answers:
        if answer.status != 200:
            raise MeasurementError(f"a request was answered {answer.status}; is the machine too busy to keep a leader?")
        yield answer


def _rates(answers: Iterable[Answer], began_s: float, seconds: float) -> list[float]:
    """How many were answered in each whole second."""
    counts = Counter(int(answer.answered_s - began_s) for answer in answers)
    return [float(counts[second]) for second in range(max(1, int(seconds)))]
