from __future__ import annotations

import pytest

from node.config import Address, ConfigError, FirstFree, read_config

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
        ("KONSUL_RAFT_LEADER_LEASE_TIMEOUT", "3s", "at most KONSUL_RAFT_HEARTBEAT_TIMEOUT"),
        ("KONSUL_RAFT_COMMIT_TIMEOUT", "-1ms", "more than 0"),
        ("KONSUL_RAFT_MAX_APPEND_ENTRIES", "0", "at least 1"),
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


def test_who_bootstraps_with_a_list_must_be_on_it() -> None:
    with pytest.raises(ConfigError, match=r"must name node1@127\.0\.0\.1:7001"):
        read_config({**BASE, "KONSUL_RAFT_BOOTSTRAP": "true", "KONSUL_RAFT_PEERS": "n2@h:1"})
