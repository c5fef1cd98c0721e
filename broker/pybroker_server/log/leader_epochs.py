"""Which leader epoch began at which offset: what replicas agree on before they truncate (KIP-101, KIP-279).

Rules of this file: pure; the bytes of `leader-epoch-checkpoint` go in and out, `partition_log.py` and `flusher.py`
see to the file. Epochs and start offsets rise strictly from entry to entry. The file may lag behind: what is
missing at its end is in the batches themselves, and recovery reads those that were not known to be flushed.
"""

from __future__ import annotations

from bisect import bisect_right

from pybroker_server.log.checkpoints import CheckpointCorrupt, format_checkpoint, parse_checkpoint

UNDEFINED_EPOCH = -1
UNDEFINED_OFFSET = -1


class LeaderEpochs:
    """The epochs of one log, oldest first."""

    __slots__ = ("_epochs", "_start_offsets", "changes")

    def __init__(self) -> None:
        self._epochs: list[int] = []
        self._start_offsets: list[int] = []
        self.changes = 0
        """Rises with every change: who wrote the file compares it with what it saw."""

    @classmethod
    def from_bytes(cls, data: bytes) -> LeaderEpochs:
        """Reads the checkpoint file. Raises CheckpointCorrupt."""
        self = cls()
        for fields in parse_checkpoint(data, 2):
            try:
                epoch, start_offset = map(int, fields)
            except ValueError:
                raise CheckpointCorrupt(f"not an epoch and its start offset: {fields}") from None
            if epoch < 0 or start_offset < 0:
                raise CheckpointCorrupt(f"negative epoch or offset: {fields}")
            if self._epochs and (epoch <= self._epochs[-1] or start_offset <= self._start_offsets[-1]):
                raise CheckpointCorrupt(f"epochs do not rise at {fields}")
            self._epochs.append(epoch)
            self._start_offsets.append(start_offset)
        return self

    def to_bytes(self) -> bytes:
        return format_checkpoint([f"{epoch} {start}" for epoch, start in self.entries])

    @property
    def entries(self) -> list[tuple[int, int]]:
        """(epoch, start offset), oldest first."""
        return list(zip(self._epochs, self._start_offsets, strict=True))

    @property
    def latest(self) -> int:
        """The newest epoch, -1 when there is none."""
        return self._epochs[-1] if self._epochs else UNDEFINED_EPOCH

    def assign(self, epoch: int, start_offset: int) -> bool:
        """Notes that `epoch` begins at `start_offset`; True when that was news.

        Entries that contradict it (an epoch not below, or a start not before) belonged to records that are
        gone: they are dropped.
        """
        assert epoch >= 0
        assert start_offset >= 0
        if epoch == self.latest:
            return False
        keep = len(self._epochs)
        while keep and (self._epochs[keep - 1] >= epoch or self._start_offsets[keep - 1] >= start_offset):
            keep -= 1
        del self._epochs[keep:], self._start_offsets[keep:]
        self._epochs.append(epoch)
        self._start_offsets.append(start_offset)
        self.changes += 1
        return True

    def end_offset_for(self, epoch: int, log_end_offset: int) -> tuple[int, int]:
        """The largest known epoch <= `epoch` and where it ended; (-1, -1) when nothing can be said.

        An epoch ends where the next one starts, the latest at the log's end. Asked for an epoch before the
        first entry, the answer is that epoch and the first start offset: nothing of it is left here.
        """
        if epoch == UNDEFINED_EPOCH or not self._epochs or epoch > self._epochs[-1]:
            return UNDEFINED_EPOCH, UNDEFINED_OFFSET
        if epoch == self._epochs[-1]:
            return epoch, log_end_offset
        later = bisect_right(self._epochs, epoch)
        if later == 0:
            return epoch, self._start_offsets[0]
        return self._epochs[later - 1], self._start_offsets[later]

    def epoch_of_offset(self, offset: int) -> int:
        """The epoch in which `offset` was (or would be) written; -1 before the first entry."""
        found = bisect_right(self._start_offsets, offset)
        return self._epochs[found - 1] if found else UNDEFINED_EPOCH

    def start_offset_of(self, epoch: int) -> int:
        """Where `epoch` began; -1 when it has no entry."""
        found = bisect_right(self._epochs, epoch) - 1
        return self._start_offsets[found] if found >= 0 and self._epochs[found] == epoch else UNDEFINED_OFFSET

    def truncate_from_end(self, end_offset: int) -> None:
        """Forgets epochs that begin at `end_offset` or after it: their records are gone."""
        keep = len(self._start_offsets)
        while keep and self._start_offsets[keep - 1] >= end_offset:
            keep -= 1
        if keep < len(self._epochs):
            del self._epochs[keep:], self._start_offsets[keep:]
            self.changes += 1

    def truncate_from_start(self, start_offset: int) -> None:
        """Forgets epochs that ended before `start_offset`; the one that holds it now begins there."""
        later = bisect_right(self._start_offsets, start_offset)
        if later == 0 or (self._start_offsets[later - 1] == start_offset and later == 1):
            return
        del self._epochs[: later - 1], self._start_offsets[: later - 1]
        self._start_offsets[0] = start_offset
        self.changes += 1

    def clear(self) -> None:
        """Forgets everything: the log starts anew."""
        if self._epochs:
            self._epochs.clear()
            self._start_offsets.clear()
            self.changes += 1
