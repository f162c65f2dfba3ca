from __future__ import annotations

import logging
from pathlib import Path

import pytest

from node.config import Address, Config, ConfigError, FirstFree, RaftConfig, TransportLimits, read_config
from node.raft import FlowLimits, Timing
from node.snapshots import SnapshotPolicy

BASE = {
    "KONSUL_RAFT_ENABLED": "true",
    "KONSUL_RAFT_NODE_ID": "node1",
    "KONSUL_RAFT_ADVERTISE_ADDR": "127.0.0.1:7001",
}


def test_the_defaults_are_those_of_seed_md() -> None:
    config = read_config(BASE)
    assert config.raft is not None
    timing = config.raft.timing
    assert (timing.heartbeat_timeout_s, timing.election_timeout_s, timing.leader_lease_timeout_s) == (1, 1, 0.5)
    assert (config.http_port, config.metrics_port) == (FirstFree(8500), FirstFree(8080))
    assert config.raft.bind == config.raft.advertise == Address("127.0.0.1", 7001)
    assert str(config.raft.data_dir) == "data/raft/node1"
    assert config.raft.snapshots == SnapshotPolicy(120, 8192, 2, 10240)
    assert (config.raft.flow.entries_per_message, timing.commit_timeout_s) == (64, 0.05)
    assert (config.raft.flow, config.raft.transport, config.raft.flaw) == (FlowLimits(), TransportLimits(), None)
    assert (config.raft.bootstrap, config.raft.peers, config.raft.trace_file) == (False, (), None)


def test_each_variable_says_what_its_name_says() -> None:
    """Each with a value of its own, so that none is taken for another."""
    config = read_config(
        {
            "KONSUL_HOST": "10.0.0.1",
            "KONSUL_PORT": "8601",
            "KONSUL_METRICS_PORT": "8602",
            "KONSUL_HTTP_ADVERTISE_ADDR": "public.example:80",
            "KONSUL_HTTP_ALLOWED_HOSTS": "raft.example, [fd00::7]",
            "KONSUL_RAFT_ENABLED": "1",
            "KONSUL_RAFT_NODE_ID": "n1",
            "KONSUL_RAFT_BIND_ADDR": "0.0.0.0:7000",
            "KONSUL_RAFT_ADVERTISE_ADDR": "n1.example:7001",
            "KONSUL_RAFT_DIAL": "n2.example:7001=127.0.0.1:9002, n3.example:7001=127.0.0.1:9003",
            "KONSUL_RAFT_DATA_DIR": "elsewhere",
            "KONSUL_RAFT_BOOTSTRAP": "True",
            "KONSUL_RAFT_PEERS": "n2@n2.example:7001,n1@n1.example:7001",
            "KONSUL_RAFT_HEARTBEAT_TIMEOUT": "400ms",
            "KONSUL_RAFT_ELECTION_TIMEOUT": "1m1.5s",
            "KONSUL_RAFT_LEADER_LEASE_TIMEOUT": "300ms",
            "KONSUL_RAFT_COMMIT_TIMEOUT": "20ms",
            "KONSUL_RAFT_MAX_APPEND_ENTRIES": "11",
            "KONSUL_RAFT_LIMITS": "bytes_per_message=21, entries_in_flight=22,bytes_in_flight=23,"
            "entries_applied_at_once=24,snapshot_chunk_bytes=25,snapshot_bytes_in_flight=26,"
            "unanswered_bytes=27,waiting_messages=28",
            "KONSUL_RAFT_SNAPSHOT_INTERVAL": "12s",
            "KONSUL_RAFT_SNAPSHOT_THRESHOLD": "13",
            "KONSUL_RAFT_SNAPSHOT_RETENTION": "14",
            "KONSUL_RAFT_TRAILING_LOGS": "15",
            "KONSUL_RAFT_LOG_LEVEL": "warn",
            "KONSUL_RAFT_TRACE_FILE": "n1.trace",
            "KONSUL_RAFT_TRACE_ZERO": "1h23m45.25s",
            "KONSUL_RAFT_FLAW": "forget_vote",
        }
    )
    assert config == Config(
        host="10.0.0.1",
        http_port=8601,
        metrics_port=8602,
        http_advertise=Address("public.example", 80),
        allowed_hosts=("raft.example", "[fd00::7]"),
        raft=RaftConfig(
            node_id="n1",
            bind=Address("0.0.0.0", 7000),
            advertise=Address("n1.example", 7001),
            data_dir=Path("elsewhere"),
            bootstrap=True,
            peers=(("n2", "n2.example:7001"), ("n1", "n1.example:7001")),
            timing=Timing(
                heartbeat_timeout_s=0.4, election_timeout_s=61.5, leader_lease_timeout_s=0.3, commit_timeout_s=0.02
            ),
            flow=FlowLimits(
                entries_per_message=11,
                bytes_per_message=21,
                entries_in_flight=22,
                bytes_in_flight=23,
                entries_applied_at_once=24,
                snapshot_chunk_bytes=25,
                snapshot_bytes_in_flight=26,
            ),
            transport=TransportLimits(unanswered_bytes=27, waiting_messages=28),
            snapshots=SnapshotPolicy(interval_s=12, threshold=13, retention=14, trailing_logs=15),
            log_level=logging.WARNING,
            dial={
                "n2.example:7001": Address("127.0.0.1", 9002),
                "n3.example:7001": Address("127.0.0.1", 9003),
            },
            trace_file=Path("n1.trace"),
            trace_zero_s=5025.25,
            flaw="forget_vote",
        ),
    )


