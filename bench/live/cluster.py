"""`LiveCluster`: nodes, links and Toxiproxy of one cluster, from start to a stop that leaves nothing behind."""

from __future__ import annotations

import contextlib
import random
import signal
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Self, TypeVar

import psutil

from bench.case import Plan
from bench.cluster import Cluster, DidNotStartError, NodeStatus, PromiseBrokenError
from bench.live import limits
from bench.live.bypasses import Bypasses
from bench.live.clients import Connections
from bench.live.log import end_of, new_stream, say
from bench.live.ports import Ports
from bench.live.traffic import Traffic
from bench.live.waiting import wait_until
from bench.live.workers import LiveWorkers
from bench.operations import Operation, Question
from bench.store import Recording
from bench.systems.protocol import Connection, NodePlan, Running, System
from bench.workload import BRISK, Pace, Script
from faults import processes
from faults.links import BYPASS, CLIENT, KEPT, RESTARTED, Address, Link, Route, peer_links
from faults.network import FaultEvent, ToxiproxyNetwork
from faults.nodes import NodeState
from faults.toxiproxy import ToxiproxyServer

T = TypeVar("T")

CLIENT_BASE, RAFT_BASE, HTTP_BASE, LINK_BASE, API_BASE = 8500, 7001, 18500, 17000, 28474
COUNT_TRIES = 5
LAST_ANSWERS_S = 5.0
"""How long to wait, once nothing answers any more, for clients that a scenario left at work."""

CANNOT = {
    "slow_disk": "no way is known to slow down the real disk of one process alone",
    "failed_save": "a disk that refuses one save refuses all, until there is room again: see full_disk",
    "torn_saves": "a real process cannot be killed in the middle of a save on purpose",
    "clocks": "all processes of a machine have one clock",
    "noise": "Toxiproxy passes on bytes, and knows of no messages",
    "moves": "the ports of all nodes are given out before the first of them starts",
}
"""What cannot be done to real processes, and why."""
if not limits.AVAILABLE:
    CANNOT |= dict.fromkeys(("full_disk", "memory_limit"), "the limits of a running process cannot be moved here")


