"""`SimulatedCluster`: a `Cluster` in virtual time. Time passes only while something is waited for."""

from __future__ import annotations

import contextlib
import inspect
import itertools
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Self, TypeVar

from bench.case import Plan
from bench.checkers.clocks import alike
from bench.cluster import Cluster, NodeStatus, PromiseBrokenError, Recorder, WaitTimeoutError
from bench.evidence import Evidence, Said
from bench.operations import Operation, Question
from bench.schedule import AnyFault
from bench.simulated.clients import SimulatedWorkers
from bench.simulated.network import SimulatedNetwork
from bench.simulated.node import SimulatedNode, recorded
from bench.simulated.observer import Observer
from bench.simulated.settings import core_of, world_settings
from bench.simulated.words import Over
from bench.simulated.world import VirtualWorld
from bench.words import question
from bench.workload import BRISK, Pace, Script
from faults.nodes import NodeKind, NodeState
from node.raft import Raft
from node.server import Started, Stopped

T = TypeVar("T")

LOOK_AGAIN_S = 0.02
"""A condition is checked whenever anything has happened, and at least this often."""
NODE = Path(inspect.getfile(Raft)).parents[1]

CANNOT = {
    "memory_limit": "simulated nodes share the memory of one process",
    "lost_files": "a simulated disk has no files",
    "snapshot_files": "a simulated disk keeps one snapshot, and damages none",
}
"""What cannot be done in virtual time, and why."""


