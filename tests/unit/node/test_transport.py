"""Senders against a peer that comes, goes, and stands behind a proxy that accepts and closes."""

from __future__ import annotations

import logging
import queue
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO, Protocol

import msgspec
import pytest

from bench.live.ports import Ports
from bench.live.waiting import wait_until
from node import wire
from node.config import Address, TransportLimits
from node.dialling import resolved
from node.raft import AppendEntries, Entry, EntryKind, PreVote
from node.raft.messages import AnyMessage
from node.transport import BATCH_BYTES, Transport

WAIT_S = 20.0
SETTLED_S = 0.3
USUAL = TransportLimits()
ANSWER = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"


def envelope(messages: Sequence[AnyMessage]) -> wire.Envelope:
    return wire.Envelope(sender="n1", cluster_id="", raft_address="a:1", http_address="a:2", messages=tuple(messages))


MESSAGE = PreVote(sender="n1", recipient="n2", term=1, next_term=2, last_log_index=0, last_log_term=0)


@pytest.fixture
def address() -> Iterator[Address]:
    """Held, and not listened on: who connects is refused."""
    ports = Ports()
    yield Address(*ports.first_free(24500))
    ports.close()


class Peer:
    """Hints about the peer, and a sender that speaks to it."""

    def __init__(self, address: Address, *, settled_s: float, limits: TransportLimits = USUAL) -> None:
        self.hints: queue.Queue[str] = queue.Queue()
        self.address = str(address)
        self.on_hint: Callable[[], None] = lambda: None
        self._pause = threading.Event()
        self.transport = Transport(envelope, self._hint, dial={}, settled_s=settled_s, limits=limits)

    def _hint(self, peer: str) -> None:
        self.hints.put(peer)
        self.on_hint()

    def send(self) -> None:
        self.transport.send(MESSAGE, self.address)

    def keep_sending(self, seconds: float) -> int:
        """Returns how many messages these were."""
        ends_s, sent = time.monotonic() + seconds, 0
        while time.monotonic() < ends_s:
            self.send()
            sent += 1
            self._pause.wait(0.001)
        return sent

    def wait_for_hint(self) -> None:
        assert self.hints.get(timeout=WAIT_S) == "n2"


def listening(address: Address) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(address)
    listener.listen()
    listener.settimeout(WAIT_S)
    return listener


def read_request(connection: socket.socket) -> None:
    connection.settimeout(WAIT_S)
    assert connection.recv(65536).startswith(f"POST {wire.PATH} ".encode())
    connection.sendall(ANSWER)


class Speak(Protocol):
    def __call__(self, address: Address, *, settled_s: float, limits: TransportLimits = USUAL) -> Peer: ...


@pytest.fixture
def speak() -> Iterator[Speak]:
    """Makes a peer that is spoken to until the test ends, and not into the next one, which has the same port."""
    peers = []

    def begin(address: Address, *, settled_s: float, limits: TransportLimits = USUAL) -> Peer:
        peers.append(Peer(address, settled_s=settled_s, limits=limits))
        return peers[-1]

    yield begin
    for peer in peers:
        peer.transport.close()


@pytest.fixture
def elsewhere() -> Iterator[Address]:
    """Another such address."""
    ports = Ports()
    yield Address(*ports.first_free(24600))
    ports.close()


