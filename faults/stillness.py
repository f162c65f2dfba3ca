"""Keeping what a block has put in force when an error ends the block, so that somebody can look at it as it was.

A block ends on every way out, so an error that passes through a story undoes the faults that it came of before anybody
hears of it. Where that is wanted, such an end is put off. An error that the story itself handles is none: as soon as
the story goes on, the ends that were put off are made up for.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator

Act = Callable[[], None]


class Stillness:
    """Usually blocks just end; while it is `wanted`, those that end by an error stay in force. `on_error` is called
    before the first block ends by an error: what is in force is still as the error found it."""

    def __init__(self, on_error: Callable[[], None] = lambda: None) -> None:
        self.wanted = False
        self._on_error = on_error
        self.last: BaseException | None = None
        """The error that last ended a block."""
        self._put_off: list[tuple[BaseException, Act]] = []
        self._thread = threading.get_ident()

    @contextlib.contextmanager
    def until_over(self, end: Act, keep: Act) -> Iterator[None]:
        """A block that ends with `end`. If that is put off, `keep` is called in its place."""
        try:
            yield
        except BaseException as error:
            if error is not self.last:
                self.last = error
                self._on_error()
            if not self.wanted:
                end()
                raise
            self._thread = threading.get_ident()
            self._put_off.append((error, end))
            keep()
            raise
        else:
            end()

    def goes_on(self) -> None:
        """To be called before whatever a story does: makes up for what was put off, unless the error is still on its
        way out, or somebody else does it."""
        if self._put_off and threading.get_ident() == self._thread and not self._on_its_way_out():
            put_off, self._put_off = self._put_off, []
            for _, end in reversed(put_off):
                end()

    def stay(self) -> None:
        """The story is over: whatever was put off stays so."""
        self.wanted = False
        self._put_off.clear()

    def _on_its_way_out(self) -> bool:
        errors = [error for error, _ in self._put_off]
        now = sys.exception()
        while now is not None:
            if any(now is error for error in errors):
                return True
            now = now.__context__
        return False
