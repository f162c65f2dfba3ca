"""Snapshots, membership, transfer, reads and failing disks, on real nodes."""

from __future__ import annotations

import resource
import shutil
import signal
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import requests

from bench.live.waiting import wait_until
from tests.integration.shell import Cluster, Shell

OFTEN = {"KONSUL_RAFT_SNAPSHOT_THRESHOLD": "60", "KONSUL_RAFT_TRAILING_LOGS": "20"}


def put(cluster: Cluster, name: str, key: str, value: str, **more: Any) -> requests.Response:
    return cluster.ask(name, "PUT", f"/kv/{key}", {"value": value, **more})


def fill(cluster: Cluster, name: str, keys: int) -> None:
    with ThreadPoolExecutor(16) as pool:
        answers = pool.map(lambda number: put(cluster, name, f"k{number}", f"v{number}").status_code, range(keys))
        assert set(answers) == {200}


def data_of(shell: Shell, name: str) -> Path:
    return shell.folder / "data/raft" / name


# Snapshots


def test_a_node_restarts_from_its_snapshot_and_what_followed(shell: Shell) -> None:
    cluster = Cluster(shell, 1, **OFTEN)
    fill(cluster, "n1", 200)
    wait_until(lambda: cluster.status("n1")["stats"]["last_snapshot_index"] > 100, "several snapshots")
    first = put(cluster, "n1", "once", "first", client_id="c", sequence=1).json()["modify_index"]
    assert cluster.ask("n1", "POST", "/cluster/snapshot").json()["index"] >= first
    assert put(cluster, "n1", "once", "newer").status_code == 200
    before = cluster.status("n1")["stats"]["log_digest"]
    cluster.kill("n1")
    with closing(sqlite3.connect(data_of(shell, "n1") / "raft.db")) as connection:
        ((entries,),) = connection.execute("SELECT count(*) FROM entries").fetchall()
    assert entries < 150, "the log was compacted"
    assert len(list((data_of(shell, "n1") / "snapshots").glob("*.snap"))) == 2
    cluster.start("n1")
    cluster.leader()
    assert cluster.ask("n1", "GET", "/kv/k7?consistent=true").json()["value"] == "v7"
    assert cluster.metric("n1", "konsul_raft_restore_total") == 1
    assert before != cluster.status("n1")["stats"]["log_digest"], "a leader's first entry follows"
    again = put(cluster, "n1", "once", "first", client_id="c", sequence=1).json()["modify_index"]
    assert again == first, "exactly once, over a snapshot and a crash"
    assert cluster.ask("n1", "GET", "/kv/once").json()["value"] == "newer"


def test_a_new_follower_is_given_the_snapshot_of_what_the_log_has_no_more(shell: Shell) -> None:
    cluster = Cluster(shell, 1, **OFTEN)
    fill(cluster, "n1", 200)
    cluster.ask("n1", "POST", "/cluster/snapshot")
    cluster.start("n2")
    assert cluster.join("n2").status_code == 200
    cluster.wait_until_agreed("n1", "n2")
    assert cluster.metric("n2", "konsul_raft_restore_total") == 1
    assert cluster.ask("n2", "GET", "/kv/k3").json()["value"] == "v3"
    cluster.kill("n2")
    cluster.start("n2")
    cluster.wait_until_agreed("n1", "n2")


def test_a_damaged_snapshot_costs_nothing_but_the_replay(shell: Shell) -> None:
    cluster = Cluster(shell, 1, **OFTEN)
    for keys in (100, 200):
        fill(cluster, "n1", keys)
        cluster.ask("n1", "POST", "/cluster/snapshot")
    cluster.kill("n1")
    newest = max((data_of(shell, "n1") / "snapshots").glob("*.snap"), key=lambda path: int(path.stem.split("-")[1]))
    newest.write_bytes(newest.read_bytes()[:-5])
    cluster.start("n1")
    cluster.leader()
    assert cluster.ask("n1", "GET", "/kv/k150?consistent=true").json()["value"] == "v150"
    assert f"{newest.name} is damaged" in shell.log_of("n1")


# Membership


def test_a_leader_that_is_let_go_says_so_and_another_leads(shell: Shell) -> None:
    cluster = Cluster(shell, 3)
    assert cluster.ask("n1", "DELETE", "/cluster/leave/n1").json() == {"status": "ok"}
    assert cluster.ask("n1", "GET", "/cluster/status").json()["state"] == "Follower"
    new = wait_until(lambda: {cluster.leader()} - {"n1"}, "another leader").pop()
    assert cluster.members(new) == ["n2", "n3"]
    assert put(cluster, new, "a", "1").status_code == 200
    assert cluster.join("n1").status_code == 200
    assert sorted(cluster.members(new)) == ["n1", "n2", "n3"]


