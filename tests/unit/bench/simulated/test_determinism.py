"""The same seed is the same run, byte for byte."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from bench.case import plan
from bench.scenarios import SCENARIOS
from bench.simulated.cluster import SimulatedCluster
from bench.store import runs_in

ROOT = Path(__file__).parents[4]


SOURCES = (
    "node",
    "bench/simulated",
    "bench/scenarios",
    "bench/case.py",
    "bench/cluster.py",
    "bench/history.py",
    "bench/operations.py",
    "bench/player.py",
    "bench/schedule.py",
    "bench/search",
    "bench/systems/konsul_http.py",
    "bench/workload.py",
    "faults",
)
"""What makes a version, as far as a digest is concerned."""


def version() -> str:
    paths = [ROOT / source for source in SOURCES]
    assert all(path.exists() for path in paths), "mend this list"
    files = sorted(file for path in paths for file in ([path] if path.is_file() else path.rglob("*.py")))
    return hashlib.blake2b(b"".join(file.read_bytes() for file in files), digest_size=8).hexdigest()


def digest(seed: int, scenario: str = "kill_leader") -> str:
    with SimulatedCluster(plan(SCENARIOS[scenario].nodes, seed=seed, profile="low-latency")) as cluster:
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
    written = [found.manifest.digest for seed in ("0", "4711") for found in runs_in(tmp_path / seed).runs]
    assert written == [digest(1)] * 2


def test_what_exploring_finds_it_finds_in_every_process(tmp_path: Path) -> None:
    """Down to the last events before it: crashes, cuts, changes of membership and clients' requests included."""
    asked = "explore --first 8 --seeds 1 --jobs 1 --flaw no_prev_check --json"
    command = [sys.executable, "-m", "bench", *asked.split()]
    found = []
    for hash_seed in ("0", "4711"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "BENCH_RUNS": str(tmp_path)}
        told = subprocess.run(command, cwd=ROOT, env=environment, check=False, capture_output=True)
        found.append(json.loads(told.stdout)["violation"])
    assert {read.pop("file") for read in found} == {str(run.folder / "case.json") for run in runs_in(tmp_path).runs}
    assert found[0] == found[1]


def test_every_interpreter_that_played_this_version_got_the_same_digests(request: pytest.FixtureRequest) -> None:
    """The tox environments simulated-py311 to simulated-py313 share what pytest remembers between runs."""
    assert request.config.cache is not None
    key = f"simulated/{version()}"
    known = request.config.cache.get(key, {}) | {platform.python_version(): [digest(seed) for seed in range(5)]}
    request.config.cache.set(key, known)
    assert len(set(map(tuple, known.values()))) == 1, known


def test_a_part_that_draws_more_does_not_shift_the_others_chances() -> None:
    one, other = (SimulatedCluster(plan(3, seed=5)).world.engine for _ in range(2))
    one.random("network").random()
    assert one.random("disk").random() == other.random("disk").random()
