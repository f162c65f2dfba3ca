"""`python -m bench` as a person uses it: in one terminal, from another, and killed."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from bench.live.waiting import wait_until
from bench.operations import Outcome, Put
from bench.store import RunState, StoredRun, read

ROOT = Path(__file__).parents[2]
FIRST = Put("bench/first", "write")
"""What `up` writes."""


class Terminal:
    """Runs commands with a state folder and a runs folder of its own."""

    def __init__(self, folder: Path, toxiproxy: Path) -> None:
        self.folder = folder
        self.environment = {
            **os.environ,
            "BENCH_STATE_DIR": str(folder / "state"),
            "BENCH_RUNS": str(folder / "runs"),
            "TOXIPROXY_SERVER": str(toxiproxy),
        }

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "bench", *arguments],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def start(self, *arguments: str, after: Path | None = None) -> subprocess.Popen[str]:
        """The command, which goes on; `after` is a file that has to be there first."""
        if after is not None:
            wait_until(after.exists, f"{after} is there")
        return subprocess.Popen(
            [sys.executable, "-m", "bench", *arguments],
            cwd=ROOT,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def status(self) -> dict[str, Any]:
        answer = self.run("status", "--json")
        assert answer.returncode == 0, answer.stderr
        return dict(json.loads(answer.stdout))

    def control_file(self) -> Path:
        return self.folder / "state" / "clusters" / "default.json"

    def kept(self) -> StoredRun:
        """The only run there is."""
        (folder,) = self.folder.glob("runs/up-default/*")
        return read(folder)

    def bench(self) -> psutil.Process:
        return psutil.Process(json.loads(self.control_file().read_text())["pid"])


@contextmanager
def terminal_in(folder: Path, toxiproxy: Path) -> Iterator[Terminal]:
    found = Terminal(folder, toxiproxy)
    yield found
    if found.control_file().exists():
        found.run("down")


@pytest.fixture
def terminal(tmp_path: Path, toxiproxy: Path) -> Iterator[Terminal]:
    with terminal_in(tmp_path, toxiproxy) as found:
        yield found


def with_cluster(terminal: Terminal) -> Terminal:
    started = terminal.run("up", "3", "--detach", "--profile", "low-latency")
    assert started.returncode == 0, started.stderr
    return terminal


@pytest.fixture
def up(terminal: Terminal) -> Terminal:
    return with_cluster(terminal)


@pytest.fixture(scope="module")
def unchanged(tmp_path_factory: pytest.TempPathFactory, toxiproxy: Path) -> Iterator[Terminal]:
    """One cluster for all that changes nothing."""
    with terminal_in(tmp_path_factory.mktemp("unchanged"), toxiproxy) as found:
        yield with_cluster(found)


def family(process: psutil.Process) -> list[psutil.Process]:
    """The bench and everything it started: forkserver, nodes, Toxiproxy."""
    return [process, *process.children(recursive=True)]


def left(processes: list[psutil.Process]) -> list[psutil.Process]:
    return [process for process in processes if runs(process)]


def runs(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def ports(status: dict[str, Any]) -> list[int]:
    return [int(row["http"].rpartition(":")[2]) for row in status["nodes"]]


def test_what_operators_ask_is_asked_from_another_terminal(terminal: Terminal) -> None:
    assert terminal.run("up", "3", "--spare", "1", "--detach", "--profile", "low-latency").returncode == 0
    assert terminal.run("join", "n4").stdout == "n4 is a voter\n"
    assert terminal.run("transfer", "n4").stdout == "n4 leads\n"
    assert terminal.run("leader").stdout == "n4\n"
    assert terminal.run("leave", "n1").stdout == "n1 is no member any more\n"
    again = terminal.run("leave", "n1")
    assert (again.returncode, "n1 is no member; there are n2, n3, n4" in again.stderr) == (2, True)
    assert terminal.run("snapshot", "n4").stdout == "n4 has taken a snapshot\n"
    assert terminal.run("limit", "n2", "n3", "16").stdout == "limited to 16 KiB/s: n2->n3, n3->n2\n"
    assert terminal.status()["links"] == {"n2->n3": "16 KiB/s", "n3->n2": "16 KiB/s"}
    assert terminal.run("heal", "--only", "limit").stdout.splitlines()[0] == "healed: n2->n3, n3->n2"


def test_what_clients_ask_is_asked_through_their_links_and_is_in_the_history_of_the_run(up: Terminal) -> None:
    leader = up.run("leader").stdout.strip()
    other = next(str(row["node"]) for row in up.status()["nodes"] if row["node"] != leader)
    assert up.run("put", "k", "-1", "--node", other).stdout.startswith(f"k = -1, acknowledged by {leader} (index ")
    reads = [up.run("get", "k", "--consistency", how, "--node", "follower") for how in ("leader", "consistent")]
    assert [read.stdout for read in reads] == ["-1\n", "-1\n"]
    assert up.run("delete", "k").stdout.startswith(f"k is deleted, acknowledged by {leader} (index ")
    for command in ("get", "delete"):
        missing = up.run(command, "k")
        assert (missing.returncode, missing.stdout, missing.stderr) == (2, "", "bench: there is no key k\n")
    assert up.run("cut", "client", leader, "--mode", "refuse").returncode == 0
    unsaid = up.run("put", "k", "v")
    assert (unsaid.returncode, unsaid.stdout) == (2, "")
    assert "put k = v may or may not have happened" in unsaid.stderr
    assert up.run("kill", other).returncode == 0
    assert f"{other} is down, and was asked nothing" in up.run("get", "k", "--node", other).stderr
    assert up.run("down").returncode == 0
    history = [(done.asked, done.node, done.outcome) for done in up.kept().evidence().history]
    assert (Put("k", "-1"), other, Outcome.FAILED) in history, "who was asked first sent the client on"
    assert (Put("k", "-1"), leader, Outcome.OK) in history
    assert (Put("k", "v"), leader, Outcome.UNKNOWN) in history
    assert len(history) == 11, "the first write, 3 that were sent on, and 4 that were not"


def test_a_node_that_can_write_nothing_more_stops_at_the_next_write_and_has_room_after_a_restart(up: Terminal) -> None:
    victim = up.run("fill-disk", "follower").stdout.split()[0]
    leader = up.run("leader").stdout.strip()
    url = next(row["http"] for row in up.status()["nodes"] if row["node"] == leader)

    def state() -> str:
        return next(str(row["state"]) for row in up.status()["nodes"] if row["node"] == victim)

    def stopped() -> bool:
        requests.put(f"{url}/kv/k", json={"value": "v" * 100}, timeout=10)
        return state() == "down"

    wait_until(stopped, f"{victim} has stopped")
    assert up.run("restart", victim).returncode == 0
    assert state() == "running"


def test_a_node_is_started_on_an_older_copy_of_its_data_or_without_some_of_them(up: Terminal) -> None:
    victim = up.run("kill", "follower").stdout.split()[0]
    assert up.run("copy-disk", victim).stdout == f"the data of {victim} are copied\n"
    assert up.run("restart", victim).returncode == 0
    running = up.run("copy-disk", victim)
    assert (running.returncode, f"{victim} runs, and may be writing" in running.stderr) == (2, True)
    assert up.run("restart", victim, "--older").stdout == f"{victim} is started again\n"
    unknown = up.run("restart", victim, "--without", "manners")
    assert (unknown.returncode, "there are log, snapshots" in unknown.stderr) == (2, True)
    assert up.run("restart", victim).returncode == 0
    assert up.run("snapshot", victim).returncode == 0
    refused = up.run("restart", victim, "--without", "log")
    assert (refused.returncode, f"{victim} did not start" in refused.stderr) == (2, True)
    assert up.run("restart", victim, "--wipe").returncode == 0


def test_a_cluster_is_broken_and_healed_from_another_terminal(up: Terminal) -> None:
    old = up.run("leader").stdout.strip()
    assert up.run("isolate", "leader").returncode == 0
    status = up.status()
    assert all("cut (blackhole)" in state for state in status["links"].values())
    assert sorted(map(len, status["groups"])) == [1, 2]
    first, second = map(" ".join, status["groups"])
    assert up.run("status").stdout.endswith(f"\npartition: {{{first}}} | {{{second}}}\n")
    wait_until(lambda: up.run("leader").stdout.strip() not in ("", old), "another leader")
    assert "met meanwhile: " in up.run("heal", "--once-met").stdout
    assert up.status()["links"] == {}
    assert len({line.split()[0] for line in up.run("logs", "follower").stdout.splitlines()}) == 1
    done = up.run("kill", "follower")
    assert done.returncode == 0, done.stderr
    killed = done.stdout.split()[0]
    assert {row["node"]: row["state"] for row in up.status()["nodes"]}[killed] == "down"
    again = up.run("kill", killed)
    assert (again.returncode, f"cannot kill {killed}: it is down" in again.stderr) == (2, True)
    up.run("restart", killed)
    up.run("pause", killed)
    assert {row["node"]: row["state"] for row in up.status()["nodes"]}[killed] == "paused"
    up.run("resume", killed)
    assert up.run("delay", "n1", "n2", "200ms", "--jitter", "20ms").returncode == 0
    assert up.status()["links"] == {"n1->n2": "200ms±20ms", "n2->n1": "200ms±20ms"}
    assert up.run("delay", "n1", "n2", "20ms").returncode == 0
    back_to_clients = up.run("cut", "n1", "client", "--one-way")
    assert (back_to_clients.returncode, "cut client n1" in back_to_clients.stderr) == (2, True)
    assert up.run("cut", "n1", "n2", "--one-way", "--mode", "hold").returncode == 0
    assert up.run("cut", "client", "n3", "--mode", "refuse").returncode == 0
    told = up.run("heal", "n1", "n2", "--only", "delay").stdout.splitlines()
    assert (told[0], told[-1]) == ("healed: n1->n2, n2->n1", "still on n1->n2: cut (hold)")
    assert up.status()["links"] == {"n1->n2": "cut (hold)", "client->n3": "cut (refuse)"}
    assert up.run("heal", "client", "n3").stdout.splitlines()[0] == "healed: client->n3"
    assert up.run("heal", "n2", "n3").stdout == "nothing to heal\n"
    assert up.run("heal").stdout.splitlines()[0] == "healed: n1->n2"
    assert "Leader in term" in up.run("logs").stdout


def test_who_watches_through_a_pipe_reads_each_change_as_it_happens_until_the_cluster_ends(up: Terminal) -> None:
    argv = [sys.executable, "-m", "bench", "watch"]
    with subprocess.Popen(argv, cwd=ROOT, env=up.environment, stdout=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None
        said = (line.split(maxsplit=1)[1] for line in watching.stdout)
        first = [next(said) for _ in range(3)]
        assert [line.split()[0] for line in first] == ["n1", "n2", "n3"]
        assert [line for line in first if "Leader in term" in line]
        assert up.run("delay", "n1", "n2", "20ms").returncode == 0
        assert "n1<->n2 20ms\n" in said
        assert up.run("pause", "n3").returncode == 0
        assert "n3 paused\n" in said
        assert up.run("down").returncode == 0
        assert "has ended\n" in said
    assert watching.returncode == 0


def test_who_is_paused_need_not_be_named_to_go_on_and_is_named_where_a_leader_is_missed(up: Terminal) -> None:
    leader = up.run("leader").stdout.strip()
    first, second = (row["node"] for row in up.status()["nodes"] if row["node"] != leader)
    assert [up.run("pause", node).returncode for node in (first, second)] == [0, 0]
    wait_until(lambda: up.run("leader").returncode == 2, f"{leader} leads nobody any more")
    said = up.run("isolate", "leader").stderr
    assert said.startswith(f"bench: nobody leads right now: {first} and {second} are paused; resume, or name")
    assert up.run("resume").stdout == f"{first} goes on\n{second} goes on\n"
    assert {row["state"] for row in up.status()["nodes"]} == {"running"}


def test_a_cut_of_the_client_is_felt_by_the_persons_own_curl(up: Terminal) -> None:
    url = up.status()["nodes"][0]["http"]
    assert requests.get(f"{url}/health", timeout=5).status_code == 200
    assert up.run("cut", "client", "n1", "--mode", "refuse").returncode == 0
    with pytest.raises(requests.ConnectionError):
        requests.get(f"{url}/health", timeout=5)
    up.run("heal")
    assert requests.get(f"{url}/health", timeout=5).status_code == 200


def test_down_leaves_nothing_but_its_run_and_says_so(up: Terminal) -> None:
    processes = family(up.bench())
    up.run("kill", "n2")
    down = up.run("down")
    assert down.returncode == 0
    ended, kept = down.stdout.splitlines()
    assert ended == "default is down; ended: n1, n3, Toxiproxy"
    assert kept.startswith(f"its run is kept in {up.kept().folder} (")
    assert up.kept().state is RunState.ENDED
    wait_until(lambda: not left(processes), f"{processes} are gone")
    assert up.run("status").returncode == 2


@pytest.mark.parametrize("lifeline", ["pdeathsig", "pipe"])
def test_a_bench_killed_with_9_leaves_nothing(terminal: Terminal, lifeline: str) -> None:
    if lifeline == "pdeathsig" and sys.platform != "linux":
        pytest.skip("PR_SET_PDEATHSIG is Linux's")
    terminal.environment["BENCH_LIFELINE"] = lifeline
    assert terminal.run("up", "3", "--detach").returncode == 0
    assert terminal.run("pause", "n2").returncode == 0
    bench = terminal.bench()
    processes = family(bench)
    assert len(processes) >= 6, "the bench, its forkserver, three nodes and Toxiproxy"
    bench.kill()
    wait_until(lambda: not left(processes), f"{left(processes)} are gone")
    kept = terminal.kept()
    assert kept.state is RunState.CUT_OFF
    assert [(done.asked, done.outcome) for done in kept.evidence().history] == [(FIRST, Outcome.OK)]


@pytest.mark.parametrize(("number", "said"), [("INT", "ended by Ctrl-C"), ("TERM", "ended by SIGTERM")])
def test_a_signal_leaves_nothing_but_the_run_and_is_told(terminal: Terminal, number: str, said: str) -> None:
    with terminal.start("up", "3") as bench:
        wait_until(terminal.control_file().exists, "the cluster is there")
        processes = family(psutil.Process(bench.pid))
        bench.send_signal(signal.Signals[f"SIG{number}"])
        *_, why, kept = bench.communicate(timeout=60)[0].splitlines()
    assert (bench.returncode, why) == (0, said)
    assert kept.startswith(f"its run is kept in {terminal.kept().folder} (")
    assert terminal.kept().state is RunState.ENDED
    wait_until(lambda: not left(processes), f"{left(processes)} are gone")
    assert not terminal.control_file().exists()


def test_who_takes_a_cluster_down_is_told_in_its_own_terminal(terminal: Terminal) -> None:
    with terminal.start("up", "1") as bench, terminal.start("down", after=terminal.control_file()) as down:
        *_, why, kept = bench.communicate(timeout=60)[0].splitlines()
        assert down.communicate(timeout=60)[0].splitlines()[-1] == kept
    assert why == f"taken down by: python -m bench down (pid {down.pid})"


def test_what_a_cluster_says_in_the_background_is_kept_with_its_run_and_nowhere_else(up: Terminal) -> None:
    assert up.run("down").returncode == 0
    said = (up.kept().folder / "up.log").read_text()
    assert "first write acknowledged" in said
    assert "taken down by: python -m bench down (pid " in said
    assert [path.name for path in (up.folder / "runs").iterdir()] == ["up-default"]


def test_what_cannot_start_in_the_background_says_why_and_leaves_no_run(terminal: Terminal) -> None:
    terminal.environment["TOXIPROXY_SERVER"] = str(terminal.folder / "gone")
    answer = terminal.run("up", "1", "--detach")
    assert (answer.returncode, len(answer.stderr.splitlines())) == (2, 1), answer.stderr
    assert "no executable file" in answer.stderr
    assert list((terminal.folder / "runs").iterdir()) == []


def test_a_cluster_whose_output_nobody_reads_any_more_ends_in_good_order(terminal: Terminal) -> None:
    with terminal.start("up", "1") as bench:
        assert bench.stdout is not None
        bench.stdout.readline()
        bench.stdout.close()
        bench.wait(timeout=60)
    assert terminal.kept().state is RunState.ENDED
    assert not terminal.control_file().exists()


def test_only_the_owner_may_read_the_token_and_only_it_opens_the_api(up: Terminal) -> None:
    assert stat.S_IMODE(up.control_file().stat().st_mode) == 0o600
    url = json.loads(up.control_file().read_text())["url"]
    assert requests.post(f"{url}/down", json={}, timeout=5).status_code == 401
    assert requests.post(f"{url}/down", json={}, headers={"Authorization": "Bearer x"}, timeout=5).status_code == 401
    assert up.run("status").returncode == 0


def test_two_clusters_run_at_once_and_a_name_is_taken_once(up: Terminal) -> None:
    assert up.run("up", "1", "--detach", "--name", "other").returncode == 0
    first, other = up.status(), json.loads(up.run("status", "--json", "--name", "other").stdout)
    assert not set(ports(first)) & set(ports(other))
    again = up.run("up", "1")
    assert (again.returncode, "is running" in again.stderr) == (2, True)
    listed = json.loads(up.run("clusters", "--json").stdout)
    assert [(each["name"], len(each["nodes"])) for each in listed] == [("default", 3), ("other", 1)]
    down = up.run("down", "--all")
    assert down.returncode == 0, down.stderr
    assert [line for line in down.stdout.splitlines() if "is down" in line] == [
        "default is down; ended: n1, n2, n3, Toxiproxy",
        "other is down; ended: n1, Toxiproxy",
    ]
    assert json.loads(up.run("clusters", "--json").stdout) == []


def test_of_two_that_start_under_one_name_at_once_one_runs_and_the_other_says_so(terminal: Terminal) -> None:
    arguments = ("up", "1", "--detach", "--profile", "low-latency", "--name", "twice")
    with ThreadPoolExecutor() as threads:
        first, second = sorted(threads.map(lambda _: terminal.run(*arguments), range(2)), key=lambda a: a.returncode)
    assert (first.returncode, second.returncode) == (0, 2)
    assert "end it with: python -m bench down --name twice" in first.stdout
    assert "a cluster named twice is" in second.stderr
    assert len(list(terminal.folder.glob("runs/up-twice/*"))) == 1, "both started a cluster"
    assert terminal.run("down", "--name", "twice").returncode == 0


@pytest.mark.xdist_group("what changes nothing")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["cut", "n1", "n1"], "there is no link from n1 to itself"),
        (["delay", "n1", "n1", "1ms"], "there is no link from n1 to itself"),
        (["delay", "n1", "n2", "1ms", "--jitter", "2ms"], "more than the latency"),
        (["split", "n1,,n2", "n3"], "a comma without a node"),
        (["cut", "n1", "n9"], "there is no node n9"),
        (["split", "n1,n2", "n2,n3"], "n2 cannot be on two sides"),
        (["split", "n1"], "at least two groups"),
        (["kill", "n7"], "there is no node n7"),
        (["heal", "n1"], "a link has two ends; name the other one beside n1"),
        (["heal", "n1", "n9"], "there is no node n9"),
        (["heal", "n1", "n1"], "there is no link from n1 to itself"),
        (["heal", "n1", "n2", "--only", "cuts"], "'cuts'"),
        (["delay", "n1", "n2", "fast"], "no duration"),
        (["resume", "n1"], "cannot resume n1: it is running"),
        (["resume"], "nobody is paused"),
        (["logs", "n9"], "there is no node n9"),
        (["get", "k", "--node", "n9"], "there is no node n9"),
        (["put", "a/b", "v"], "'a/b' is no key"),
        (["resume", "nobody"], "there is no node nobody"),
    ],
)
def test_what_cannot_be_done_is_told_in_one_line_and_nothing_changes(
    unchanged: Terminal, arguments: list[str], said: str
) -> None:
    answer = unchanged.run(*arguments)
    assert (answer.returncode, said in answer.stderr) == (2, True), answer.stderr
    assert len(answer.stderr.splitlines()) == 1
    status = unchanged.status()
    assert status["links"] == {}
    assert {row["state"] for row in status["nodes"]} == {"running"}


@pytest.mark.parametrize(
    "arguments",
    [
        ["up", "0"],
        ["up", "10"],
        ["up", "three"],
        ["up", "3", "--profile", "fast"],
        ["up", "3", "--name", "../x"],
        ["run", "nothing_like_it"],
        ["run", "kill_leader", "--nodes", "1"],
        ["cut", "n1"],
        ["no-such-command"],
        ["status"],
        ["watch"],
        ["get", "k"],
        ["put", "k", "v"],
        ["delete", "k"],
        ["resume"],
    ],
)
def test_bad_input_ends_with_2_and_one_clear_sentence(terminal: Terminal, arguments: list[str]) -> None:
    answer = terminal.run(*arguments)
    assert answer.returncode == 2
    assert len(answer.stderr.splitlines()) == 1, answer.stderr


@pytest.mark.parametrize(
    ("command", "variable", "value"),
    [
        ("up 1 --detach", "BENCH_RUNS", "/proc/x"),
        ("up 1 --detach", "BENCH_STATE_DIR", "/proc/x"),
        ("up 1 --detach", "BENCH_LIFELINE", "none"),
        ("run three_nodes", "BENCH_RUNS", "/etc/hostname"),
        ("run three_nodes --keep", "BENCH_STATE_DIR", "/proc/x"),
        ("run three_nodes", "BENCH_LIFELINE", "none"),
    ],
)
def test_a_variable_that_cannot_be_followed_is_named_before_anything_starts(
    terminal: Terminal, command: str, variable: str, value: str
) -> None:
    terminal.environment[variable] = value
    answer = terminal.run(*command.split())
    assert (answer.returncode, len(answer.stderr.splitlines())) == (2, 1), answer.stderr
    assert variable in answer.stderr
    assert not list(terminal.folder.glob("runs/*"))
    doctor = terminal.run("doctor")
    assert (doctor.returncode, variable in doctor.stdout) == (2, True), doctor.stdout


@pytest.mark.parametrize("command", ["", "up", "status", "cut", "delay", "heal", "run", "list", "doctor", "logs"])
def test_help_has_an_example(terminal: Terminal, command: str) -> None:
    answer = terminal.run(*filter(None, [command]), "--help")
    assert answer.returncode == 0
    assert re.search(r"Examples?: python -m bench", " ".join(answer.stdout.split()))
