"""Sending to peers: a bounded queue and a sender thread for each. A full queue drops, and an offer never blocks.

Raft messages travel one way. The HTTP answer to a POST carries nothing of Raft, so a sender does not wait for it. The
sender writes request after request on one connection, as fast as batches form, and a second thread reads the answers
only to know how much is unanswered. That makes a link with 200 ms of latency behave as one. With one request at a time,
each message would wait for the answer to the one before, and a delay of 200 ms would be felt as one of 200 to 400.

What is unanswered is bounded (`TransportLimits`). Beyond the bound the sender waits, its queue fills, and messages that
find the queue full are dropped, as by a network. One request may always be under way, however large, or an entry larger
than the bound could never leave. A batch is bounded too (`BATCH_BYTES`), so that what gathered meanwhile does not
become one huge request. The longer nothing is answered, the rarer requests become (`KEPT_DISTANCE`) and the more
messages each one takes: what a cut held back arrives when the cut heals, and each request costs the peer half a
millisecond. When a connection breaks, the messages that wait are out of date and are dropped with it. A connection that
has not answered for `ANSWER_TIMEOUT_S` is closed, and so is one whose end is seen; the next batch opens a new one at
once. There is no back-off: a peer that is not there is tried again every `RETRY_S` while there is something to say.

A message counts as sent to the address that was dialled for it, once it is written there or refused there: whoever
watches a link wants to know what went its way. A peer to which there is no way (`node.dialling`) is not dialled.

After a cut the leader should not wait for its next heartbeat. Two things hint that a cut is over, or that something was
lost: a connection that had lived for a while ends (healing a blackhole ends it), and a peer that refused connections
accepts one again. The core is told of both, and then says something to this peer at once. That message may be lost too,
with a connection that is opened while the healing is still under way. So the end of the next connection after one that
lived is a hint too. Further connections that end at once, such as those to a proxy before a dead node, give no hint, so
hints cannot make a loop.
"""

from __future__ import annotations

import logging
import queue
import socket
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import BinaryIO

from node import wire
from node.config import Address, TransportLimits
from node.dialling import NoWayError, resolved, target_of
from node.raft.messages import AnyMessage, AppendEntries, InstallSnapshot

BATCH_BYTES = 256 * 1024
"""A batch takes no further message once it weighs this much."""
MESSAGE_BYTES = 256
"""What a message weighs besides its data."""
KEPT_DISTANCE = 1 / 8
"""Between two requests passes this part of the age of the oldest unanswered one. So the number of unanswered requests
grows with the logarithm of the time, and a slow link is felt to be slower by no more than this part."""
CONNECT_TIMEOUT_S = 1.0
ANSWER_TIMEOUT_S = 5.0
RETRY_S = 0.015
SPEAKING_S = 2.0
"""A refused connection is tried again for this long after the last message; a follower says nothing to a dead peer."""

log = logging.getLogger(__name__)


class Transport:
    """All peers' senders. `envelope` wraps a batch. `hint` is told, from any thread, the peer whose connection broke or
    came back. `dial` says which address to dial in place of another. A connection that lasted `settled_s` or longer
    counts as one that lived.
    """

    def __init__(
        self,
        envelope: Callable[[Sequence[AnyMessage]], wire.Envelope],
        hint: Callable[[str], None],
        *,
        dial: Mapping[str, Address],
        settled_s: float,
        limits: TransportLimits | None = None,
    ) -> None:
        self._envelope = envelope
        self._hint = hint
        self._dial = dial
        self._settled_s = settled_s
        self._limits = limits or TransportLimits()
        self._senders: dict[tuple[str, str], PeerSender] = {}
        self._sent: Counter[Address] = Counter()
        self._counting = threading.Lock()

    def send(self, message: AnyMessage, address: str) -> None:
        """Queue `message` for its recipient, which is said to be at `address`."""
        key = (message.recipient, address)
        if key not in self._senders:
            self._close_former(message.recipient)
            self._senders[key] = PeerSender(
                message.recipient,
                address,
                find=partial(target_of, address, self._dial, resolved),
                envelope=self._envelope,
                hint=partial(self._hint, message.recipient),
                count=self._count,
                settled_s=self._settled_s,
                limits=self._limits,
            )
        self._senders[key].offer(message)

    def messages_sent(self) -> dict[str, int]:
        """How many messages were written to each address that was dialled, or refused there."""
        with self._counting:
            return {str(target): number for target, number in self._sent.items()}

    def close(self) -> None:
        for sender in self._senders.values():
            sender.close()

    def _count(self, target: Address, messages: int) -> None:
        with self._counting:
            self._sent[target] += messages

    def _close_former(self, peer: str) -> None:
        for key in [key for key in self._senders if key[0] == peer]:
            self._senders.pop(key).close()


