"""The live cluster: its processes, its log, its files, its clients, and what lasts on its nodes."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import psutil
import pytest

from bench.case import Plan, plan
from bench.checkers import the_bench_did_not_interfere
from bench.cluster import CannotError, DidNotStartError, NoSuchNodeError, WaitTimeoutError
from bench.evidence import Evidence
from bench.history import HistoryError
from bench.live.cluster import LiveCluster
from bench.operations import Freshness, Get, Operation, Outcome, Put
from bench.scenarios.steps import write
from bench.verdict import Verdict
from bench.workload import Script, distinct_writes
from faults.links import CLIENT, RESTARTED, Link
from faults.nodes import NodeKind, NodeState
from faults.toxiproxy import ToxiproxyError
from tests.integration.live import unopened


@pytest.fixture
def cluster(tmp_path: Path, toxiproxy: Path) -> Iterator[LiveCluster]:
    with unopened(plan(3, profile="low-latency"), tmp_path, toxiproxy) as found, found:
        yield found


def follower_of(cluster: LiveCluster) -> str:
    leader = cluster.wait_for_leader()
    return next(node for node in cluster.nodes if node != leader)


# Processes and files


def test_killed_and_stopped_nodes_silence_nobody(cluster: LiveCluster) -> None:
    log = cluster.recording.log
    for _ in range(5):
        leader = cluster.wait_for_leader()
        told = log.read_text().count("Leader in term")
        victim = cluster.kill(leader)
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
        files = {path.name for path in cluster.node_plan(node).folder.iterdir()}
        assert {"data", "node.log", "stdout.log", "trace.jsonl"} <= files


def test_everything_listens_on_loopback_alone(cluster: LiveCluster) -> None:
    everyone = psutil.Process().children(recursive=True)
    listening = [c for p in everyone for c in p.net_connections("inet") if c.status == psutil.CONN_LISTEN]
    assert listening
    assert {connection.laddr.ip for connection in listening} == {"127.0.0.1"}


def test_what_a_cut_met_is_in_the_timeline_though_its_senders_were_killed_and_paused(cluster: LiveCluster) -> None:
    leader = cluster.wait_for_leader()
    deaf, *others = sorted(cluster.nodes, key=lambda node: node == leader)
    for silence in (cluster.restart, cluster.pause):
        with cluster.network.cutting([Link(node, deaf) for node in others]):
            writer = write(cluster, "k", among=others)
            silence(writer)
    with cluster.network.cutting([Link(CLIENT, deaf)]):
        cluster.resume(writer)
    heals = [record for record in cluster.recording.evidence().timeline if record["event"] == "heal"]
    restarted, paused, of_clients = (record["attempted"] for record in heals)
    assert min(restarted, paused) > 0
    assert of_clients == 0, "clients' operations are in the history, not here"


def test_a_wiped_node_learns_everything_again(cluster: LiveCluster) -> None:
    leader = write(cluster, "k")
    follower = next(node for node in cluster.nodes if node != leader)
    cluster.restart(follower, wipe=True)
    cluster.wait_until_agreed()
    kept = [done.asked.key for done in cluster.history if isinstance(done.asked, Put) and done.outcome is Outcome.OK]
    assert [cluster.client(follower).get(key).value for key in kept] == ["kept"]


def test_a_paused_node_is_told_apart_from_a_dead_one(cluster: LiveCluster) -> None:
    cluster.pause("n2")
    cluster.kill("n3")
    assert [cluster.state(node) for node in cluster.nodes] == ["running", "paused", "down"]
    with pytest.raises(NoSuchNodeError, match="n3 is down"):
        cluster.pause("n3")
    cluster.resume("n2")
    events = [(record["event"], record["node"]) for record in cluster.timeline]
    assert events == [("pause", "n2"), ("kill", "n3"), ("resume", "n2")]


def test_a_wait_that_runs_out_says_what_was_awaited_and_seen(cluster: LiveCluster) -> None:
    cluster.kill("n3")
    cluster.wait_for_leader()
    with pytest.raises(WaitTimeoutError, match="pigs fly") as raised:
        cluster.wait_until(lambda: False, "pigs fly", timeout_s=0.1)
    _, *seen = str(raised.value).splitlines()
    assert [line.split()[0] for line in seen] == ["n1:", "n2:", "n3:"]
    assert "Leader in term" in "".join(seen)
    assert seen[2].endswith("down, and silent")


def test_a_link_that_is_delayed_both_ways_still_carries_a_cluster(cluster: LiveCluster) -> None:
    links = [Link(a, b) for a in cluster.nodes for b in cluster.nodes if a != b]
    cluster.wait_for_leader()
    with cluster.network.delayed(links, 40):
        write(cluster, "slow-but-sure")
    cluster.wait_until_agreed()


def test_nodes_are_called_what_their_plan_says_and_one_that_is_no_member_waits_to_be_let_in(
    tmp_path: Path, toxiproxy: Path
) -> None:
    planned = Plan(nodes=("alpha", "b-2", "C_3"), members=("b-2", "alpha"))
    with unopened(planned, tmp_path, toxiproxy) as cluster, cluster:
        leader = cluster.wait_for_leader()
        assert sorted(cluster.wait_until(lambda: cluster.status(leader), "a status").members) == ["alpha", "b-2"]
        assert cluster.wait_until(lambda: cluster.status("C_3"), "a status").members == ()
        assert cluster.client(leader).join("C_3").outcome is Outcome.OK
        addresses = cluster.wait_until(lambda: cluster.status(leader), "a status").addresses
        assert addresses == {node: cluster.address(node) for node in planned.nodes}


def test_a_node_that_cannot_start_is_told_with_what_it_said(tmp_path: Path, toxiproxy: Path) -> None:
    planned = plan(1, flaw="no_such_flaw")
    with (
        unopened(planned, tmp_path, toxiproxy) as cluster,
        pytest.raises(
            WaitTimeoutError,
            match="n1 did not start; the end of what it said: konsul: KONSUL_RAFT_FLAW is 'no_such_flaw'",
        ),
    ):
        cluster.__enter__()
    assert cluster.pid("n1") is None


def test_a_node_that_breaks_a_rule_on_purpose_says_so(tmp_path: Path, toxiproxy: Path) -> None:
    with unopened(plan(1, flaw="forget_vote"), tmp_path, toxiproxy) as cluster, cluster:
        write(cluster, "k")
    assert "breaks a rule of Raft on purpose" in cluster.recording.log.read_text()


def test_what_cannot_be_done_to_processes_is_refused_with_the_reason(tmp_path: Path, toxiproxy: Path) -> None:
    with unopened(plan(1), tmp_path, toxiproxy) as cluster:
        with pytest.raises(CannotError, match="slow down the real disk of one process"):
            cluster.slow_disk("n1", 10)
        for need in ("torn_saves", "clocks", "noise", "moves"):
            assert cluster.can(need)
        for need in ("full_disk", "memory_limit", "snapshot_files", "flaws", "join", "batches", "identity"):
            assert cluster.can(need) is None


# What lasts on nodes


FULL = NodeState(disk_full=True)


def test_a_node_whose_disk_was_full_is_back_when_there_is_room_again(cluster: LiveCluster) -> None:
    node = follower_of(cluster)
    with cluster.writing():
        with cluster.node_faults.lasting(node, NodeKind.FULL_DISK, FULL):
            cluster.wait_until(lambda: cluster.state(node) == "down", f"{node} stops because its disk is full")
            with cluster.node_faults.lasting(node, NodeKind.PAUSE, NodeState(paused=True)):
                assert cluster.state(node) == "down"
        cluster.wait_until(partial(cluster.caught_up, node), f"{node} has caught up")
    cluster.wait_until_agreed()
    assert [(r["node"], r["exit_code"]) for r in cluster.timeline if r["event"] == "died"] == [(node, 1)]
    assert cluster.broken is None


def test_a_node_that_is_still_on_its_way_to_its_end_when_there_is_room_again_is_started_then(
    cluster: LiveCluster,
) -> None:
    node = cluster.wait_for_leader()
    with cluster.node_faults.lasting(node, NodeKind.FULL_DISK, FULL):
        assert cluster.client(node).put("k", "v").outcome is not Outcome.OK
    back = "it has died because its disk was full, and runs again"
    cluster.wait_until(lambda: ("died", node) in ended(cluster) and cluster.is_running(node), back)
    cluster.wait_until(partial(cluster.caught_up, node), f"{node} has caught up")
    assert cluster.broken is None


def ended(cluster: LiveCluster) -> list[tuple[str, str]]:
    """How, and who."""
    return [(record["event"], record["node"]) for record in cluster.timeline if record["event"] in ("died", "kill")]


def test_a_node_that_has_died_by_itself_has_broken_a_promise_though_it_was_started_again(cluster: LiveCluster) -> None:
    node = follower_of(cluster)
    pid = cluster.pid(node)
    assert pid is not None
    os.kill(pid, signal.SIGABRT)
    cluster.wait_until(lambda: cluster.state(node) == "down", f"{node} is dead")
    assert cluster.broken is None, "nobody has looked"
    cluster.restart(node)
    assert str(cluster.broken) == f"nothing_fails: {node} has stopped by itself, with exit status -6"


def test_a_disk_that_was_full_while_nothing_was_written_takes_what_comes_later(cluster: LiveCluster) -> None:
    node = follower_of(cluster)
    cluster.wait_until_agreed()
    before = cluster.pid(node)
    with cluster.node_faults.lasting(node, NodeKind.FULL_DISK, FULL):
        pass
    write(cluster, "k")
    cluster.wait_until_agreed()
    assert cluster.pid(node) == before


def test_a_node_that_is_to_be_down_and_paused_starts_when_both_are_over(cluster: LiveCluster) -> None:
    faults = cluster.node_faults
    for first_over in ("the crash", "the pause"):
        with ExitStack() as crash, ExitStack() as pause:
            pause.enter_context(faults.lasting("n3", NodeKind.PAUSE, NodeState(paused=True)))
            assert cluster.state("n3") == "paused"
            crash.enter_context(faults.lasting("n3", NodeKind.DOWN, NodeState(down=True)))
            assert cluster.state("n3") == "down"
            (crash if first_over == "the crash" else pause).close()
            assert cluster.state("n3") == "down"
        assert cluster.state("n3") == "running"
        cluster.wait_until(partial(cluster.caught_up, "n3"), "n3 has caught up")


def test_a_cluster_whose_founder_starts_last_is_founded_then(tmp_path: Path, toxiproxy: Path) -> None:
    with unopened(plan(3, profile="low-latency"), tmp_path, toxiproxy) as cluster, cluster.opened():
        with cluster.node_faults.lasting("n1", NodeKind.DOWN, NodeState(down=True)):
            for node in cluster.nodes:
                cluster.start(node)
            assert [cluster.state(node) for node in cluster.nodes] == ["down", "running", "running"]
            assert cluster.wait_until(lambda: cluster.status("n2"), "a status").members == ()
        write(cluster, "k")


# Clients


def test_a_question_is_in_the_history_before_it_is_answered(cluster: LiveCluster) -> None:
    """What a bench that is killed leaves behind is what is written by then."""
    leader = cluster.wait_for_leader()
    cluster.pause(leader)
    workers = cluster.workers([distinct_writes(0, 0)], [leader])
    workers.start(at_once=True)

    def written() -> list[Operation]:
        return [each for each in cluster.recording.evidence().history if each.node == leader]

    (asked,) = cluster.wait_until(written, "the question is written down")
    assert (asked.asked, asked.outcome) == (Put("w0-0-0", "0-0"), Outcome.UNKNOWN)
    assert asked.completed_s == float("inf")
    workers.stop()
    assert not workers.idle
    cluster.resume(leader)
    cluster.wait_until(lambda: workers.idle, "the last answer")
    (answered,) = written()
    assert answered.completed_s < float("inf")


def test_every_kind_of_read_tells_what_was_written(cluster: LiveCluster) -> None:
    def read() -> list[str | None]:
        client = cluster.client(cluster.wait_for_leader())
        client.put("k", "v")
        reads = [client.ask(Get("k", freshness)) for freshness in Freshness]
        return [each.value for each in reads] if all(each.outcome is Outcome.OK for each in reads) else []

    assert cluster.wait_until(read, "a leader answers all") == ["v", "v", "v"]


def test_a_role_that_nobody_has_is_asked_for_again(cluster: LiveCluster) -> None:
    cluster.kill(cluster.wait_for_leader())
    with cluster.working([distinct_writes(0, 0)], ["leader"]) as workers:
        cluster.wait_until(lambda: workers.acknowledged() > 3, "a leader is found, and takes writes")


def test_what_a_script_raises_is_told_to_who_waits_for_its_client(cluster: LiveCluster) -> None:
    def broken() -> Script:
        yield Get("k")
        raise HistoryError("a mistake in the script")

    with pytest.raises(HistoryError, match="a mistake in the script"), cluster.working([broken()]) as workers:
        cluster.wait_until(lambda: workers.idle, "its end")


# The end


def forked() -> set[psutil.Process]:
    """What the forkserver has started, which is our own child."""
    return {process for child in psutil.Process().children() for process in child.children(recursive=True)}


def test_leaving_the_block_leaves_no_process(tmp_path: Path, toxiproxy: Path) -> None:
    before = forked()
    with unopened(plan(2), tmp_path, toxiproxy) as cluster, cluster:
        assert len(forked() - before) == 3, "two nodes and Toxiproxy"
    assert forked() <= before


def test_clients_and_faults_that_a_scenario_has_left_behind_end_with_the_cluster(
    tmp_path: Path, toxiproxy: Path
) -> None:
    threads, before = set(threading.enumerate()), forked()
    with unopened(plan(2), tmp_path, toxiproxy) as cluster, ExitStack() as pause, ExitStack() as cut:
        with cluster:
            leader = cluster.wait_for_leader()
            workers = cluster.workers([distinct_writes(0, 0)], [leader])
            workers.start()
            client = cluster.client(leader)
            client.put("k", "v")
            cluster.wait_until(workers.acknowledged, "a write")
            cut.enter_context(cluster.network.isolated("n2"))
            pause.enter_context(cluster.node_faults.lasting("n2", NodeKind.PAUSE, NodeState(paused=True)))
            ours = {tuple(cluster.node_plan(node).client) for node in cluster.nodes}
        assert workers.idle
        assert [thread for thread in set(threading.enumerate()) - threads if thread.name.startswith("client-")] == []
        connected = {tuple(c.raddr) for c in psutil.Process().net_connections("tcp") if c.raddr}
        assert connected & ours == set()
        for late in (lambda: client.put("late", "1"), lambda: cluster.start("n1")):
            with pytest.raises(CannotError, match="has been stopped"):
                late()
        with pytest.raises(CannotError, match="has been stopped"):
            pause.close()
        with pytest.raises(ToxiproxyError, match="was stopped"):
            cut.close()
        assert forked() <= before


# What the bench itself does


def test_a_toxiproxy_that_had_to_be_started_again_is_told_in_the_timeline_and_the_log(cluster: LiveCluster) -> None:
    (server,) = (one for one in psutil.Process().children(recursive=True) if "toxiproxy" in one.name())
    server.kill()
    with cluster.network.isolated(follower_of(cluster)):
        pass
    told = [record for record in cluster.timeline if record["event"] == RESTARTED]
    assert len(told) == len(cluster.unasked) == 1
    assert cluster.unasked[0] in cluster.recording.log.read_text()
    assert the_bench_did_not_interfere(Evidence((), {}, tuple(cluster.timeline))).verdict is Verdict.UNKNOWN


def test_a_node_that_refuses_to_start_is_not_taken_for_started(cluster: LiveCluster) -> None:
    victim = follower_of(cluster)
    cluster.kill(victim)
    for file in cluster.node_plan(victim).data.glob("raft.db*"):
        file.write_bytes(b"no database")
    with pytest.raises(
        DidNotStartError, match=f"{victim} did not start; the end of what it said: konsul: .*raft.db is damaged"
    ):
        cluster.restart(victim)
    cluster.restart(victim, wipe=True)
    cluster.wait_until_agreed()
