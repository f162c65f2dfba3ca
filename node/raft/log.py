"""The log: entries 1, 2, 3 ... without a hole. Index 0 is before the first entry and has term 0."""

from __future__ import annotations

from collections.abc import Iterable

from node.raft.messages import Entry


class Log:
    """Entries in memory, in order. Raises AssertionError for what would leave a hole or reach behind the end."""

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self._entries: list[Entry] = []
        for entry in entries:
            self.append(entry)

    @property
    def last_index(self) -> int:
        return len(self._entries)

    @property
    def last_term(self) -> int:
        return self._entries[-1].term if self._entries else 0

    def __getitem__(self, index: int) -> Entry:
        assert 1 <= index <= self.last_index, f"no entry {index} in a log of {self.last_index}"
        return self._entries[index - 1]

    def term_at(self, index: int) -> int:
        return 0 if index == 0 else self[index].term

    def between(self, first: int, last: int) -> tuple[Entry, ...]:
        """The entries from `first` to `last`, both included."""
        return tuple(self._entries[first - 1 : last])

    def batch(self, first: int, *, max_entries: int, max_bytes: int) -> tuple[Entry, ...]:
        """Entries from `first` on, as many as both bounds allow, and at least one where there is one."""
        entries = self._entries[first - 1 : first - 1 + max_entries]
        size = 0
        for count, entry in enumerate(entries):
            size += len(entry.data)
            if size > max_bytes and count:
                return tuple(entries[:count])
        return tuple(entries)

    def append(self, entry: Entry) -> None:
        assert entry.index == self.last_index + 1, f"entry {entry.index} after {self.last_index} leaves a hole"
        assert entry.term >= self.last_term, f"term {entry.term} after term {self.last_term}: terms never go back"
        self._entries.append(entry)

    def truncate_from(self, index: int) -> None:
        """Forget the entry at `index` and all that follow."""
        del self._entries[index - 1 :]

    def has(self, index: int, term: int) -> bool:
        """Whether an entry of this term stands at this index (the consistency check of §5.3)."""
        return index <= self.last_index and self.term_at(index) == term

    def first_index_of_term_at(self, index: int) -> int:
        """The first index of the run of entries that share the term at `index`."""
        term = self.term_at(index)
        while index > 1 and self.term_at(index - 1) == term:
            index -= 1
        return index
