"""The log: entries without a hole, of which a prefix may have given way to a snapshot (Raft §7).

What is gone ends at `base_index`, whose term is still known. Before the first compaction that is index 0, which is
before the first entry and has term 0.
"""

from __future__ import annotations

from collections.abc import Iterable

from node.raft.messages import Entry


class Log:
    """Entries in memory, in order. Raises AssertionError for what would leave a hole or reach behind the end."""

    def __init__(self, entries: Iterable[Entry] = (), *, base_index: int = 0, base_term: int = 0) -> None:
        self._entries: list[Entry] = []
        self.base_index = base_index
        self.base_term = base_term
        self.last_index = base_index
        for entry in entries:
            self.append(entry)

    @property
    def first_index(self) -> int:
        """The first index whose entry is here, if there is any."""
        return self.base_index + 1

    @property
    def last_term(self) -> int:
        return self._entries[-1].term if self._entries else self.base_term

    def __getitem__(self, index: int) -> Entry:
        assert self.base_index < index <= self.last_index, (
            f"no entry {index} in a log of {self.first_index} to {self.last_index}"
        )
        return self._entries[index - self.base_index - 1]

    def term_at(self, index: int) -> int:
        if self.base_index < index <= self.last_index:
            return self._entries[index - self.base_index - 1].term
        return self.base_term if index == self.base_index else self[index].term

    def between(self, first: int, last: int) -> tuple[Entry, ...]:
        """The entries from `first` to `last`, both included."""
        if first > last:
            return ()
        assert first > self.base_index, f"entries from {first} on are only in a snapshot up to {self.base_index}"
        return tuple(self._entries[first - self.base_index - 1 : last - self.base_index])

    def batch(self, first: int, *, max_entries: int, max_bytes: int) -> tuple[Entry, ...]:
        """Entries from `first` on, as many as both bounds allow, and at least one where there is one."""
        entries = self.between(first, min(self.last_index, first - 1 + max_entries))
        size = 0
        for count, entry in enumerate(entries):
            size += len(entry.data)
            if size > max_bytes and count:
                return entries[:count]
        return entries

    def append(self, entry: Entry) -> None:
        assert entry.index == self.last_index + 1, f"entry {entry.index} after {self.last_index} leaves a hole"
        assert entry.term >= self.last_term, f"term {entry.term} after term {self.last_term}: terms never go back"
        self._entries.append(entry)
        self.last_index = entry.index

    def truncate_from(self, index: int) -> None:
        """Forget the entry at `index` and all that follow."""
        assert index > self.base_index
        del self._entries[index - self.base_index - 1 :]
        self.last_index = self.base_index + len(self._entries)

    def compact_to(self, index: int) -> None:
        """Forget everything up to and including `index`; does nothing when that is gone already."""
        if index > self.base_index:
            self.base_term = self.term_at(index)
            del self._entries[: index - self.base_index]
            self.base_index = index

    def reset(self, index: int, term: int) -> None:
        """Forget everything; a snapshot stands for what is up to `index`, whose term is `term`."""
        self._entries.clear()
        self.base_index = self.last_index = index
        self.base_term = term

    def has(self, index: int, term: int) -> bool:
        """Whether an entry of this term stands at this index (the consistency check of §5.3).

        What lies before the base was committed before it was compacted, and is the same in every leader's log (Leader
        Completeness, §5.4.3), so it is there by whatever term a leader names.
        """
        if index <= self.base_index:
            return index < self.base_index or term == self.base_term
        return index <= self.last_index and self._entries[index - self.base_index - 1].term == term

    def first_index_of_term_at(self, index: int) -> int:
        """The first index here of the run of entries that share the term at `index`."""
        term = self.term_at(index)
        while index > self.first_index and self.term_at(index - 1) == term:
            index -= 1
        return index
