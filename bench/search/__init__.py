"""Searches for cases that break a promise: random schedules, thousands of them, where that is fast and exact.

`stories` makes up schedules, `explore` makes a case of each seed and plays it in virtual time. A case that it finds is
like any other (`bench.case`): it is stored, and can be played again, edited, and played on real processes.
"""
