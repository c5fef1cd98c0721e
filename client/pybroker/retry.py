"""Which error code means what to do, and how long to wait before doing it. Pure.

Rules: every decision on a code is in the tables here; the parts that act ask and never compare codes themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from pybroker_protocol.errors import ErrorCode, error_code

__all__ = ["Backoff", "FetchVerdict", "ProduceVerdict", "fetch_verdict", "produce_verdict", "stales_metadata"]

_STALE_METADATA = frozenset(
    {
        ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
        ErrorCode.LEADER_NOT_AVAILABLE,
        ErrorCode.NOT_LEADER_OR_FOLLOWER,
        ErrorCode.REPLICA_NOT_AVAILABLE,
        ErrorCode.NETWORK_EXCEPTION,
        ErrorCode.KAFKA_STORAGE_ERROR,
        ErrorCode.LISTENER_NOT_FOUND,
        ErrorCode.FENCED_LEADER_EPOCH,
        ErrorCode.UNKNOWN_LEADER_EPOCH,
        ErrorCode.UNKNOWN_TOPIC_ID,
        ErrorCode.INCONSISTENT_TOPIC_ID,
        ErrorCode.NOT_CONTROLLER,
    }
)


def stales_metadata(code: int) -> bool:
    """Whether the answer shows that what we know of the cluster is out of date."""
    return error_code(code) in _STALE_METADATA


class ProduceVerdict(Enum):
    """What a partition's answer to a produce means for its batch."""

    ACCEPTED = auto()
    RETRY = auto()  # the same batch again; it may have been appended, so with the same sequence
    RETRY_NOT_APPENDED = auto()  # the same batch again; this attempt certainly left nothing behind
    SEQUENCE_LOST = auto()  # the broker expects another sequence: certainly not appended, by any attempt
    SPLIT = auto()  # too large as a batch; smaller ones may do
    FAIL = auto()  # refused for good


_SEQUENCE_LOST = frozenset(
    {
        ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER,
        ErrorCode.UNKNOWN_PRODUCER_ID,
        ErrorCode.INVALID_PRODUCER_EPOCH,
    }
)
# Retriable answers that brokers give before they append. The others may come after (a leader that steps down
# while it waits for its followers answers NOT_LEADER_OR_FOLLOWER).
_BEFORE_APPEND = frozenset(
    {
        ErrorCode.NOT_ENOUGH_REPLICAS,
        ErrorCode.CORRUPT_MESSAGE,
        ErrorCode.LEADER_NOT_AVAILABLE,
        ErrorCode.THROTTLING_QUOTA_EXCEEDED,
    }
)


def produce_verdict(code: int) -> ProduceVerdict:
    known = error_code(code)
    if known in (ErrorCode.NONE, ErrorCode.DUPLICATE_SEQUENCE_NUMBER):
        return ProduceVerdict.ACCEPTED
    if known in _SEQUENCE_LOST:
        return ProduceVerdict.SEQUENCE_LOST
    if known is ErrorCode.MESSAGE_TOO_LARGE:
        return ProduceVerdict.SPLIT
    if known in _BEFORE_APPEND:
        return ProduceVerdict.RETRY_NOT_APPENDED
    # An error that the broker did not expect is retried too: it says nothing about the batch.
    if known.retriable or known is ErrorCode.UNKNOWN_SERVER_ERROR:
        return ProduceVerdict.RETRY
    return ProduceVerdict.FAIL


class FetchVerdict(Enum):
    """What a partition's answer to a fetch or a question for offsets means."""

    OK = auto()
    RETRY = auto()
    OUT_OF_RANGE = auto()
    FAIL = auto()


def fetch_verdict(code: int) -> FetchVerdict:
    known = error_code(code)
    if known is ErrorCode.NONE:
        return FetchVerdict.OK
    if known is ErrorCode.OFFSET_OUT_OF_RANGE:
        return FetchVerdict.OUT_OF_RANGE
    # A batch that the broker itself finds damaged stays damaged; asking again would loop for ever.
    if known is not ErrorCode.CORRUPT_MESSAGE and (known.retriable or known is ErrorCode.UNKNOWN_SERVER_ERROR):
        return FetchVerdict.RETRY
    return FetchVerdict.FAIL


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waits that double from `first` to `most` seconds, each up to a fifth shorter or longer (`jitter`)."""

    first: float = 0.05
    most: float = 1.0
    jitter: float = 0.2

    def delay(self, attempt: int, chance: float) -> float:
        """Seconds to wait after the `attempt`-th failure in a row (1 is the first); `chance` is in [0, 1)."""
        exponent = min(max(attempt, 1) - 1, 30)
        plain = min(self.most, self.first * 2.0**exponent)
        return plain * (1 + self.jitter * (2 * chance - 1))