def test_who_is_not_there_or_is_somebody_else_is_not_let_in(shell: Shell) -> None:
    cluster = Cluster(shell, 1)
    cluster.start("n2")
    stranger = Shell(shell.folder / "stranger", shell.ports)
    stranger.folder.mkdir()
    other = Cluster(stranger, 1)
    before = cluster.status("n1")["peers"]
    refused: dict[str, dict[str, str]] = {
        "unreachable": {"address": f"127.0.0.1:{shell.free_port()}"},
        "another node": {"address": f"127.0.0.1:{cluster.ports['n1']}"},
        "bad request": {"address": "nowhere"},
    }
    for error, changes in refused.items():
        answer = cluster.join("n2", **changes)
        assert (400, error) == (answer.status_code, answer.json()["error"])
    answer = other.join("n1", node_id="n1", address=f"127.0.0.1:{cluster.ports['n1']}")
    assert (answer.status_code, answer.json()["error"]) == (409, "another cluster")
    assert cluster.status("n1")["peers"] == before
    assert cluster.ask("n1", "DELETE", "/cluster/leave/nobody").status_code == 400
    assert cluster.ask("n1", "DELETE", "/cluster/leave/n1").status_code == 400, "the last voter stays"
    stranger.end()


def test_a_member_that_moved_is_joined_again_under_its_new_address(shell: Shell) -> None:
    cluster = Cluster(shell, 3)
    cluster.kill("n3")
    cluster.ports["n3"] = shell.free_port()
    cluster.start("n3")
    assert cluster.join("n3").status_code == 200
    addresses = {peer["id"]: peer["address"] for peer in cluster.status("n1")["peers"]}
    assert addresses["n3"] == f"127.0.0.1:{cluster.ports['n3']}"
    cluster.wait_until_agreed("n1", "n2", "n3")


def sent_to(cluster: Cluster, follower: str) -> str:
    """Where a client is sent that asks a follower for what only the leader does."""
    answer = requests.put(f"{cluster.urls[follower]}/kv/a", json={"value": "1"}, timeout=10, allow_redirects=False)
    return answer.headers.get("Location", "").removesuffix("/kv/a")


def all_are_sent_to(cluster: Cluster, leader: str) -> bool:
    return {sent_to(cluster, name) for name in cluster.urls if name != leader} == {cluster.urls[leader]}


def test_no_client_is_sent_to_a_second_process_on_a_copy_of_a_leaders_data(shell: Shell) -> None:
    """It says that it is the leader, and says so at another address than the one that the cluster knows."""
    cluster = Cluster(shell, 3)
    cluster.wait_until_agreed("n1", "n2", "n3")
    cluster.kill("n2")
    shutil.copytree(data_of(shell, "n2"), shell.folder / "copy")
    cluster.start("n2")
    cluster.wait_until_agreed("n1", "n2", "n3")
    assert cluster.ask(cluster.leader(), "POST", "/cluster/transfer-leadership", {"to": "n2"}).status_code == 200
    wait_until(partial(all_are_sent_to, cluster, "n2"), "all know the leader")
    _, copy = shell.start("n2", shell.free_port(), KONSUL_RAFT_DATA_DIR="copy")

    def heard(said: int) -> bool:
        """Whether the copy has said so much to each of the others."""
        sent = requests.get(f"{copy}/cluster/status", timeout=10).json()["stats"]["messages_sent"]
        return all(sent.get(f"127.0.0.1:{cluster.ports[name]}", 0) >= said for name in ("n1", "n3"))

    seen = set()
    for said in (1, 2, 3):
        wait_until(partial(heard, said), "the copy speaks")
        seen |= {sent_to(cluster, name) for name in ("n1", "n3") for _ in range(5)}
    assert seen == {cluster.urls["n2"]}
    assert cluster.status("n2")["state"] == "Leader"


def test_clients_are_sent_to_a_leader_that_has_moved_and_to_one_that_was_joined_by_another_name(shell: Shell) -> None:
    cluster = Cluster(shell, 3)
    cluster.kill("n2")
    cluster.ports["n2"] = shell.free_port()
    cluster.start("n2")
    assert cluster.join("n2").status_code == 200
    assert cluster.join("n3", address=f"localhost:{cluster.ports['n3']}").status_code == 200
    for leader in ("n2", "n3"):
        assert cluster.ask(cluster.leader(), "POST", "/cluster/transfer-leadership", {"to": leader}).status_code == 200
        wait_until(partial(all_are_sent_to, cluster, leader), f"all know where {leader} serves")


def test_a_hundred_joins_and_leaves_at_once_leave_one_valid_configuration(shell: Shell) -> None:
    cluster = Cluster(shell, 3)

    def change(number: int) -> int:
        if number % 2:
            return cluster.join("n3").status_code
        return cluster.ask("n1", "DELETE", "/cluster/leave/n3").status_code

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(change, range(100)))
    assert set(answers) <= {200, 400, 504}
    assert cluster.join("n3").status_code == 200
    assert put(cluster, "n1", "a", "1").status_code == 200
    cluster.wait_until_agreed("n1", "n2", "n3")
    found = {str(cluster.status(name)["peers"]) for name in ("n1", "n2", "n3")}
    assert len(found) == 1
    assert sorted(cluster.members("n1")) == ["n1", "n2", "n3"]


# Handing over


