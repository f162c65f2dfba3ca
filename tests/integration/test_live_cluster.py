"""The live cluster: its processes, its log, its files."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psutil
import pytest

from bench.cluster import NoSuchNodeError, WaitTimeoutError
from bench.history import Outcome
from bench.live.cluster import LiveCluster
from bench.scenarios.steps import write
from bench.worlds import read_evidence
from faults.links import CLIENT, Link


@pytest.fixture
def cluster(tmp_path: Path, toxiproxy: Path) -> Iterator[LiveCluster]:
    with LiveCluster(tmp_path, nodes=3, profile="low-latency", server=toxiproxy) as found:
        yield found


def test_killed_and_stopped_nodes_silence_nobody(cluster: LiveCluster) -> None:
    log = cluster.folder / "cluster.log"
    for _ in range(5):
        cluster.wait_for_leader()
        told = log.read_text().count("Leader in term")
        victim = cluster.kill("leader")
        survivor = cluster.wait_for_leader(other_than=victim)
        paused = next(node for node in cluster.nodes if node not in (victim, survivor))
        cluster.pause(paused)
        cluster.wait_until(partial(_tells_more, log, told), "the election in the one log")
        cluster.resume(paused)
        cluster.restart(victim)


def _tells_more(log: Path, told: int) -> bool:
    return log.read_text().count("Leader in term") > told


def test_each_node_is_a_process_of_its_own_with_its_own_files(cluster: LiveCluster) -> None:
    pids = {cluster.pid(node) for node in cluster.nodes}
    assert len(pids) == 3
    for node in cluster.nodes:
        files = {path.name for path in cluster.node_folder(node).iterdir()}
        assert {"data", "node.log", "stdout.log", "trace.jsonl"} <= files


def test_everything_listens_on_loopback_alone(cluster: LiveCluster) -> None:
    everyone = psutil.Process().children(recursive=True)
    listening = [c for p in everyone for c in p.net_connections("inet") if c.status == psutil.CONN_LISTEN]
    assert listening
    assert {connection.laddr.ip for connection in listening} == {"127.0.0.1"}


def test_what_a_cut_met_is_in_the_timeline_though_its_senders_were_killed_and_paused(cluster: LiveCluster) -> None:
    leader = cluster.wait_for_leader()
    deaf, *others = sorted(cluster.nodes, key=lambda node: node == leader)
    with cluster.network.cutting([Link(node, deaf) for node in others]):
        writer = write(cluster, "k", among=others)
        cluster.restart(writer)
        cluster.pause(writer)
    with cluster.network.cutting([Link(CLIENT, deaf)]):
        cluster.resume(writer)
    heals = [record for record in read_evidence(cluster.folder).timeline if record["event"] == "heal"]
    assert heals[0]["attempted"] > 0
    assert heals[1]["attempted"] == 0, "clients' operations are in the history, not here"


def test_a_wiped_node_learns_everything_again(cluster: LiveCluster) -> None:
    leader = write(cluster, "k")
    follower = next(node for node in cluster.nodes if node != leader)
    cluster.restart(follower, wipe=True)
    cluster.wait_until_agreed()
    kept = [put.key for put in cluster.history if put.outcome is Outcome.OK]
    assert [cluster.client(follower).get(key).result for key in kept] == ["kept"]


def test_a_paused_node_is_told_apart_from_a_dead_one(cluster: LiveCluster) -> None:
    cluster.pause("n2")
    cluster.kill("n3")
    assert [cluster.state(node) for node in cluster.nodes] == ["running", "paused", "down"]
    with pytest.raises(NoSuchNodeError, match="n3 is down"):
        cluster.pause("n3")
    cluster.resume("n2")


def test_a_wait_that_runs_out_says_what_was_awaited_and_seen(cluster: LiveCluster) -> None:
    with pytest.raises(WaitTimeoutError, match=r"pigs fly.*n1: NodeStatus"):
        cluster.wait_until(lambda: False, "pigs fly", timeout_s=0.1)


def test_a_link_that_is_delayed_both_ways_still_carries_a_cluster(cluster: LiveCluster) -> None:
    links = [Link(a, b) for a in cluster.nodes for b in cluster.nodes if a != b]
    cluster.wait_for_leader()
    with cluster.network.delayed(links, 40):
        write(cluster, "slow-but-sure")
    cluster.wait_until_agreed()


def test_leaving_the_block_leaves_no_process(tmp_path: Path, toxiproxy: Path) -> None:
    before = {process.pid for process in psutil.Process().children(recursive=True)}
    with LiveCluster(tmp_path, nodes=2, server=toxiproxy) as cluster:
        pids = {cluster.pid(node) for node in cluster.nodes}
    assert not any(pid is not None and psutil.pid_exists(pid) for pid in pids)
    after = [p for p in psutil.Process().children(recursive=True) if p.pid not in before]
    assert not [
        p for p in after if "forkserver" not in " ".join(p.cmdline()) and "tracker" not in " ".join(p.cmdline())
    ]
