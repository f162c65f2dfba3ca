"""Speaking to a running bench from another terminal."""

from __future__ import annotations

import sys
from typing import Any

import requests

from bench.live import registry

TIMEOUT_S = 30


class RemoteError(Exception):
    """The bench could not do it, or does not run; the text says why."""


def ask(cluster: str, command: str, **arguments: object) -> dict[str, Any]:
    """Have the running cluster of this name perform a command. Raises RemoteError.

    What the bench did to the cluster without being asked is printed on stderr.
    """
    entry = registry.look_up(cluster)
    if entry is None:
        others = ", ".join(registry.running())
        way_out = f"running: {others}; choose with --name" if others else "start one with: python -m bench up 3"
        raise RemoteError(f"no cluster named {cluster} is running ({way_out})")
    with requests.Session() as session:
        session.trust_env = False
        try:
            headers = {"Authorization": f"Bearer {entry.token}"}
            response = session.post(f"{entry.url}/{command}", json=arguments, headers=headers, timeout=TIMEOUT_S)
            body = response.json()
        except requests.RequestException as error:
            raise RemoteError(f"the bench of {cluster} (pid {entry.pid}) does not answer: {error}") from error
    if response.status_code != 200:
        raise RemoteError(str(body.get("error")))
    for words in body.pop("unasked", ()):
        print(f"bench: {words}", file=sys.stderr)
    return dict(body)
