"""python -m node: environment -> wiring -> run, until SIGTERM or SIGINT.

Exit status: 0 after a stop on request, 1 when the node had to stop (a failed disk, no more memory, a broken invariant),
2 when it could not start (a bad variable, a taken port, a data folder that is not its own).
"""

from __future__ import annotations

import logging
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NoReturn, TypeVar

from node import flaws
from node.config import Config, ConfigError, RaftConfig, read_config
from node.disk.storage import Storage, StorageError
from node.driver import Driver
from node.identity import ask
from node.machine.kv import KeyValueStore
from node.machine.state_machine import Frozen, StateMachine
from node.raft import Configuration, Raft
from node.server import Server
from node.standalone import Standalone
from node.trace import Trace
from node.transport import Transport
from node.web.client_api import client_app, metrics_app
from node.web.http import bind, own_hosts
from node.web.peer_api import peer_app
from node.web.serving import HttpServer

# Together well below the 1024 files that a process may usually have open.
CLIENT_CONNECTIONS = 512
PEER_CONNECTIONS = 256
METRICS_CONNECTIONS = 16

OUT_OF_MEMORY = b"konsul: the node stops: it is out of memory\n"

log = logging.getLogger("node")

T = TypeVar("T", threading.ExceptHookArgs, "sys.UnraisableHookArgs")


USAGE = """usage: python -m node

One Raft server that speaks Konsul's configuration, endpoints and metrics. It takes no arguments: everything is set in
KONSUL_* variables, which README.md lists. A cluster of one, on the first free port from 8500:

    KONSUL_RAFT_ENABLED=true KONSUL_RAFT_NODE_ID=node1 KONSUL_RAFT_ADVERTISE_ADDR=127.0.0.1:7001 \\
        KONSUL_RAFT_BOOTSTRAP=true python -m node"""


def main(arguments: Sequence[str], environment: Mapping[str, str] = os.environ) -> int:
    if arguments:
        asked = list(arguments) in (["--help"], ["-h"])
        print(USAGE, file=sys.stdout if asked else sys.stderr)
        return 0 if asked else 2
    try:
        config = read_config(environment)
        return _run(config)
    except (ConfigError, StorageError) as error:
        print(f"konsul: {error}", file=sys.stderr)
        return 2


def _run(config: Config) -> int:
    level = config.raft.log_level if config.raft else logging.INFO
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger().setLevel(level)
    _end_when_out_of_memory()
    ends = _block_ends()
    return _run_alone(config, ends) if config.raft is None else _run_member(config, config.raft, ends)


def _end_when_out_of_memory() -> None:
    """End the process, as kill -9 does, when one of its threads dies because memory is used up.

    Nobody would do what that thread did. The others would live on as a node that is deaf, or mute, or leads and serves
    nobody.
    """

    def ending(usual: Callable[[T], object]) -> Callable[[T], object]:
        def hook(failure: T) -> object:
            if not issubclass(failure.exc_type, MemoryError):
                return usual(failure)
            os.write(sys.stderr.fileno(), OUT_OF_MEMORY)
            os._exit(1)

        return hook

    threading.excepthook = ending(threading.excepthook)
    # Called for a thread that fails before it has begun.
    sys.unraisablehook = ending(sys.unraisablehook)


def _block_ends() -> set[signal.Signals]:
    """The signals that end the node, blocked from now on, to be waited for. To be called before any thread starts.

    A handler will not do. A signal that comes after Python last looked and before the main thread sleeps in a lock
    leaves that thread asleep, and the handler does not run. Of 150 nodes told to stop just after they had started, one
    did not. A parent that starts us with SIGINT ignored, as the bench and nohup do, wants Ctrl-C not to be for us.
    """
    ends = {signal.SIGTERM}
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        ends.add(signal.SIGINT)
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    return ends


def _run_alone(config: Config, ends: set[signal.Signals]) -> int:
    store = KeyValueStore()
    listener = bind(config.host, config.http_port, "the HTTP API (KONSUL_PORT)")
    app = client_app(Standalone(store), store, hosts=own_hosts(config, [listener]))
    http = HttpServer(app, listener, connections=CLIENT_CONNECTIONS)
    http.start()
    print(f"konsul: HTTP on http://{http.address}, standalone", flush=True)
    signal.sigwait(ends)
    http.stop()
    return 0


