"""A cluster that other terminals can find and speak to, and why it ends."""

from __future__ import annotations

import contextlib
import os
import queue
from collections.abc import Iterator

import psutil

from bench.live import registry
from bench.live.cluster import LiveCluster
from bench.live.control import Control

Ended = queue.SimpleQueue[str]
"""Whatever arrives in it ends the cluster: the reason, in words.

Not an Event: its set() in a signal handler can wait for ever for the wait() that it interrupted. Whoever waits has a
timeout: a signal that comes just before the main thread sleeps in a lock does not wake it.
"""


@contextlib.contextmanager
def controlled(cluster: LiveCluster, ended: Ended) -> Iterator[Control]:
    """The cluster obeys its control API until the block ends; `ended` gets who asks for its end."""
    control = Control(cluster, lambda by: ended.put(f"taken down by: {by}"))
    control.start()
    try:
        yield control
    finally:
        control.stop()


@contextlib.contextmanager
def registered(name: str, cluster: LiveCluster, control: Control) -> Iterator[None]:
    """Other terminals find the cluster under this name, which must be `registry.taken`, until the block ends."""
    started_s, folder = psutil.Process().create_time(), str(cluster.recording.folder)
    registry.register(name, registry.Registered(control.url, control.token, os.getpid(), started_s, folder))
    try:
        yield
    finally:
        registry.forget(name)
