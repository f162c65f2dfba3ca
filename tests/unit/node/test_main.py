"""How a node is put together, started and ended, with its thread and its sockets replaced by what notes what is done.

As a process it is in `tests/integration/test_node_process.py`.
"""

from __future__ import annotations

import logging
import os
import random
import signal
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from node import flaws
from node.__main__ import main
from node.config import Address, TransportLimits
from node.disk.storage import Storage
from node.identity import ask
from node.machine.kv import Command, SetKey
from node.machine.state_machine import StateMachine
from node.raft import Configuration, Entry, EntryKind, FlowLimits, HardState, Raft, SnapshotMeta
from node.snapshots import SnapshotPolicy
from node.standalone import Standalone
from node.transport import Transport

HTTP_PORT, METRICS_PORT = 8601, 8602
MEMBER = {
    "KONSUL_HOST": "10.0.0.1",
    "KONSUL_PORT": str(HTTP_PORT),
    "KONSUL_METRICS_PORT": str(METRICS_PORT),
    "KONSUL_RAFT_ENABLED": "true",
    "KONSUL_RAFT_NODE_ID": "n1",
    "KONSUL_RAFT_BIND_ADDR": "0.0.0.0:7000",
    "KONSUL_RAFT_ADVERTISE_ADDR": "n1.example:7001",
    "KONSUL_RAFT_DIAL": "n2.example:7001=127.0.0.1:9002",
    "KONSUL_RAFT_BOOTSTRAP": "true",
    "KONSUL_RAFT_HEARTBEAT_TIMEOUT": "400ms",
    "KONSUL_RAFT_LEADER_LEASE_TIMEOUT": "300ms",
    "KONSUL_RAFT_MAX_APPEND_ENTRIES": "11",
    "KONSUL_RAFT_LIMITS": "bytes_in_flight=12,unanswered_bytes=13",
    "KONSUL_RAFT_SNAPSHOT_RETENTION": "3",
    "KONSUL_RAFT_LOG_LEVEL": "error",
    "KONSUL_RAFT_TRACE_FILE": "n1.trace",
    "KONSUL_RAFT_TRACE_ZERO": "1m30.5s",
}
DIAL = {"n2.example:7001": Address("127.0.0.1", 9002)}


class ExitError(BaseException):
    """In the place of an end at once."""


class Wiring:
    """What a node does, in order, and what it is made of."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.events: list[str] = []
        self.driver: dict[str, Any] = {}
        self.server: dict[str, Any] = {}
        self.apps: dict[str, SimpleNamespace] = {}
        self.fails = False
        self._environment = {**MEMBER, "KONSUL_RAFT_DATA_DIR": str(folder)}
        for name, stand_in in {
            "Driver": self._new_driver,
            "Server": self._new_server,
            "HttpServer": self._new_http,
            "Storage": self._new_storage,
            "Trace": lambda file, zero_s: ("trace", file, zero_s),
            "bind": self._bind,
            "peer_app": partial(self._app, "peers"),
            "client_app": partial(self._app, "clients"),
            "metrics_app": partial(self._app, "metrics"),
        }.items():
            patch.setattr(f"node.__main__.{name}", stand_in)
        patch.setattr(signal, "pthread_sigmask", lambda how, signals: self.events.append(f"block {sorted(signals)}"))
        # Whoever runs the tests in the background may have it ignored.
        patch.setattr(signal, "getsignal", lambda number: signal.default_int_handler)
        patch.setattr(signal, "sigwait", lambda signals: self.events.append("wait"))
        patch.setattr(os, "kill", lambda pid, number: self.events.append(f"kill {pid} {number}"))
        patch.setattr(os, "_exit", self._exit)
        # Put back afterwards.
        patch.setattr(threading, "excepthook", threading.excepthook)
        patch.setattr(sys, "unraisablehook", sys.unraisablehook)
        patch.setattr(logging.getLogger(), "level", logging.getLogger().level)

    def run(self, **changes: str) -> int:
        return main([], {**self._environment, **changes})

    def _exit(self, status: int) -> None:
        self.events.append(f"exit {status}")
        raise ExitError

    def _new_driver(self, server: object, **options: Any) -> SimpleNamespace:
        self.driver = options
        return SimpleNamespace(
            found=lambda configuration: self.events.append(f"found {self._addresses(configuration)}"),
            start=lambda: self.events.append("start driver"),
            stop=lambda: self.events.append("stop driver"),
            failed=self.fails,
        )

    def _addresses(self, configuration: Configuration) -> str:
        return ",".join(f"{server.id}@{server.address}" for server in configuration.servers)

    def _new_server(self, core: object, machine: object, **options: Any) -> object:
        self.server = {"core": core, "machine": machine, **options}
        return object()

    def _new_http(self, app: str, listener: SimpleNamespace, *, connections: int) -> SimpleNamespace:
        return SimpleNamespace(
            address=listener.address,
            start=lambda: self.events.append(f"serve {app} on {listener.address}"),
            stop=lambda: self.events.append(f"stop {app}"),
        )

    def _new_storage(self, folder: Path, node_id: str, *, retention: int) -> Storage:
        events = self.events

        class Closing(Storage):
            def close(self) -> None:
                super().close()
                events.append("close storage")

        events.append(f"keep {retention} for {node_id}")
        return Closing(folder, node_id, retention=retention)

    def _bind(self, host: str, port: int, purpose: str) -> SimpleNamespace:
        return SimpleNamespace(address=Address(host, port), getsockname=lambda: (host, port))

    def _app(self, name: str, *parts: Any, hosts: frozenset[str]) -> str:
        self.apps[name] = SimpleNamespace(parts=parts, hosts=hosts)
        return name


@pytest.fixture
def wiring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Wiring:
    return Wiring(tmp_path, monkeypatch)


def test_a_member_founds_before_it_can_be_spoken_to_and_hands_over_before_it_is_deaf(
    wiring: Wiring, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who has heard of a term founds nothing; and a node that hands leadership over is still to answer its clients."""
    assert wiring.run() == 0
    assert wiring.events == [
        f"block {sorted([signal.SIGINT, signal.SIGTERM])}",
        "keep 3 for n1",
        "found n1@n1.example:7001",
        "serve peers on 0.0.0.0:7000",
        f"serve clients on 10.0.0.1:{HTTP_PORT}",
        f"serve metrics on 10.0.0.1:{METRICS_PORT}",
        "start driver",
        "wait",
        "stop driver",
        *("stop peers", "stop clients", "stop metrics"),
        "close storage",
    ]
    said = capsys.readouterr().out
    for place in (f"HTTP on http://10.0.0.1:{HTTP_PORT},", "Raft on 0.0.0.0:7000", f"http://10.0.0.1:{METRICS_PORT}/"):
        assert place in said


