"""How long the cluster is disturbed after something broke."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import time
from collections.abc import Sequence
from functools import partial

from bench.live.cluster import LiveCluster
from bench.measure.load import drive
from bench.measure.registry import measurement
from bench.measure.result import Aim, Measured, MeasurementError, Series
from bench.measure.setting import Setting
from faults.links import Mode

PAUSE_S = 0.002
DEADLINE_S = 30.0
OUTAGE_AIMS = {"tight": Aim("p99", "<", 300)}
"""By profile. The timeouts of the others say beforehand how long an outage lasts."""
NEAR = 5
"""Entries behind the leader; a follower of a cluster under writes is always a few behind."""


@measurement(count=20)
def failover(setting: Setting) -> Measured:
    """From kill -9 of the leader until a client that tries the survivors in turn has a write acknowledged."""
    with setting.cluster() as cluster:
        found = [_failover_ms(cluster, number) for number in setting.counted(itertools.count())]
    return Measured([Series("outage", "ms", found, OUTAGE_AIMS.get(setting.profile))])


@measurement(count=20, seconds=2)
def heal_blackhole(setting: Setting) -> Measured:
    """A follower under writes whose links swallowed everything for --seconds: from before the healing until it is near.

    Near is within 5 entries of the leader.
    """
    return _heal(setting, Mode.BLACKHOLE)


@measurement(count=20, seconds=2)
def heal_refuse(setting: Setting) -> Measured:
    """As heal_blackhole, with links that refused: from before the healing until it is near."""
    return _heal(setting, Mode.REFUSE)


@measurement(count=20, seconds=2)
def heal_hold(setting: Setting) -> Measured:
    """As heal_blackhole, with links that held all back and now deliver it: from before the healing until it is near."""
    return _heal(setting, Mode.HOLD)


def _failover_ms(cluster: LiveCluster, number: int) -> float:
    leader = cluster.wait_for_leader()
    cluster.wait_until_agreed()
    pid = cluster.pid(leader)
    assert pid is not None
    killed_s = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    survivors = [node for node in cluster.nodes if node != leader]
    taken_s = first_acknowledged(survivors, cluster, cluster.system.put_request(f"f{number}", "x"))
    cluster.restart(leader)
    return (taken_s - killed_s) * 1000


def first_acknowledged(nodes: Sequence[str], cluster: LiveCluster, request: bytes) -> float:
    """When the first of `nodes`, asked in turn, acknowledged the write."""
    deadline_s = time.monotonic() + DEADLINE_S
    for node in itertools.cycle(nodes):
        # A node that is not up yet, or no longer, breaks the connection: the outage lasts.
        with contextlib.suppress(OSError):
            for answer in drive(cluster.node_plan(node).client, [request]):
                if cluster.system.is_acknowledged(answer.status):
                    return answer.answered_s
        if time.monotonic() > deadline_s:
            raise MeasurementError(f"no write was acknowledged within {DEADLINE_S:g} s")
        time.sleep(PAUSE_S)
    raise AssertionError("cycle ends only when there is no node")


def _heal(setting: Setting, mode: Mode) -> Measured:
    with setting.cluster() as cluster:
        leader = cluster.wait_for_leader()
        follower = next(node for node in cluster.nodes if node != leader)
        with cluster.writing(nodes=[leader]):
            heal_ms = partial(_heal_ms, cluster, follower, mode, setting.seconds)
            found = [heal_ms() for _ in setting.counted(itertools.count())]
    return Measured([Series(f"near again after {setting.seconds:g} s", "ms", found, Aim("p99", "<", 100))])


def _heal_ms(cluster: LiveCluster, follower: str, mode: Mode, partition_s: float) -> float:
    cluster.wait_until(partial(_is_near, cluster, follower), f"{follower} is near the leader")
    with cluster.network.isolated(follower, mode):
        time.sleep(partition_s)
        if _is_near(cluster, follower):
            raise MeasurementError(f"{follower} did not fall behind: no writes went through meanwhile")
        healed_s = time.monotonic()
    while not _is_near(cluster, follower):
        if time.monotonic() > healed_s + DEADLINE_S:
            raise MeasurementError(f"{follower} has not caught up within {DEADLINE_S:g} s")
        time.sleep(PAUSE_S)
    return (time.monotonic() - healed_s) * 1000


def _is_near(cluster: LiveCluster, follower: str) -> bool:
    """The follower is asked first, so that what the leader appends in between counts against it."""
    behind = cluster.status(follower)
    leader = next((s for node in cluster.nodes if (s := cluster.status(node)) and s.role == "Leader"), None)
    return bool(behind and leader and behind.last_index >= leader.last_index - NEAR)
