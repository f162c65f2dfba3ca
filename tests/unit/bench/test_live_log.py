"""What is told of what nodes say, and when they said it."""

from __future__ import annotations

import logging
import time

from bench.live.log import end_of, formatter


def test_of_what_a_node_said_before_it_ended_the_end_is_told() -> None:
    said = "".join(f"line {number}\n" for number in range(20))
    assert end_of(said).split() == [word for number in range(15, 20) for word in ("line", str(number))]
    assert end_of("") == "nothing"


def test_a_line_says_when_it_was_in_seconds_from_the_beginning_of_the_run() -> None:
    record = logging.LogRecord("node", logging.INFO, __file__, 1, "it leads", None, None)
    record.created = time.time() + 2
    told = formatter(time.monotonic() - 10).format(record)
    assert round(float(told.split()[0])) == 12
    assert told.split()[1:] == ["INFO", "node:", "it", "leads"]
