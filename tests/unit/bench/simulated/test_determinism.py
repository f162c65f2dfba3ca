"""The same seed is the same run, byte for byte."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from bench.scenarios import SCENARIOS
from bench.simulated.cluster import SimulatedCluster

ROOT = Path(__file__).parents[4]


def digest(seed: int, scenario: str = "kill_leader") -> str:
    with SimulatedCluster(nodes=SCENARIOS[scenario].nodes, seed=seed, profile="low-latency") as cluster:
        SCENARIOS[scenario].play(cluster)
    return cluster.world.chronicle.digest()


def test_the_same_seed_gives_the_same_digest_and_another_another() -> None:
    digests = [digest(seed) for seed in (1, 2, 3, 1, 2, 3)]
    assert digests[:3] == digests[3:]
    assert len(set(digests)) == 3


def test_neither_the_process_nor_the_hash_seed_shows_in_the_digest(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bench", "run", "kill_leader", "--world", "simulated", "--seed", "1"]
    for hash_seed in ("0", "4711"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "BENCH_RUNS": str(tmp_path / hash_seed)}
        subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True)
    written = {path.read_text().strip() for path in tmp_path.rglob("digest")}
    assert len(list(tmp_path.rglob("digest"))) == 2
    assert written == {digest(1)}


def test_a_part_that_draws_more_does_not_shift_the_others_chances() -> None:
    one, other = (SimulatedCluster(nodes=3, seed=5).world.engine for _ in range(2))
    one.random("network").random()
    assert one.random("disk").random() == other.random("disk").random()