class Told(logging.Handler):
    """Waits for a line of the log."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text
        self._seen = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        if self._text in record.getMessage():
            self._seen.set()

    def wait(self) -> None:
        assert self._seen.wait(WAIT_S), self._text


@contextmanager
def listened_for(text: str) -> Iterator[Told]:
    logger, told = logging.getLogger("node.transport"), Told(text)
    before = logger.level
    logger.setLevel(logging.DEBUG)
    logger.addHandler(told)
    yield told
    logger.removeHandler(told)
    logger.setLevel(before)


@pytest.fixture
def refused() -> Iterator[Told]:
    with listened_for("refuses connections") as told:
        yield told


def test_a_peer_that_refused_and_is_there_again_is_told_without_another_message(
    address: Address, refused: Told, speak: Speak
) -> None:
    peer = speak(address, settled_s=0.0)
    peer.send()
    refused.wait()
    with listening(address) as listener:
        peer.wait_for_hint()
        connection, _ = listener.accept()
        with connection:
            peer.send()
            read_request(connection)


def test_a_connection_that_lived_and_ends_is_a_hint(address: Address, speak: Speak) -> None:
    peer = speak(address, settled_s=0.0)
    with listening(address) as listener:
        peer.send()
        connection, _ = listener.accept()
        with connection:
            read_request(connection)
        peer.wait_for_hint()
        peer.send()
        again, _ = listener.accept()
        with again:
            read_request(again)


def test_the_end_of_the_connection_after_one_that_lived_is_a_hint_too(address: Address, speak: Speak) -> None:
    """Healing may end it as well, and with it goes what was said on the strength of the first hint."""
    peer = speak(address, settled_s=SETTLED_S)
    with listening(address) as listener:
        peer.send()
        with listener.accept()[0] as lived:
            read_request(lived)
            assert select.select([lived], [], [], 1.1 * SETTLED_S) == ([], [], [])
        peer.wait_for_hint()
        peer.send()
        listener.accept()[0].close()
        peer.wait_for_hint()


def test_what_a_hint_makes_the_core_say_is_not_dropped_with_what_waited(address: Address, speak: Speak) -> None:
    """Found by measuring: the sender, which was keeping its distance when a blackhole was healed, woke after the
    leader had answered the hint, and dropped the answer. The follower heard of its leader with the next heartbeat."""
    peer, said = speak(address, settled_s=0.0), msgspec.structs.replace(MESSAGE, term=77)
    peer.on_hint = lambda: peer.transport.send(said, peer.address)
    with listening(address) as listener:
        peer.send()
        connection, _ = listener.accept()
        with connection:
            assert select.select([connection], [], [], WAIT_S)[0]
            # Unanswered for so long that the sender waits with one in hand.
            peer.keep_sending(0.5)
        with listener.accept()[0] as again:
            again.settimeout(WAIT_S)
            arrived = b""
            while b'"term":77' not in arrived:
                data = again.recv(65536)
                assert data, "the connection ended without it"
                arrived += data
            assert arrived.count(b'"term":1,') <= 1, "what waited is out of date; one was in the sender's hand"


def test_a_proxy_before_a_dead_peer_gives_no_hint_and_is_not_dialled_in_a_loop(address: Address, speak: Speak) -> None:
    """It accepts and closes at once: a connection for a message at most, and nobody says that anything came back."""
    peer = speak(address, settled_s=WAIT_S)
    with listening(address) as listener:
        listener.settimeout(0.05)
        closed = 0
        while closed < 5:
            peer.send()
            with suppress(TimeoutError):
                # A message written before the end of the connection was seen is lost, and opens no other.
                listener.accept()[0].close()
                closed += 1
        with pytest.raises(TimeoutError):
            listener.accept()
    assert peer.hints.empty()


def test_closing_ends_every_thread(address: Address) -> None:
    before = set(threading.enumerate())
    peer = Peer(address, settled_s=0.0)
    peer.send()
    started = set(threading.enumerate()) - before
    assert started
    peer.transport.close()
    for thread in started:
        thread.join(WAIT_S)
        assert not thread.is_alive()


def entry_of(size: int) -> AppendEntries:
    return AppendEntries(
        sender="n1",
        recipient="n2",
        term=1,
        prev_log_index=0,
        prev_log_term=0,
        entries=(Entry(1, 1, EntryKind.COMMAND, bytes(size)),),
        leader_commit=0,
        sent_at_s=0.0,
    )


def read_body(connection: socket.socket, stream: BinaryIO) -> bytes:
    """The body of a whole request, which is then answered."""
    length = 0
    while (line := stream.readline().strip()) != b"":
        name, _, value = line.partition(b": ")
        length = int(value) if name == b"Content-Length" else length
    body = stream.read(length)
    connection.sendall(ANSWER)
    return body


def test_an_entry_larger_than_the_bound_of_what_is_unanswered_leaves_all_the_same(
    address: Address, speak: Speak
) -> None:
    """Dropped, it would never be anywhere but in its leader's log, and keep every heartbeat that carries it at home."""
    peer = speak(address, settled_s=0.0)
    with listening(address) as listener:
        peer.transport.send(entry_of(2 * USUAL.unanswered_bytes), peer.address)
        connection, _ = listener.accept()
        with connection, connection.makefile("rb") as stream:
            assert len(wire.decode(read_body(connection, stream)).messages) == 1


