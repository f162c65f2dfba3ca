"""Who is in the cluster, and how that changes: one server at a time (thesis 4.1), learners first (4.2.1).

A configuration is an ordinary log entry. It is in force on each server as soon as it is in that server's log, committed
or not. Each configuration also carries the cluster's id, derived from the first configuration, and a message must name
that id to be let in. A stricter check, that the receiver's own configuration has the sender, would be wrong. Say a
fifth server joined. Its promotion and a write are stored on it and on two of the four old servers, and those two die.
Only the fifth has the write, so only the fifth may be elected. It needs the votes of the other two, one of which may
never have heard of it, and both must listen to it (thesis 4.1: requests are processed without consulting the
configuration).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from enum import StrEnum
from functools import cached_property

import msgspec

from node.raft.messages import Entry, EntryKind, Name


class Suffrage(StrEnum):
    VOTER = "Voter"
    NONVOTER = "Nonvoter"
    STAGING = "Staging"
    """Receives the log and does not vote; becomes a voter as soon as it has caught up."""


class Member(msgspec.Struct, frozen=True):
    id: Name
    address: Name
    """host:port of its Raft port, as the others are told."""
    suffrage: Suffrage = Suffrage.VOTER


class Configuration(msgspec.Struct, frozen=True, dict=True):
    """Every server of a cluster. No two share an id or an address; the empty configuration names no cluster yet."""

    cluster_id: str = ""
    servers: tuple[Member, ...] = ()

    @classmethod
    def first(cls, members: Iterable[tuple[str, str]]) -> Configuration:
        """The first configuration of a cluster, from (id, address) pairs.

        The same pairs give the same bytes: nodes that all bootstrap with one list write the same entry, so their logs
        cannot differ at index 1.
        """
        servers = tuple(Member(id, address) for id, address in sorted(members))
        digest = hashlib.blake2b(msgspec.json.encode(servers), digest_size=8)
        return cls(digest.hexdigest(), servers)

    @classmethod
    def from_entry(cls, entry: Entry) -> Configuration:
        assert entry.kind is EntryKind.CONFIGURATION
        return cls.decode(entry.data)

    @classmethod
    def decode(cls, data: bytes) -> Configuration:
        """Raises msgspec.MsgspecError."""
        return msgspec.json.decode(data, type=cls)

    def encode(self) -> bytes:
        return msgspec.json.encode(self)

    @cached_property
    def voters(self) -> tuple[str, ...]:
        return tuple(server.id for server in self.servers if server.suffrage is Suffrage.VOTER)

    @property
    def others(self) -> tuple[str, ...]:
        """Members that do not vote."""
        return tuple(server.id for server in self.servers if server.suffrage is not Suffrage.VOTER)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(server.id for server in self.servers)

    def get(self, id: str) -> Member | None:
        return next((server for server in self.servers if server.id == id), None)

    def owner_of(self, address: str) -> Member | None:
        return next((server for server in self.servers if server.address == address), None)

    def with_server(self, server: Member) -> Configuration:
        """This configuration with `server` in place of the one with its id, or at the end."""
        if self.get(server.id) is None:
            return msgspec.structs.replace(self, servers=(*self.servers, server))
        return msgspec.structs.replace(self, servers=tuple(server if s.id == server.id else s for s in self.servers))

    def without_server(self, id: str) -> Configuration:
        return msgspec.structs.replace(self, servers=tuple(server for server in self.servers if server.id != id))


class Memberships:
    """The configurations in one log and in the snapshot before it, oldest first.

    The last of them, `current`, is in force; `index` is its place in the log.
    """

    def __init__(self, base: tuple[int, Configuration] = (0, Configuration()), entries: Iterable[Entry] = ()) -> None:
        """`base` is the configuration in force before `entries`, with its index."""
        self._by_index: list[tuple[int, Configuration]] = [base]
        self._look_up()
        for entry in entries:
            self.note(entry)

    def _look_up(self) -> None:
        """Every step needs these, so they are found once for each change."""
        self.index, self.current = self._by_index[-1]
        self.voters = self.current.voters
        self.staged = tuple(server for server in self.current.servers if server.suffrage is Suffrage.STAGING)

    def at(self, index: int) -> tuple[int, Configuration]:
        """The configuration in force at `index`, with its own index."""
        return next(found for found in reversed(self._by_index) if found[0] <= index)

    def since(self, index: int) -> list[Configuration]:
        """The configuration in force at `index` and all later ones, oldest first: any of them may be in force while no
        entry after `index` is known to be committed."""
        start, _ = self.at(index)
        return [configuration for stood, configuration in self._by_index if stood >= start]

    def names_since(self, index: int) -> list[str]:
        """The members of all these configurations, each once."""
        return list(dict.fromkeys(name for configuration in self.since(index) for name in configuration.names))

    def may_vote(self, name: str, committed: int) -> bool:
        """Whether `name` is a voter in any configuration that may still be in force."""
        return any(name in configuration.voters for configuration in self.since(committed))

    def note(self, entry: Entry) -> bool:
        """Take an appended entry into account; returns whether the configuration changed."""
        if entry.kind is not EntryKind.CONFIGURATION:
            return False
        self._by_index.append((entry.index, Configuration.from_entry(entry)))
        self._look_up()
        return True

    def truncate_from(self, index: int) -> bool:
        """Go back to the configuration in force before `index`; returns whether it changed."""
        before = len(self._by_index)
        self._by_index = [found for found in self._by_index if found[0] < index]
        self._look_up()
        return len(self._by_index) != before

    def compact_to(self, index: int) -> None:
        """Forget the configurations that were no longer in force at `index`."""
        base = self.at(index)
        self._by_index = [base, *(found for found in self._by_index if found[0] > base[0])]
