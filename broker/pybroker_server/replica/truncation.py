"""Where a follower cuts its log when its leader says that the two part ways (KIP-101, KIP-279).

Rules of this file: pure. Only epochs and their ends decide, never a high watermark: that of a follower lags, and
cutting there could take away what is committed. The two logs agree when the last epoch that both know ends at the same
place; an answer that does not lead there yet leads to the next question, one epoch further back.
"""

from __future__ import annotations

from typing import Protocol


class Epochs(Protocol):
    """What is asked of the follower's log (`log.PartitionLog`)."""

    @property
    def log_end_offset(self) -> int: ...

    def end_offset_for_epoch(self, epoch: int) -> tuple[int, int]:
        """The largest epoch not above `epoch` and where it ends; (-1, -1) when it is not known."""


def cut_offset(log: Epochs, leaders_epoch: int, leaders_end_offset: int) -> int:
    """From which offset on the follower's records go: the leader's largest epoch up to the asked one is
    `leaders_epoch`, and ends at `leaders_end_offset` in its log."""
    own_epoch, own_end_offset = log.end_offset_for_epoch(leaders_epoch)
    if own_epoch == leaders_epoch:
        return min(own_end_offset, leaders_end_offset, log.log_end_offset)
    if own_epoch < 0:
        return min(leaders_end_offset, log.log_end_offset)
    # The follower does not know that epoch: what it has after the one before is of leaders that the other never met.
    return min(own_end_offset, log.log_end_offset)
