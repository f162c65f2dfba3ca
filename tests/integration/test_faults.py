"""Faults on a real Toxiproxy, seen with plain sockets."""

from __future__ import annotations

import contextlib
import itertools
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import psutil
import pytest

from bench.live.ports import Ports
from faults.links import RESTARTED, Address, Kind, Link, LinkState, Mode, Route
from faults.network import FaultEvent, ToxiproxyNetwork
from faults.toxiproxy import ToxiproxyError, ToxiproxyServer

LINK = Link("a", "b")
SILENCE_S = 0.3
FULL_S = 1.0
BASE = 21000


class Bench:
    """One link to a server that echoes, and whatever else."""

    def __init__(self, toxiproxy: Path, folder: Path, ports: Ports, *others: Route) -> None:
        self._echo = socket.create_server(("127.0.0.1", 0), backlog=1024)
        threading.Thread(target=self._serve, daemon=True).start()
        self.route = Route(LINK, ports.first_free(BASE), Address("127.0.0.1", self._echo.getsockname()[1]))
        routes = [self.route, *others]
        self.server = ToxiproxyServer(toxiproxy, ports.first_free(BASE), routes, folder / "toxiproxy.log")
        self.server.start()
        self.events: list[FaultEvent] = []
        self.meant = itertools.count()
        self.network = ToxiproxyNetwork(self.server, routes, self.events.append, self._messages_meant)

    def _messages_meant(self, links: Collection[Link]) -> dict[Link, int]:
        return {link: next(self.meant) for link in links}

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._echo.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            while data := connection.recv(1024):
                connection.sendall(data)

    def connect(self) -> socket.socket:
        connection = socket.create_connection(self.route.listen)
        connection.settimeout(5)
        return connection

    def close(self) -> None:
        self.server.stop()
        self._echo.close()


@pytest.fixture
def bench(toxiproxy: Path, tmp_path: Path, ports: Ports) -> Iterator[Bench]:
    found = Bench(toxiproxy, tmp_path, ports)
    yield found
    found.close()


