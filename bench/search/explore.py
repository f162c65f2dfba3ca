"""Walks seeds: each is a case, played in virtual time under the invariants, and then judged by its evidence.

From *outside* nothing reads the core: no invariant watches, and no trace is read. What is left is what anybody has who
tests a system in the wild: what clients were told, what the nodes say of themselves when asked, and when each was
started and stopped.
"""

from __future__ import annotations

import gc
import multiprocessing
import random
import signal
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from bench import judging
from bench.case import PROFILES, Case, Settings
from bench.cluster import PromiseBrokenError
from bench.player import Player
from bench.schedule import Schedule
from bench.search.stories import generate
from bench.simulated.cluster import SimulatedCluster
from bench.simulated.invariants import Invariants
from bench.verdict import Verdict

CHUNK = 8
"""Seeds that a worker takes at once."""

LENGTHS_S = (9.0, 9.0, 9.0, 9.0, 9.0, 9.0, 9.0, 9.0, 9.0, 24.0)
"""Most schedules are short; some are long (`bench.search.stories.LONG_S`)."""
WORKLOADS = (("mixed", 6), ("register", 3), ("batches", 2), ("append", 2), ("counter", 1), ("set", 1), ("keys", 1))
"""What clients do, and how often."""
RATES_PER_S = (None, None, 2.0, 10.0)
"""How often each client asks; None is a quarter of a second after each answer."""
RETRYING = 0.75
"""How often clients ask until each question is decided."""


@dataclass(frozen=True)
class Violation:
    """A case that breaks a promise."""

    case: Case
    promise: str
    words: str
    at_s: float
    digest: str
    """A digest of all that happened until then; playing the case again gives the same."""


@dataclass(frozen=True)
class Walk:
    """What came of some seeds, in order, up to the first violation."""

    seeds: int = 0
    virtual_s: float = 0.0
    cpu_s: float = 0.0
    violation: Violation | None = None


def plus(walk: Walk, more: Walk) -> Walk:
    """Both walks, one after the other."""
    return Walk(
        walk.seeds + more.seeds,
        walk.virtual_s + more.virtual_s,
        walk.cpu_s + more.cpu_s,
        walk.violation or more.violation,
    )


def settings_of(seed: int) -> Settings:
    """A seed's settings: small limits, so that a few seconds have snapshots, chunks and full pipes."""
    rng = random.Random(f"{seed}/settings")
    small = {
        "entries_per_message": rng.choice((1, 3, 64)),
        "entries_in_flight": rng.choice((4, 1024)),
        "bytes_per_message": rng.choice((200, 2000, 256 * 1024)),
        "bytes_in_flight": rng.choice((2000, 1024 * 1024)),
        "entries_applied_at_once": rng.choice((2, 128, 128)),
        "snapshot_chunk_bytes": rng.choice((100, 1000, 128 * 1024)),
    }
    profile = rng.choice(("default", "low-latency"))
    threshold, trailing_logs = rng.choice((5, 15, 50)), rng.choice((0, 3, 20))
    unanswered_bytes, waiting_messages = rng.choice(((1024 * 1024, 1024), (2048, 16)))
    return Settings(
        **PROFILES[profile]._asdict(),
        **small,
        snapshot_threshold=threshold,
        trailing_logs=trailing_logs,
        unanswered_bytes=unanswered_bytes,
        waiting_messages=waiting_messages,
        client_timeout_s=rng.choice((0.1, 0.5, 8.0)),
        snapshot_interval_s=rng.choice((120.0, 120.0, 1.0)),
        clock_spread=0.05,
        start_s=0.0,
    )


def schedule_of(seed: int, nodes: int, length_s: float | None = None) -> Schedule:
    """A seed's schedule, of a usual length if none is asked for."""
    rng = random.Random(f"{seed}/schedule")
    usual_s = rng.choice(LENGTHS_S)
    return generate(rng, nodes, length_s=length_s or usual_s)


def case_of(seed: int, nodes: int, flaw: str | None = None, length_s: float | None = None) -> Case:
    """The case of a seed."""
    rng = random.Random(f"{seed}/workload")
    (workload,) = rng.choices([name for name, _ in WORKLOADS], [often for _, often in WORKLOADS])
    return Case(
        schedule=schedule_of(seed, nodes, length_s),
        settings=settings_of(seed),
        seed=seed,
        workload=workload,
        rate_per_s=rng.choice(RATES_PER_S),
        retries=rng.random() < RETRYING,
        flaw=flaw,
    )


def play(case: Case, *, outside: bool = False) -> Walk:
    """Play one case, from its beginning to agreement or to the first violation. Raises LookupError for an unknown
    flaw."""
    began_s = time.process_time()
    cluster = SimulatedCluster(case.plan, observer=None if outside else Invariants())
    broken = None
    try:
        with cluster.opened():
            Player(cluster, case).play()
    except PromiseBrokenError as error:
        broken = error.promise, error.words
    broken = broken or _found(cluster, outside)
    violation = Violation(case, *broken, cluster.now_s, cluster.world.chronicle.digest()) if broken else None
    return Walk(1, cluster.now_s, time.process_time() - began_s, violation)


def _found(cluster: SimulatedCluster, outside: bool) -> tuple[str, str] | None:
    """The first promise that the evidence shows to be broken, and how."""
    evidence = cluster.seen_from_outside() if outside else cluster.evidence()
    for check in judging.CONVICTING:
        if outside and check not in judging.FROM_OUTSIDE:
            continue
        found = check(evidence)
        if found.verdict is Verdict.INVALID:
            return found.check, found.reason
    return None


def walk(
    seeds: Iterable[int],
    nodes: int,
    flaw: str | None = None,
    length_s: float | None = None,
    *,
    outside: bool = False,
) -> Walk:
    """These seeds one after the other, up to the first violation."""
    # Objects that were there before belong to no world; keeping the garbage collector from searching them again and
    # again is worth 5%. Once only: a second freeze would keep for ever what is left of earlier worlds, 100 MB in a few
    # hundred seeds.
    if not gc.get_freeze_count():
        gc.freeze()
    total = Walk()
    for seed in seeds:
        total = plus(total, play(case_of(seed, nodes, flaw, length_s), outside=outside))
        if total.violation is not None:
            break
    return total


def _walk(task: tuple[range, int, str | None, float | None, bool]) -> Walk:
    seeds, nodes, flaw, length_s, outside = task
    return walk(seeds, nodes, flaw, length_s, outside=outside)


def explore(
    ranges: Iterable[range],
    nodes: int,
    flaw: str | None = None,
    jobs: int = 1,
    length_s: float | None = None,
    *,
    outside: bool = False,
) -> Iterator[Walk]:
    """Walk all seeds of these ranges, which ascend, with `jobs` processes. The walks come in order, so that the first
    violation is that of the lowest seed, and end with it. From `outside` nothing reads the core."""
    chunks = (seeds[first : first + CHUNK] for seeds in ranges for first in range(0, len(seeds), CHUNK))
    tasks = ((seeds, nodes, flaw, length_s, outside) for seeds in chunks)
    if jobs == 1:
        yield from _until_violation(map(_walk, tasks))
        return
    # A Ctrl-C reaches them too; it is the first process that ends them then, and that says so.
    deaf = (signal.SIGINT, signal.SIG_IGN)
    with multiprocessing.get_context("spawn").Pool(jobs, signal.signal, deaf) as pool:
        yield from _until_violation(pool.imap(_walk, tasks))


def _until_violation(walks: Iterator[Walk]) -> Iterator[Walk]:
    for done in walks:
        yield done
        if done.violation is not None:
            return