class LiveCluster(Cluster):
    """A `Cluster` of real processes of `system`, with all its files where `recording` says. `server` is the Toxiproxy
    server."""

    network: ToxiproxyNetwork

    def __init__(self, plan: Plan, recording: Recording, *, system: System, server: Path) -> None:
        super().__init__(plan, recording)
        self.recording = recording
        self.system = system
        self._binary = server
        self._processes: dict[str, Running] = {}
        self._connections = Connections(self._connect)
        self._workers: list[LiveWorkers] = []
        self._last_look: Future[frozenset[Link]] | None = None
        self.unasked: list[str] = []
        """What the bench has done to the cluster without being asked, in words."""
        self._incomplete: set[str] = set()
        """Nodes whose files were taken from them; they may refuse to start."""
        self._short_of_room: dict[str, Running] = {}
        """Nodes that have room again, but may yet end because of what could not be written before."""

    @contextlib.contextmanager
    def opened(self) -> Iterator[Self]:
        self.system.prepare()
        with contextlib.ExitStack() as exits:
            self._stream = exits.enter_context(
                contextlib.closing(new_stream(self.recording.log, self.recording.zero_s))
            )
            self._looks = exits.enter_context(ThreadPoolExecutor(1, "bypasses"))
            exits.callback(self._have_looked)
            ports = exits.enter_context(contextlib.closing(Ports()))
            routes = self._lay_out(ports)
            self._traffic = Traffic(self._messages_sent, {route.link: route.listen for route in routes})
            self._bypasses = Bypasses(routes)
            proxies = ToxiproxyServer(self._binary, ports.first_free(API_BASE), routes, self.recording.toxiproxy_log)
            self.network = ToxiproxyNetwork(proxies, routes, self._note_fault, self._traffic.on, self.still)
            exits.callback(self._dismiss_clients)
            exits.callback(self._end_nodes)
            exits.callback(proxies.stop)
            exits.callback(self._connections.close)
            proxies.start()
            yield self

    def _lay_out(self, ports: Ports) -> tuple[Route, ...]:
        """Decide where each node lives, and return the route of every link."""
        nodes = self.nodes
        http = {node: ports.first_free(HTTP_BASE) for node in nodes}
        client = {node: ports.first_free(CLIENT_BASE) for node in nodes}
        raft = {node: ports.first_free(RAFT_BASE) for node in nodes}
        links = {link: ports.first_free(LINK_BASE) for link in peer_links(nodes)}
        self._plans = {
            node: NodePlan(
                node,
                http=http[node],
                client=client[node],
                raft=raft[node],
                folder=self.recording.node_folder(node),
                trace=self.recording.trace_file(node),
                zero_s=self.recording.zero_s,
                dial={raft[peer]: links[Link(node, peer)] for peer in nodes if peer != node},
            )
            for node in nodes
        }
        clients = [Route(Link(CLIENT, node), client[node], http[node]) for node in nodes]
        return (*clients, *(Route(link, listen, raft[link.target]) for link, listen in links.items()))

    # What can be seen

    @property
    def now_s(self) -> float:
        return time.monotonic() - self.recording.zero_s

    def can(self, need: str) -> str | None:
        return CANNOT.get(need) or self.system.can(need)

    def node_plan(self, node: str) -> NodePlan:
        """Where the node lives."""
        return self._plans[node]

    def pid(self, node: str) -> int | None:
        found = self._processes.get(node)
        return found.process.pid if found is not None and found.process.alive else None

    def state(self, node: str) -> str:
        """``running``, ``paused`` or ``down``."""
        found = self._processes.get(node)
        if found is None or not found.process.alive:
            return "down"
        return "paused" if found.process.paused else "running"

    def is_running(self, node: str) -> bool:
        return self.state(node) == "running"

    def status(self, node: str) -> NodeStatus | None:
        return self.system.status(self._plans[node]) if self.is_running(node) else None

    def address(self, node: str) -> str:
        return str(self._plans[node].raft)

    def bypassed(self) -> frozenset[Link]:
        """The links that were ever seen to be gone past, up to now."""
        for node in self.nodes:
            self._look_past_links(node)
        return self._bypasses.links

    def _look_past_links(self, node: str) -> None:
        """Note what was not noted before. It takes some milliseconds."""
        pid = self.pid(node)
        for bypass in self._bypasses.look(node, pid) if pid is not None else ():
            self.note(BYPASS, links=str(bypass.link), detail=str(bypass))
            say(self._stream, f"{bypass.link} was gone past: {bypass}")

    def snapshots(self, node: str) -> int:
        self._must_can("snapshot_files")
        return len(self.system.snapshot_files(self._plans[self.resolve(node)]))

    # Clients

    def ask(self, client: int, node: str, asked: Question) -> Operation:
        self.still.goes_on()
        self._connections.check_open()
        node = self.resolve(node)
        number = self.history.invoked(client, node, asked, self.now_s)
        told = self._connections.ask(client, node, asked)
        return self.history.completed(number, told, self.now_s)

    def workers(self, scripts: Sequence[Script], nodes: Sequence[str], pace: Pace = BRISK) -> LiveWorkers:
        clients = [(self.new_client(), script) for script in scripts]
        rng = random.Random(f"{self.plan.seed}/workers/{len(self._workers)}")
        workers = LiveWorkers(clients, nodes, self.ask, pace=pace, rng=rng)
        self._workers.append(workers)
        return workers

    def _connect(self, node: str) -> Connection:
        return self.system.connect(self._plans[node], self._plans, self.plan.settings.client_timeout_s)

    def _dismiss_clients(self) -> None:
        """Stop the clients that a scenario has left at work. Nothing answers them any more, so they soon notice."""
        for workers in self._workers:
            workers.stop()
        for workers in self._workers:
            workers.join(LAST_ANSWERS_S)

    # Time

    def pass_time(self, until_s: float) -> None:
        time.sleep(max(0.0, until_s - self.now_s))
        self._start_anew()

    def wait_until(self, condition: Callable[[], T | None], what: str, timeout_s: float = 20.0) -> T:
        def found() -> T | None:
            self._start_anew()
            return condition()

        self.still.goes_on()
        return wait_until(found, what, timeout_s, seen=self._seen)

    def _seen(self) -> str:
        """What every node says of itself, a line each. A running node that says nothing writes its stacks into its own
        folder."""
        for node, found in list(self._processes.items()):
            if self.is_running(node) and self.status(node) is None:
                found.tell_stacks()
        said = ((node, self.status(node) or f"{self.state(node)}, and silent") for node in self.nodes)
        return "".join(f"\n  {node}: {status}" for node, status in said)

    # Faults

    def damage_snapshot(self, node: str) -> str:
        self._must_can("snapshot_files")
        node = self.resolve(node)
        files = self.system.snapshot_files(self._plans[node])
        if self._has_process(node) or not files:
            raise ValueError(f"{node} runs and has its snapshot in memory, or has none; kill it when it has")
        content = files[-1].read_bytes()
        files[-1].write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        self.note("damage_snapshot", node=node)
        return node

    def _enforce(self, node: str, former: NodeState, state: NodeState) -> None:
        found = self._processes.get(node)
        if found is not None and (state.down or not found.process.alive):
            self._end(node, found, short_of_room=former.disk_full or former.memory_full)
        elif found is not None:
            # A node that dies by itself at this instant is found dead when the fault is over.
            with contextlib.suppress(psutil.NoSuchProcess):
                _limit(found.process.pid, former, state)
            if (former.disk_full and not state.disk_full) or (former.memory_full and not state.memory_full):
                self._short_of_room[node] = found
            self._hold(node, found, former, state)
        if state.may_start and not former.may_start:
            self.start(node)

    def _start_anew(self) -> None:
        """Start the nodes that ended for want of room when there was room again."""
        with self.node_faults.lock:
            for node, found in list(self._short_of_room.items()):
                if self._processes.get(node) is not found:
                    del self._short_of_room[node]
                elif not found.process.alive:
                    self.start(node)

    def _hold(self, node: str, found: Running, former: NodeState, state: NodeState) -> None:
        """Pause the node, or let it go on."""
        if state.paused and not former.paused:
            self._traffic.read(node)
            found.process.pause()
            self.note("pause", node=node)
        elif former.paused and not state.paused:
            self.note("resume", node=node)
            found.process.resume()

    def _wipe(self, node: str) -> None:
        self._incomplete.discard(node)
        processes.wipe(self._plans[node].data, self.recording.folder)

    def _copy_disk(self, node: str) -> None:
        processes.copy(self._plans[node].data, self._copy_of(node), self.recording.folder)

    def _bring_back_disk(self, node: str) -> None:
        self._incomplete.discard(node)
        processes.copy(self._copy_of(node), self._plans[node].data, self.recording.folder)

    def _copy_of(self, node: str) -> Path:
        return self._plans[node].folder / "data-copy"

    def _kinds_of_files(self, node: str) -> Collection[str]:
        return self.system.data_files(self._plans[node])

    def _lose_files(self, node: str, kind: str) -> None:
        for file in self.system.data_files(self._plans[node])[kind]:
            file.unlink(missing_ok=True)
        self._incomplete.add(node)

    def _ask_to_stop(self, node: str) -> None:
        with self.node_faults.lock:
            self._traffic.ends(node)
            self.bypassed()
            found = self._processes.pop(node)
            found.process.stop()
            found.ended()
            self.network.ended(node)
            self.note("shut_down", node=node)

    def _end(self, node: str, found: Running, *, short_of_room: bool = False) -> None:
        """Kill it, or take note that it has died by itself, which nobody may who has room. Who went past a link of its
        own is seen before."""
        short_of_room = short_of_room or self._short_of_room.get(node) is found
        self._traffic.ends(node)
        self.bypassed()
        dead = not found.process.alive
        found.process.kill()
        found.ended()
        self.network.ended(node)
        del self._processes[node]
        if dead:
            code = found.process.exit_code
            self.note("died", node=node, exit_code=code)
            if not short_of_room and node not in self._incomplete and code != -signal.SIGKILL:
                words = f"{node} has stopped by itself, with exit status {code}"
                self.broken = self.broken or PromiseBrokenError("nothing_fails", words, at_s=self.now_s)
        else:
            self.note("kill", node=node)

    def _end_nodes(self) -> None:
        with self.node_faults.lock:
            for node, found in list(self._processes.items()):
                self._end(node, found)

    def _note_fault(self, fault: FaultEvent) -> None:
        attempted = {} if fault.attempted is None else {"attempted": fault.attempted}
        if fault.action == RESTARTED:
            self.unasked.append(f"Toxiproxy had to be started again ({fault.detail}): every connection broke")
            say(self._stream, self.unasked[-1])
        links = ",".join(map(str, fault.links))
        self.note(fault.action, at_s=fault.at_s - self.recording.zero_s, links=links, detail=fault.detail, **attempted)
        if fault.action in ("heal", KEPT):
            # Beside the story, which is not to wait for it: how soon all is well again may be what it is about.
            self._have_looked()
            self._last_look = self._looks.submit(self.bypassed)

    def stay(self) -> None:
        """The story is over, and the cluster goes on as it is. What happens from here on is no part of the run."""
        self.still.stay()
        self._have_looked()
        self.recording.set_aside()
        say(self._stream, "the story is over; its cluster is kept as it is")

    def _have_looked(self) -> None:
        """Wait for the last look, and raise what it failed of, as a full disk."""
        if self._last_look is not None:
            self._last_look.result()

    # Starting

    def _has_process(self, node: str) -> bool:
        return self.pid(node) is not None

    def _start(self, node: str, *, founds: bool) -> None:
        self._connections.check_open()
        former = self._processes.get(node)
        if former is not None:
            self._end(node, former)
        founders = [self._plans[member] for member in self.plan.members] if founds else []
        self._processes[node] = self.system.start(self._plans[node], self.plan, founders=founders, stream=self._stream)

    def _answers(self, node: str) -> bool:
        found = self._processes.get(node)
        if found is not None and not found.process.alive:
            raise DidNotStartError(f"{node} did not start; the end of what it said: {end_of(found.printed())}")
        return super()._answers(node)

    def _messages_sent(self, node: str) -> Mapping[Address, int] | None:
        """None of a node that is not running, or hangs; on a starved machine an answer takes more than a second."""
        for _ in range(COUNT_TRIES):
            if not self.is_running(node):
                return None
            counts = self.system.messages_sent(self._plans[node])
            if counts is not None:
                return counts
        return None


def _limit(pid: int, former: NodeState, state: NodeState) -> None:
    """Take away room, or give it back."""
    if state.disk_full != former.disk_full:
        (limits.fill_disk if state.disk_full else limits.free_disk)(pid)
    if state.memory_full != former.memory_full:
        (limits.exhaust_memory if state.memory_full else limits.free_memory)(pid)
