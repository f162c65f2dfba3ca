"""Which rules of our node's core may be broken on purpose, by name."""

from __future__ import annotations

from node.flaws import names


def flaw_names() -> tuple[str, ...]:
    return names()
