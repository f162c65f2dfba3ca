"""Looking for cases that break a promise: random schedules, thousands of them, where it is fast and exact.

`stories` makes up schedules, `explore` makes a case of each seed and plays it in virtual time. What is found is a case
like any other (`bench.case`): it is stored, played again, edited, and played on real processes.
"""