def test_a_driver_is_told_what_the_environment_says(wiring: Wiring) -> None:
    wiring.run()
    transport = wiring.driver["transport"]
    assert wiring.driver["trace"] == ("trace", Path("n1.trace"), 90.5)
    assert (wiring.driver["raft_address"], wiring.driver["http_address"]) == (
        "n1.example:7001",
        f"10.0.0.1:{HTTP_PORT}",
    )
    limits = TransportLimits(unanswered_bytes=13)
    assert (transport.func, transport.keywords) == (Transport, {"dial": DIAL, "settled_s": 0.04, "limits": limits})
    assert wiring.server["policy"] == SnapshotPolicy(retention=3)
    assert wiring.server["process"] == os.getpid()
    core = wiring.server["core"]
    assert (core.id, core.limits) == ("n1", FlowLimits(entries_per_message=11, bytes_in_flight=12))
    assert (core.timing.heartbeat_timeout_s, core.timing.leader_lease_timeout_s) == (0.4, 0.3)
    assert logging.getLogger().level == logging.ERROR
    wiring.run(KONSUL_HTTP_ADVERTISE_ADDR="public.example:80")
    assert wiring.driver["http_address"] == "public.example:80"


def test_a_node_that_is_to_break_a_rule_does_and_says_so_however_little_it_logs(
    wiring: Wiring, caplog: pytest.LogCaptureFixture
) -> None:
    wiring.run()
    assert type(wiring.server["core"]) is Raft
    assert caplog.text == ""
    wiring.run(KONSUL_RAFT_FLAW="forget_vote")
    assert type(wiring.server["core"]) is flaws.load("forget_vote")
    assert "KONSUL_RAFT_FLAW=forget_vote: this node breaks a rule of Raft on purpose" in caplog.text


