"""The commands, by what they are for: `up` (starting), `watching`, `breaking`, `running` (scenarios), `playing`
(cases), `exploring`, `measuring`, `storing` (what is kept), `doctor`.

Each command is a small function on top of `bench.live`, `bench.runner` or `bench.store`. What a person did wrong ends
in one line and exit status 2 (`failing`); tables and colours are rich's and survive a pipe as plain text (`showing`).
"""