def test_what_gathered_meanwhile_leaves_in_requests_of_bounded_size(address: Address, speak: Speak) -> None:
    """As one request it would be larger than what may be unanswered."""
    peer = speak(address, settled_s=0.0)
    arrived: list[int] = []
    with listening(address) as listener:
        for _ in range(40):
            peer.transport.send(entry_of(BATCH_BYTES // 2), peer.address)
        connection, _ = listener.accept()
        with connection, connection.makefile("rb") as stream:
            while sum(arrived) < 40:
                body = read_body(connection, stream)
                assert len(body) <= USUAL.unanswered_bytes
                arrived.append(len(wire.decode(body).messages))


def test_a_peer_that_answers_nothing_is_sent_ever_rarer_requests(address: Address, speak: Speak) -> None:
    """What a cut holds back arrives when it heals, request by request."""
    peer = speak(address, settled_s=0.0)
    with listening(address) as listener:
        peer.send()
        with listener.accept()[0] as connection:
            sent = peer.keep_sending(1)
            arrived = connection.recv(1024 * 1024)
    requests = arrived.count(b"POST ")
    assert sent > 300
    assert 1 < requests < 100


def test_a_peer_is_asked_for_by_the_address_that_it_gave_whatever_is_dialled(address: Address) -> None:
    """It knows its own names, and not that of a link or a relay on the way."""
    meant = "n2.example:7002"
    transport = Transport(envelope, lambda peer: None, dial={meant: address}, settled_s=1)
    with listening(address) as listener:
        transport.send(MESSAGE, meant)
        with listener.accept()[0] as connection:
            assert b"\r\nHost: n2.example:7002\r\n" in connection.recv(65536)
        transport.close()


def to(peer: str) -> PreVote:
    return msgspec.structs.replace(MESSAGE, recipient=peer)


def test_what_is_written_counts_for_what_was_dialled_and_not_for_who_was_meant(address: Address) -> None:
    """Several spellings of one place are one place."""
    transport = Transport(envelope, lambda peer: None, dial={"127.0.0.1:7301": address}, settled_s=1)
    with listening(address) as listener:
        for spelling in ("127.0.0.1:7301", "localhost:7301", "127.0.0.44:7301"):
            transport.send(MESSAGE, spelling)
            with listener.accept()[0] as connection:
                read_request(connection)
        wait_until(lambda: transport.messages_sent() == {str(address): 3}, "all three are counted")
        transport.close()


def test_what_is_refused_counts_for_who_refused_it_and_so_does_what_comes_meanwhile(
    address: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.transport.SPEAKING_S", 60.0)
    transport = Transport(envelope, lambda peer: None, dial={}, settled_s=1)
    try:
        transport.send(to("n2"), str(address))
        wait_until(lambda: transport.messages_sent() == {str(address): 1}, "the first")
        transport.send(to("n2"), str(address))
        wait_until(lambda: transport.messages_sent() == {str(address): 2}, "the second")
    finally:
        transport.close()


def test_of_what_leaves_in_one_request_every_message_counts(address: Address, speak: Speak) -> None:
    """One request at a time is unanswered, so the others gather meanwhile."""
    peer = speak(address, settled_s=0.0, limits=TransportLimits(unanswered_bytes=1))
    with listening(address) as listener:
        for _ in range(20):
            peer.send()
        with listener.accept()[0] as connection:

            def all_count() -> bool:
                if not is_silent(connection):
                    read_request(connection)
                return peer.transport.messages_sent() == {str(address): 20}

            wait_until(all_count, "all are counted", WAIT_S)


def test_what_only_waits_is_not_sent(address: Address, speak: Speak) -> None:
    """It is the second that waits: nothing of the first, which is larger than the bound, was answered."""
    peer = speak(address, settled_s=0.0, limits=TransportLimits(unanswered_bytes=1))
    with listening(address) as listener:
        peer.send()
        with listener.accept()[0] as connection:
            connection.settimeout(WAIT_S)
            assert connection.recv(65536)
            peer.send()
            assert is_silent(connection)
            assert peer.transport.messages_sent() == {str(address): 1}


def test_a_peer_to_which_the_map_has_no_way_is_not_dialled_nor_counted_and_that_is_said_once(
    address: Address, elsewhere: Address, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_up: list[str] = []

    def noted(host: str) -> frozenset[str]:
        looked_up.append(host)
        return resolved(host)

    def looked_up_thrice() -> bool:
        transport.send(to("n3"), f"localhost:{elsewhere.port}")
        return len(looked_up) >= 3

    monkeypatch.setattr("node.transport.resolved", noted)
    transport = Transport(envelope, lambda peer: None, dial={"127.0.0.1:7301": address}, settled_s=1)
    with listening(elsewhere) as past, listening(address) as listener:
        wait_until(looked_up_thrice, "a way is looked for again")
        transport.send(to("n2"), "127.0.0.1:7301")
        with listener.accept()[0] as connection:
            read_request(connection)
        wait_until(lambda: transport.messages_sent() == {str(address): 1}, "what has a way is sent")
        assert select.select([past], [], [], 0.05) == ([], [], [])
        transport.close()
    (said,) = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    where = f"localhost:{elsewhere.port}"
    assert said == f"n3 is not dialled: KONSUL_RAFT_DIAL has no way to {where}"


def ended(connection: socket.socket) -> bool:
    connection.settimeout(WAIT_S)
    with suppress(ConnectionResetError):
        while connection.recv(65536):
            pass
    return True


def is_silent(connection: socket.socket) -> bool:
    return select.select([connection], [], [], 0.05) == ([], [], [])


def test_a_member_that_moved_is_spoken_to_where_it_is_now_and_no_more_where_it_was(
    address: Address, elsewhere: Address, speak: Speak
) -> None:
    peer, n3 = speak(address, settled_s=0.0), msgspec.structs.replace(MESSAGE, recipient="n3")
    with listening(address) as before, listening(elsewhere) as now:
        peer.send()
        connection, _ = before.accept()
        peer.transport.send(n3, str(address))
        other, _ = before.accept()
        with connection, other:
            read_request(connection)
            read_request(other)
            peer.transport.send(MESSAGE, str(elsewhere))
            with now.accept()[0] as moved:
                read_request(moved)
            assert ended(connection)
            peer.transport.send(n3, str(address))
            read_request(other)


def test_who_closes_a_connection_itself_takes_no_hint_from_its_end(address: Address) -> None:
    before = set(threading.enumerate())
    peer = Peer(address, settled_s=0.0)
    with listening(address) as listener:
        peer.send()
        with listener.accept()[0] as connection:
            read_request(connection)
            started = set(threading.enumerate()) - before
            peer.transport.close()
            for thread in started:
                thread.join(WAIT_S)
    assert peer.hints.empty()


def test_who_is_closed_while_it_waits_its_turn_dials_nobody_any_more(address: Address) -> None:
    """It woke because its connection was closed, and took that for one that had broken. What it had in hand went to
    where a member had moved away from, or came from a node that had stopped."""
    before = set(threading.enumerate())
    peer = Peer(address, settled_s=0.0)
    with listening(address) as listener:
        peer.send()
        with listener.accept()[0]:
            # Unanswered for so long that the sender waits with one in hand.
            peer.keep_sending(0.2)
            started = set(threading.enumerate()) - before
            peer.transport.close()
            for thread in started:
                thread.join(WAIT_S)
        assert is_silent(listener)


@pytest.mark.parametrize("limits", [USUAL, TransportLimits(waiting_messages=1)])
def test_what_finds_the_queue_full_is_dropped(
    address: Address, refused: Told, speak: Speak, limits: TransportLimits
) -> None:
    peer = speak(address, settled_s=0.0, limits=limits)
    peer.send()
    refused.wait()
    with listened_for("queue to n2 is full") as full:
        for _ in range(limits.waiting_messages + 1):
            peer.send()
        full.wait()


OLD, NEW = msgspec.structs.replace(MESSAGE, term=5), msgspec.structs.replace(MESSAGE, term=77)


def terms_in(connection: socket.socket) -> set[int]:
    with connection.makefile("rb") as stream:
        return {message.term for message in wire.decode(read_body(connection, stream)).messages}


def test_what_waited_for_a_peer_that_refused_is_not_sent_to_it_when_it_is_back(
    address: Address, refused: Told, speak: Speak
) -> None:
    """It is out of date, and the core says something new as soon as it is hinted to."""
    peer = speak(address, settled_s=0.0)
    peer.send()
    refused.wait()
    peer.transport.send(OLD, peer.address)
    with listening(address) as listener:
        peer.wait_for_hint()
        peer.transport.send(NEW, peer.address)
        with listener.accept()[0] as connection:
            assert terms_in(connection) == {NEW.term}


class Road:
    """In the place of dialling: whoever dials is held until it is known that there is no way, and then told so."""

    def __init__(self) -> None:
        self.dialled = threading.Event()
        self.known = threading.Event()
        self._dial = socket.create_connection

    def dial(self, *args: Any, **options: Any) -> socket.socket:
        if self.known.is_set():
            return self._dial(*args, **options)
        self.dialled.set()
        assert self.known.wait(WAIT_S)
        raise OSError("no route to host")


@pytest.fixture
def road(monkeypatch: pytest.MonkeyPatch) -> Road:
    found = Road()
    monkeypatch.setattr("node.transport.socket.create_connection", found.dial)
    return found


def test_what_waited_for_a_peer_to_which_there_was_no_way_is_not_sent_later(
    address: Address, speak: Speak, road: Road
) -> None:
    peer = speak(address, settled_s=0.0)
    peer.send()
    assert road.dialled.wait(WAIT_S)
    peer.transport.send(OLD, peer.address)
    with listening(address) as listener:
        road.known.set()
        while is_silent(listener):
            # This one may wait, too, when it turns out that there was no way.
            peer.transport.send(NEW, peer.address)
        with listener.accept()[0] as connection:
            assert terms_in(connection) == {NEW.term}


def test_who_is_closed_while_it_dials_ends(address: Address, road: Road) -> None:
    before = set(threading.enumerate())
    peer = Peer(address, settled_s=0.0)
    peer.send()
    (sender,) = set(threading.enumerate()) - before
    assert road.dialled.wait(WAIT_S)
    peer.transport.close()
    road.known.set()
    sender.join(WAIT_S)
    assert not sender.is_alive()


def test_a_request_is_as_long_as_it_says_in_bytes(address: Address) -> None:
    """Not in characters: what is too much would be taken for the next request."""

    def far_away(messages: Sequence[AnyMessage]) -> wire.Envelope:
        return msgspec.structs.replace(envelope(messages), cluster_id="Zürich, Köln")

    transport = Transport(far_away, lambda peer: None, dial={}, settled_s=1)
    with listening(address) as listener:
        transport.send(MESSAGE, str(address))
        with listener.accept()[0] as connection, connection.makefile("rb") as stream:
            assert wire.decode(read_body(connection, stream)) == far_away([MESSAGE])
            transport.send(MESSAGE, str(address))
            assert wire.decode(read_body(connection, stream)) == far_away([MESSAGE])
    transport.close()


@pytest.mark.parametrize("limits", [USUAL, TransportLimits(unanswered_bytes=2 * BATCH_BYTES)])
def test_no_more_is_unanswered_than_the_bound_says(address: Address, speak: Speak, limits: TransportLimits) -> None:
    peer = speak(address, settled_s=0.0, limits=limits)
    with listening(address) as listener:
        for _ in range(2):
            peer.transport.send(entry_of(limits.unanswered_bytes // 2), peer.address)
        with listener.accept()[0] as connection, connection.makefile("rb") as stream:
            head = stream.readline()
            length = 0
            while (line := stream.readline().strip()) != b"":
                length = int(line.partition(b": ")[2]) if line.startswith(b"Content-Length") else length
            stream.read(length)
            assert head.startswith(b"POST ")
            assert length > limits.unanswered_bytes // 2
            assert is_silent(connection)
            connection.sendall(ANSWER)
            assert len(wire.decode(read_body(connection, stream)).messages) == 1


def test_a_peer_that_has_not_answered_for_long_is_connected_to_anew(
    address: Address, speak: Speak, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.transport.ANSWER_TIMEOUT_S", 0.0)
    peer = speak(address, settled_s=WAIT_S)
    with listening(address) as listener:
        peer.send()
        with listener.accept()[0] as stuck:
            assert stuck.recv(65536)
            peer.send()
            assert ended(stuck)
        while is_silent(listener):
            # What waits when a connection ends is dropped with it.
            peer.send()
        listener.accept()[0].close()


def test_a_peer_that_refuses_is_not_dialled_any_more_when_there_has_been_nothing_to_say_for_a_while(
    address: Address, refused: Told, speak: Speak, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.transport.SPEAKING_S", 0.0)
    peer = speak(address, settled_s=0.0)
    peer.send()
    refused.wait()
    with listening(address) as listener:
        assert is_silent(listener)
        peer.send()
        with listener.accept()[0] as connection:
            read_request(connection)
    assert peer.hints.qsize() <= 1


def test_what_a_peer_says_when_it_refuses_a_message_is_logged_and_the_next_one_goes_the_same_way(
    address: Address, speak: Speak
) -> None:
    peer, why = speak(address, settled_s=0.0), b'{"error": "not a member"}'
    with listening(address) as listener, listened_for("n2 refused a message: " + why.decode()) as told:
        peer.send()
        with listener.accept()[0] as connection:
            connection.settimeout(WAIT_S)
            assert connection.recv(65536)
            connection.sendall(b"HTTP/1.1 403 Forbidden\r\ncontent-length: %d\r\n\r\n%s" % (len(why), why))
            told.wait()
            peer.send()
            read_request(connection)
