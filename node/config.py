"""KONSUL_* environment -> `Config`. Every bad value is reported in one sentence that names the variable and the rule.

Names and meanings are Konsul's; durations are Go's ("1s", "1m30s", "250ms"). Variables that Konsul does not have are
marked "ours" in the table of the README. A variable set to the empty string counts as not set.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

import durationpy

from node import flaws
from node.raft import FlowLimits, Timing
from node.snapshots import SnapshotPolicy

NODE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
HOST_NAME = re.compile(r"[A-Za-z0-9._-]{1,253}")
FIRST_HTTP_PORT = 8500
FIRST_METRICS_PORT = 8080
MOST_DIGITS = 18


class ConfigError(Exception):
    """The environment asks for something impossible."""


class Address(NamedTuple):
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class FirstFree(NamedTuple):
    """Take the first free port from here on."""

    port: int


@dataclass(frozen=True)
class TransportLimits:
    """How much may be under way, and how much may wait, for one peer."""

    unanswered_bytes: int = 1024 * 1024
    """A request that would exceed this waits. One request may always be under way."""
    waiting_messages: int = 1024
    """While this many messages wait, further ones are dropped."""


@dataclass(frozen=True)
class RaftConfig:
    node_id: str
    bind: Address
    advertise: Address
    data_dir: Path
    bootstrap: bool
    peers: tuple[tuple[str, str], ...]
    """The first configuration as (id, address) pairs; empty means this node alone."""
    timing: Timing
    flow: FlowLimits
    transport: TransportLimits
    snapshots: SnapshotPolicy
    log_level: int
    dial: Mapping[str, Address]
    """Advertised address -> the address to dial instead."""
    trace_file: Path | None
    trace_zero_s: float
    """The reading of the monotonic clock that the times in the trace are counted from."""
    flaw: str | None
    """Which rule of Raft to break on purpose (`node.flaws`)."""


@dataclass(frozen=True)
class Config:
    host: str
    http_port: int | FirstFree
    metrics_port: int | FirstFree | None
    http_advertise: Address | None
    """What a redirect's Location says; None means the HTTP address itself."""
    allowed_hosts: tuple[str, ...]
    """Further names by which the node may be asked for."""
    raft: RaftConfig | None
    """None means a standalone store."""

    @property
    def hosts(self) -> tuple[str, ...]:
        """Every host that the configuration gives this node."""
        addresses = [self.http_advertise, *((self.raft.bind, self.raft.advertise) if self.raft else ())]
        return (self.host, *(address.host for address in addresses if address is not None), *self.allowed_hosts)


def read_config(environment: Mapping[str, str]) -> Config:
    """The configuration that `environment` asks for. Raises ConfigError; touches nothing."""
    reader = _Reader(environment)
    host = reader.text("KONSUL_HOST", "127.0.0.1")
    metrics_port: int | FirstFree | None = FirstFree(FIRST_METRICS_PORT)
    if reader.text("KONSUL_METRICS_PORT", "") == "off":
        metrics_port = None
    elif reader.text("KONSUL_METRICS_PORT", ""):
        metrics_port = reader.port("KONSUL_METRICS_PORT")
    return Config(
        host=host,
        http_port=reader.port("KONSUL_PORT") if reader.text("KONSUL_PORT", "") else FirstFree(FIRST_HTTP_PORT),
        metrics_port=metrics_port,
        http_advertise=reader.optional_address("KONSUL_HTTP_ADVERTISE_ADDR"),
        allowed_hosts=reader.hosts("KONSUL_HTTP_ALLOWED_HOSTS"),
        raft=_read_raft(reader) if reader.flag("KONSUL_RAFT_ENABLED") else None,
    )


