"""How fast histories are judged. No cluster is needed for it."""

from __future__ import annotations

import itertools
import multiprocessing
import resource
import time
from collections.abc import Sequence
from typing import NamedTuple

from bench import judging as checks
from bench.checkers import Budget, check_linearizable
from bench.measure.histories import MUTATIONS, Shape, mutated, of_registers
from bench.measure.registry import measurement
from bench.measure.result import Aim, Measured, MeasurementError, Series
from bench.measure.setting import Setting
from bench.models import Call, register
from bench.player import Player
from bench.search.explore import case_of
from bench.simulated.cluster import SimulatedCluster
from bench.simulated.invariants import Invariants
from bench.verdict import Verdict

ETCD, ETCD_HISTORIES = Shape(170, 5, 0.05), 102
"""As many and as long as Jepsen's histories of etcd that Porcupine's tests judge."""
LONG = Shape(10_000, 5)
MANY, KEYS = Shape(100_000, 10), 100
HARD, HARD_HISTORIES = Shape(1000, 20, 0.1), 10
SEEDS, NODES = 10, 5
KIB_PER_MIB = 1024


class _Round(NamedTuple):
    etcd_ms: float
    long_ms: float
    many_s: float
    peak_mib: float
    hard: list[tuple[Verdict, float]]
    played: list[tuple[float, float]]


@measurement(count=5)
def judging(setting: Setting) -> Measured:
    """Histories made from seeds: from when one is in memory until its verdict is there.

    Each round judges 102 histories as Jepsen's of etcd, half of which are not linearizable; one of 10,000 operations at
    one key; in a process of its own one of 100,000 operations at 100 keys, and tells that process's peak memory; ten of
    1,000 operations of 20 clients at one key, of which a tenth crashed, each within the usual budget of a check; and
    plays ten explored seeds of five nodes, which it then judges by all checks of a case.
    """
    rounds = list(setting.counted(_round(number) for number in itertools.count()))
    played = [pair for one in rounds for pair in one.played]
    return Measured(
        [
            Series(f"{ETCD_HISTORIES} as of etcd", "ms", [one.etcd_ms for one in rounds]),
            Series("10,000 at one key", "ms", [one.long_ms for one in rounds]),
            Series("100,000 at 100 keys", "s", [one.many_s for one in rounds], Aim("max", "<", 10)),
            Series("peak memory of that", "MiB", [one.peak_mib for one in rounds], Aim("max", "<", 1024)),
            *_by_verdict([pair for one in rounds for pair in one.hard]),
            Series("an explored seed, played", "ms", [played_ms for played_ms, _ in played]),
            Series("the same, judged", "ms", [judged_ms for _, judged_ms in played]),
            Series("judged, of played", "%", [100 * judged_ms / played_ms for played_ms, judged_ms in played]),
        ]
    )


def _by_verdict(found: Sequence[tuple[Verdict, float]]) -> list[Series]:
    verdicts = [verdict for verdict in Verdict if any(verdict is each for each, _ in found)]
    return [
        Series(f"20 clients, crashes: {verdict}", "ms", [ms for each, ms in found if each is verdict])
        for verdict in verdicts
    ]


def _round(number: int) -> _Round:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        many_s, peak_mib = pool.apply(_many_keys, (number, MANY))
    long = of_registers(number, LONG)
    etcd = [_with_verdict((number, each), ETCD, "old read") for each in range(ETCD_HISTORIES)]
    hard = [_with_verdict((number, each), HARD, "odd read")[0] for each in range(HARD_HISTORIES)]
    return _Round(
        etcd_ms=sum(1000 * _judged_s(*one) for one in etcd),
        long_ms=1000 * _judged_s(long, Verdict.VALID),
        many_s=many_s,
        peak_mib=peak_mib,
        hard=[_within_budget(calls) for calls in hard],
        played=[_played_and_judged_ms(seed) for seed in range(number * SEEDS, (number + 1) * SEEDS)],
    )


def _with_verdict(seed: tuple[int, int], shape: Shape, mutation: str) -> tuple[list[Call], Verdict]:
    """A history and its verdict, which is known; every second one is mutated."""
    calls = of_registers(seed, shape)
    other = mutated(calls, mutation, seed) if seed[1] % 2 else None
    return (calls, Verdict.VALID) if other is None else (other, MUTATIONS[mutation][1])


def _judged_s(calls: Sequence[Call], due: Verdict) -> float:
    """Raises MeasurementError for another verdict than is due."""
    began_s = time.monotonic()
    found = check_linearizable(calls, register)
    seconds = time.monotonic() - began_s
    if found.verdict is not due:
        raise MeasurementError(f"a history that is {due} was judged {found.verdict}: {found.reason}")
    return seconds


def _many_keys(seed: int, shape: Shape) -> tuple[float, float]:
    """In a process of its own: seconds, and the peak memory in MiB."""
    seconds = _judged_s(of_registers(seed, shape, KEYS), Verdict.VALID)
    return seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / KIB_PER_MIB


def _within_budget(calls: Sequence[Call]) -> tuple[Verdict, float]:
    began_s = time.monotonic()
    verdict = check_linearizable(calls, register, Budget()).verdict
    return verdict, 1000 * (time.monotonic() - began_s)


def _played_and_judged_ms(seed: int) -> tuple[float, float]:
    case = case_of(seed, NODES)
    began_s = time.monotonic()
    cluster = SimulatedCluster(case.plan, observer=Invariants())
    with cluster.opened():
        Player(cluster, case).play()
    played_s = time.monotonic()
    evidence = cluster.evidence()
    for check in checks.OF_A_CASE:
        check(evidence)
    return 1000 * (played_s - began_s), 1000 * (time.monotonic() - played_s)
