"""Plays a fault schedule on a simulated world, and then waits for everybody to agree."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Collection, Iterable
from contextlib import AbstractContextManager, ExitStack
from typing import Any

from bench.checkers.elections import one_leader_at_a_time
from bench.evidence import Evidence
from bench.history import Operation, Outcome
from bench.simulated import invariants
from bench.simulated.clients import Workers
from bench.simulated.invariants import PATIENCE, Invariants
from bench.simulated.network import SimulatedNetwork
from bench.simulated.node import Record, SimulatedNode, recorded
from bench.simulated.node_faults import NodeFaults, NodeKind, NodeState
from bench.simulated.words import Over, whom
from bench.simulated.world import World
from bench.workload import Invocation, Item, Script, batch, retrying
from faults.links import Link
from faults.schedule import (
    Crash,
    Cut,
    Delay,
    Drift,
    Fault,
    FullDisk,
    Join,
    Leave,
    Limit,
    Load,
    Noise,
    Pause,
    Readdress,
    Schedule,
    SlowDisk,
    Snapshot,
    Transfer,
)
from node.raft import Raft, Role
from node.raft.transitions import RoleChanged
from node.server import ANSWER_TIMEOUT_S, Leased, Started, Stopped

PAUSE_S = 0.25
"""Between a client's answer and its next question: about ten operations a second from three clients."""
SIZES = (0,) * 17 + (300, 1500, 6000)
"""By how many bytes a value is longer than need be: most fit many times into what a link or a message takes, some do
not."""
RETRY_S = 0.2
"""Between two requests for the same change."""
LOOK_S = 0.05
"""Between two looks whether everybody agrees."""
LAST_WISHES = (
    Invocation("put", "end", "1", client_id="last wishes", sequence=1),
    Invocation("get", "end", consistent=True),
    Invocation("lease_get", "end"),
)
"""What clients are owed when every fault is over."""
LIVES = frozenset((RoleChanged, Started, Stopped))
"""What of a trace tells who led when, besides the leases."""
OPERATOR = 1000
"""The number of the client that changes members; those with lower numbers write and read."""

Undo = Callable[[], None]