def _read_raft(reader: _Reader) -> RaftConfig:
    node_id = reader.text("KONSUL_RAFT_NODE_ID", "")
    if not NODE_ID.fullmatch(node_id):
        raise ConfigError(
            f"KONSUL_RAFT_NODE_ID is {node_id!r}; it must be set, to letters, digits, '.', '_' and '-' (1 to 128)"
        )
    bind = reader.optional_address("KONSUL_RAFT_BIND_ADDR")
    advertise = reader.optional_address("KONSUL_RAFT_ADVERTISE_ADDR") or bind
    if advertise is None:
        raise ConfigError("KONSUL_RAFT_ADVERTISE_ADDR must be set, to the host:port at which peers reach this node")
    peers = reader.peers("KONSUL_RAFT_PEERS")
    bootstrap = reader.flag("KONSUL_RAFT_BOOTSTRAP")
    if bootstrap and peers and (node_id, str(advertise)) not in peers:
        raise ConfigError(f"KONSUL_RAFT_PEERS is the whole first configuration and must name {node_id}@{advertise}")
    trace_file = reader.text("KONSUL_RAFT_TRACE_FILE", "")
    flow, transport = _read_limits(reader)
    return RaftConfig(
        node_id=node_id,
        bind=bind or advertise,
        advertise=advertise,
        data_dir=Path(reader.text("KONSUL_RAFT_DATA_DIR", f"data/raft/{node_id}")),
        bootstrap=bootstrap,
        peers=peers,
        timing=_read_timing(reader),
        flow=flow,
        transport=transport,
        snapshots=_read_snapshot_policy(reader),
        log_level=reader.log_level("KONSUL_RAFT_LOG_LEVEL", "info"),
        dial=reader.dial("KONSUL_RAFT_DIAL"),
        trace_file=Path(trace_file) if trace_file else None,
        trace_zero_s=reader.duration_s("KONSUL_RAFT_TRACE_ZERO", "")
        if reader.text("KONSUL_RAFT_TRACE_ZERO", "")
        else 0.0,
        flaw=reader.one_of("KONSUL_RAFT_FLAW", flaws.names()),
    )


def _read_timing(reader: _Reader) -> Timing:
    heartbeat_s = reader.duration_s("KONSUL_RAFT_HEARTBEAT_TIMEOUT", "1s")
    election_s = reader.duration_s("KONSUL_RAFT_ELECTION_TIMEOUT", "1s")
    lease_s = reader.duration_s("KONSUL_RAFT_LEADER_LEASE_TIMEOUT", "500ms")
    if election_s < heartbeat_s:
        raise ConfigError(
            f"KONSUL_RAFT_ELECTION_TIMEOUT ({election_s:g}s) must be at least KONSUL_RAFT_HEARTBEAT_TIMEOUT "
            f"({heartbeat_s:g}s): raise it, or a live leader is taken for dead"
        )
    if lease_s > heartbeat_s:
        raise ConfigError(
            f"KONSUL_RAFT_LEADER_LEASE_TIMEOUT ({lease_s:g}s) must be at most KONSUL_RAFT_HEARTBEAT_TIMEOUT "
            f"({heartbeat_s:g}s): lower it, or two nodes may believe that they lead"
        )
    return Timing(heartbeat_s, election_s, lease_s, reader.duration_s("KONSUL_RAFT_COMMIT_TIMEOUT", "50ms"))


def _read_limits(reader: _Reader) -> tuple[FlowLimits, TransportLimits]:
    """The number of entries in a message has Konsul's own variable; all other limits are in one of ours."""
    entries = reader.count("KONSUL_RAFT_MAX_APPEND_ENTRIES", FlowLimits.entries_per_message)
    flow = [field.name for field in fields(FlowLimits) if field.name != "entries_per_message"]
    transport = [field.name for field in fields(TransportLimits)]
    given = reader.numbers("KONSUL_RAFT_LIMITS", (*flow, *transport))
    return (
        FlowLimits(entries, **{name: value for name, value in given.items() if name in flow}),
        TransportLimits(**{name: value for name, value in given.items() if name in transport}),
    )


def _read_snapshot_policy(reader: _Reader) -> SnapshotPolicy:
    return SnapshotPolicy(
        interval_s=reader.duration_s("KONSUL_RAFT_SNAPSHOT_INTERVAL", "120s"),
        threshold=reader.count("KONSUL_RAFT_SNAPSHOT_THRESHOLD", 8192),
        retention=reader.count("KONSUL_RAFT_SNAPSHOT_RETENTION", 2),
        trailing_logs=reader.count("KONSUL_RAFT_TRAILING_LOGS", 10240, least=0),
    )


