"""`LiveCluster`: nodes, links and Toxiproxy of one cluster, from start to a stop that leaves nothing behind."""

from __future__ import annotations

import contextlib
import itertools
import json
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import psutil
import requests

from bench.cluster import FiledCluster, NodeStatus, NoSuchNodeError, Setup, WaitTimeoutError
from bench.history import History
from bench.live.early import preload
from bench.live.launch import NodeProcess, new_stream
from bench.live.ports import Ports
from bench.live.traffic import Traffic
from bench.live.waiting import wait_until
from bench.live.workers import Workers
from bench.systems import konsul
from bench.systems.konsul import KonsulClient, NodePlan
from bench.workload import Script
from faults import processes
from faults.links import CLIENT, Address, Link, Route, peer_links
from faults.network import FaultEvent, ToxiproxyNetwork
from faults.toxiproxy import ToxiproxyServer

T = TypeVar("T")

CLIENT_BASE, RAFT_BASE, HTTP_BASE, LINK_BASE, API_BASE = 8500, 7001, 18500, 17000, 28474
UP_DEADLINE_S = 15.0
COUNT_TRIES = 5


class LiveCluster(FiledCluster):
    """A `Cluster` of `nodes` processes, all of whose files are in `folder`.

    Entering it starts everything and returns when every node has been told of the others: one that is cut off before
    would know of no cluster. Whatever goes wrong on the way, and on every way out, nothing stays behind.
    """

    def __init__(
        self,
        folder: Path,
        *,
        nodes: int,
        profile: str = "default",
        setup: Setup | None = None,
        server: Path,
        on_log: Callable[[str], None] | None = None,
    ) -> None:
        super().__init__()
        self.folder = folder
        self.profile = profile
        self.history = History()
        self._setup = setup or Setup()
        self._names = tuple(f"n{number}" for number in range(1, nodes + self._setup.spare + 1))
        self._founders = self._names[:nodes]
        self._binary = server
        self._on_log = on_log
        self._lock = threading.RLock()
        self._exits = contextlib.ExitStack()
        self._running: dict[str, NodeProcess] = {}
        self._session = threading.local()
        self._client_numbers = itertools.count()
        self._traffic = Traffic(self._messages_sent)

    def __enter__(self) -> LiveCluster:
        with contextlib.ExitStack() as exits:
            preload()
            self.folder.mkdir(parents=True, exist_ok=True)
            self._timeline = exits.enter_context((self.folder / "events.jsonl").open("a", buffering=1))
            self._stream = exits.enter_context(
                contextlib.closing(new_stream(self.folder / "cluster.log", self._on_log))
            )
            ports = exits.enter_context(contextlib.closing(Ports()))
            self._plan(ports)
            exits.callback(self._stop_nodes)
            self._server = ToxiproxyServer(
                self._binary, ports.first_free(API_BASE), self._routes, self.folder / "toxiproxy.log"
            )
            exits.callback(self._server.stop)
            self.network = ToxiproxyNetwork(self._server, self._routes, self._note_fault, self._traffic.on)
            self._start_all()
            self._exits = exits.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop everything and give back the ports; harmless when done before."""
        self._exits.close()

    # What can be seen

    @property
    def nodes(self) -> tuple[str, ...]:
        return self._names

    def http_url(self, node: str) -> str:
        """Where people and clients reach the node: its client link."""
        return f"http://{self._plans[node].client}"

    def node_folder(self, node: str) -> Path:
        return self._plans[node].folder

    def pid(self, node: str) -> int | None:
        found = self._running.get(node)
        return found.process.pid if found is not None and found.process.alive else None

    def state(self, node: str) -> str:
        """``running``, ``paused`` or ``down``."""
        found = self._running.get(node)
        if found is None or not found.process.alive:
            return "down"
        return "paused" if found.process.paused else "running"

    def is_running(self, node: str) -> bool:
        return self.state(node) == "running"

    def status(self, node: str) -> NodeStatus | None:
        if not self.is_running(node):
            return None
        return konsul.read_status(self._requests(), self._plans[node])

    # What can be done

    def kill(self, node: str) -> str:
        node = self.resolve(node)
        with self._lock:
            self._traffic.ends(node)
            found = self._running.pop(node, None)
            if found is not None:
                found.process.kill()
                found.ended()
                self._note("kill", node=node)
        return node

    def restart(self, node: str, *, wipe: bool = False) -> str:
        node = self.resolve(node)
        with self._lock:
            self.kill(node)
            if wipe:
                processes.wipe(self._plans[node].data, self.folder)
            self._start(node, first=False)
            self._note("restart", node=node, wipe=wipe)
        return node

    def shut_down(self, node: str) -> str:
        node = self.resolve(node)
        with self._lock:
            found = self._must_run(node)
            self._traffic.read(node)
            found.process.stop()
        return self.kill(node)

    def fill_disk(self, node: str) -> str:
        # It looks like a full disk to this one process: whatever it appends to a file fails.
        return self._starve(node, "fill_disk", psutil.RLIMIT_FSIZE, lambda process: 0, "its disk is full")

    def exhaust_memory(self, node: str) -> str:
        # Not its address space, in which malloc reserves far more than it uses.
        return self._starve(
            node,
            "exhaust_memory",
            psutil.RLIMIT_DATA,
            lambda process: int(process.memory_info().data),
            "its memory is used up",
        )

    def snapshots(self, node: str) -> int:
        return len(konsul.snapshot_files(self._plans[node]))

    def damage_snapshot(self, node: str) -> str:
        node = self.resolve(node)
        assert self.state(node) == "down", f"{node} has its snapshot in memory"
        path = konsul.snapshot_files(self._plans[node])[-1]
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        self._note("damage_snapshot", node=node)
        return node

    def pause(self, node: str) -> str:
        node = self.resolve(node)
        with self._lock:
            found = self._must_run(node)
            self._traffic.read(node)
            found.process.pause()
            self._note("pause", node=node)
        return node

    def resume(self, node: str) -> str:
        node = self.resolve(node)
        with self._lock:
            found = self._must_run(node)
            self._note("resume", node=node)
            found.process.resume()
        return node

    def client(self, node: str) -> KonsulClient:
        addresses = {name: plan.raft for name, plan in self._plans.items()}
        return KonsulClient(next(self._client_numbers), self._plans[self.resolve(node)], self.history, addresses)

    @contextlib.contextmanager
    def working(self, scripts: Sequence[Script], nodes: Collection[str] | None = None) -> Iterator[Workers]:
        workers = Workers(scripts, list(nodes or self._names), self.client)
        workers.start()
        try:
            yield workers
        finally:
            workers.stop()

    # Waiting

    def wait_until(self, condition: Callable[[], T | None], what: str, timeout_s: float = 20.0) -> T:
        return wait_until(condition, what, timeout_s, seen=self._seen)

    def _seen(self) -> str:
        """What every node says of itself. One that should and does not leaves its threads' stacks in its stdout.log."""
        seen = []
        for node, status in self.statuses().items():
            if status is None and self.is_running(node):
                self._running[node].tell_stacks()
            seen.append(f"{node}: {status or self.state(node) + ', and silent'}")
        return "; ".join(seen)

    # Starting and stopping

    def _plan(self, ports: Ports) -> None:
        self._plans = {
            name: NodePlan(
                name,
                http=ports.first_free(HTTP_BASE),
                client=ports.first_free(CLIENT_BASE),
                raft=ports.first_free(RAFT_BASE),
                folder=self.folder / "nodes" / name,
            )
            for name in self._names
        }
        clients = [Route(Link(CLIENT, name), plan.client, plan.http) for name, plan in self._plans.items()]
        peers = [
            Route(link, ports.first_free(LINK_BASE), self._plans[link.target].raft) for link in peer_links(self._names)
        ]
        self._routes = tuple(clients + peers)

    def _start_all(self) -> None:
        for name in self._names:
            self._plans[name].folder.mkdir(parents=True, exist_ok=True)
            self._start(name, first=True)
        self._server.start()
        self.wait_until(
            lambda: all(map(self._is_up, self._names)), "every node has been told of the others", UP_DEADLINE_S
        )

    def _start(self, name: str, *, first: bool) -> None:
        """Start a node; on the first start the first node founds the cluster, and never again after."""
        plan = self._plans[name]
        founds = first and name == self._names[0]
        env = konsul.environment(
            plan,
            profile=self.profile,
            setup=self._setup,
            dial=self._dial(name),
            first_members=tuple(self._plans[founder] for founder in self._founders) if founds else (),
        )
        self._running[name] = NodeProcess(konsul.MODULE, name, env=env, folder=plan.folder, stream=self._stream)

    def _is_up(self, name: str) -> bool:
        if self._running[name].process.alive:
            status = self.status(name)
            return status is not None and (bool(status.members) or name not in self._founders)
        said = (self._plans[name].folder / "stdout.log").read_text(errors="replace").strip()
        raise WaitTimeoutError(f"{name} did not start: {said or 'it said nothing'}")

    def _dial(self, name: str) -> dict[Address, Address]:
        """For each peer: the listener of our link to it, in the place of its own address."""
        routes = {route.link: route.listen for route in self._routes}
        return {plan.raft: routes[Link(name, peer)] for peer, plan in self._plans.items() if peer != name}

    def _starve(self, node: str, event: str, resource: int, limit: Callable[[psutil.Process], int], reason: str) -> str:
        """Limit a resource of the node's to what it has; returns once it has stopped because of it."""
        node = self.resolve(node)
        found = self._must_run(node)
        process = psutil.Process(found.process.pid)
        process.rlimit(resource, (limit(process),) * 2)
        self._note(event, node=node)
        self.wait_until(lambda: not found.process.alive, f"{node} stops because {reason}")
        return self.kill(node)

    def _must_run(self, node: str) -> NodeProcess:
        found = self._running.get(node)
        if found is None or not found.process.alive:
            raise NoSuchNodeError(f"{node} is down; start it with: restart {node}")
        return found

    def _stop_nodes(self) -> None:
        for node in list(self._running):
            self.kill(node)

    # Asking behind the faults' back

    def _requests(self) -> requests.Session:
        """This thread's own session."""
        if not hasattr(self._session, "requests"):
            self._session.requests = konsul.new_session()
        session: requests.Session = self._session.requests
        return session

    def _messages_sent(self, node: str) -> Mapping[str, int] | None:
        """None of a node that is not running, or hangs; on a starved machine an answer takes more than a second."""
        for _ in range(COUNT_TRIES):
            if not self.is_running(node):
                return None
            counts = konsul.read_messages_sent(self._requests(), self._plans[node])
            if counts is not None:
                return counts
        return None

    # The timeline

    def _note(self, event: str, **fields: object) -> None:
        self._timeline.write(json.dumps({"at_s": time.monotonic(), "event": event, **fields}) + "\n")

    def _note_fault(self, fault: FaultEvent) -> None:
        links = ",".join(map(str, fault.links))
        record = {"at_s": fault.at_s, "event": fault.action, "links": links, "detail": fault.detail}
        if fault.attempted is not None:
            record["attempted"] = fault.attempted
        self._timeline.write(json.dumps(record) + "\n")