def runs(process: psutil.Process) -> bool:
    try:
        return process.status() not in (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def echoes(connection: socket.socket) -> bool:
    connection.sendall(b"?")
    return connection.recv(1) == b"?"


def test_a_blackhole_swallows_and_its_healing_closes(bench: Bench) -> None:
    with bench.connect() as connection:
        assert echoes(connection)
        with bench.network.cutting([LINK], Mode.BLACKHOLE):
            connection.sendall(b"lost")
            connection.settimeout(SILENCE_S)
            with pytest.raises(TimeoutError):
                connection.recv(1)
        connection.settimeout(5)
        assert connection.recv(1) == b"", "a stream with a hole in it must not go on"
    with bench.connect() as connection:
        assert echoes(connection)


def test_refusing_closes_what_is_open_and_lets_nothing_in(bench: Bench) -> None:
    with bench.connect() as connection:
        assert echoes(connection)
        with bench.network.cutting([LINK], Mode.REFUSE):
            assert connection.recv(1) == b""
            with pytest.raises(ConnectionRefusedError):
                bench.connect()


def test_what_is_held_arrives_late_and_whole(bench: Bench) -> None:
    with bench.connect() as connection:
        assert echoes(connection)
        with bench.network.cutting([LINK], Mode.HOLD):
            connection.sendall(b"late")
            connection.settimeout(SILENCE_S)
            with pytest.raises(TimeoutError):
                connection.recv(1)
        connection.settimeout(5)
        assert connection.recv(4) == b"late"


@pytest.mark.parametrize("mode", list(Mode))
def test_the_state_is_what_the_server_says_and_heals_on_an_exception(bench: Bench, mode: Mode) -> None:
    def fail_on_the_way() -> None:
        with bench.network.cutting([LINK], mode):
            assert bench.network.state() == {LINK: LinkState(cut=mode)}
            raise RuntimeError("on the way")

    with pytest.raises(RuntimeError, match="on the way"):
        fail_on_the_way()
    assert bench.network.state() == {LINK: LinkState()}
    assert [event.action for event in bench.events] == ["cut", "heal"]


@pytest.mark.parametrize("mode", list(Mode))
def test_a_link_heals_while_another_stays_faulty(mode: Mode, toxiproxy: Path, tmp_path: Path, ports: Ports) -> None:
    other = Route(Link("b", "a"), ports.first_free(BASE + 50), Address("127.0.0.1", 9))
    with contextlib.closing(Bench(toxiproxy, tmp_path, ports, other)) as bench:
        bench.network.delay([other.link], 10)
        bench.network.cut([LINK], mode)
        bench.network.heal([LINK])
        assert bench.network.state() == {LINK: LinkState(), other.link: LinkState(latency_ms=10)}
        with bench.connect() as connection:
            assert echoes(connection)


def test_a_healing_tells_what_was_meant_for_its_links_since_they_were_broken(bench: Bench) -> None:
    """And of no others: what was up before was not healed."""
    bench.network.heal()
    bench.network.cut([LINK], Mode.HOLD)
    bench.network.delay([LINK], 10)
    for _ in range(5):
        next(bench.meant)
    bench.network.heal()
    assert bench.events[-1].links == (LINK,)
    attempted = [(event.action, event.attempted) for event in bench.events]
    assert attempted == [("cut", None), ("delay", None), ("heal", 6)]


def test_what_a_fault_has_met_can_be_asked_while_it_lasts(bench: Bench) -> None:
    assert bench.network.met() == {}
    bench.network.cut([LINK], Mode.HOLD)
    for _ in range(5):
        next(bench.meant)
    assert bench.network.met([LINK]) == {LINK: 6}
    bench.network.heal()
    assert bench.network.met() == {}


def test_faults_of_several_kinds_are_in_force_together(bench: Bench) -> None:
    bench.network.delay([LINK], 30, 5)
    bench.network.limit([LINK], 64)
    bench.network.cut([LINK], Mode.HOLD)
    assert str(bench.network.state()[LINK]) == "cut (hold), 30ms±5ms, 64 KiB/s"
    bench.network.heal()
    assert str(bench.network.state()[LINK]) == "up"


def test_a_command_given_twice_counts_as_it_was_given_last_and_a_block_is_a_fault_of_its_own(bench: Bench) -> None:
    bench.network.delay([LINK], 40)
    with bench.network.delayed([LINK], 3):
        bench.network.delay([LINK], 20)
        assert bench.network.state() == {LINK: LinkState(latency_ms=23)}
    assert bench.network.state() == {LINK: LinkState(latency_ms=20)}


def test_healing_undoes_what_a_block_did_and_the_end_of_the_block_then_does_nothing(bench: Bench) -> None:
    with bench.network.cutting([LINK]), bench.network.limited([LINK], 64):
        bench.network.heal([LINK], Kind.CUT)
        assert bench.network.state() == {LINK: LinkState(rate_kib_s=64)}
        bench.network.heal([LINK])
        bench.network.delay([LINK], 20)
    assert bench.network.state() == {LINK: LinkState(latency_ms=20)}
    assert [event.action for event in bench.events] == ["cut", "limit", "end", "heal", "delay"]


@pytest.fixture(scope="module")
def shared(toxiproxy: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """One server for all pairs of faults."""
    with contextlib.ExitStack() as exits:
        ports = exits.enter_context(contextlib.closing(Ports()))
        yield exits.enter_context(contextlib.closing(Bench(toxiproxy, tmp_path_factory.mktemp("pairs"), ports)))


Begin = Callable[[ToxiproxyNetwork], AbstractContextManager[None]]

FAULTS: dict[str, tuple[Begin, LinkState]] = {
    Mode.BLACKHOLE: (lambda network: network.cutting([LINK], Mode.BLACKHOLE), LinkState(cut=Mode.BLACKHOLE)),
    Mode.REFUSE: (lambda network: network.cutting([LINK], Mode.REFUSE), LinkState(cut=Mode.REFUSE)),
    Mode.HOLD: (lambda network: network.cutting([LINK], Mode.HOLD), LinkState(cut=Mode.HOLD)),
    "delay": (lambda network: network.delayed([LINK], 10, 5), LinkState(latency_ms=10, jitter_ms=5)),
    "limit": (lambda network: network.limited([LINK], 64), LinkState(rate_kib_s=64)),
}
"""How a fault begins, and what it alone does to the link."""


@pytest.mark.xdist_group("pairs of faults")
@pytest.mark.parametrize("over", ["the first", "the second"])
@pytest.mark.parametrize(("first", "second"), list(itertools.product(FAULTS, repeat=2)))
def test_of_two_faults_on_a_link_each_ends_alone(shared: Bench, first: str, second: str, over: str) -> None:
    network, server = shared.network, shared.server.pid
    (begin, alone), (begin_also, also) = FAULTS[first], FAULTS[second]
    with contextlib.ExitStack() as one, contextlib.ExitStack() as other:
        one.enter_context(begin(network))
        assert network.state() == {LINK: alone}
        other.enter_context(begin_also(network))
        assert network.state() == {LINK: alone + also}
        (one if over == "the first" else other).close()
        assert network.state() == {LINK: also if over == "the first" else alone}
    assert network.state() == {LINK: LinkState()}
    with shared.connect() as connection:
        assert echoes(connection)
    assert shared.server.pid == server, "it did what it was told at once"


@pytest.mark.parametrize("kind", ["delay", "limit", Mode.HOLD])
def test_what_is_held_stays_held_and_whole_while_other_faults_come_and_go(kind: str, bench: Bench) -> None:
    with bench.connect() as connection:
        assert echoes(connection)
        connection.settimeout(SILENCE_S)
        with bench.network.cutting([LINK], Mode.HOLD):
            connection.sendall(b"so ")
            with pytest.raises(TimeoutError):
                connection.recv(1)
            with FAULTS[kind][0](bench.network):
                connection.sendall(b"late")
            with pytest.raises(TimeoutError):
                connection.recv(1)
        connection.settimeout(5)
        received = b""
        while len(received) < len(b"so late"):
            received += connection.recv(7)
        assert received == b"so late"


def test_what_is_held_is_lost_to_a_blackhole_that_begins_and_ends_meanwhile(bench: Bench) -> None:
    with bench.connect() as connection:
        assert echoes(connection)
        with bench.network.cutting([LINK], Mode.HOLD):
            connection.sendall(b"lost")
            with bench.network.cutting([LINK], Mode.BLACKHOLE):
                pass
            assert connection.recv(1) == b""
            again = bench.connect()
            again.sendall(b"late")
        with again:
            assert again.recv(4) == b"late"


def test_a_delay_that_changes_under_a_cut_is_in_force_when_the_cut_is_over(bench: Bench) -> None:
    """Toxiproxy 2.12.0 answers nobody for seconds if a toxic beside one that holds is taken away."""
    bench.network.delay([LINK], 300)
    with bench.connect() as connection:
        connection.sendall(b"held")
        with bench.network.cutting([LINK], Mode.HOLD):
            bench.network.delay([LINK], 1)
            assert bench.network.state() == {LINK: LinkState(cut=Mode.HOLD, latency_ms=1)}
            (toxic,) = (one for one in bench.server.proxies()[str(LINK)]["toxics"] if one["name"] == "delay")
            assert toxic["attributes"]["latency"] == 300
        assert connection.recv(4) == b"held"
    assert bench.network.state() == {LINK: LinkState(latency_ms=1)}
    (toxic,) = bench.server.proxies()[str(LINK)]["toxics"]
    assert toxic["attributes"]["latency"] == 1


def test_all_links_can_be_healed_at_once_when_one_is_slow_and_holds_as_well(bench: Bench) -> None:
    """Toxiproxy 2.12.0 never ends a reset that takes the delay away from before what holds."""
    bench.network.delay([LINK], 200)
    with bench.connect() as connection:
        bench.network.cut([LINK], Mode.HOLD)
        connection.sendall(bytes(256 * 1024))
        bench.network.heal()
        assert connection.recv(1) == b"\0"
    assert RESTARTED not in {event.action for event in bench.events}


@pytest.mark.parametrize("faults", [LinkState(latency_ms=600), LinkState(latency_ms=600, cut=Mode.HOLD)], ids=str)
def test_a_delay_can_change_when_the_node_has_died_that_it_was_keeping_something_for(
    toxiproxy: Path, tmp_path: Path, ports: Ports, faults: LinkState
) -> None:
    """What is kept has nowhere to go. Toxiproxy 2.12.0 would wait for that, and had to be started again."""
    node = socket.create_server(("127.0.0.1", 0))
    route = Route(LINK, ports.first_free(BASE), Address("127.0.0.1", node.getsockname()[1]))
    server = ToxiproxyServer(toxiproxy, ports.first_free(BASE), [route], tmp_path / "toxiproxy.log")
    events: list[FaultEvent] = []
    server.start()
    network = ToxiproxyNetwork(server, [route], events.append)
    network.delay([LINK], faults.latency_ms)
    with socket.create_connection(route.listen) as connection:
        accepted, _ = node.accept()
        if faults.cut is not None:
            network.cut([LINK], faults.cut)
        connection.sendall(bytes(256 * 1024))
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        accepted.close()
        node.close()
        network.ended("b")
        assert network.state() == {LINK: faults}
        network.delay([LINK], 5)
        network.heal()
    server.stop()
    assert [event.action for event in events if event.action == RESTARTED] == []


def test_a_link_of_a_node_that_has_ended_leads_to_the_next_one_at_its_address(bench: Bench) -> None:
    bench.network.delay([LINK], 1)
    bench.network.ended("b")
    assert bench.network.state() == {LINK: LinkState(latency_ms=1)}
    with bench.connect() as connection:
        assert echoes(connection)


def test_a_name_that_is_no_node_is_told_with_those_that_are(bench: Bench) -> None:
    with pytest.raises(ValueError, match="there are b, client"):
        bench.network.cut([Link("a", "z")])


@pytest.mark.parametrize("end", ["kill", "suspend"])
def test_a_toxiproxy_that_stops_answering_comes_back_with_all_that_was_wanted(bench: Bench, end: str) -> None:
    bench.network.delay([LINK], 10)
    bench.network.cut([LINK], Mode.HOLD)
    former = bench.server.pid
    process = psutil.Process(former)
    getattr(process, end)()
    deadline = time.monotonic() + 10
    while runs(process):
        assert time.monotonic() < deadline, "the signal was not delivered"
    assert bench.network.state() == {LINK: LinkState(cut=Mode.HOLD, latency_ms=10)}
    assert bench.server.pid != former
    bench.network.heal()
    with bench.connect() as connection:
        assert echoes(connection)


SINK = """
import socket
server = socket.create_server(("127.0.0.1", 0), backlog=1024)
print(server.getsockname()[1], flush=True)
connection, _ = server.accept()
while connection.recv(65536):
    print("more", flush=True)
"""


@pytest.fixture
def sink() -> Iterator[subprocess.Popen[str]]:
    """A process that reads whatever comes; it prints its port, and a line for each piece."""
    with subprocess.Popen([sys.executable, "-c", SINK], stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


def fill(connection: socket.socket) -> None:
    """Send until nothing between here and there takes any more."""
    connection.setblocking(False)
    while select.select([], [connection], [], FULL_S)[1]:
        connection.send(bytes(65536))


@pytest.mark.parametrize("mode", [Mode.BLACKHOLE, Mode.HOLD])
def test_a_toxiproxy_that_a_stopped_node_has_wedged_is_replaced(
    mode: Mode, sink: subprocess.Popen[str], toxiproxy: Path, tmp_path: Path, ports: Ports
) -> None:
    """Its API hangs for good once a toxic is put on a link whose reader was stopped with megabytes on their way."""
    assert sink.stdout is not None
    upstream = Address("127.0.0.1", int(sink.stdout.readline()))
    stuck = Route(Link("a", "c"), ports.first_free(BASE), upstream)
    bench = Bench(toxiproxy, tmp_path, ports, stuck)
    with contextlib.closing(bench), socket.create_connection(stuck.listen) as full:
        bench.network.delay([LINK], 10)
        full.sendall(b"?")
        assert sink.stdout.readline() == "more\n"
        sink.send_signal(signal.SIGSTOP)
        fill(full)
        wedged = bench.server.pid
        bench.network.cut([stuck.link], mode)
        assert bench.server.pid != wedged, "it answered, so this test has not provoked what it is about"
        sink.kill()
        assert bench.network.state() == {LINK: LinkState(latency_ms=10), stuck.link: LinkState(cut=mode)}
        bench.network.heal()
        with bench.connect() as connection:
            assert echoes(connection)


def test_two_servers_in_one_process_do_not_mix(bench: Bench, toxiproxy: Path, tmp_path: Path, ports: Ports) -> None:
    other = Bench(toxiproxy, tmp_path, ports)
    try:
        bench.network.cut([LINK], Mode.REFUSE)
        assert other.network.state() == {LINK: LinkState()}
        assert bench.network.state() == {LINK: LinkState(cut=Mode.REFUSE)}
    finally:
        other.close()


def test_a_server_whose_port_is_taken_is_not_mistaken_for_the_one_that_has_it(toxiproxy: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        api = Address("127.0.0.1", taken.getsockname()[1])
        server = ToxiproxyServer(toxiproxy, api, [], tmp_path / "log", start_deadline_s=1.0)
        with pytest.raises(ToxiproxyError, match="did not start"):
            server.start()