class _Reader:
    """One method per kind of value; each raises ConfigError naming the variable."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    def text(self, name: str, default: str) -> str:
        return self._environment.get(name, "") or default

    def flag(self, name: str) -> bool:
        value = self.text(name, "false").lower()
        if value not in ("true", "false", "1", "0"):
            raise ConfigError(f"{name} is {value!r}; it must be true or false")
        return value in ("true", "1")

    def count(self, name: str, default: int, *, least: int = 1) -> int:
        value = self.text(name, str(default))
        number = _whole(value)
        if number is None or number < least:
            raise ConfigError(f"{name} is {value!r}; it must be a whole number of at least {least}")
        return number

    def numbers(self, name: str, known: Collection[str]) -> dict[str, int]:
        """The names of `known` that are given, with their numbers."""
        found: dict[str, int] = {}
        for item in filter(None, map(str.strip, self.text(name, "").split(","))):
            key, _, value = item.partition("=")
            if key not in known or key in found or not _whole(value):
                raise ConfigError(
                    f"{name} has {item!r}; it must be name=number,... with numbers of at least 1, and each name once, "
                    f"of {', '.join(known)}"
                )
            found[key] = int(value)
        return found

    def one_of(self, name: str, known: Collection[str]) -> str | None:
        value = self.text(name, "")
        if value and value not in known:
            raise ConfigError(f"{name} is {value!r}; there are {', '.join(known)}")
        return value or None

    def duration_s(self, name: str, default: str) -> float:
        value = self.text(name, default)
        try:
            seconds = float(durationpy.from_str(value).total_seconds())
        except (durationpy.DurationError, ValueError, OverflowError) as error:
            raise ConfigError(f"{name} is {value!r}; it must be a duration such as 500ms or 1s") from error
        if seconds <= 0:
            raise ConfigError(f"{name} is {value!r}; it must be more than 0")
        return seconds

    def log_level(self, name: str, default: str) -> int:
        value = self.text(name, default).upper()
        levels = logging.getLevelNamesMapping() | {"TRACE": logging.DEBUG, "WARN": logging.WARNING}
        if value not in levels:
            raise ConfigError(f"{name} is {value.lower()!r}; it must be debug, info, warn or error")
        return levels[value]

    def port(self, name: str) -> int:
        value = self.text(name, "")
        if not value.isascii() or not value.isdigit() or not 1 <= int(value) <= 65535:
            raise ConfigError(f"{name} is {value!r}; it must be a port, 1 to 65535")
        return int(value)

    def optional_address(self, name: str) -> Address | None:
        value = self.text(name, "")
        return self._address(name, value) if value else None

    def hosts(self, name: str) -> tuple[str, ...]:
        found = tuple(item.strip() for item in self.text(name, "").split(",") if item.strip())
        for host in found:
            if not HOST_NAME.fullmatch(host) and not _is_address(host.strip("[]")):
                raise ConfigError(f"{name} has {host!r}; it must be host names or addresses, without scheme or port")
        return found

    def peers(self, name: str) -> tuple[tuple[str, str], ...]:
        found: dict[str, str] = {}
        for item in filter(None, self.text(name, "").split(",")):
            id, _, address = item.strip().partition("@")
            if not NODE_ID.fullmatch(id) or not address or id in found:
                raise ConfigError(f"{name} has {item.strip()!r}; it must be id@host:port,... with each id once")
            found[id] = str(self._address(name, address))
        if len(set(found.values())) != len(found):
            raise ConfigError(f"{name} gives two nodes one address; each needs its own")
        return tuple(found.items())

    def dial(self, name: str) -> dict[str, Address]:
        pairs = [item.strip().partition("=") for item in self.text(name, "").split(",") if item.strip()]
        return {str(self._address(name, meant)): self._address(name, dialled) for meant, _, dialled in pairs}

    def _address(self, name: str, value: str) -> Address:
        host, _, port = value.rpartition(":")
        if not host or not port.isascii() or not port.isdigit() or not 1 <= int(port) <= 65535:
            raise ConfigError(f"{name} has {value!r}; an address is host:port, such as 127.0.0.1:7001")
        return Address(host, int(port))


def _whole(text: str) -> int | None:
    """None for text that is not a whole number, or has too many digits to be meant."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= MOST_DIGITS else None


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
