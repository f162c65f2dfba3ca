"""`Shell`: nodes started by hand, as an operator does with Konsul's variables, on ports that happen to be free."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import requests

from bench.live.ports import Ports
from bench.live.waiting import wait_until

ROOT = Path(__file__).parents[2]
DEADLINE_S = 30.0
BASE = 22000


class Shell:
    """One folder in which several nodes are started."""

    def __init__(self, folder: Path, ports: Ports) -> None:
        self.folder = folder
        self.ports = ports
        self.started: list[subprocess.Popen[str]] = []

    def free_port(self) -> int:
        return self.ports.first_free(BASE).port

    def environment(self, **variables: str) -> dict[str, str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("KONSUL_")}
        return {**clean, "PYTHONPATH": str(ROOT), "KONSUL_METRICS_PORT": "off", **variables}

    def start(self, node_id: str, raft_port: int, **variables: str) -> tuple[subprocess.Popen[str], str]:
        """A node and the address of its HTTP API, as it printed it."""
        environment = self.environment(
            KONSUL_RAFT_ENABLED="true",
            KONSUL_RAFT_NODE_ID=node_id,
            KONSUL_RAFT_ADVERTISE_ADDR=f"127.0.0.1:{raft_port}",
            **variables,
        )
        with (self.folder / f"{node_id}.log").open("a") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "node"],
                cwd=self.folder,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self.started.append(process)
        assert process.stdout is not None
        said = process.stdout.readline()
        found = re.search(r"HTTP on (http://\S+?),", said)
        assert found is not None, f"{node_id} said {said!r}"
        return process, found.group(1)

    def refused(self, **variables: str) -> str:
        """What a node says that will not start."""
        done = subprocess.run(
            [sys.executable, "-m", "node"],
            cwd=self.folder,
            env=self.environment(**variables),
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 2, done
        assert len(done.stderr.splitlines()) == 1, done.stderr
        return done.stderr

    def log_of(self, node_id: str) -> str:
        """What the node has said on its standard error, in all its lives."""
        return (self.folder / f"{node_id}.log").read_text()

    def end(self) -> None:
        for process in self.started:
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()


def leader_of(url: str) -> str | None:
    answer = requests.get(f"{url}/cluster/leader", timeout=5)
    found = answer.json().get("leader_id")
    return None if found is None else str(found)


class Cluster:
    """Nodes n1, n2, ... of one cluster; n1 founds it and the others join."""

    def __init__(self, shell: Shell, size: int, **variables: str) -> None:
        self.shell = shell
        self.variables = variables
        self.ports: dict[str, int] = {}
        self.processes: dict[str, subprocess.Popen[str]] = {}
        self.urls: dict[str, str] = {}
        self.start("n1")
        wait_until(lambda: leader_of(self.urls["n1"]), "n1 leads alone")
        for number in range(2, size + 1):
            self.start(f"n{number}")
            assert self.join(f"n{number}").status_code == 200

    def start(self, name: str) -> None:
        """Start it, or start it again."""
        port = self.ports.setdefault(name, self.shell.free_port())
        founds = {"KONSUL_RAFT_BOOTSTRAP": "true"} if name == "n1" else {}
        trace = {"KONSUL_RAFT_TRACE_FILE": f"{name}.trace"}
        self.processes[name], self.urls[name] = self.shell.start(name, port, **self.variables, **founds, **trace)

    def kill(self, name: str) -> None:
        self.processes[name].kill()
        self.processes[name].wait()

    def ask(self, name: str, method: str, path: str, body: Any = None) -> requests.Response:
        return requests.request(method, self.urls[name] + path, json=body, timeout=30)

    def join(self, name: str, **changes: str) -> requests.Response:
        body = {"node_id": name, "address": f"127.0.0.1:{self.ports.get(name, 1)}", **changes}
        return self.ask(self.leader(), "POST", "/cluster/join", body)

    def leader(self) -> str:
        """Who leads, once somebody does and says so."""
        return str(wait_until(self._leader_now, "a leader"))

    def _leader_now(self) -> str | None:
        running = [name for name, process in self.processes.items() if process.poll() is None]
        for name in running:
            try:
                if self.ask(name, "GET", "/cluster/leader").json().get("is_self"):
                    return name
            except requests.RequestException:
                continue
        return None

    def status(self, name: str) -> dict[str, Any]:
        found = self.ask(name, "GET", "/cluster/status").json()
        assert isinstance(found, dict)
        return found

    def members(self, name: str) -> list[str]:
        return [peer["id"] for peer in self.status(name)["peers"]]

    def metric(self, name: str, sample: str) -> float:
        """Of the first sample that begins so, its value; 0 when there is none."""
        text = self.ask(name, "GET", "/metrics").text
        return next((float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(sample)), 0.0)

    def wait_until_agreed(self, *names: str) -> None:
        def agreed() -> bool:
            found = [self.status(name) for name in names]
            return len({(each["applied_index"], each["stats"]["log_digest"]) for each in found}) == 1

        wait_until(agreed, f"{names} have applied the same")