class PeerSender:
    def __init__(
        self,
        peer: str,
        address: str,
        *,
        find: Callable[[], Address],
        envelope: Callable[[Sequence[AnyMessage]], wire.Envelope],
        hint: Callable[[], None],
        count: Callable[[Address, int], None],
        settled_s: float,
        limits: TransportLimits,
    ) -> None:
        """`address` is where the peer says it is. `find` says what to dial to reach that, before each dialling, because
        asking for a name may take long, and names change. `count` is told what was sent where."""
        self._peer = peer
        self._address = address
        self._find = find
        self._envelope = envelope
        self._hint = hint
        self._count = count
        self._target: Address | None = None
        """What was dialled last."""
        self._told_no_way = False
        self._settled_s = settled_s
        self._limits = limits
        self._lived = False
        """Whether the connection that ended last had lived."""
        self._offered_s = time.monotonic()
        self._ending = threading.Event()
        self._queue: queue.SimpleQueue[AnyMessage | None] = queue.SimpleQueue()
        self._connection: _Connection | None = None
        threading.Thread(target=self._run, name=f"send-{peer}", daemon=True).start()

    def offer(self, message: AnyMessage) -> None:
        """Queue it, or drop it when the queue is full."""
        connection = self._connection
        if connection is not None and connection.is_stuck():
            connection.close()
        self._offered_s = time.monotonic()
        if self._queue.qsize() >= self._limits.waiting_messages:
            log.debug("queue to %s is full: dropped %s", self._peer, type(message).__name__)
            return
        self._queue.put(message)

    def close(self) -> None:
        self._ending.set()
        if self._connection is not None:
            self._connection.close()
        self._queue.put(None)

    def _run(self) -> None:
        while not self._ending.is_set():
            first = self._queue.get()
            if first is not None:
                self._deliver(first)
        if self._connection is not None:
            # The connection may have been opened while `close` was called.
            self._connection.close()

    def _deliver(self, first: AnyMessage) -> None:
        """Send it, together with what gathers until its turn comes."""
        connection = self._await_turn()
        if connection is None:
            return
        batch = self._batch(first)
        if connection.closed and connection.used:
            # The batch may have what was said because of the hint. A new connection that ended at once is not tried
            # again for the same messages.
            connection = self._await_turn()
            if connection is None:
                return
        try:
            connection.post(wire.encode(self._envelope(batch)))
        except OSError as error:
            log.debug("cannot send to %s at %s: %s", self._peer, self._target, error)
        else:
            self._note_sent(len(batch))

    def _await_turn(self) -> _Connection | None:
        """The connection on which something may be sent now, a new one if the last is over; None if there is none."""
        if self._connection is not None:
            self._connection.await_turn()
        if self._ending.is_set():
            # The wait may have ended because `close` has closed the connection.
            return None
        try:
            if self._connection is None or self._connection.closed:
                self._connection = self._connect()
        except ConnectionRefusedError:
            self._note_sent(1)
            self._await_peer()
            return None
        except NoWayError as error:
            self._tell_no_way(error)
            self._drop_waiting()
            return None
        except (OSError, RuntimeError) as error:
            # RuntimeError: no further thread may be started.
            log.debug("cannot connect to %s at %s: %s", self._peer, self._target, error)
            self._drop_waiting()
            return None
        return self._connection

    def _batch(self, first: AnyMessage) -> list[AnyMessage]:
        batch: list[AnyMessage | None] = [first]
        weight = 0
        with suppress(queue.Empty):
            while (weight := weight + _weight(batch[-1])) < BATCH_BYTES:
                batch.append(self._queue.get_nowait())
        return [message for message in batch if message is not None]

    def _drop_waiting(self) -> int:
        """Returns how many messages these were."""
        dropped = 0
        with suppress(queue.Empty):
            while True:
                dropped += self._queue.get_nowait() is not None
        if self._ending.is_set():
            self._queue.put(None)
        return dropped

    def _connect(self) -> _Connection:
        self._target = self._find()
        most = self._limits.unanswered_bytes
        return _Connection(self._peer, self._address, self._target, most_unanswered_bytes=most, ended=self._on_end)

    def _note_sent(self, messages: int) -> None:
        assert self._target is not None
        self._count(self._target, messages)

    def _tell_no_way(self, error: NoWayError) -> None:
        """Once, however much there is to say to this peer."""
        if not self._told_no_way:
            self._told_no_way = True
            log.warning("%s is not dialled: %s", self._peer, error)

    def _on_end(self, age_s: float) -> None:
        """The connection is over. What waits is dropped here, before the hint, because the hint makes the core say
        something. If the sender dropped it when it finds out, what the core has just said would be dropped too."""
        if self._ending.is_set():
            return
        self._drop_waiting()
        before, self._lived = self._lived, age_s >= self._settled_s
        if before or self._lived:
            self._hint()

    def _await_peer(self) -> None:
        """Try again until the peer is there or there is nothing more to say; what waits meanwhile is out of date."""
        log.debug("%s at %s refuses connections", self._peer, self._target)
        while time.monotonic() - self._offered_s < SPEAKING_S and not self._ending.wait(RETRY_S):
            try:
                self._connection = self._connect()
            except ConnectionRefusedError:
                self._note_sent(self._drop_waiting())
                continue
            except (OSError, RuntimeError) as error:
                log.debug("cannot connect to %s at %s: %s", self._peer, self._target, error)
                return
            self._drop_waiting()
            self._hint()
            return


