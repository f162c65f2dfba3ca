from __future__ import annotations

import io
from pathlib import Path

import msgspec
import pytest

from node.records import Leased, Stopped
from node.trace import Trace

FIRST, SECOND = Stopped(at_s=1.0, term=1), Stopped(at_s=2.0, term=2)


class Calls(io.BytesIO):
    """Each write as it came; fails when there is no room."""

    def __init__(self, *, full: bool = False) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self._full = full

    def write(self, data: bytes) -> int:  # type: ignore[override]
        if self._full:
            raise OSError("no space left on device")
        self.written.append(data)
        return len(data)


def lines_of(file: Path) -> list[float]:
    return [msgspec.json.decode(line)["at_s"] for line in file.read_bytes().splitlines()]


def test_a_line_is_in_the_file_as_soon_as_it_is_written_and_behind_those_of_former_lives(tmp_path: Path) -> None:
    """A node that is killed the next moment leaves it behind."""
    for life in (1, 2):
        trace = Trace(tmp_path / "trace")
        trace.write([FIRST, SECOND])
        trace.write([])
        assert lines_of(tmp_path / "trace") == [1, 2] * life
        trace.close()


def test_the_lines_of_a_round_are_written_in_one_call_and_each_ends_where_it_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever reads meanwhile sees all of a round or nothing."""
    calls = Calls()
    monkeypatch.setattr(Path, "open", lambda *_, **__: calls)
    trace = Trace(Path("trace"))
    trace.write([FIRST, SECOND])
    trace.write([])
    (written,) = calls.written
    assert written.count(b"\n") == 2
    assert written.endswith(b"\n")


def test_behind_half_a_line_of_a_former_life_the_next_one_begins_a_line_of_its_own(tmp_path: Path) -> None:
    """Or else the first that it says would be lost with what the former one could not say to the end."""
    file = tmp_path / "trace"
    file.write_bytes(b'{"event":"stop","at_s":0.5,"term":1}\n{"event":"stop","at')
    for life in (1, 2):
        trace = Trace(file)
        trace.write([FIRST])
        trace.close()
        assert len(file.read_bytes().splitlines()) == 2 + life
    assert [msgspec.json.decode(line)["at_s"] for line in file.read_bytes().splitlines()[2:]] == [1, 1]


def test_lines_for_a_part_of_which_there_is_room_are_not_taken_for_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk takes that part without a word."""

    class Nearly(Calls):
        def write(self, data: bytes) -> int:  # type: ignore[override]
            self._full = len(self.written) == 1
            return super().write(data[:10])

    disk = Nearly()
    monkeypatch.setattr(Path, "open", lambda *_, **__: disk)
    with pytest.raises(OSError, match="no space"):
        Trace(Path("trace")).write([FIRST])


def test_a_trace_that_cannot_be_written_fails_whoever_writes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "open", lambda *_, **__: Calls(full=True))
    with pytest.raises(OSError, match="no space"):
        Trace(Path("trace")).write([FIRST])


def test_times_are_counted_from_the_instant_that_is_called_0_with_the_clock_beside(tmp_path: Path) -> None:
    trace = Trace(tmp_path / "trace", zero_s=1000.5)
    trace.write([Leased(at_s=1001.0, term=1, until_s=1003.0), Leased(at_s=1001.25, term=1, until_s=None)])
    trace.close()
    lines = [msgspec.json.decode(line) for line in (tmp_path / "trace").read_bytes().splitlines()]
    assert lines == [
        {"event": "lease", "at_s": 0.5, "term": 1, "until_s": 2.5, "monotonic_s": 1001.0},
        {"event": "lease", "at_s": 0.75, "term": 1, "until_s": None, "monotonic_s": 1001.25},
    ]


def test_without_a_file_nothing_is_written() -> None:
    trace = Trace(None)
    trace.write([FIRST])
    trace.close()
