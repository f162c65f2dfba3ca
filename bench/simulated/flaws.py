"""The names of the rules of our node's core that can be broken on purpose."""

from __future__ import annotations

from node.flaws import names


def flaw_names() -> tuple[str, ...]:
    return names()