def test_a_variable_set_to_nothing_is_not_set() -> None:
    with_empty = dict.fromkeys(("KONSUL_HOST", "KONSUL_PORT", "KONSUL_METRICS_PORT", "KONSUL_RAFT_TRACE_FILE"), "")
    assert read_config(BASE | with_empty | {"KONSUL_RAFT_SNAPSHOT_RETENTION": ""}) == read_config(BASE)


def test_metrics_may_be_off() -> None:
    assert read_config({"KONSUL_METRICS_PORT": "off"}).metrics_port is None


def test_peers_are_told_the_address_that_is_listened_on_if_there_is_no_other() -> None:
    config = read_config({**BASE, "KONSUL_RAFT_ADVERTISE_ADDR": "", "KONSUL_RAFT_BIND_ADDR": "10.0.0.1:7001"})
    assert config.raft is not None
    assert config.raft.advertise == config.raft.bind == Address("10.0.0.1", 7001)


def test_all_timeouts_may_be_alike() -> None:
    names = ("HEARTBEAT_TIMEOUT", "ELECTION_TIMEOUT", "LEADER_LEASE_TIMEOUT")
    config = read_config({**BASE, **{f"KONSUL_RAFT_{name}": "2s" for name in names}})
    assert config.raft is not None
    assert config.raft.timing.leader_lease_timeout_s == 2


def test_no_entry_need_be_kept_behind_a_snapshot() -> None:
    config = read_config({**BASE, "KONSUL_RAFT_TRAILING_LOGS": "0"})
    assert config.raft is not None
    assert config.raft.snapshots.trailing_logs == 0


def test_without_raft_the_node_stands_alone() -> None:
    assert read_config({}).raft is None


