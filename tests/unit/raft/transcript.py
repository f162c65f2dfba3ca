"""Transcripts: a story told to a network of cores, and what they said and did, line for line.

A transcript is a text file. A line that begins with `#` or is empty is prose; one that begins with `> ` is a command to
the network; the indented lines under it are what followed: `n1 -> n2 RequestVote ...` for a message that was delivered,
`n1 -x n2` for one that a cut swallowed, `n2: Leader in term 2` for what changed. The commands are `Teller`'s methods.
`pytest tests/unit/raft/test_transcripts.py --regenerate` writes down what follows now; the diff is then to be read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from bench.simulated import words
from node.raft import (
    Configuration,
    Effects,
    Entry,
    EntryKind,
    NotLeaderError,
    Raft,
    ReadReady,
)
from node.raft.errors import MembershipChangeError, TransferError, TransferInProgressError
from node.raft.messages import AnyMessage
from tests.unit.raft.harness import Network


def play(text: str) -> str:
    """The transcript of the commands in `text`, with its prose."""
    return "".join(f"{line}\n" for line in _lines(text))


def _lines(text: str) -> Iterator[str]:
    teller = Teller()
    for line in text.splitlines():
        if line.startswith("> "):
            yield line
            name, *arguments = line[2:].split()
            command: Callable[..., None] = getattr(teller, name)
            command(*arguments)
            yield from (f"    {said}" for said in teller.said)
            teller.said.clear()
        elif not line.startswith("    "):
            yield line


class Teller:
    """The commands. Nodes are named n1, n2, ...; times are in milliseconds."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self._network = _Told(0, self.said)

    def found(self, size: str) -> None:
        """Found a cluster of so many, led by n1."""
        self._network = _Told(int(size), self.said)
        self._network.bootstrap()

    def cluster(self, size: str) -> None:
        """The same, without a word."""
        self.found(size)
        self.said.clear()

    def propose(self, node: str, text: str) -> None:
        self._try(lambda: self._raft(node).propose(text.encode(), self._network.now))

    def read(self, node: str) -> None:
        self._try(lambda: self.said.append(f"ticket {self._raft(node).read(self._network.now)}"))

    def lease_read(self, node: str) -> None:
        self._try(lambda: self.said.append(f"wait for index {self._raft(node).lease_read(self._network.now)}"))

    def join(self, leader: str, node: str) -> None:
        if node not in self._network.names:
            self._network.add(node)
        self._try(lambda: self._raft(leader).join(node, f"h:{node}", self._network.now))

    def leave(self, leader: str, node: str) -> None:
        self._try(lambda: self._raft(leader).leave(node, self._network.now))

    def transfer(self, leader: str, node: str) -> None:
        self._try(lambda: self._raft(leader).transfer_leadership(node, self._network.now))

    def compact(self, node: str, keep: str = "0") -> None:
        self._network.compact(node, keep=int(keep))
        self._network.collect([node])

    def campaign(self, node: str) -> None:
        self._raft(node).campaign(self._network.now)

    def crash(self, node: str) -> None:
        self._network.crash(node)

    def restart(self, node: str) -> None:
        self._network.restart(node)

    def isolate(self, *nodes: str) -> None:
        self._network.isolate(*nodes)

    def cut(self, source: str, target: str) -> None:
        """What `source` sends to `target` is lost."""
        self._network.cut.add((source, target))

    def heal(self) -> None:
        self._network.heal()

    def settle(self) -> None:
        """Deliver everything, and what follows from it, without time passing."""
        self._network.settle()

    def advance(self, milliseconds: str) -> None:
        self._network.advance(int(milliseconds) / 1000)

    def quietly(self, milliseconds: str) -> None:
        """Let time pass and say only who leads then."""
        told = len(self.said)
        self.advance(milliseconds)
        del self.said[told:]
        leaders = [node.id for node in self._network.nodes.values() if self._network.now < node.lease_until_s]
        self.said.append(f"leading: {', '.join(leaders) or 'nobody'}")

    def state(self) -> None:
        """Each node's role, term, commit index and log."""
        for node in self._network.nodes.values():
            log = node.log.between(node.log.first_index, node.log.last_index)
            base = [f"(up to {node.log.base_index}/{node.log.base_term})"] if node.log.base_index else []
            entries = " ".join([*base, *map(_entry, log)])
            self.said.append(
                f"{node.id} {node.role.value} term={node.current_term} commit={node.commit_index} {entries}"
            )

    def _raft(self, name: str) -> Raft:
        return self._network.nodes[name]

    def _try(self, action: Callable[[], object]) -> None:
        try:
            action()
        except (NotLeaderError, MembershipChangeError, TransferError, TransferInProgressError) as error:
            self.said.append(f"refused: {error}")


class _Told(Network):
    """A network that says what it does."""

    def __init__(self, size: int, said: list[str]) -> None:
        self._said = said
        super().__init__(size)

    def carried_out(self, name: str, effects: Effects) -> None:
        self._said += [f"{name}: {words.change(transition)}" for transition in effects.transitions]
        self._said += [f"{name}: {_read(ready)}" for ready in effects.reads]
        self._said += [
            f"{message.sender} -x {message.recipient} {words.message(message, _listed)}"
            for message in effects.messages
            if (message.sender, message.recipient) in self.cut
        ]

    def deliver(self, message: AnyMessage) -> None:
        if message.recipient in self.nodes:
            self._said.append(f"{message.sender} -> {message.recipient} {words.message(message, _listed)}")
        super().deliver(message)


def _read(ready: ReadReady) -> str:
    if ready.index is None:
        return f"gives up read {ready.ticket}"
    return f"answers read {ready.ticket} once {ready.index} is applied"


def _entry(entry: Entry) -> str:
    match entry.kind:
        case EntryKind.COMMAND:
            what = entry.data.decode()
        case EntryKind.NOOP:
            what = "noop"
        case EntryKind.CONFIGURATION:
            configuration = Configuration.from_entry(entry)
            what = ",".join([*configuration.voters, *(f"({name})" for name in configuration.others)])
    return f"{entry.index}/{entry.term}:{what}"


def _listed(entries: Sequence[Entry]) -> str:
    return f"[{' '.join(map(_entry, entries))}]"
