"""What is durable, and from when on.

`storage` keeps term, vote and log in one sqlite3 file: a save is one transaction and one fsync, and whoever returns
from it may promise what was saved. `snapshot_files` keeps snapshots beside it, each complete or not there. Both refuse
what they did not write, by name: a node that starts over damage may vote twice. After an error nothing is known of
what is on the disk, so whoever called must stop; no call is repeated.
"""
