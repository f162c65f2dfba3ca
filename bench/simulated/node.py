"""A simulated node: what outlives a crash (a disk, a clock, a place in the network), and its process, if one runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import msgspec

from bench import evidence
from bench.simulated import requests
from bench.simulated.clock import DriftingClock
from bench.simulated.disk import Content, Save, SimulatedDisk
from bench.simulated.network import Parcel, client_address, first_address
from bench.simulated.observer import Observer
from bench.simulated.process import Process
from bench.simulated.requests import Request
from bench.simulated.stage import Stage
from bench.simulated.surface import Surface
from node.machine.kv import Result
from node.machine.state_machine import Frozen, StateMachine
from node.raft import Configuration, Entry, Log, Snapshot, Transition
from node.raft.messages import AnyMessage
from node.server import Answer, Applied, Found, Leased, Origin, Server, Status, Stop

OFFSET_S = 1000.0
"""Two nodes' clocks may be this far apart: nothing may compare them."""
Record = tuple[float, Transition]
"""One record of a trace, with the world's time from which it holds."""
UNTOLD = (Applied, Leased)
"""Records of the trace that the chronicle leaves out: they follow from what it has, and there are many of them."""


class WatchedMachine(StateMachine):
    """A state machine whose every step is watched."""

    def __init__(self, name: str, stage: Stage) -> None:
        super().__init__()
        self._name = name
        self._observer: Observer = stage.observer
        self._engine = stage.engine

    def apply(self, entry: Entry) -> Result | None:
        result = super().apply(entry)
        observer, now_s = self._observer, self._engine.now
        observer.applied(self._name, entry, self.digest, now_s)
        if result is not None:
            observer.performed(self._name, entry, result, self.store, now_s)
        return result


