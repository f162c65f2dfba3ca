"""Walks seeds: each is a case, played in virtual time under the invariants."""

from __future__ import annotations

import gc
import multiprocessing
import random
import signal
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from bench.case import PROFILES, Case, Settings
from bench.cluster import PromiseBrokenError
from bench.player import Player
from bench.schedule import Schedule
from bench.search.stories import generate
from bench.simulated.cluster import SimulatedCluster
from bench.simulated.invariants import Invariants

CHUNK = 8
"""Seeds that a worker takes at once."""

LENGTHS_S = (9.0, 9.0, 9.0, 9.0, 9.0, 9.0, 9.0, 9.0, 9.0, 24.0)
"""Most schedules are short; some are long (`bench.search.stories.LONG_S`)."""


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
    return Case(schedule=schedule_of(seed, nodes, length_s), settings=settings_of(seed), seed=seed, flaw=flaw)


def play(case: Case) -> Walk:
    """Play one case, from its beginning to agreement or to the first violation. Raises LookupError for an unknown
    flaw."""
    began_s = time.process_time()
    cluster = SimulatedCluster(case.plan, observer=Invariants())
    violation = None
    try:
        with cluster.opened():
            Player(cluster, case).play()
    except PromiseBrokenError as error:
        digest = cluster.world.chronicle.digest()
        violation = Violation(case, error.promise, error.words, cluster.now_s, digest)
    return Walk(1, cluster.now_s, time.process_time() - began_s, violation)


def walk(seeds: Iterable[int], nodes: int, flaw: str | None = None, length_s: float | None = None) -> Walk:
    """These seeds one after the other, up to the first violation."""
    # Objects that were there before belong to no world; keeping the garbage collector from searching them again and
    # again is worth 5%. Once only: a second freeze would keep for ever what is left of earlier worlds, 100 MB in a few
    # hundred seeds.
    if not gc.get_freeze_count():
        gc.freeze()
    total = Walk()
    for seed in seeds:
        total = plus(total, play(case_of(seed, nodes, flaw, length_s)))
        if total.violation is not None:
            break
    return total


def _walk(task: tuple[range, int, str | None, float | None]) -> Walk:
    return walk(*task)


def explore(
    ranges: Iterable[range], nodes: int, flaw: str | None = None, jobs: int = 1, length_s: float | None = None
) -> Iterator[Walk]:
    """Walk all seeds of these ranges, which ascend, with `jobs` processes. The walks come in order, so that the first
    violation is that of the lowest seed, and end with it."""
    chunks = (seeds[first : first + CHUNK] for seeds in ranges for first in range(0, len(seeds), CHUNK))
    tasks = ((seeds, nodes, flaw, length_s) for seeds in chunks)
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
