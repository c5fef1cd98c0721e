"""Which transactions a compaction meets, batch by batch: whose data was aborted, whose marker is still needed.

Rules of this file: pure; fed in log order. A marker stays as long as a batch of its transaction was met, even one that
goes in this very pass: a reader may hold that data and ask the new transaction index about it. So the data of an
aborted transaction goes in one pass, its marker gets a delete horizon in a later one and goes when that has passed
(KIP-98, KIP-534).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from pybroker_protocol.records.batch import CONTROL, TRANSACTIONAL, BatchHeader
from pybroker_protocol.records.control import ControlType, control_type, read_control_batch
from pybroker_server.log.transaction_index import AbortedTransaction


class TransactionTracker:
    """`aborted`: all entries of transaction indexes that overlap the section, in any order."""

    __slots__ = ("_committed", "_met", "_open_aborted", "_waiting", "kept_abort")

    def __init__(self, aborted: Iterable[AbortedTransaction]) -> None:
        self._waiting = deque(sorted(aborted, key=lambda entry: entry.first_offset))
        self._open_aborted: dict[int, AbortedTransaction] = {}
        """By producer id: aborted transactions whose marker comes later."""
        self._met: set[int] = set()
        """Producer ids of those of which a batch was met."""
        self._committed: set[int] = set()
        """Producer ids of other transactions of which a batch was met."""
        self.kept_abort: AbortedTransaction | None = None
        """The entry that the new index needs, when the last batch was an abort marker that stays for its data."""

    def on_batch(self, header: BatchHeader, batch: memoryview) -> bool:
        """Whether nobody needs the batch: data of an aborted transaction, or a marker without data.

        `batch` must be whole for a control batch. Raises ProtocolError for one that is damaged.
        """
        self.kept_abort = None
        waiting = self._waiting
        while waiting and waiting[0].first_offset <= header.last_offset:
            entry = waiting.popleft()
            self._open_aborted.setdefault(entry.producer_id, entry)
        if header.attributes & CONTROL:
            return self._on_control(header, batch)
        if not header.attributes & TRANSACTIONAL:
            return False
        if header.producer_id in self._open_aborted:
            self._met.add(header.producer_id)
            return True
        self._committed.add(header.producer_id)
        return False

    def _on_control(self, header: BatchHeader, batch: memoryview) -> bool:
        if header.record_count == 0:
            return True  # emptied by an earlier pass
        kind = control_type(read_control_batch(batch))
        producer_id = header.producer_id
        if kind is ControlType.ABORT:
            entry = self._open_aborted.pop(producer_id, None)
            if entry is None or producer_id not in self._met:
                return True
            self._met.remove(producer_id)
            self.kept_abort = entry
            return False
        if kind is ControlType.COMMIT:
            is_needed = producer_id in self._committed
            self._committed.discard(producer_id)
            return not is_needed
        return False
