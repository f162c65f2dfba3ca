"""The commands, by what they are for: `up` (starting), `watching`, `breaking`, `running` (scenarios), `doctor`.

Each command is a small function on top of `bench.live` or `bench.runner`. What a person did wrong ends in one line and
exit status 2 (`failing`); tables and colours are rich's and survive a pipe as plain text (`showing`).
"""
