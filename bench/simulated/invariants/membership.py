"""Membership: which configuration a server uses, and how a leader changes it."""

from __future__ import annotations

from bench.simulated.invariants.ledger import Ledger, Step
from bench.simulated.invariants.violation import listed, violated
from node.raft import EntryKind
from node.raft.transitions import MembershipChanged, Role, RoleChanged


def configuration_is_the_logs(ledger: Ledger, step: Step) -> None:
    """Thesis 4.1: a server uses the latest configuration in its log, committed or not, and returns to the one before
    when the log is truncated (CCF's LogConfigurationConsistent)."""
    index, log = step.configuration_index, step.log
    if index <= log.base_index:
        return
    if index > log.last_index or log[index].kind is not EntryKind.CONFIGURATION:
        violated(configuration_is_the_logs, f"{step.name} goes by a configuration at {index} that its log has not")


def members_change_one_at_a_time(ledger: Ledger, step: Step) -> None:
    """Thesis 4.1 with the correction of 2015: a leader adds or removes one voter, starting from a committed
    configuration.

    Called once the commits of the same round have been noted: a leader may change members as soon as it has committed.
    """
    role, index, voters = step.before.role, step.before.configuration_index, step.before.voters
    for change in step.effects.transitions:
        if isinstance(change, RoleChanged):
            role = change.role
        elif isinstance(change, MembershipChanged):
            if role is Role.LEADER and change.index > index > 0:
                if ledger.committed[-1] != change.term:
                    words = f"{step.name} changes members at {change.index} with nothing of its term {change.term}"
                    violated(members_change_one_at_a_time, f"{words} committed")
                if index > ledger.commit_index:
                    words = f"{step.name} changes members at {change.index} before entry {index} has committed"
                    violated(members_change_one_at_a_time, words)
                for former in (voters, ledger.voters):
                    if len(set(former) ^ set(change.voters)) > 1:
                        words = f"{step.name} goes from {listed(former)} to {listed(change.voters)}"
                        violated(members_change_one_at_a_time, words)
            index, voters = change.index, change.voters