class Player:
    """Does what a schedule says on a world that has just begun. What `watcher` raises comes out of `play`."""

    def __init__(self, world: World, schedule: Schedule, watcher: Invariants) -> None:
        self.world = world
        self.schedule = schedule
        self.watcher = watcher
        self.rng = world.engine.random("player")
        self.faults = NodeFaults(world, self._start)
        self._clients = 0
        """How many have begun to work."""
        self._addresses_given = 0
        self._putting_right = False
        self._deadline_s = 0.0
        """For what is owed after the last fault."""

    def play(self) -> None:
        """Found the cluster, let every fault begin and end, and wait until all have the same and clients are served."""
        world, schedule = self.world, self.schedule
        for fault in schedule.faults:
            world.engine.at(fault.at_s, self._begin, fault)
        # After the faults that are there from the beginning, which may keep a node down.
        world.engine.at(0.0, self._start_all)
        world.engine.run(schedule.length_s)
        self._deadline_s = world.engine.now + 2 * PATIENCE * world.settings.timing.election_timeout_s
        self._wait_until_agreed()
        for invocation in LAST_WISHES:
            self._wait_until_served(invocation)
        self._wait_until_answered()
        self._judge_what_is_said()

    def _begin(self, fault: Fault) -> None:
        self.world.say("fault", str(fault), fault)
        undo = BEGIN[type(fault)](self, fault)
        if undo is not None:
            self.world.engine.after(fault.for_s, self._end, (fault, undo))

    def _end(self, ending: tuple[Fault, Undo]) -> None:
        fault, undo = ending
        self.world.say("fault", f"over: {fault}", Over(fault))
        undo()

    def _wait_until_agreed(self) -> None:
        engine = self.world.engine
        while not self._agreed():
            if engine.now >= self._deadline_s:
                invariants.all_agree_in_the_end(self._states())
            if (leader := self.leader()) is not None:
                self._put_right(leader)
            engine.run(engine.now + LOOK_S)
        self._show_contents()

    def _show_contents(self) -> None:
        """Have what the members hold compared. Not of one that is still saving the round in which it learnt of the
        last commit: its core has handed the entries out, its state machine has not taken them yet."""
        leader = self.leader()
        assert leader is not None
        for name in leader.configuration.names:
            process = self.world.nodes[name].process
            assert process is not None
            index, content = process.raft.last_applied, process.machine.freeze()
            if content.digest == self.watcher.ledger.digests.get(index):
                self.watcher.held(name, index, content, self.world.engine.now)

    def _wait_until_served(self, invocation: Invocation) -> None:
        """Ask whoever leads, again and again, as a client does."""
        engine = self.world.engine
        told: list[Operation] = []
        while not any(operation.outcome is Outcome.OK for operation in told):
            if engine.now >= self._deadline_s:
                reason = told[-1].reason if told else "no answer"
                invariants.clients_are_served_in_the_end(invocation.kind, reason)
            self.world.ask(OPERATOR, self.resolve("leader"), invocation, told.append)
            engine.run(engine.now + RETRY_S)

    def _wait_until_answered(self) -> None:
        """Whoever asked anybody who lives; it need not be who leads."""
        engine = self.world.engine
        deadline_s = engine.now + ANSWER_TIMEOUT_S
        while waiting := [(node, request) for node in self.world.nodes.values() if (request := node.unanswered)]:
            if engine.now >= deadline_s:
                node, request = waiting[0]
                invariants.questions_are_answered_in_the_end(node.name, request.invocation.kind)
            engine.run(engine.now + LOOK_S)

    def _judge_what_is_said(self) -> None:
        """What the nodes say of themselves now, and what they have written down of it."""
        nodes = self.world.nodes
        for name, node in nodes.items():
            if node.process is not None and not node.process.busy:
                invariants.status_is_true_in_the_end(name, node.process.status, node.process.raft)
        reigns = {name: tuple(map(recorded, _of_reigns(node.records))) for name, node in nodes.items()}
        invariants.traces_tell_of_one_leader(one_leader_at_a_time(Evidence(history=(), traces=reigns, timeline=())))

    def _agreed(self) -> bool:
        """Whether every member has applied all that the leader has, all of that is committed, and says rightly where
        they live."""
        leader = self.leader()
        if leader is None or leader.commit_index < leader.log.last_index or self._elsewhere(leader):
            return False
        for name in leader.configuration.names:
            process = self.world.nodes[name].process
            if process is None or process.raft.last_applied != leader.commit_index:
                return False
        return True

    def _states(self) -> dict[str, str]:
        states = {}
        for name, node in self.world.nodes.items():
            raft = node.process.raft if node.process else None
            states[name] = "down" if raft is None else f"{raft.role} in term {raft.current_term}, {raft.last_applied}"
        return states

    # Who is meant

    def leader(self) -> Raft | None:
        """Of the nodes that call themselves leader the one of the latest term."""
        rafts = [node.process.raft for node in self.world.nodes.values() if node.process is not None]
        leaders = [raft for raft in rafts if raft.role is Role.LEADER]
        return max(leaders, key=lambda raft: raft.current_term, default=None)

    def resolve(self, name: str) -> str:
        """The node that a name or a role means now; when nobody has the role, anybody."""
        if name in self.world.nodes:
            return name
        leader = self.leader()
        if name == "leader" and leader is not None:
            return leader.id
        others = [other for other in self.world.nodes if leader is None or other != leader.id]
        return self.rng.choice(others or list(self.world.nodes))

    def node(self, name: str) -> SimulatedNode:
        return self.world.nodes[self._meant(name)]

    def _meant(self, name: str) -> str:
        """The same, said aloud."""
        meant = self.resolve(name)
        if meant != name:
            self.world.chronicle.remark(self.world.engine.now, "fault", f"{whom(name)} is {meant}")
        return meant

    # What is done to nodes and links

    def crash(self, fault: Crash) -> Undo:
        node = self.node(fault.node)
        return self._tear_next_save(node) if fault.torn else _begun(self._down(node))

    def _down(self, node: SimulatedNode) -> AbstractContextManager[None]:
        return self.faults.lasting(node.name, NodeKind.DOWN, NodeState(down=True))

    def _tear_next_save(self, node: SimulatedNode) -> Undo:
        lasting = ExitStack()

        def strike() -> None:
            lasting.close()
            node.crash(torn=True)
            lasting.enter_context(self._down(node))

        node.disk.transactional = False
        lasting.enter_context(self.faults.lasting(node.name, NodeKind.STRIKE, NodeState(strikes=(strike,))))
        return lasting.close

    def _start(self, node: SimulatedNode) -> None:
        """The first of the members is told to found the cluster, each time: it does if a crash has left nothing."""
        founds = node.name == self.schedule.members[0]
        node.start(self.world.found(self.schedule.members) if founds else None)

    def _start_all(self, _: None) -> None:
        for name in dict.fromkeys((*self.schedule.members, *self.schedule.nodes)):
            self.faults.start(name)

    def on_node(self, fault: Pause | SlowDisk | FullDisk | Drift) -> Undo:
        kind, does = ON_NODES[type(fault)]
        return _begun(self.faults.lasting(self._meant(fault.node), kind, does(fault)))

    def on_links(self, fault: Cut | Delay | Limit) -> Undo:
        links = fault.links(self.schedule.nodes, self._meant)
        return _begun(ON_LINKS[type(fault)](self.world.network, links, fault))

    def noise(self, fault: Noise) -> Undo:
        levels = {"loss": fault.loss, "duplication": fault.duplication, "reordering": fault.reordering}
        return _begun(self.world.network.noisy(**levels))

    # What is asked

    def load(self, fault: Load) -> Undo:
        names = self.schedule.nodes
        scripts = [self._new_client() for _ in range(fault.clients)]
        workers = Workers(self.world, scripts, names, pause_s=PAUSE_S)
        workers.start()
        return workers.stop

    def _new_client(self) -> tuple[int, Script]:
        """Its number, and what it does; it asks for a write until that is decided."""
        number = self._clients
        self._clients += 1
        return number, retrying(_script(self.world.engine.random(f"client/{number}")), f"client-{number}")

    def join(self, fault: Join) -> Undo | None:
        node = self.node(fault.node)
        if not fault.wrong_address:
            self._change(Invocation("join", node.name, node.address), fault.for_s)
            return None
        wrong = self._another_address(node)
        self._change(Invocation("join", node.name, wrong), fault.for_s)
        return self._unreached(node, frozenset((wrong,)))

    def readdress(self, fault: Readdress) -> Undo:
        node = self.node(fault.node)
        former = node.addresses
        node.crash()
        node.move(self._another_address(node))
        self.faults.start(node.name)
        self._change(Invocation("join", node.name, node.address), fault.for_s)
        return self._unreached(node, former)

    def _another_address(self, node: SimulatedNode) -> str:
        self._addresses_given += 1
        return f"{node.name}:{7000 + self._addresses_given}"

    def _unreached(self, node: SimulatedNode, addresses: frozenset[str]) -> Undo:
        """By whoever takes these for its addresses."""
        over = _begun(self.faults.lasting(node.name, NodeKind.UNREACHED, NodeState(unreached=True)))

        def undo() -> None:
            node.lead_here(addresses)
            over()

        return undo

    def _put_right(self, leader: Raft) -> None:
        """Have the address of a member that lives elsewhere corrected, one member after the other."""
        elsewhere = self._elsewhere(leader)
        if not elsewhere or self._putting_right:
            return

        def told(_: Operation) -> None:
            self._putting_right = False

        self._putting_right = True
        invocation = Invocation("join", elsewhere[0].name, elsewhere[0].address)
        self.world.ask(OPERATOR, leader.id, invocation, told)

    def _elsewhere(self, leader: Raft) -> list[SimulatedNode]:
        """Members that do not live where the configuration says."""
        servers = leader.configuration.servers
        return [node for server in servers if (node := self.world.nodes[server.id]).address != server.address]

    def leave(self, fault: Leave) -> None:
        self._change(Invocation("leave", self.resolve(fault.node)), fault.for_s)

    def _change(self, invocation: Invocation, for_s: float) -> None:
        """Ask the leader, and who is leader then, until it is done or its time is over."""
        engine = self.world.engine
        until_s = engine.now + for_s

        def ask(_: Any = None) -> None:
            self.world.ask(OPERATOR, self.resolve("leader"), invocation, told)

        def told(operation: Operation) -> None:
            if operation.outcome is not Outcome.OK and engine.now + RETRY_S < until_s:
                engine.after(RETRY_S, ask)

        ask()

    def transfer(self, fault: Transfer) -> None:
        self._change(Invocation("transfer", self.resolve(fault.node)), 0.0)

    def snapshot(self, fault: Snapshot) -> None:
        self.world.ask(OPERATOR, self.resolve(fault.node), Invocation("snapshot", ""), lambda _: None)