def test_no_two_nodes_draw_the_same_timeouts(wiring: Wiring, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one seed all would stand for election at once, again and again."""
    seeds: list[tuple[object, ...]] = []

    def drawn(*seed: object) -> random.Random:
        seeds.append(seed)
        return random.Random(1)

    monkeypatch.setattr("node.__main__.random", SimpleNamespace(Random=drawn))
    wiring.run()
    assert seeds == [()]


def test_every_surface_is_asked_for_by_the_nodes_names_and_reads_its_store(wiring: Wiring) -> None:
    wiring.run(KONSUL_METRICS_PORT=str(METRICS_PORT), KONSUL_HTTP_ALLOWED_HOSTS="raft.example")
    assert set(wiring.apps) == {"peers", "clients", "metrics"}
    assert all("raft.example" in app.hosts for app in wiring.apps.values())
    _, store, identify = wiring.apps["clients"].parts
    assert store is wiring.server["machine"].store
    assert (identify.func, identify.keywords) == (ask, {"dial": DIAL})


def test_metrics_that_are_off_are_served_by_nobody(wiring: Wiring) -> None:
    wiring.run(KONSUL_METRICS_PORT="off")
    assert [event for event in wiring.events if event.startswith("serve")] == [
        "serve peers on 0.0.0.0:7000",
        f"serve clients on 10.0.0.1:{HTTP_PORT}",
    ]


def founded(wiring: Wiring) -> list[str]:
    return [event for event in wiring.events if event.startswith("found")]


def test_who_founds_with_peers_founds_with_all_of_them_and_who_is_not_told_to_founds_nothing(
    wiring: Wiring, caplog: pytest.LogCaptureFixture
) -> None:
    peers = "n2@n2.example:7001,n1@n1.example:7001"
    wiring.run(KONSUL_RAFT_PEERS=peers)
    assert founded(wiring) == ["found n1@n1.example:7001,n2@n2.example:7001"]
    wiring.events.clear()
    with caplog.at_level(logging.WARNING):
        wiring.run(KONSUL_RAFT_PEERS=peers, KONSUL_RAFT_BOOTSTRAP="false", KONSUL_RAFT_LOG_LEVEL="warn")
    assert founded(wiring) == []
    assert "means nothing without KONSUL_RAFT_BOOTSTRAP" in caplog.text


def test_a_node_goes_on_with_what_is_on_its_disk(wiring: Wiring, tmp_path: Path) -> None:
    first, second = (Entry(index, 4, EntryKind.COMMAND, Command(SetKey(f"k{index}", "v")).encode()) for index in (1, 2))
    machine = StateMachine()
    machine.apply(first)
    storage = Storage(tmp_path, "n1")
    storage.save(HardState(5, "n2"), [first, second])
    configuration = Configuration.first([("n1", "n1.example:7001")])
    storage.write_snapshot(SnapshotMeta(1, 4, configuration, 0), machine.freeze().lines())
    storage.close()
    wiring.run()
    core, restored = wiring.server["core"], wiring.server["machine"]
    assert (core.current_term, core.voted_for, core.log.last_index) == (5, "n2", 2)
    assert (core.last_applied, core.snapshot.meta.index) == (1, 1)
    assert (restored.store.get("k1"), restored.digest) == (machine.store.get("k1"), machine.digest)


def test_a_driver_that_fails_ends_the_node_with_1_and_leaves_the_disk_as_it_is(wiring: Wiring) -> None:
    wiring.fails = True
    with pytest.raises(ExitError):
        wiring.run()
    assert wiring.events[-3:] == ["stop clients", "stop metrics", "exit 1"]
    wiring.driver["on_failure"]()
    assert wiring.events[-1] == f"kill {os.getpid()} {signal.SIGTERM}"


@pytest.mark.parametrize("damage", [b"", b"not a snapshot\n"])
def test_a_snapshot_of_something_else_is_told_and_nothing_is_started(
    wiring: Wiring, tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: bytes
) -> None:
    storage = Storage(tmp_path, "n1")
    storage.save(HardState(5), ())
    storage.install(None, storage.write_snapshot(SnapshotMeta(1, 4, Configuration(), 0), [b"{}" + damage]), ())
    storage.close()
    assert wiring.run() == 2
    assert "konsul: the snapshot at 1 in" in capsys.readouterr().err
    assert not [event for event in wiring.events if event.startswith(("serve", "start"))]


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"KONSUL_RAFT_NODE_ID": ""}, "KONSUL_RAFT_NODE_ID"), ({"KONSUL_RAFT_NODE_ID": "n2"}, "belongs to node n1")],
)
def test_who_cannot_start_says_why_in_a_line_and_ends_with_2(
    wiring: Wiring, tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, str], said: str
) -> None:
    Storage(tmp_path, "n1").close()
    assert wiring.run(**changes) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("konsul: ")
    assert said in line


def test_without_a_cluster_a_store_is_served_until_it_is_told_to_stop(wiring: Wiring) -> None:
    assert wiring.run(KONSUL_RAFT_ENABLED="false") == 0
    assert wiring.events[1:] == [f"serve clients on 10.0.0.1:{HTTP_PORT}", "wait", "stop clients"]
    backend, _ = wiring.apps["clients"].parts
    assert isinstance(backend, Standalone)
    assert "10.0.0.1" in wiring.apps["clients"].hosts


def test_a_ctrl_c_that_is_ignored_by_whoever_starts_the_node_is_not_for_it(
    wiring: Wiring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signal, "getsignal", lambda number: signal.SIG_IGN)
    wiring.run()
    assert wiring.events[0] == f"block {[signal.SIGTERM]}"


def raised(kind: type[BaseException]) -> SimpleNamespace:
    return SimpleNamespace(exc_type=kind, exc_value=kind(), exc_traceback=None, thread=None, err_msg=None, object=None)


@pytest.mark.parametrize(
    "hook", [lambda: threading.excepthook, lambda: sys.unraisablehook], ids=["of a thread", "before it began"]
)
def test_a_thread_that_dies_for_want_of_memory_ends_the_node_and_no_other_does(
    wiring: Wiring,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    hook: Callable[[], Callable[[Any], object]],
) -> None:
    usual: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", usual.append)
    monkeypatch.setattr(sys, "unraisablehook", usual.append)
    wiring.run()
    other = raised(ValueError)
    hook()(other)
    assert usual == [other]
    with pytest.raises(ExitError):
        hook()(raised(MemoryError))
    assert wiring.events[-1] == "exit 1"
    assert "out of memory" in capfd.readouterr().err