class SimulatedNode:
    """Also the `Surroundings` of its process: here the world sees what the process does."""

    __slots__ = (
        "_answers",
        "_copy",
        "_incarnations",
        "_late_answers",
        "_links",
        "_said_last",
        "_stage",
        "_surface",
        "address",
        "addresses",
        "chance",
        "clock",
        "disk",
        "in_next_save",
        "name",
        "process",
        "records",
        "saved_s",
        "started",
    )

    def __init__(self, name: str, stage: Stage) -> None:
        rng = stage.engine.random(f"node/{name}")
        self.name = name
        self._stage = stage
        self.chance = rng.random
        low, high = stage.settings.clock_rates
        self.clock = DriftingClock(reads_s=OFFSET_S * rng.random(), rate=rng.uniform(low, high))
        self.disk = SimulatedDisk(stage.engine.random(f"disk/{name}"))
        self._copy: Content | None = None
        self.saved_s = 0.0
        """When its last save is done, be it under way or over."""
        self.address = first_address(name)
        """The address that it gives as its own to its peers."""
        stage.served_at[client_address(self.address)] = name
        self.addresses = frozenset((self.address,))
        """Every address that leads to it."""
        self._links = stage.network.from_node[name]
        self._answers = stage.network.answers[name]
        self.process: Process | None = None
        self.started = False
        """Whether it was ever started."""
        self.in_next_save: Callable[[], None] | None = None
        """Done in the middle of the node's next save, unless withdrawn before."""
        self.records: list[Record] = []
        """The node's trace."""
        self._late_answers = stage.engine.random(f"http/{name}").random
        self._surface: Surface | None = None
        """Of the running process."""
        self._incarnations = 0
        self._said_last = Origin(name, "", self.address, client_address(self.address))
        """Of itself."""

    @property
    def running(self) -> bool:
        """Up, and not paused."""
        return self.process is not None and not self.process.paused

    @property
    def unanswered(self) -> Request | None:
        """A request that still waits for an answer of this process, if there is one."""
        return self._surface.unanswered if self._surface is not None else None

    # What is done to it

    def start(self, first: Configuration | None = None) -> None:
        """Start it on what its disk holds; with `first`, found a cluster."""
        assert self.process is None, f"{self.name} runs already"
        stage = self._stage
        self._incarnations += 1
        self.started = True
        server = self._server()
        self.process = Process(
            server,
            engine=stage.engine,
            clock=self.clock,
            disk=self.disk,
            chance=self.chance,
            watch=partial(stage.observer.stepped, self.name),
            around=self,
        )
        self._surface = Surface(
            self.name,
            self.process,
            stage=stage,
            clock=self.clock,
            chance=self._late_answers,
            send=self._answers.send,
        )
        if server.raft.snapshot is not None:
            self.installed()
        stage.observer.started(self.name, server.raft, self.clock, stage.engine.now)
        stage.topology_changed()
        self.process.begin(() if first is None else (Found(first),))

    def _server(self) -> Server:
        settings, content = self._stage.settings, self.disk.load()
        now = self.clock.at(self._stage.engine.now)
        machine = WatchedMachine(self.name, self._stage)
        if content.snapshot is not None:
            machine.restore(Frozen.decode(content.snapshot.data))
        raft = settings.core(
            self.name,
            log=Log(content.entries, base_index=content.base_index, base_term=content.base_term),
            hard_state=content.hard_state,
            snapshot=content.snapshot,
            timing=settings.timing,
            limits=settings.limits,
            rng=self._stage.engine.random(f"raft/{self.name}/{self._incarnations}"),
            now=now,
        )
        return Server(raft, machine, policy=settings.snapshots, process=self._incarnations, now=now)

    def crash(self, *, torn: bool = False) -> None:
        """Die at this instant; what the disk has not synced is lost, and a save under way may be `torn`."""
        process, self.process = self.process, None
        if process is None:
            return
        stage = self._stage
        self._surface = None
        process.die()
        self.saved_s = 0.0
        left = self.disk.crash(torn=torn)
        # In this order: what is left of a round on which its owner did not live to act must not be judged as a round.
        stage.observer.crashed(self.name, stage.engine.now)
        if left is not None:
            self.durable(left)
        stage.break_off(self.name)
        stage.network.end_connections_to(self.name)
        stage.topology_changed()

    def stop(self) -> None:
        """Tell it to end, as SIGTERM does; it hands over first."""
        if self.process is not None:
            self._stage.observer.stopping(self.name)
            self.process.deliver(Stop())

    def wipe(self) -> None:
        """Forget everything, as if the data folder had been deleted."""
        assert self.process is None, f"{self.name} runs"
        self.disk = SimulatedDisk(self._stage.engine.random(f"disk/{self.name}/{self._incarnations}"))
        self._stage.observer.wiped(self.name)

    def copy_disk(self) -> None:
        """Keep a copy of the disk of a node that is down."""
        self._copy = self.disk.copied()
        self._stage.observer.copied(self.name)

    def bring_back_disk(self) -> None:
        """Be as it was when its disk was copied."""
        assert self.process is None, f"{self.name} runs"
        assert self._copy is not None, "nothing was copied"
        self.disk.bring_back(self._copy)
        self._stage.observer.came_back_older(self.name)

    def move(self, address: str) -> None:
        """Live at another address from now on; nothing that was sent to the former one arrives."""
        assert self.process is None, f"{self.name} runs"
        self.address = address
        self.addresses = frozenset((address,))
        self._stage.served_at[client_address(address)] = self.name
        self._stage.network.disconnect(self.name)

    def lead_here(self, addresses: frozenset[str]) -> None:
        """From now on these addresses lead to this node too."""
        self.addresses |= addresses

    def pause(self) -> None:
        if self.process is not None:
            self.process.pause()
            self._stage.topology_changed()

    def resume(self) -> None:
        if self.process is not None:
            assert self._surface is not None
            self._surface.resume()
            self.process.resume()
            self._stage.topology_changed()

    def set_clock_rate(self, rate: float) -> None:
        self.clock.set_rate(rate, self._stage.engine.now)
        if self.process is not None:
            self.process.look_at_the_clock()
        self._stage.topology_changed()

    # What reaches it

    def receive(self, item: Any) -> None:
        """Something arrived, from a peer or from a client."""
        process, stage = self.process, self._stage
        if type(item) is Parcel:
            if process is not None:
                stage.chronicle.note((stage.engine.now, self.name, item.messages[0]))
                process.deliver(item)
        elif type(item) is Request:
            self._receive_request(item)
        elif process is not None:
            stage.say(self.name, f"notices that a connection to {item.peer} ended")
            process.deliver(item)

    def _receive_request(self, request: Request) -> None:
        stage = self._stage
        stage.chronicle.note((stage.engine.now, self.name, request.asked), request)
        if self._surface is None:
            self._answers.send((request, requests.CONNECTION_LOST))
        else:
            self._surface.receive(request)

    # What its process does

    def saving(self, took_s: float) -> None:
        self.saved_s = self._stage.engine.now + took_s
        if self.in_next_save is not None:
            self._stage.engine.after(took_s * self.chance(), self._on_saving, (self.process, self.in_next_save))

    def _on_saving(self, planned: tuple[Process, Callable[[], None]]) -> None:
        process, action = planned
        if self.in_next_save is action and process is self.process:
            action()

    def durable(self, write: Save) -> None:
        stage = self._stage
        stage.observer.saved(self.name, write.hard_state, write.entries, write.snapshot, stage.engine.now)

    def trace(self, records: Sequence[Transition]) -> None:
        """Keep each record with the world's time from which it holds."""
        when, chronicle = self.clock.when, self._stage.chronicle
        for record in records:
            at_s = when(record.at_s)
            if type(record) not in UNTOLD:
                chronicle.note((at_s, self.name, record))
            elif type(record) is Leased:
                self._stage.observer.leased(self.name, record, self._stage.engine.now)
                if record.until_s is not None:
                    # Now, because the clock's rate may change later.
                    record = Leased(at_s=record.at_s, term=record.term, until_s=when(record.until_s))
            self.records.append((at_s, record))

    def send(self, messages: Sequence[AnyMessage], addresses: Mapping[str, str]) -> None:
        """A message reaches its recipient only if the address dialled leads there."""
        assert self.process is not None
        origin, cluster_id = self._said_last, self.process.status.cluster_id
        if origin.cluster_id != cluster_id or origin.raft_address != self.address:
            http_address = client_address(self.address)
            origin = self._said_last = Origin(self.name, cluster_id, self.address, http_address)
        links, inhabitants = self._links, self._stage.inhabitants
        for message in messages:
            to = message.recipient
            link = links.get(to)
            if link is not None and addresses.get(to) in inhabitants[to].addresses:
                link.send(Parcel(origin, (message,)))

    def answer(self, answer: Answer) -> None:
        assert self._surface is not None
        self._surface.answer(answer)

    def installed(self) -> None:
        """What was committed after the snapshot in the same round is applied already."""
        stage, process = self._stage, self.process
        assert process is not None
        stage.observer.held(self.name, process.raft.last_applied, process.machine.freeze(), stage.engine.now)

    def kept(self, snapshot: Snapshot) -> None:
        stage = self._stage
        stage.observer.snapshot_kept(self.name, snapshot, stage.engine.now)

    def let_go(self, first_kept: int) -> None:
        stage = self._stage
        stage.observer.let_go(self.name, first_kept, stage.settings.snapshots.trailing_logs, stage.engine.now)

    def publish(self, status: Status) -> None:
        self._stage.observer.published(self.name, status, self._stage.engine.now)

    def say(self, words: str) -> None:
        self._stage.say(self.name, words)

    def changed(self) -> None:
        self._stage.changed = True

    def ended(self, reason: str) -> None:
        if not reason and self._surface is not None:
            self._surface.finish()
        self._stage.say(self.name, reason or "stop")
        self.crash()


def recorded(record: Record) -> evidence.Record:
    """A line of a node's trace, in the shape that a real node writes."""
    at_s, what = record
    return {**msgspec.to_builtins(what), "at_s": at_s}