def test_leadership_is_handed_to_whom_it_is_asked_for(shell: Shell) -> None:
    cluster = Cluster(shell, 3)
    answer = cluster.ask("n1", "POST", "/cluster/transfer-leadership", {"to": "n3"})
    assert answer.json() == {"status": "ok", "leader_id": "n3"}
    assert cluster.leader() == "n3"
    redirected = cluster.ask("n1", "POST", "/cluster/transfer-leadership", {"to": "n2"})
    assert [hop.status_code for hop in redirected.history] == [307]
    assert cluster.leader() == "n2"


def test_leadership_is_not_handed_to_nobody(shell: Shell) -> None:
    cluster = Cluster(shell, 1)
    for body in ({"to": "n9"}, {"to": "n1"}, {"to": 7}, None):
        assert cluster.ask("n1", "POST", "/cluster/transfer-leadership", body).status_code == 400
    assert cluster.leader() == "n1"


def test_a_leader_told_to_stop_hands_over_first(shell: Shell) -> None:
    cluster = Cluster(shell, 3)
    cluster.processes["n1"].terminate()
    assert cluster.processes["n1"].wait(20) == 0
    assert '"event":"transfer"' in (shell.folder / "n1.trace").read_text()
    assert cluster.leader() in ("n2", "n3")


# Reads and writes


@pytest.mark.parametrize("consistency", ["leader", "consistent"])
def test_a_leader_that_wakes_up_deposed_answers_nothing_stale(shell: Shell, consistency: str) -> None:
    """The read waits in the socket of the stopped node, which believes in itself when it wakes."""
    cluster = Cluster(shell, 3)
    put(cluster, "n1", "a", "old")
    cluster.processes["n1"].send_signal(signal.SIGSTOP)
    url = f"{cluster.urls['n1']}/kv/a?consistency={consistency}"
    with ThreadPoolExecutor(1) as pool:
        try:
            reading = pool.submit(requests.get, url, timeout=30, allow_redirects=False)
            new = wait_until(lambda: successor(cluster), "a successor")
            assert put(cluster, new, "a", "new").status_code == 200
        finally:
            cluster.processes["n1"].send_signal(signal.SIGCONT)
        answer = reading.result()
    assert answer.status_code in (307, 503)


def successor(cluster: Cluster) -> str | None:
    for name in ("n2", "n3"):
        if cluster.status(name)["state"] == "Leader":
            return name
    return None


def test_reads_are_as_fresh_as_they_are_asked_to_be(shell: Shell) -> None:
    cluster = Cluster(shell, 3)
    put(cluster, "n1", "a", "1")
    for consistency in ("default", "consistent", "leader"):
        assert cluster.ask("n1", "GET", f"/kv/a?consistency={consistency}").json()["value"] == "1"
    for consistency in ("consistent", "leader"):
        followed = cluster.ask("n2", "GET", f"/kv/a?consistency={consistency}")
        assert [hop.status_code for hop in followed.history] == [307]
    assert cluster.ask("n1", "GET", "/kv/a?consistency=perhaps").status_code == 400


# Disks that fail


def limit_files(cluster: Cluster, name: str, size: int) -> None:
    """Like a full disk: from now on no file of this node grows beyond `size` bytes."""
    resource.prlimit(cluster.processes[name].pid, resource.RLIMIT_FSIZE, (size, size))


def test_a_node_whose_disk_is_full_stops_says_so_and_has_acknowledged_nothing_that_is_lost(shell: Shell) -> None:
    cluster = Cluster(shell, 1)
    limit_files(cluster, "n1", (data_of(shell, "n1") / "raft.db-wal").stat().st_size + 200_000)
    acknowledged = []
    for number in range(200):
        try:
            answer = put(cluster, "n1", f"k{number}", "x" * 5000)
        except requests.ConnectionError:
            break
        if answer.status_code != 200:
            assert answer.json()["error"] in ("leadership lost", "stopping", "timeout")
            break
        acknowledged.append(f"k{number}")
    assert acknowledged
    assert len(acknowledged) < 200
    assert cluster.processes["n1"].wait(20) == 1
    assert "the node stops: its driver failed" in shell.log_of("n1")
    cluster.start("n1")
    cluster.leader()
    for key in acknowledged:
        assert cluster.ask("n1", "GET", f"/kv/{key}?consistent=true").status_code == 200


def test_a_snapshot_that_finds_the_disk_full_stops_the_node_and_leaves_the_former_one(shell: Shell) -> None:
    cluster = Cluster(shell, 1)
    cluster.ask("n1", "POST", "/cluster/snapshot")
    for number in range(20):
        put(cluster, "n1", f"k{number}", "x" * 50_000)
    limit_files(cluster, "n1", 500_000)
    with suppress(requests.ConnectionError):
        assert cluster.ask("n1", "POST", "/cluster/snapshot").status_code != 200
    assert cluster.processes["n1"].wait(20) == 1
    cluster.start("n1")
    cluster.leader()
    assert cluster.ask("n1", "GET", "/kv/k19?consistent=true").status_code == 200