def _weight(message: AnyMessage | None) -> int:
    match message:
        case AppendEntries():
            return MESSAGE_BYTES + sum(len(entry.data) for entry in message.entries)
        case InstallSnapshot():
            return MESSAGE_BYTES + len(message.data)
    return MESSAGE_BYTES


class _Connection:
    """One keep-alive connection with requests written ahead of the answers. Raises OSError when it breaks."""

    def __init__(
        self,
        peer: str,
        address: str,
        target: Address,
        *,
        most_unanswered_bytes: int,
        ended: Callable[[float], None],
    ) -> None:
        """`ended` is called when the connection is over, with how long it lasted, in seconds."""
        self._peer = peer
        self._most_unanswered_bytes = most_unanswered_bytes
        self._ended = ended
        self._head = f"POST {wire.PATH} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n"
        self._unanswered: deque[tuple[float, int]] = deque()
        self._changed = threading.Condition()
        """Something was answered, or the connection is closed."""
        self.closed = False
        self.used = False
        """Whether anything was sent on it."""
        self._socket = socket.create_connection(target, timeout=CONNECT_TIMEOUT_S)
        self._socket.settimeout(None)
        self._opened_s = time.monotonic()
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=self._read_answers, name=f"answers-{peer}", daemon=True).start()

    def await_turn(self) -> None:
        """Wait until the next request is due; returns at once when the connection is closed."""
        with self._changed:
            while not self.closed and (due_s := self._due_s()) > (now := time.monotonic()):
                self._changed.wait(due_s - now)

    def _due_s(self) -> float:
        """When the next request may be written, if no further answer comes."""
        if not self._unanswered:
            return 0.0
        oldest_s, newest_s = self._unanswered[0][0], self._unanswered[-1][0]
        return newest_s + KEPT_DISTANCE * (newest_s - oldest_s)

    def post(self, body: bytes) -> None:
        """Write one request, once there is room for it."""
        with self._changed:
            self._changed.wait_for(lambda: self.closed or self._has_room(len(body)))
        if self.closed:
            raise ConnectionAbortedError(f"the connection to {self._peer} was closed")
        self.used = True
        self._unanswered.append((time.monotonic(), len(body)))
        try:
            self._socket.sendall(f"{self._head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        except OSError:
            self.close()
            raise

    def _has_room(self, size: int) -> bool:
        unanswered = tuple(self._unanswered)
        return not unanswered or size + sum(other for _, other in unanswered) <= self._most_unanswered_bytes

    def is_stuck(self) -> bool:
        oldest = next(iter(tuple(self._unanswered)), None)
        return oldest is not None and time.monotonic() - oldest[0] > ANSWER_TIMEOUT_S

    def close(self) -> None:
        """Close from any thread; a thread that is blocked sending or reading wakes with an error."""
        self._note_closed()
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError as error:
            log.debug("connection to %s was already down: %s", self._peer, error)

    def _note_closed(self) -> None:
        with self._changed:
            self.closed = True
            self._changed.notify()

    def _read_answers(self) -> None:
        try:
            with self._socket, self._socket.makefile("rb") as stream:
                while self._read_answer(stream):
                    with self._changed:
                        self._unanswered.popleft()
                        self._changed.notify()
        except (OSError, ValueError) as error:
            log.debug("connection to %s broke: %s", self._peer, error)
        finally:
            self._note_closed()
            self._ended(time.monotonic() - self._opened_s)

    def _read_answer(self, stream: BinaryIO) -> bool:
        """Read one answer whole; False at the end of the stream."""
        status = stream.readline()
        if not status:
            return False
        length = 0
        while (line := stream.readline().strip()) != b"":
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        body = stream.read(length)
        if not status.startswith((b"HTTP/1.1 2", b"HTTP/1.0 2")):
            log.warning("%s refused a message: %s", self._peer, body.decode(errors="replace").strip())
        return True
