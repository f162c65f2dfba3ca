"""What servers say of themselves: the status that they publish, and the lease in their traces."""

from __future__ import annotations

import math

from bench.simulated.invariants.ledger import Ledger
from bench.simulated.invariants.violation import violated
from bench.simulated.network import client_address
from bench.verdict import Finding, Verdict
from node.raft import Raft, Role
from node.server import Leased, Status


def traced_lease_is_no_longer_than_the_lease(ledger: Ledger, name: str, lease: Leased) -> None:
    """A server writes no longer lease in its trace than it has: readers rely on the trace when the server dies."""
    until_s = math.inf if lease.until_s is None else lease.until_s
    held_s = ledger.servers[name].lease_until_s
    if until_s > held_s:
        violated(traced_lease_is_no_longer_than_the_lease, f"{name} wrote down a lease to {until_s}; it has {held_s}")


def status_is_of_one_instant(ledger: Ledger, name: str, status: Status) -> None:
    """The applied index and the digest of what was applied belong together."""
    if ledger.digests.get(status.applied_index) != status.digest:
        violated(status_is_of_one_instant, f"{name} has applied {status.applied_index}, and says another digest of it")


def published_term_never_goes_back(ledger: Ledger, name: str, status: Status) -> None:
    """Within one life of a server."""
    former = ledger.published.get(name, status)
    if status.term < former.term:
        violated(published_term_never_goes_back, f"{name} says term {status.term} after {former.term}")


def published_lease_is_the_traces(ledger: Ledger, name: str, status: Status) -> None:
    """A server that says it leads has written in its trace until when; one that does not lead says nothing of a
    lease."""
    leads = status.role is Role.LEADER
    traced_s = ledger.traced_leases.get(name, -math.inf) if leads else -math.inf
    if status.lease_until_s != traced_s:
        violated(published_lease_is_the_traces, f"{name} says {status.lease_until_s}; its trace has {traced_s}")
    if leads and status.lease_until_s > ledger.servers[name].lease_until_s:
        words = f"{name} says that it leads to {status.lease_until_s}, longer than it may"
        violated(published_lease_is_the_traces, words)


def clients_are_told_of_members_in_their_places(ledger: Ledger, name: str, status: Status) -> None:
    """Of a member only what it says from where the configuration has it; who leads may have moved since."""
    for member, told in status.http_addresses.items():
        belongs = status.configuration.get(member)
        if belongs is not None and told != client_address(belongs.address) and member != status.leader:
            words = f"{name} sends clients of {member} to {told}; its configuration has {belongs.address}"
            violated(clients_are_told_of_members_in_their_places, words)


def one_says_that_it_leads(ledger: Ledger, name: str, status: Status, at_s: float) -> None:
    """At no instant do two servers report themselves leader, whatever they have found out meanwhile."""
    if not status.is_leader_at(ledger.servers[name].clock.at(at_s)):
        return
    for other, said in ledger.published.items():
        if other != name and said.role is Role.LEADER and said.is_leader_at(ledger.servers[other].clock.at(at_s)):
            violated(one_says_that_it_leads, f"{name} says that it leads in {status.term}, {other} in {said.term}")


def status_is_true_in_the_end(name: str, status: Status, raft: Raft) -> None:
    """Once nothing changes any more, what was said last is true."""
    said = (status.role, status.term, status.leader, status.commit_index, status.applied_index, status.last_index)
    true = (raft.role, raft.current_term, raft.leader, raft.commit_index, raft.last_applied, raft.log.last_index)
    if said != true or status.configuration != raft.configuration:
        violated(status_is_true_in_the_end, f"{name} says {said}; it is {true}")


def traces_tell_of_one_leader(finding: Finding) -> None:
    """The servers' traces alone show leaders, and never two in a term or at once."""
    if finding.verdict is not Verdict.VALID:
        violated(traces_tell_of_one_leader, f"{finding.check}: {finding.reason}")
