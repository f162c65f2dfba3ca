"""What is taken from multiprocessing and multiprocessing-logging, held against what is installed."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import multiprocessing_logging
import pytest

from bench.systems.module import await_the_last, close_write_end
from faults.foreign import ForeignNameGoneError
from faults.processes import CONTEXT


def test_a_node_s_log_ends_when_nobody_writes_it_any_more() -> None:
    handler = multiprocessing_logging.MultiProcessingHandler("probe", logging.NullHandler())
    assert not await_the_last(handler, 0.0)
    close_write_end(handler.queue)
    assert await_the_last(handler, 20.0)


def test_its_queues_are_of_the_context_whose_children_write_them() -> None:
    """Those of another context refuse to be handed over."""
    assert multiprocessing_logging.multiprocessing is CONTEXT


def test_a_queue_without_a_write_end_is_told_with_the_version() -> None:
    with pytest.raises(ForeignNameGoneError, match=r"multiprocessing\.Queue of Python 3\.11 to 3\.13"):
        close_write_end(SimpleNamespace())


def test_a_handler_without_a_thread_is_told_with_the_version() -> None:
    with pytest.raises(ForeignNameGoneError, match=r"multiprocessing-logging 0\.4\.0"):
        await_the_last(SimpleNamespace(), 0.0)
