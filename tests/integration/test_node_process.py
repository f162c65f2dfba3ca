"""`python -m node` by itself, as a manual test starts it, on ports that happen to be free."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys

import pytest
import requests

from bench.live.waiting import wait_until
from tests.integration.shell import ROOT, Shell, leader_of


def test_a_cluster_grows_from_one_to_three_and_outlives_its_leader(shell: Shell) -> None:
    """What one would try by hand: start one node, join two, write through a follower, kill the leader, read."""
    ports = [shell.free_port() for _ in range(3)]
    first, url1 = shell.start("node1", ports[0], KONSUL_RAFT_BOOTSTRAP="true")
    wait_until(lambda: leader_of(url1) == "node1", "node1 leads alone")
    others = {name: shell.start(name, port)[1] for name, port in zip(("node2", "node3"), ports[1:], strict=True)}
    for name, port in zip(others, ports[1:], strict=True):
        body = f'{{"node_id": "{name}", "address": "127.0.0.1:{port}"}}'
        joined = requests.post(f"{url1}/cluster/join", data=body, timeout=20)
        assert joined.json() == {"status": "ok"}
    peers = requests.get(f"{url1}/cluster/peers", timeout=5).json()
    assert [(peer["id"], peer["state"]) for peer in peers["peers"]] == [
        ("node1", "Voter"),
        ("node2", "Voter"),
        ("node3", "Voter"),
    ]
    followed = requests.put(f"{others['node2']}/kv/a", data='{"value": "1"}', timeout=10)
    assert [answer.status_code for answer in followed.history] == [307]
    assert followed.status_code == 200
    first.send_signal(signal.SIGKILL)
    wait_until(lambda: leader_of(others["node2"]) in ("node2", "node3"), "another leader")
    # A plain read is local, and a follower hears of the commit with the next message.
    wait_until(lambda: requests.get(f"{others['node3']}/kv/a", timeout=5).json().get("value") == "1", "the value")


def test_a_node_comes_back_with_what_it_had(shell: Shell) -> None:
    port = shell.free_port()
    process, url = shell.start("node1", port, KONSUL_RAFT_BOOTSTRAP="true")
    wait_until(lambda: leader_of(url), "a leader")
    assert requests.put(f"{url}/kv/a", data='{"value": "1"}', timeout=10).status_code == 200
    process.kill()
    process.wait()
    _, url = shell.start("node1", port, KONSUL_RAFT_BOOTSTRAP="true")
    wait_until(lambda: leader_of(url), "a leader again")
    assert requests.get(f"{url}/kv/a?consistent=true", timeout=10).json()["value"] == "1"


def test_a_node_stops_on_request(shell: Shell) -> None:
    process, _ = shell.start("node1", shell.free_port(), KONSUL_RAFT_BOOTSTRAP="true")
    process.terminate()
    assert process.wait(20) == 0


def test_a_join_of_nobody_ends_and_leaves_the_cluster_as_it_was(shell: Shell) -> None:
    _, url = shell.start("node1", shell.free_port(), KONSUL_RAFT_BOOTSTRAP="true")
    wait_until(lambda: leader_of(url), "a leader")
    body = f'{{"node_id": "ghost", "address": "127.0.0.1:{shell.free_port()}"}}'
    answer = requests.post(f"{url}/cluster/join", data=body, timeout=30)
    assert (answer.status_code, answer.json()["error"]) == (400, "unreachable")
    assert requests.get(f"{url}/cluster/peers", timeout=5).json()["count"] == 1
    assert requests.put(f"{url}/kv/a", data='{"value": "1"}', timeout=10).status_code == 200


def test_a_port_that_a_bench_holds_is_left_alone(shell: Shell) -> None:
    """Found by two suites at once: a node that looked for its first free port took a link's before Toxiproxy did."""
    held = shell.ports.first_free(8500)
    _, url = shell.start("node1", shell.free_port(), KONSUL_RAFT_BOOTSTRAP="true")
    assert url != f"http://{held}"


def test_a_taken_port_is_told(shell: Shell) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = shell.refused(KONSUL_PORT=str(port))
    assert f"127.0.0.1:{port} cannot be listened on" in said
    assert "KONSUL_PORT" in said


def test_every_port_of_a_node_answers_by_the_names_it_was_told_and_no_other(shell: Shell) -> None:
    raft, metrics = shell.free_port(), shell.free_port()
    told = {"KONSUL_METRICS_PORT": str(metrics), "KONSUL_HTTP_ALLOWED_HOSTS": "raft.example"}
    _, url = shell.start("node1", raft, KONSUL_RAFT_BOOTSTRAP="true", **told)
    for there in (f"{url}/health", f"http://127.0.0.1:{raft}/raft/identity", f"http://127.0.0.1:{metrics}/metrics"):
        assert requests.get(there, headers={"Host": "raft.example:80"}, timeout=5).status_code == 200, there
        assert requests.get(there, headers={"Host": "evil.example:80"}, timeout=5).status_code == 421, there


def test_a_bad_variable_is_told(shell: Shell) -> None:
    assert "KONSUL_RAFT_NODE_ID" in shell.refused(KONSUL_RAFT_ENABLED="true")


def test_damaged_and_foreign_data_are_refused_by_name(shell: Shell) -> None:
    process, url = shell.start("node1", shell.free_port(), KONSUL_RAFT_BOOTSTRAP="true")
    wait_until(lambda: leader_of(url), "a leader")
    process.terminate()
    process.wait()
    start = {
        "KONSUL_RAFT_ENABLED": "true",
        "KONSUL_RAFT_ADVERTISE_ADDR": f"127.0.0.1:{shell.free_port()}",
        "KONSUL_RAFT_DATA_DIR": "data/raft/node1",
    }
    assert "belongs to node node1, not node2" in shell.refused(**start, KONSUL_RAFT_NODE_ID="node2")
    database = shell.folder / "data/raft/node1/raft.db"
    database.write_bytes(database.read_bytes()[:1000])
    assert "raft.db is damaged" in shell.refused(**start, KONSUL_RAFT_NODE_ID="node1")


@pytest.mark.parametrize(("argument", "status"), [("--help", 0), ("bogus", 2)])
def test_a_node_that_is_given_arguments_says_how_it_is_used(argument: str, status: int) -> None:
    """It once started, and a person who asked for help waited for ever."""
    said = subprocess.run(
        [sys.executable, "-m", "node", argument], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert said.returncode == status
    assert "KONSUL_RAFT_NODE_ID" in said.stdout + said.stderr
