"""Seeded bugs, to see whether what watches would notice: each breaks one rule of Raft, and nothing else.

A flaw is a module with a class `Flawed`, a subclass of `Raft` that overrides exactly one method of `node.raft.rules`,
as real systems have done; the module says which. Every rule has a flaw, which a unit test holds true: a rule that
nobody has broken may be one that does nothing. Nothing imports a flaw. It is asked for by name:

    python -m bench explore --flaw forget_vote
    python -m bench run kill_leader --flaw forget_vote

What it takes
-------------
Seeds of five nodes walked from 0 until an invariant (`bench.simulated.invariants`) saw the flaw. `nothing_fails` is an
assertion of the core's own, which comes before any promise to others is broken.

| rule                     | flaw                    | seeds | caught by                                            |
|--------------------------|-------------------------|-------|------------------------------------------------------|
| `_may_grant_vote`        | `vote_twice`            |    14 | `nothing_fails`: a second vote in a term             |
| `_log_is_up_to_date`     | `vote_by_length`        |    22 | `leader_has_what_is_committed`                       |
| `_counts_vote`           | `late_votes`            |   794 | `leaders_were_elected`                               |
| `_is_elected`            | `count_own_vote_twice`  |     1 | `leaders_were_elected`                               |
| `_is_elected`            | `no_pre_vote`           |     1 | `candidates_have_asked`                              |
| `_is_told_to_stand`      | `late_order`            |     7 | `candidates_have_asked`                              |
| `_may_campaign`          | `anyone_campaigns`      |    21 | `only_voters_lead`                                   |
| `_hard_state`            | `forget_vote`           |     1 | `what_is_believed_is_durable`                        |
| `_hard_state`            | `forget_term`           |     1 | `what_is_believed_is_durable`                        |
| `_settles_term`          | `stuck_terms`           |     1 | `all_agree_in_the_end`                               |
| `_settles_term`          | `heed_every_candidate`  |     1 | `candidates_disturb_nobody`                          |
| `_leader_may_live`       | `forget_leader`         |     1 | `candidates_disturb_nobody`                          |
| `_lease_base_s`          | `lease_by_receipt`      |   504 | `one_leader_at_a_time`                               |
| `_lease_holds`           | `deaf_leader`           |    13 | `connected_majority_has_a_leader`                    |
| `_log_matches`           | `no_prev_check`         |     9 | `logs_match`                                         |
| `_conflicts`             | `erase_on_stale_append` |     4 | `nothing_fails`: a committed entry would go          |
| `_counts_answer`         | `match_not_reset`       |    46 | `matches_are_true`                                   |
| `_proven_match`          | `ack_last_index`        |     9 | `matches_are_true`                                   |
| `_proven_commit`         | `commit_past_prev`      |     9 | `committed_stays`                                    |
| `_may_commit`            | `commit_old_term`       |     1 | `only_the_leaders_term_is_counted`                   |
| `_is_prefix`             | `snapshot_cuts_suffix`  |   424 | `only_what_conflicts_goes`                           |
| `_may_install`           | `stale_snapshot`        |    24 | `nothing_fails`: it needs an entry that is gone      |
| `_read_index`            | `readindex_no_noop`     |   171 | `reads_are_not_stale`                                |
| `_is_confirmed`          | `unconfirmed_reads`     |     1 | `clients_are_served_in_the_end`                      |
| `_is_confirmed`          | `local_read`            |    92 | `reads_are_not_stale`                                |
| `_may_change_membership` | `single_change_early`   |    26 | `members_change_one_at_a_time`                       |
| `_may_change_membership` | `two_changes_at_once`   |    19 | `members_change_one_at_a_time`                       |

What is a line in a method and no rule by itself was taken out by hand, and seen within 20 seeds: that a vote given is
contact, and so is a start; that a message of an earlier term is refused; that a configuration goes back when its entry
is cut; that a leader steps down before it tells another to stand.
"""

from __future__ import annotations

import importlib
import pkgutil

from node.raft import Raft


def names() -> tuple[str, ...]:
    """Every flaw there is, by name."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


def load(name: str) -> type[Raft]:
    """The core with this flaw. Raises LookupError for a name that is none."""
    if name not in names():
        raise LookupError(f"there is no flaw {name!r}; there are {', '.join(names())}")
    flawed: type[Raft] = importlib.import_module(f"{__name__}.{name}").Flawed
    return flawed
