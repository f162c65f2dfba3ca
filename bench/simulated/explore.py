"""Walks seeds: each is a world, a schedule thrown at it, and invariants that hold or do not."""

from __future__ import annotations

import gc
import inspect
import multiprocessing
import random
import time
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from bench.simulated.invariants import Invariants, InvariantViolationError
from bench.simulated.network import Bounds
from bench.simulated.player import Player
from bench.simulated.settings import Settings
from bench.simulated.world import World
from faults.schedule import Schedule, generate
from node.flaws import load, names
from node.raft import FlowLimits, Raft, Timing
from node.server import SnapshotPolicy

NODE = Path(inspect.getfile(Raft)).parents[1]
LAST_EVENTS = 60
CHUNK = 8
"""Seeds that a worker takes at once."""

TIMINGS = (Timing(), Timing(heartbeat_timeout_s=0.5, election_timeout_s=1.0, leader_lease_timeout_s=0.25))
LENGTHS_S = (9.0, 9.0, 9.0, 9.0, 9.0, 9.0, 9.0, 9.0, 9.0, 24.0)
"""Most schedules are short; some are long (`faults.schedule.LONG_S`)."""


@dataclass(frozen=True)
class Violation:
    seed: int
    invariant: str
    words: str
    at_s: float
    events: tuple[str, ...]
    """The last of them, one a line, oldest first."""
    schedule: Schedule


@dataclass(frozen=True)
class Walk:
    """What came of some seeds, in order, up to the first violation."""

    seeds: int = 0
    virtual_s: float = 0.0
    cpu_s: float = 0.0
    violation: Violation | None = None


def plus(walk: Walk, more: Walk) -> Walk:
    """Both, one after the other."""
    return Walk(
        walk.seeds + more.seeds,
        walk.virtual_s + more.virtual_s,
        walk.cpu_s + more.cpu_s,
        walk.violation or more.violation,
    )


def flaw_names() -> tuple[str, ...]:
    """What may be broken on purpose."""
    return names()


def settings_of(seed: int, core: type[Raft]) -> Settings:
    """What a seed's world is made of: small limits, so that a few seconds have snapshots, chunks and full pipes."""
    rng = random.Random(f"{seed}/settings")
    small = FlowLimits(
        entries_per_message=rng.choice((1, 3, 64)),
        entries_in_flight=rng.choice((4, 1024)),
        bytes_per_message=rng.choice((200, 2000, 256 * 1024)),
        bytes_in_flight=rng.choice((2000, 1024 * 1024)),
        entries_applied_at_once=rng.choice((2, 128, 128)),
        snapshot_chunk_bytes=rng.choice((100, 1000, 128 * 1024)),
    )
    settings = Settings(
        timing=rng.choice(TIMINGS),
        limits=small,
        core=core,
        clock_rates=(0.95, 1.05),
        snapshots=SnapshotPolicy(threshold=rng.choice((5, 15, 50)), trailing_logs=rng.choice((0, 3, 20))),
        bounds=rng.choice((Bounds(), Bounds(unanswered_bytes=2048, waiting=16))),
        client_timeout_s=rng.choice((0.1, 0.5, 8.0)),
    )
    # Drawn last, so that a seed's other settings are those that it had before there was this one.
    return replace(settings, snapshots=replace(settings.snapshots, interval_s=rng.choice((120.0, 120.0, 1.0))))


def schedule_of(seed: int, nodes: int, length_s: float | None = None) -> Schedule:
    """A seed's schedule, of a usual length if none is asked for."""
    rng = random.Random(f"{seed}/schedule")
    usual_s = rng.choice(LENGTHS_S)
    return generate(rng, nodes, length_s=length_s or usual_s)


def play(seed: int, nodes: int, core: type[Raft] = Raft, length_s: float | None = None) -> Walk:
    """One seed, from its beginning to agreement or to the first violation."""
    began_s = time.process_time()
    schedule, watcher = schedule_of(seed, nodes, length_s), Invariants()
    world = World(seed, schedule.nodes, settings=settings_of(seed, core), observer=watcher)
    violation = None
    try:
        Player(world, schedule, watcher).play()
    except InvariantViolationError as error:
        violation = _violation(error.name, error.words, world, schedule)
    except Exception as error:
        # A node would have died of it: the core asserts its own mistakes, and must survive everybody else's. What the
        # bench itself gets wrong is no verdict.
        if NODE not in Path(_where(error).filename).parents:
            raise
        violation = _violation("nothing_fails", died_of(error), world, schedule)
    return Walk(1, world.engine.now, time.process_time() - began_s, violation)


def died_of(error: Exception) -> str:
    """What was raised and where, and its own words when it has some: a bare `assert` has none."""
    where = _where(error)
    died = f"{type(error).__name__} in {where.name}, line {where.lineno}"
    return f"{died}: {error}" if str(error) else died


def _where(error: Exception) -> traceback.FrameSummary:
    return traceback.extract_tb(error.__traceback__)[-1]


def _violation(name: str, words: str, world: World, schedule: Schedule) -> Violation:
    events = tuple(world.chronicle.words(LAST_EVENTS))
    return Violation(world.engine.seed, name, words, world.engine.now, events, schedule)


def walk(seeds: Iterable[int], nodes: int, flaw: str | None = None, length_s: float | None = None) -> Walk:
    """These seeds one after the other, up to the first violation."""
    # What was there before is no world's: that it is not looked through for garbage again and again is worth 5%.
    # Once: a second time it would keep for ever what is left of the worlds before, 100 MB in a few hundred seeds.
    if not gc.get_freeze_count():
        gc.freeze()
    core = Raft if flaw is None else load(flaw)
    total = Walk()
    for seed in seeds:
        total = plus(total, play(seed, nodes, core, length_s))
        if total.violation is not None:
            break
    return total


def _walk(task: tuple[range, int, str | None, float | None]) -> Walk:
    return walk(*task)


def explore(
    seeds: range, nodes: int, flaw: str | None = None, jobs: int = 1, length_s: float | None = None
) -> Iterator[Walk]:
    """Walk all the seeds with `jobs` processes, in order, so that the first violation told is that of the lowest seed;
    after it, nothing."""
    tasks = [(seeds[first : first + CHUNK], nodes, flaw, length_s) for first in range(0, len(seeds), CHUNK)]
    if jobs == 1:
        yield from _until_violation(map(_walk, tasks))
        return
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        yield from _until_violation(pool.imap(_walk, tasks))


def _until_violation(walks: Iterator[Walk]) -> Iterator[Walk]:
    for done in walks:
        yield done
        if done.violation is not None:
            return