class SimulatedCluster(Cluster):
    """A `Cluster` in a world of its own."""

    network: SimulatedNetwork

    def __init__(
        self,
        plan: Plan,
        recorder: Recorder | None = None,
        *,
        observer: Observer | None = None,
        core: type[Raft] | None = None,
    ) -> None:
        """`core` replaces the one that the plan's flaw asks for. Raises LookupError for an unknown flaw."""
        super().__init__(plan, recorder)
        self.world = VirtualWorld(
            plan.seed,
            plan.nodes,
            settings=world_settings(plan.settings, core or core_of(plan.flaw)),
            history=self.history,
            observer=observer,
            on_event=lambda event, fields: self.note(event, **fields),
        )
        self.network = self.world.network
        self.network.still = self.still
        self._own_rates = {name: node.clock.rate for name, node in self.world.nodes.items()}
        self._clocks_alike = True
        """Whether they have been so far."""
        self._look_at_clocks()
        self._boot_random = self.world.engine.random("boots")
        self._booting: dict[str, int] = {}
        """Nodes that are booting, and the number of the start that counts."""
        self._boots = itertools.count()
        self._addresses_given = itertools.count(1)

    @contextlib.contextmanager
    def opened(self) -> Iterator[Self]:
        """There is nothing to open or to stop."""
        yield self

    # What can be seen

    @property
    def now_s(self) -> float:
        return self.world.engine.now

    def can(self, need: str) -> str | None:
        return CANNOT.get(need)

    def is_running(self, node: str) -> bool:
        return node in self._booting or self._node(node).running

    def status(self, node: str) -> NodeStatus | None:
        found = self._node(node)
        return _status_of(found, self.world.engine.now) if found.running else None

    def _says(self, node: str) -> Said | None:
        """A status would take five times as long, and nodes are asked often."""
        found = self._node(node)
        if not found.running:
            return None
        assert found.process is not None
        status = found.process.status
        role, members = status.state_at(found.clock.at(self.now_s)), status.configuration
        return Said(role, status.term, status.applied_index, status.digest.hex(), members.voters, members.others)

    def address(self, node: str) -> str:
        return self._node(node).address

    def evidence(self) -> Evidence:
        """What a run leaves behind."""
        traces = {name: tuple(map(recorded, node.records)) for name, node in self.world.nodes.items()}
        return Evidence(tuple(self.history), traces, tuple(self.timeline), self.plan.settings)

    def seen_from_outside(self) -> Evidence:
        """The same without what nodes trace, except when each started and stopped."""
        lives = {
            name: tuple(recorded(record) for record in node.records if type(record[1]) in (Started, Stopped))
            for name, node in self.world.nodes.items()
        }
        return Evidence(tuple(self.history), lives, tuple(self.timeline), self.plan.settings)

    def at_rest(self) -> None:
        super().at_rest()
        with self._telling():
            self.world.observer.at_rest(self.world, clocks_alike=self._clocks_alike)

    # Clients

    def ask(self, client: int, node: str, asked: Question) -> Operation:
        came: list[Operation] = []
        self.world.ask(client, node, asked, came.append)
        # This wait always succeeds: a client without an answer by then gives up, which is an outcome too.
        given_up_s = self.plan.settings.client_timeout_s + LOOK_AGAIN_S
        return self.wait_until(lambda: came[0] if came else None, f"an answer to: {question(asked)}", given_up_s)

    def workers(self, scripts: Sequence[Script], nodes: Sequence[str], pace: Pace = BRISK) -> SimulatedWorkers:
        numbered = [(self.new_client(), script) for script in scripts]
        return SimulatedWorkers(self.world, numbered, nodes, pace=pace, resolve=self.resolve)

    # Time

    def pass_time(self, until_s: float) -> None:
        with self._telling():
            self.world.engine.run(until_s)

    def wait_until(self, condition: Callable[[], T | None], what: str, timeout_s: float = 20.0) -> T:
        world, engine = self.world, self.world.engine
        deadline_s = engine.now + timeout_s
        while True:
            world.changed = False
            found = condition()
            if found:
                return found
            if engine.now >= deadline_s:
                seen = "".join(
                    f"\n  {node}: {status or self._silent(node)}" for node, status in self.statuses().items()
                )
                raise WaitTimeoutError(f"not within {timeout_s:g} s: {what}. Seen last:{seen}")
            look_again_s = min(deadline_s, engine.now + LOOK_AGAIN_S)
            with self._telling():
                while not world.changed and engine.step(look_again_s):
                    pass

    def _silent(self, node: str) -> str:
        """Why it says nothing."""
        paused = self.node_faults.state(node).paused
        return f"{'paused' if paused else 'running' if self._has_process(node) else 'down'}, and silent"

    # Faults

    def torn(self, node: str) -> contextlib.AbstractContextManager[None]:
        return self._torn(node)

    @contextlib.contextmanager
    def _torn(self, name: str) -> Iterator[None]:
        node = self._node(name)
        pending, struck = ExitStack(), ExitStack()

        def strike() -> None:
            pending.close()
            node.crash(torn=True)
            self.note("kill", node=name, torn=True)
            struck.enter_context(self.node_faults.lasting(name, NodeKind.DOWN, NodeState(down=True)))

        node.disk.transactional = False
        with struck, pending:
            pending.enter_context(self.node_faults.lasting(name, NodeKind.STRIKE, NodeState(strikes=(strike,))))
            yield

    @contextlib.contextmanager
    def moved(self, node: str) -> Iterator[None]:
        found = self._node(node)
        former = found.addresses
        self._crash(node)
        found.move(self._another_address(node))
        self.note("move", node=node, address=found.address)
        self.start(node)
        with self._unreached(node, former):
            yield

    @contextlib.contextmanager
    def astray(self, node: str) -> Iterator[str]:
        address = self._another_address(node)
        with self._unreached(node, frozenset((address,))):
            yield address

    @contextlib.contextmanager
    def _unreached(self, node: str, addresses: frozenset[str]) -> Iterator[None]:
        """Peers that have these addresses for the node do not reach it until the block ends; then the addresses lead to
        it."""
        with self.node_faults.lasting(node, NodeKind.UNREACHED, NodeState(unreached=True)):
            try:
                yield
            finally:
                self._node(node).lead_here(addresses)

    def _another_address(self, node: str) -> str:
        return f"{node}:{7000 + next(self._addresses_given)}"

    def _enforce(self, node: str, former: NodeState, state: NodeState) -> None:
        found = self._node(node)
        found.disk.full, found.disk.extra_s = state.disk_full, state.disk_latency_ms / 1000
        if state.save_fails != former.save_fails:
            found.disk.fails_next = state.save_fails
        if state.strikes != former.strikes:
            found.in_next_save = _all_of(state.strikes)
        if state.clock_rate != former.clock_rate:
            self._set_clock_rate(node, self._own_rates[node] if state.clock_rate is None else state.clock_rate)
        excused = state.excused or self._is_unlike(state)
        if excused != (former.excused or self._is_unlike(former)):
            self.world.observer.excuse(node, excused)
            self.world.topology_changed()
        if state.down:
            self._crash(node)
        if state.paused != former.paused:
            self.note("pause" if state.paused else "resume", node=node)
            (found.pause if state.paused else found.resume)()
        if state.may_start and not former.may_start:
            self.start(node)

    def _set_clock_rate(self, node: str, rate: float) -> None:
        self._node(node).set_clock_rate(rate)
        self.note("clock_rate", node=node, rate=rate)
        self._look_at_clocks()

    def _look_at_clocks(self) -> None:
        """What leases guarantee is no longer promised once they may end too late."""
        if not alike([node.clock.rate for node in self.world.nodes.values()], self.plan.settings):
            self.world.observer.clocks_differ()
            self._clocks_alike = False

    def _is_unlike(self, state: NodeState) -> bool:
        """Whether its clock's rate keeps it from doing in time what others do."""
        return state.clock_rate is not None and not alike([state.clock_rate, 1.0], self.plan.settings)

    def _crash(self, node: str) -> None:
        if self._has_process(node):
            self._booting.pop(node, None)
            self._node(node).crash()
            self.note("kill", node=node)

    def _ask_to_stop(self, node: str) -> None:
        found = self._node(node)
        found.stop()
        self.wait_until(lambda: found.process is None, f"{node} has handed over and stopped")

    def _wipe(self, node: str) -> None:
        self._node(node).wipe()

    def _copy_disk(self, node: str) -> None:
        self._node(node).copy_disk()

    def _bring_back_disk(self, node: str) -> None:
        self._node(node).bring_back_disk()

    # Starting

    def _has_process(self, node: str) -> bool:
        return node in self._booting or self._node(node).process is not None

    def _start(self, node: str, *, founds: bool) -> None:
        start_s = self.plan.settings.start_s
        if not start_s:
            self._run(node, founds)
            return
        self._booting[node] = boot = next(self._boots)
        self.world.engine.after(start_s * (1 + self._boot_random.random()), self._on_booted, (node, boot, founds))

    def _on_booted(self, booted: tuple[str, int, bool]) -> None:
        node, boot, founds = booted
        if self._booting.get(node) == boot:
            del self._booting[node]
            if self.node_faults.state(node).may_start:
                self._run(node, founds)

    def _run(self, node: str, founds: bool) -> None:
        with self._telling():
            self._node(node).start(self.world.found(self.plan.members) if founds else None)

    def _node(self, name: str) -> SimulatedNode:
        return self.world.nodes[name]

    @contextlib.contextmanager
    def _telling(self) -> Iterator[None]:
        """Put this around whatever lets nodes act. An exception that would kill a node is a broken promise: the core
        asserts its own mistakes, and must survive all others. Mistakes of the bench or of a scenario are raised as they
        are."""
        try:
            yield
        except PromiseBrokenError as error:
            error.at_s = self.now_s
            self.broken = self.broken or error
            raise
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            if NODE not in Path(where.filename).parents:
                raise
            died = f"{type(error).__name__} in {where.name}, line {where.lineno}"
            words = f"{died}: {error}" if str(error) else died
            found = PromiseBrokenError("nothing_fails", words, at_s=self.now_s)
            self.broken = self.broken or found
            raise found from error

    # What was done

    def note(self, event: str, **fields: object) -> None:
        super().note(event, **fields)
        if event in ("kill", "restart", "pause", "resume"):
            self.world.say("bench", f"{event} {fields['node']}")

    def tell(self, fault: AnyFault, *, over: bool = False) -> None:
        super().tell(fault, over=over)
        self.world.chronicle.note((self.now_s, "fault", Over(fault) if over else fault))

    def remark(self, words: str) -> None:
        super().remark(words)
        self.world.chronicle.remark(self.now_s, "fault", words)


def _all_of(strikes: tuple[Callable[[], None], ...]) -> Callable[[], None] | None:
    def strike() -> None:
        for each in strikes:
            each()

    return strike if strikes else None


def _status_of(node: SimulatedNode, now_s: float) -> NodeStatus:
    """What the node would say of itself over HTTP."""
    assert node.process is not None
    status, now = node.process.status, node.clock.at(now_s)
    return NodeStatus(
        name=node.name,
        role=status.state_at(now),
        term=status.term,
        leader=status.leader_at(now),
        last_index=status.last_index,
        commit_index=status.commit_index,
        applied_index=status.applied_index,
        log_digest=status.digest.hex(),
        addresses={server.id: server.address for server in status.configuration.servers},
        staged=status.configuration.others,
        snapshot_index=status.snapshot_index,
    )