@pytest.mark.parametrize(
    ("variable", "value", "rule"),
    [
        ("KONSUL_RAFT_NODE_ID", "", "must be set"),
        ("KONSUL_RAFT_NODE_ID", "../x", "letters, digits"),
        ("KONSUL_RAFT_ADVERTISE_ADDR", "", "must be set"),
        ("KONSUL_RAFT_ADVERTISE_ADDR", "7001", "host:port"),
        ("KONSUL_RAFT_HEARTBEAT_TIMEOUT", "soon", "duration"),
        ("KONSUL_RAFT_HEARTBEAT_TIMEOUT", "0s", "more than 0"),
        ("KONSUL_RAFT_HEARTBEAT_TIMEOUT", "2s", "KONSUL_RAFT_ELECTION_TIMEOUT"),
        ("KONSUL_RAFT_ELECTION_TIMEOUT", "500ms", "at least KONSUL_RAFT_HEARTBEAT_TIMEOUT"),
        ("KONSUL_RAFT_ELECTION_TIMEOUT", "999ms", "at least KONSUL_RAFT_HEARTBEAT_TIMEOUT"),
        ("KONSUL_RAFT_LEADER_LEASE_TIMEOUT", "1001ms", "at most KONSUL_RAFT_HEARTBEAT_TIMEOUT"),
        ("KONSUL_RAFT_COMMIT_TIMEOUT", "-1ms", "more than 0"),
        ("KONSUL_RAFT_MAX_APPEND_ENTRIES", "0", "at least 1"),
        ("KONSUL_RAFT_MAX_APPEND_ENTRIES", "9" * 5000, "at least 1"),
        ("KONSUL_RAFT_TRAILING_LOGS", "-1", "at least 0"),
        ("KONSUL_RAFT_SNAPSHOT_RETENTION", "0", "at least 1"),
        ("KONSUL_RAFT_LIMITS", "bytes_in_flight", "'bytes_in_flight'; it must be name=number"),
        ("KONSUL_RAFT_LIMITS", "bytes_in_flight=0", "at least 1"),
        ("KONSUL_RAFT_LIMITS", "bytes_in_flight=1.5", "at least 1"),
        ("KONSUL_RAFT_LIMITS", "bytes_in_flight=1,bytes_in_flight=2", "each name once"),
        ("KONSUL_RAFT_LIMITS", "bites_in_flight=1", "of bytes_per_message, .*, unanswered_bytes, waiting_messages"),
        ("KONSUL_RAFT_LIMITS", "entries_per_message=1", "'entries_per_message=1'"),
        ("KONSUL_RAFT_FLAW", "os", "'os'; there are ack_last_index, "),
        ("KONSUL_RAFT_LOG_LEVEL", "loud", "debug, info"),
        ("KONSUL_RAFT_BOOTSTRAP", "maybe", "true or false"),
        ("KONSUL_RAFT_PEERS", "n1@h:1,n1@h:2", "each id once"),
        ("KONSUL_RAFT_PEERS", "n1@h:1,n2", "'n2'; it must be id@host:port"),
        ("KONSUL_RAFT_PEERS", "n1@h:1,n2@h:1", "its own"),
        ("KONSUL_RAFT_DIAL", "127.0.0.1:7002", "host:port"),
        ("KONSUL_PORT", "99999", "1 to 65535"),
        ("KONSUL_METRICS_PORT", "x", "1 to 65535"),
        ("KONSUL_HTTP_ADVERTISE_ADDR", "here", "host:port"),
        ("KONSUL_HTTP_ALLOWED_HOSTS", "raft.example:80", "without scheme or port"),
        ("KONSUL_HTTP_ALLOWED_HOSTS", "raft.example,http://raft.example", "'http://raft.example'; it must be host"),
        ("KONSUL_HTTP_ALLOWED_HOSTS", "*", "host names or addresses"),
    ],
)
def test_a_bad_value_is_told_with_its_variable_and_the_rule(variable: str, value: str, rule: str) -> None:
    with pytest.raises(ConfigError, match=rule) as raised:
        read_config({**BASE, variable: value})
    assert variable in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("peers", ["n2@h:1", "node1@127.0.0.1:7002", "node2@127.0.0.1:7001"])
def test_who_bootstraps_with_a_list_must_be_on_it(peers: str) -> None:
    with pytest.raises(ConfigError, match=r"must name node1@127\.0\.0\.1:7001"):
        read_config({**BASE, "KONSUL_RAFT_BOOTSTRAP": "true", "KONSUL_RAFT_PEERS": peers})
