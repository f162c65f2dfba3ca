"""A user's own file against real nodes: played, failing, hanging, and what it leaves behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from bench import store
from bench.evidence import STORY_OVER
from bench.judging import judge_again
from bench.live.waiting import wait_until
from bench.store import RunState, StoredRun
from bench.verdict import Verdict

ROOT = Path(__file__).parents[2]

CONTENT = """
import threading
import time

from bench.scenarios import SAFETY, distinct_writes, scenario, write, write_more

@scenario(nodes=3, checks=SAFETY)
def kept(cluster):
    "What is written stays."
    write(cluster, "x")
    cluster.wait_until_agreed()

@scenario(nodes=3, checks=SAFETY, limit_s=1)
def hangs(cluster):
    "It ends."
    with cluster.writing() as load, cluster.network.isolated(cluster.wait_for_leader()):
        time.sleep(600)

@scenario(nodes=3, checks=SAFETY)
def leaves_clients(cluster):
    "They go with their cluster."
    load = cluster.workers([distinct_writes(0, number) for number in range(3)], cluster.nodes)
    load.start()
    write_more(cluster, load)
    cluster.client("n1").put("k", "v")
    cluster.wait_until_agreed()

@scenario(nodes=3, checks=SAFETY)
def leaves_a_thread(cluster):
    "It goes with the bench."
    cluster.wait_until_agreed()
    threading.Thread(target=threading.Event().wait, name="the_left_one").start()
"""


KEPT = """
from bench.scenarios import SAFETY, Cluster, followers, put, scenario
from faults.nodes import NodeKind, NodeState

@scenario(nodes=3, checks=SAFETY)
def Goes_Wrong(cluster: Cluster) -> None:
    "It does not."
    old = put(cluster, "k", "1")
    first, second = followers(cluster, old)
    with cluster.network.partitioned([old], [first, second]), cluster.network.delayed([], 5):
        cluster.wait_until_met()
        with cluster.node_faults.lasting(second, NodeKind.PAUSE, NodeState(paused=True)):
            assert old == second, f"cut off is {old}, and paused {second}"

@scenario(nodes=3, checks=SAFETY)
def comes_right(cluster: Cluster) -> None:
    "It goes on."
    cluster.wait_until_agreed()
"""
"""The first keeps its cluster; the second shows that the program goes on."""


class Kept:
    """`run --keep` in a pipe, and other terminals."""

    def __init__(self, folder: Path, toxiproxy: Path) -> None:
        (folder / "stories.py").write_text(KEPT)
        variables = {"BENCH_STATE_DIR": str(folder / "state"), "BENCH_RUNS": str(folder / "runs")}
        self.folder = folder
        self.environment = {**os.environ, "PYTHONPATH": str(ROOT), "TOXIPROXY_SERVER": str(toxiproxy), **variables}
        self.program = self.start("run", "stories.py", "--keep")

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        argv = [sys.executable, "-m", "bench", *arguments]
        pipe = subprocess.PIPE
        return subprocess.Popen(
            argv, cwd=self.folder, env=self.environment, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT, text=True
        )

    def said(self, *arguments: str) -> str:
        done = self.start(*arguments, "--name", "goes-wrong")
        said, _ = done.communicate(timeout=60)
        assert done.returncode == 0, said
        return said

    def status(self) -> dict[str, Any]:
        return dict(json.loads(self.said("status", "--json")))

    def read_until(self, words: str) -> str:
        assert self.program.stdout is not None
        lines = iter(self.program.stdout.readline, "")
        read = []
        for line in lines:
            read.append(line)
            if words in line:
                break
        return "".join(read)

    def run(self) -> StoredRun:
        (folder,) = self.folder.glob("runs/Goes_Wrong/*")
        return store.read(folder)


@pytest.fixture
def kept(tmp_path: Path, toxiproxy: Path) -> Iterator[Kept]:
    found = Kept(tmp_path, toxiproxy)
    yield found
    found.program.kill()
    found.program.communicate()


def test_the_cluster_of_a_story_that_went_wrong_is_kept_as_it_was_until_it_is_taken_down(kept: Kept) -> None:
    said = kept.read_until("no part of the run")
    assert "stories.py:13 cut off is n" in said
    assert "python -m bench status --name goes-wrong" in said
    old, second = said.partition("cut off is ")[2].partition("\n")[0].split(", and paused ")
    status = kept.status()
    assert {row["node"]: row["state"] for row in status["nodes"]}[second] == "paused"
    assert {link for link, state in status["links"].items() if state == "cut (blackhole)"} == {
        link for link in status["links"] if old in link.split("->")
    }
    assert kept.said("heal").startswith("healed: ")
    kept.said("kill", old)
    kept.said("restart", old, "--wipe")
    assert kept.said("down").startswith("goes-wrong is down; ended: n1, n2, n3, Toxiproxy\n")
    assert kept.run().state is RunState.ENDED, "down returns when the run is stored"
    rest, _ = kept.program.communicate(timeout=60)
    assert rest.startswith("taken down by: python -m bench down --name goes-wrong (pid ")
    assert "1 of 2 VALID" in rest
    assert kept.program.returncode == 1
    events = [record["event"] for record in kept.run().evidence().timeline]
    assert (events.count("heal"), events.count("kill"), events[-1]) == (0, 0, STORY_OVER)
    assert judge_again(kept.run()).agrees
    assert not list((kept.folder / "state" / "clusters").glob("*.json"))


@pytest.mark.parametrize(
    ("number", "status", "words"),
    [("INT", 1, "1 of 2 VALID"), ("TERM", 143, "INVALID; evidence in"), ("HUP", 129, "INVALID; ")],
)
def test_a_signal_ends_the_look_and_the_run_is_stored(kept: Kept, number: str, status: int, words: str) -> None:
    kept.read_until("no part of the run")
    processes = psutil.Process(kept.program.pid).children(recursive=True)
    kept.program.send_signal(signal.Signals[f"SIG{number}"])
    rest, _ = kept.program.communicate(timeout=60)
    assert (kept.program.returncode, words in rest) == (status, True), rest
    assert kept.run().manifest.verdict is Verdict.INVALID
    wait_until(lambda: not any(process.is_running() for process in processes), "all of it has ended")


@pytest.mark.parametrize(
    ("name", "status", "words"),
    [
        ("kept", 0, "1 of 1 VALID"),
        ("hangs", 2, "my_scenarios.py:17 it did not end within 1 s"),
        ("leaves_clients", 0, "1 of 1 VALID"),
        ("leaves_a_thread", 0, "still at work: the_left_one"),
    ],
)
def test_a_file_from_anywhere_is_played_and_nothing_of_it_is_left(
    name: str, status: int, words: str, tmp_path: Path, toxiproxy: Path
) -> None:
    (tmp_path / "my_scenarios.py").write_text(CONTENT)
    done = subprocess.run(
        [sys.executable, "-m", "bench", "run", f"my_scenarios.py::{name}"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TOXIPROXY_SERVER": str(toxiproxy)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, words in done.stdout) == (status, True), done.stdout + done.stderr
    assert done.stderr == ""
    assert not [one for one in psutil.process_iter(["cwd"]) if one.info["cwd"] == str(tmp_path)]
