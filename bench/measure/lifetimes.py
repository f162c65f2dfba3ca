"""Starting, restarting with much data, and running for long."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator

import psutil

from bench.cluster import NodeStatus
from bench.live.cluster import LiveCluster
from bench.measure.load import drive
from bench.measure.outages import first_acknowledged
from bench.measure.registry import measurement
from bench.measure.requests import CLIENTS, VALUE, puts
from bench.measure.result import Aim, Measured, MeasurementError, Series, Table
from bench.measure.setting import Setting

MIB = 1024 * 1024
KEYS = 100_000
SAMPLES = 20
WRITERS = 16
MEMORY_AIM = Aim("max", "<", 150)


@measurement(count=10)
def start(setting: Setting) -> Measured:
    """From before the first process is started until the first write of a new cluster of three is acknowledged."""
    return Measured([Series("first write", "ms", [_start_ms(setting) for _ in setting.counted(itertools.count())])])


@measurement(count=5)
def restart(setting: Setting) -> Measured:
    """A follower with 100,000 keys of 100 bytes: from before it is started again until it has applied all it had.

    Its resident memory is read at that instant. It was killed with -9 before.
    """
    with setting.cluster() as cluster:
        leader = cluster.wait_for_leader()
        requests = (cluster.system.put_request(f"key-{number}", VALUE) for number in range(KEYS))
        for done, _ in enumerate(drive(cluster.node_plan(leader).client, requests, connections=CLIENTS)):
            setting.on_progress(done, KEYS)
        cluster.wait_until_agreed(timeout_s=60)
        follower = next(node for node in cluster.nodes if node != leader)
        found = [_restart(cluster, follower) for _ in setting.counted(itertools.count())]
    return Measured(
        [
            Series("back to serving", "s", [seconds for seconds, _ in found], Aim("max", "<", 3)),
            Series("resident memory", "MiB", [mebibytes for _, mebibytes in found], MEMORY_AIM),
        ]
    )


@measurement(seconds=600)
def bounded_log(setting: Setting) -> Measured:
    """Writes without end: the sizes of the leader's log file and snapshots and its resident memory, over time."""
    with setting.cluster() as cluster:
        leader = cluster.wait_for_leader()
        samples = list(_samples(setting, cluster, leader))
    headings = ("seconds", "writes", "log MiB", "snapshots MiB", "memory MiB")
    rows = [[f"{value:.1f}" if index > 1 else f"{value:.0f}" for index, value in enumerate(row)] for row in samples]
    aims = {2: None, 3: None, 4: MEMORY_AIM}
    series = [Series(headings[at][:-4], "MiB", [row[at] for row in samples], aim) for at, aim in aims.items()]
    return Measured(series, Table(headings, rows))


def _start_ms(setting: Setting) -> float:
    setting.get_server()
    began_s = time.monotonic()
    with setting.cluster() as cluster:
        return (first_acknowledged(cluster.nodes, cluster, cluster.system.put_request("first", "x")) - began_s) * 1000


def _restart(cluster: LiveCluster, node: str) -> tuple[float, float]:
    """Seconds until it has applied what it had, and its resident memory in MiB."""
    before = cluster.status(node)
    cluster.kill(node)
    began_s = time.monotonic()
    cluster.restart(node)

    def has_all() -> NodeStatus | None:
        status = cluster.status(node)
        return status if before and status and status.applied_index >= before.applied_index else None

    cluster.wait_until(has_all, f"{node} has applied again what it had", timeout_s=120)
    return time.monotonic() - began_s, _resident_mib(cluster, node)


def _samples(setting: Setting, cluster: LiveCluster, leader: str) -> Iterator[tuple[float, ...]]:
    """`SAMPLES` times in `setting.seconds`: seconds, writes acknowledged, and three sizes in MiB."""
    system, node = cluster.system, cluster.node_plan(leader)
    began_s = time.monotonic()
    ends_s = began_s + setting.seconds
    requests = itertools.takewhile(lambda _: time.monotonic() < ends_s, puts(system, KEYS))
    due_s = interval_s = setting.seconds / SAMPLES
    for done, answer in enumerate(drive(node.client, requests, connections=WRITERS), 1):
        if not system.is_acknowledged(answer.status):
            raise MeasurementError(f"a write was answered {answer.status}")
        elapsed_s = answer.answered_s - began_s
        if elapsed_s >= due_s:
            due_s += interval_s
            setting.on_progress(elapsed_s, setting.seconds)
            sizes = system.disk_bytes(node)
            yield elapsed_s, done, sizes["log"] / MIB, sizes["snapshots"] / MIB, _resident_mib(cluster, leader)


def _resident_mib(cluster: LiveCluster, node: str) -> float:
    return float(psutil.Process(cluster.pid(node)).memory_info().rss) / MIB