BEGIN: dict[type[Fault], Callable[[Player, Any], Undo | None]] = {
    Crash: Player.crash,
    Pause: Player.on_node,
    Drift: Player.on_node,
    SlowDisk: Player.on_node,
    FullDisk: Player.on_node,
    Cut: Player.on_links,
    Delay: Player.on_links,
    Limit: Player.on_links,
    Noise: Player.noise,
    Load: Player.load,
    Join: Player.join,
    Readdress: Player.readdress,
    Leave: Player.leave,
    Transfer: Player.transfer,
    Snapshot: Player.snapshot,
}
"""How a fault begins; what is returned ends it."""

ON_NODES: dict[type[Fault], tuple[NodeKind, Callable[[Any], NodeState]]] = {
    Pause: (NodeKind.PAUSE, lambda _: NodeState(paused=True)),
    Drift: (NodeKind.CLOCK, lambda fault: NodeState(clock_rate=fault.rate)),
    SlowDisk: (NodeKind.SLOW_DISK, lambda fault: NodeState(disk_latency_ms=fault.latency_ms)),
    FullDisk: (NodeKind.FULL_DISK, lambda _: NodeState(disk_full=True)),
}

ON_LINKS: dict[type[Fault], Callable[[SimulatedNetwork, Collection[Link], Any], AbstractContextManager[None]]] = {
    Cut: lambda network, links, fault: network.cutting(links, fault.mode),
    Delay: lambda network, links, fault: network.delayed(links, fault.latency_ms, fault.jitter_ms),
    Limit: lambda network, links, fault: network.limited(links, fault.rate_kib_s),
}


