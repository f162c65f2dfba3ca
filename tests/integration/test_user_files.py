"""A user's own file against real nodes: played, failing, hanging, and what it leaves behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

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