def _run_member(config: Config, raft: RaftConfig, ends: set[signal.Signals]) -> int:
    if raft.flaw is not None:
        log.critical("KONSUL_RAFT_FLAW=%s: this node breaks a rule of Raft on purpose, and may lose data", raft.flaw)
    storage = Storage(raft.data_dir, raft.node_id, retention=raft.snapshots.retention)
    listeners = [
        bind(*raft.bind, "Raft (KONSUL_RAFT_BIND_ADDR)"),
        bind(config.host, config.http_port, "the HTTP API (KONSUL_PORT)"),
    ]
    hosts = own_hosts(config, listeners)
    http_address = config.http_advertise or f"{config.host}:{listeners[1].getsockname()[1]}"
    machine = StateMachine()
    core = _open_raft(raft, storage, machine)
    driver = Driver(
        Server(core, machine, policy=raft.snapshots, process=os.getpid(), now=time.monotonic()),
        storage=storage,
        outcomes=lambda: dict(machine.outcomes),
        trace=Trace(raft.trace_file, raft.trace_zero_s),
        raft_address=str(raft.advertise),
        http_address=str(http_address),
        transport=partial(Transport, dial=raft.dial, settled_s=raft.timing.heartbeat_interval_s, limits=raft.transport),
        on_failure=lambda: os.kill(os.getpid(), signal.SIGTERM),
    )
    servers = [
        HttpServer(peer_app(driver, hosts=hosts), listeners[0], connections=PEER_CONNECTIONS),
        HttpServer(
            client_app(driver, machine.store, partial(ask, dial=raft.dial), hosts=hosts),
            listeners[1],
            connections=CLIENT_CONNECTIONS,
        ),
    ]
    if config.metrics_port is not None:
        listener = bind(config.host, config.metrics_port, "metrics (KONSUL_METRICS_PORT)")
        servers.append(HttpServer(metrics_app(driver, hosts=hosts), listener, connections=METRICS_CONNECTIONS))
    # Before the servers start: a peer that was quicker may speak at once, and a node that knows a term founds nothing.
    if raft.bootstrap:
        driver.found(Configuration.first(raft.peers or [(raft.node_id, str(raft.advertise))]))
    elif raft.peers:
        log.warning("KONSUL_RAFT_PEERS means nothing without KONSUL_RAFT_BOOTSTRAP=true")
    for server in servers:
        server.start()
    driver.start()
    _announce(raft, servers)
    signal.sigwait(ends)
    driver.stop()
    for server in servers:
        server.stop()
    if driver.failed:
        _abandon()
    storage.close()
    return 0


def _abandon() -> NoReturn:
    """End with the database as it is. Closing it would copy its journal into it and sync that, and a disk that has
    failed to sync once may call the next sync a success without having written a thing."""
    logging.shutdown()
    sys.stdout.flush()
    os._exit(1)


def _open_raft(config: RaftConfig, storage: Storage, machine: StateMachine) -> Raft:
    """The core over what `storage` holds, with `machine` restored from its snapshot."""
    hard_state, snapshot, log = storage.load()
    if snapshot is not None:
        try:
            machine.restore(Frozen.decode(snapshot.data))
        except ValueError as error:
            raise StorageError(f"the snapshot at {snapshot.meta.index} in {config.data_dir}: {error}") from error
    core = Raft if config.flaw is None else flaws.load(config.flaw)
    return core(
        config.node_id,
        log=log,
        hard_state=hard_state,
        snapshot=snapshot,
        timing=config.timing,
        limits=config.flow,
        rng=random.Random(),
        now=time.monotonic(),
    )


def _announce(config: RaftConfig, servers: list[HttpServer]) -> None:
    metrics = f", metrics on http://{servers[2].address}/metrics" if len(servers) > 2 else ""
    print(
        f"konsul: {config.node_id} (pid {os.getpid()}): HTTP on http://{servers[1].address}, "
        f"Raft on {servers[0].address}{metrics}, data in {config.data_dir}",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
