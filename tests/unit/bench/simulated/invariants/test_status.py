"""Servers that say of themselves what is not so."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest

from bench.simulated.invariants import Ledger, status
from bench.simulated.invariants.ledger import note_digest, note_published, note_traced_lease
from bench.verdict import Finding, Verdict
from node.raft import Configuration, Role
from node.server import Leased, Status
from tests.unit.bench.simulated.invariants.steps import SAID, assert_violated, raft, server


def said(**changed: Any) -> Status:
    return msgspec.structs.replace(SAID, **changed)


def leading(until_s: float, term: int = 1) -> Status:
    return said(role=Role.LEADER, term=term, lease_until_s=until_s)


def leased(until_s: float | None) -> Leased:
    return Leased(at_s=0.0, term=1, until_s=until_s)


def test_a_lease_that_is_written_down_longer_than_it_is_is_seen() -> None:
    ledger = Ledger(servers={"a": server(lease_until_s=5.0)})
    status.traced_lease_is_no_longer_than_the_lease(ledger, "a", leased(5.0))
    for longer in (5.1, None):
        assert_violated(
            status.traced_lease_is_no_longer_than_the_lease, ledger, "a", leased(longer), words="it has 5.0"
        )


def test_a_status_that_is_torn_between_two_instants_is_seen() -> None:
    ledger = Ledger()
    status.status_is_of_one_instant(ledger, "a", said())
    note_digest(ledger, 1, b"x")
    status.status_is_of_one_instant(ledger, "a", said(applied_index=1, digest=b"x"))
    for index in (1, 2):
        torn = said(applied_index=index, digest=SAID.digest)
        assert_violated(status.status_is_of_one_instant, ledger, "a", torn, words=f"has applied {index}, and says")


def test_a_member_of_whom_clients_are_told_another_place_than_the_configuration_has_is_seen() -> None:
    members = Configuration.first([("b", "b:1"), ("c", "c:1")])
    rightly = {"b": "clients.b:1", "z": "clients.z:9"}
    check = status.clients_are_told_of_members_in_their_places
    check(Ledger(), "a", said(configuration=members, http_addresses=rightly))
    wrongly = said(configuration=members, http_addresses={"b": "clients.b:1", "c": "clients.c:9"})
    assert_violated(
        check, Ledger(), "a", wrongly, words="a sends clients of c to clients.c:9; its configuration has c:1"
    )
    check(Ledger(), "a", msgspec.structs.replace(wrongly, leader="c"))


def test_a_term_that_goes_back_is_seen() -> None:
    ledger = Ledger()
    note_published(ledger, "a", said(term=2))
    status.published_term_never_goes_back(ledger, "a", said(term=2))
    assert_violated(status.published_term_never_goes_back, ledger, "a", said(term=1), words="a says term 1 after 2")


@pytest.mark.parametrize("wrong", [leading(4.0), leading(6.0), said(lease_until_s=5.0)])
def test_a_lease_that_is_not_the_one_in_the_trace_is_seen(wrong: Status) -> None:
    ledger = Ledger(servers={"a": server(lease_until_s=9.0)})
    assert_violated(status.published_lease_is_the_traces, ledger, "a", leading(5.0), words="its trace has -inf")
    note_traced_lease(ledger, "a", leased(5.0))
    status.published_lease_is_the_traces(ledger, "a", leading(5.0))
    assert_violated(status.published_lease_is_the_traces, ledger, "a", wrong, words="its trace has")


def test_a_lease_that_went_on_in_the_status_when_it_had_become_shorter_is_seen() -> None:
    ledger = Ledger(servers={"a": server(lease_until_s=4.0)}, traced_leases={"a": 5.0})
    assert_violated(status.published_lease_is_the_traces, ledger, "a", leading(5.0), words="longer than it may")


def test_two_servers_that_say_at_once_that_they_lead_are_seen() -> None:
    ledger = Ledger(servers={"a": server("a"), "b": server("b")})
    note_published(ledger, "a", leading(5.0))
    status.one_says_that_it_leads(ledger, "a", leading(6.0), 4.0)
    status.one_says_that_it_leads(ledger, "b", leading(9.0, term=2), 5.0)
    status.one_says_that_it_leads(ledger, "b", said(term=2), 4.0)
    words = "b says that it leads in 2, a in 1"
    assert_violated(status.one_says_that_it_leads, ledger, "b", leading(math.inf, term=2), 4.0, words=words)


def test_a_status_that_stays_behind_is_seen_in_the_end() -> None:
    core = raft("a")
    status.status_is_true_in_the_end("a", SAID, core)
    assert_violated(status.status_is_true_in_the_end, "a", said(leader="b"), core, words="it is")


@pytest.mark.parametrize("verdict", [Verdict.INVALID, Verdict.UNKNOWN])
def test_traces_that_show_two_leaders_or_none_are_seen(verdict: Verdict) -> None:
    status.traces_tell_of_one_leader(Finding("one", Verdict.VALID, "fine"))
    assert_violated(status.traces_tell_of_one_leader, Finding("one", verdict, "why"), words="one: why")