def _begun(block: AbstractContextManager[None]) -> Undo:
    """Enter it; what is returned leaves it."""
    lasting = ExitStack()
    lasting.enter_context(block)
    return lasting.close


def _of_reigns(records: Iterable[Record]) -> list[Record]:
    """What of a trace tells who led when. Of several leases only the last counts, and most records are leases."""
    told: list[Record] = []
    lease: Record | None = None
    for record in records:
        kind = type(record[1])
        if kind is Leased:
            lease = record
        elif kind in LIVES:
            told += [record] if lease is None else [lease, record]
            lease = None
    return told if lease is None else [*told, lease]


def _script(rng: random.Random) -> Script:
    """Every kind of write and read, over few keys. What is asked for again must not take effect again: of that a put
    would undo what was written in between, a CAS and a delete would be told that it failed. Batches share a key."""
    seen: dict[str, int] = {}
    """The modify_index of each key, 0 when it is not there, as this client knows it."""
    for count in itertools.count(1):
        chance, key = rng.random(), f"k{rng.randrange(4)}"
        value = f"{count}{'.' * rng.choice(SIZES)}"
        if chance < 0.25:
            seen[key] = (yield Invocation("put", key, value)).modify_index or 0
        elif chance < 0.45:
            seen[key] = (yield Invocation("cas", key, value, modify_index=seen.get(key, 0))).modify_index or 0
        elif chance < 0.5:
            yield Invocation("delete", key)
            seen[key] = 0
        elif chance < 0.55:
            yield Invocation("delete", key, modify_index=seen.get(key, 0))
        elif chance < 0.6:
            expected = seen.get(key, 0) if rng.random() < 0.5 else None
            seen[key] = (yield batch("batch_set", [Item(key, value, expected), Item("both", value)])).modify_index or 0
        elif chance < 0.62:
            yield batch("batch_delete", [Item(key), Item("both")])
            seen[key] = 0
        elif chance < 0.65:
            yield batch("batch_get", [Item(key), Item("both")])
        elif chance < 0.8:
            yield Invocation("get", key, consistent=True)
        elif chance < 0.95:
            yield Invocation("lease_get", key)
        else:
            yield Invocation("get", key)
